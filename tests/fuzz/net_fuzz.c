/*
 * Fuzzes what programs hand to sockets as bytes: questions to netlink, control messages and options
 * of the internet families, and programs of SO_ATTACH_FILTER. The first byte of an input chooses.
 */
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/inet/inet.h"
#include "sentry/net/netlink/netlink.h"
#include "sentry/net/netns.h"

static struct net_ns *net;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    socket_register_family(&inet_family);
    socket_register_family(&inet6_family);
    socket_register_family(&netlink_family);
    if (net_ns_create(true, &net) < 0)
        abort();
    return 0;
}

static struct socket *make(int domain, int type, int protocol)
{
    struct socket *s;

    if (socket_create(net, domain, type, protocol, &s) < 0)
        abort();
    return s;
}

static void receive_all(struct socket *s)
{
    static char buf[65536];

    for (;;) {
        struct socket_address from = {.size = 0};
        struct socket_control control = {.size = 0};
        struct socket_message msg = {
            .flags = MSG_DONTWAIT, .address = &from, .control_out = &control};
        struct uio uio;

        uio_init_host(&uio, buf, sizeof(buf));
        msg.uio = &uio;
        if (s->ops->recvmsg(s, &msg) <= 0)
            return;
    }
}

static void ask_netlink(int protocol, const uint8_t *data, size_t size)
{
    struct socket *s = make(AF_NETLINK, SOCK_RAW, protocol);
    struct socket_message msg = {.flags = MSG_DONTWAIT};
    uint8_t *copy = malloc(size + 1);
    struct uio uio;

    memcpy(copy, data, size);
    uio_init_host(&uio, copy, size);
    msg.uio = &uio;
    s->ops->sendmsg(s, &msg);
    receive_all(s);
    file_unref(&s->file);
    free(copy);
}

/* A datagram to itself, with these control messages. */
static void send_control(int domain, int type, int protocol, const uint8_t *data, size_t size)
{
    struct socket_address name = {.size = sizeof(name.in6)};
    struct socket_message msg = {.flags = MSG_DONTWAIT};
    struct socket *s = make(domain, type, protocol);
    uint8_t *copy = malloc(size + 1);
    char byte[16] = "x";
    struct uio uio;

    memset(&name.storage, 0, sizeof(name.storage));
    name.family = (sa_family_t)domain;
    if (domain == AF_INET)
        name.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        name.in6.sin6_addr = in6addr_loopback;
    s->ops->bind(s, &name);
    s->ops->getname(s, false, &name);
    memcpy(copy, data, size);
    uio_init_host(&uio, byte, sizeof(byte));
    msg.uio = &uio;
    msg.control = copy;
    msg.control_size = size;
    msg.address = &name;
    msg.to_address = true;
    s->ops->sendmsg(s, &msg);
    receive_all(s);
    file_unref(&s->file);
    free(copy);
}

/* One after the other on one socket: level, name, size, value. */
static void set_options(struct socket *s, const uint8_t *data, size_t size)
{
    static const int levels[] = {SOL_SOCKET,  IPPROTO_IP,  IPPROTO_IPV6,  IPPROTO_TCP,
                                 IPPROTO_UDP, IPPROTO_RAW, IPPROTO_ICMPV6};

    while (size >= 3) {
        int level = levels[data[0] % ARRAY_COUNT(levels)], name = data[1];
        size_t used = MIN((size_t)data[2], size - 3), room = 4096;
        uint8_t *value = calloc(1, room);

        memcpy(value, data + 3, used);
        if (level == SOL_SOCKET) {
            socket_set_option(s, name, value, used);
            socket_get_option(s, name, value, &room);
        } else {
            s->ops->setsockopt(s, level, name, value, used);
            room = 512;
            s->ops->getsockopt(s, level, name, value, &room);
        }
        free(value);
        data += 3 + used;
        size -= 3 + used;
    }
    file_unref(&s->file);
}

/* The first half of the bytes is a program, the second the packet. */
static void run_filter(const uint8_t *data, size_t size)
{
    uint32_t count = (uint32_t)MIN(size / 2 / sizeof(struct sock_filter), 4096UL);
    struct sock_filter *program = malloc(count * sizeof(*program) + 1);
    size_t used = count * sizeof(*program);
    struct bpf_packet packet = {.size = (uint32_t)(size - used) / 2};

    memcpy(program, data, used);
    packet.data = (uint32_t)(size - used) - packet.size;
    packet.bytes = data + used;
    if (bpf_check_packet(program, count) == 0)
        bpf_run_packet(program, &packet);
    free(program);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    switch (data[0] % 10) {
    case 0:
    case 1:
        ask_netlink(NETLINK_ROUTE, data + 1, size - 1);
        break;
    case 2:
        ask_netlink(NETLINK_SOCK_DIAG, data + 1, size - 1);
        break;
    case 3:
        send_control(AF_INET, SOCK_DGRAM, IPPROTO_UDP, data + 1, size - 1);
        break;
    case 4:
        send_control(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, data + 1, size - 1);
        break;
    case 5:
        send_control(AF_INET, SOCK_RAW, IPPROTO_ICMP, data + 1, size - 1);
        break;
    case 6:
        set_options(make(AF_INET6, SOCK_DGRAM, 0), data + 1, size - 1);
        break;
    case 7:
        set_options(make(AF_INET, SOCK_STREAM, 0), data + 1, size - 1);
        break;
    case 8:
        set_options(make(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), data + 1, size - 1);
        break;
    default:
        run_filter(data + 1, size - 1);
        break;
    }
    return 0;
}
