#include "host/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/path.h"
#include "host/socket.h"

/* Newer than some headers. */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static int set_up(int fd, int index)
{
    const struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_ALLMULTI};
    const struct sockaddr_ll name = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
    const int on = 1, buffer = 4 << 20;

    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    return bind(fd, (const struct sockaddr *)&name, sizeof(name)) < 0 ? -errno : 0;
}

int host_packet_open(int index)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

    if (fd < 0)
        return -errno;
    err = set_up(fd, index);
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

int host_tap_open(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &r) < 0) {
        int err = -errno;

        close(fd);
        return err;
    }
    return fd;
}

/* The index, and what its driver says that it is. */
static int ask_device(int fd, struct ifreq *r, int *ret_index, bool *ret_tap)
{
    struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};

    if (ioctl(fd, SIOCGIFINDEX, r) < 0)
        return -errno;
    *ret_index = r->ifr_ifindex;
    r->ifr_data = (void *)&driver;
    *ret_tap = ioctl(fd, SIOCETHTOOL, r) == 0 && strcmp(driver.driver, "tun") == 0 &&
               strcmp(driver.bus_info, "tap") == 0;
    return 0;
}

int host_device_find(const char *name, int *ret_index, bool *ret_tap)
{
    struct ifreq r = {0};
    int fd, err;

    if (strlen(name) >= IFNAMSIZ || strchr(name, '/'))
        return -ENODEV;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    err = ask_device(fd, &r, ret_index, ret_tap);
    close(fd);
    return err;
}

/* ---- giving back ------------------------------------------------------------------------------
 */

/* Nobody hears how it went: the sandbox has ended. */
static void send_all(int route, const char *messages, size_t size)
{
    size_t at = 0;

    while (size - at >= NLMSG_HDRLEN) {
        const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)(messages + at);

        if (m->nlmsg_len < NLMSG_HDRLEN || m->nlmsg_len > size - at)
            return;
        if (send(route, m, m->nlmsg_len, 0) < 0)
            return;
        at += MIN((size_t)NLMSG_ALIGN(m->nlmsg_len), size - at);
    }
}

int host_route_restore_at_exit(const void *messages, size_t size)
{
    int ends[2], route = host_route_socket();
    char byte;
    pid_t pid;

    if (route < 0)
        return route;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        close(route);
        return -errno;
    }
    pid = fork();
    if (pid == 0) {
        sigset_t all;

        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        setsid();
        prctl(PR_SET_NAME, "kvmsentry-route");
        /* Nothing but these two: what the sandbox holds must not live on in here. */
        if (dup2(ends[0], 0) == 0 && dup2(route, 1) == 1 && host_close_range(2, ~0U) == 0) {
            while (read(0, &byte, 1) > 0 || errno == EINTR)
                errno = 0;
            send_all(1, messages, size);
        }
        _exit(0);
    }
    close(ends[0]);
    close(route);
    if (pid < 0) {
        close(ends[1]);
        return -errno;
    }
    return 0; /* our end of the pipe stays open as long as we live */
}
