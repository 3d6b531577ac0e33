#include "runtime/network.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "host/io.h"
#include "host/jail.h"
#include "host/path.h"
#include "host/socket.h"
#include "runtime/device.h"
#include "sentry/net/hostinet/hostinet.h"
#include "sentry/net/inet/lwip/lwip.h"

/* What /proc/net has of the host's; a file that the host lacks is as with the loopback alone. */
static void open_proc(void)
{
    static const char *const names[] = {"arp",      "dev", "if_inet6", "packet", "route",
                                        "sockstat", "tcp", "tcp6",     "udp",    "udp6"};
    char path[64];

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        int fd;

        snprintf(path, sizeof(path), "/proc/self/net/%s", names[i]);
        fd = host_open_read(path);
        if (fd >= 0)
            hostinet_add_proc(names[i], fd);
    }
}

static int start_host(void)
{
    int route = host_route_socket(), question = host_socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);

    if (route < 0 || question < 0) {
        log_error("--network=host: sockets: %s", strerror(route < 0 ? -route : -question));
        return route < 0 ? route : question;
    }
    hostinet_start(route, question);
    open_proc();
    return 0;
}

static int start_stack(const struct option_device *device)
{
    static struct lwip_config config;
    const char *why = "";
    int err = device_open(device, &config);

    if (err < 0)
        return err;
    err = lwip_prepare(&config, &why);
    if (err < 0)
        log_error("--network=sandbox: %s", why);
    return err;
}

int network_start(const struct options *options)
{
    switch (options->network) {
    case NETWORK_HOST:
        return start_host();
    case NETWORK_SANDBOX:
        return start_stack(&options->device);
    default:
        return 0;
    }
}

int network_run(const struct options *options)
{
    return options->network == NETWORK_SANDBOX ? lwip_start() : 0;
}

void network_finish(const struct options *options)
{
    if (options->network == NETWORK_SANDBOX)
        lwip_finish();
}

uint32_t network_roles(const struct options *options)
{
    return options->network == NETWORK_HOST ? JAIL_HOST_NET : 0;
}
