/*
 * IPPROTO_IP and IPPROTO_IPV6: ip(7), ipv6(7). Most options are numbers that are kept and told
 * again; what has an effect on a loopback is heeded in inet.c, ports.c and udp_send.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/net/inet/internal.h"
#include "sentry/net/netns.h"

/* Where the headers of libc and of the kernel exclude each other: linux/in.h, linux/in6.h. */
#define OPT_IP_LOCAL_PORT_RANGE  51
#define OPT_IPV6_FLOWINFO_SEND   33
#define OPT_IPV6_RECVORIGDSTADDR 74
#define OPT_IPV6_RECVFRAGSIZE    77
#define OPT_IPV6_FREEBIND        78
#define OPT_IPV6_MULTICAST_ALL   29

struct ip_option {
    int level, name;
    size_t offset; /* in struct ip_options */
    int min, max;  /* else -EINVAL */
    bool is_switch;
};

#define OPTION(level, name, field, min, max, is_switch)                                            \
    {                                                                                              \
        level, name, offsetof(struct ip_options, field), min, max, is_switch                       \
    }
#define SWITCH_V4(name, field)           OPTION(IPPROTO_IP, name, field, INT32_MIN, INT32_MAX, true)
#define SWITCH_V6(name, field)           OPTION(IPPROTO_IPV6, name, field, INT32_MIN, INT32_MAX, true)
#define NUMBER_V4(name, field, min, max) OPTION(IPPROTO_IP, name, field, min, max, false)
#define NUMBER_V6(name, field, min, max) OPTION(IPPROTO_IPV6, name, field, min, max, false)

static const struct ip_option options[] = {
    NUMBER_V4(IP_TOS, tos, INT32_MIN, INT32_MAX),
    NUMBER_V4(IP_TTL, ttl, -1, 255),
    NUMBER_V4(IP_MTU_DISCOVER, mtu_discover, 0, 5),
    NUMBER_V4(IP_MINTTL, minttl, 0, 255),
    NUMBER_V4(IP_MULTICAST_TTL, multicast_ttl, -1, 255),
    NUMBER_V4(IP_UNICAST_IF, unicast_if, INT32_MIN, INT32_MAX),
    SWITCH_V4(IP_RECVERR, recverr),
    SWITCH_V4(IP_RECVOPTS, recvopts),
    SWITCH_V4(IP_RETOPTS, retopts),
    SWITCH_V4(IP_PKTINFO, pktinfo),
    SWITCH_V4(IP_RECVTTL, recvttl),
    SWITCH_V4(IP_RECVTOS, recvtos),
    SWITCH_V4(IP_FREEBIND, freebind),
    SWITCH_V4(IP_TRANSPARENT, transparent),
    SWITCH_V4(IP_RECVORIGDSTADDR, origdstaddr),
    SWITCH_V4(IP_NODEFRAG, nodefrag),
    SWITCH_V4(IP_BIND_ADDRESS_NO_PORT, bind_no_port),
    SWITCH_V4(IP_MULTICAST_LOOP, multicast_loop),
    SWITCH_V4(IP_MULTICAST_ALL, multicast_all),
    SWITCH_V4(IP_RECVFRAGSIZE, recvfragsize),
    SWITCH_V4(IP_CHECKSUM, checksum),
    SWITCH_V4(IP_PASSSEC, passsec),
    SWITCH_V6(IPV6_V6ONLY, v6only),
    NUMBER_V6(IPV6_UNICAST_HOPS, unicast_hops, -1, 255),
    NUMBER_V6(IPV6_MULTICAST_HOPS, multicast_hops, -1, 255),
    NUMBER_V6(IPV6_MULTICAST_IF, multicast_if6, INT32_MIN, INT32_MAX),
    NUMBER_V6(IPV6_MULTICAST_LOOP, multicast_loop6, 0, 1),
    SWITCH_V6(OPT_IPV6_MULTICAST_ALL, multicast_all6),
    SWITCH_V6(IPV6_RECVPKTINFO, recvpktinfo),
    SWITCH_V6(IPV6_RECVHOPLIMIT, recvhoplimit),
    /* RFC 2292's names for what has others by now. */
    SWITCH_V6(IPV6_2292PKTINFO, pktinfo2292),
    SWITCH_V6(IPV6_2292HOPLIMIT, hoplimit2292),
    SWITCH_V6(IPV6_2292RTHDR, rthdr2292),
    SWITCH_V6(IPV6_2292HOPOPTS, hopopts2292),
    SWITCH_V6(IPV6_2292DSTOPTS, dstopts2292),
    SWITCH_V6(IPV6_RECVTCLASS, recvtclass),
    NUMBER_V6(IPV6_TCLASS, tclass, -1, 255),
    NUMBER_V6(IPV6_MTU_DISCOVER, mtu_discover6, 0, 5),
    SWITCH_V6(IPV6_RECVERR, recverr6),
    SWITCH_V6(IPV6_DONTFRAG, dontfrag),
    SWITCH_V6(IPV6_AUTOFLOWLABEL, autoflowlabel),
    SWITCH_V6(OPT_IPV6_FREEBIND, freebind6),
    SWITCH_V6(OPT_IPV6_FLOWINFO_SEND, flowinfo_send),
    NUMBER_V6(IPV6_MINHOPCOUNT, minhopcount, 0, 255),
    SWITCH_V6(OPT_IPV6_RECVORIGDSTADDR, recvorigdst6),
    SWITCH_V6(IPV6_RECVPATHMTU, recvpathmtu),
    SWITCH_V6(IPV6_RECVRTHDR, recvrthdr),
    SWITCH_V6(IPV6_RECVHOPOPTS, recvhopopts),
    SWITCH_V6(IPV6_RECVDSTOPTS, recvdstopts),
    SWITCH_V6(OPT_IPV6_RECVFRAGSIZE, recvfragsize6),
    SWITCH_V6(IPV6_TRANSPARENT, transparent6),
    NUMBER_V6(IPV6_UNICAST_IF, unicast_if6, INT32_MIN, INT32_MAX),
};

void ip_options_init(struct ip_options *opt)
{
    *opt = (struct ip_options){
        .ttl = -1,
        .mtu_discover = IP_PMTUDISC_WANT,
        .multicast_ttl = 1,
        .multicast_loop = 1,
        .multicast_all = 1,
        .unicast_hops = -1,
        .multicast_hops = -1,
        .multicast_loop6 = 1,
        .multicast_all6 = 1,
        .mtu_discover6 = IP_PMTUDISC_WANT,
        .autoflowlabel = 1,
    };
}

static int *field_of(struct inet_socket *s, int level, int name, const struct ip_option **ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++)
        if (options[i].level == level && options[i].name == name) {
            *ret = &options[i];
            return (int *)((char *)&s->ip + options[i].offset);
        }
    return NULL;
}

/* IP_MULTICAST_IF: an address, or a device. */
static int set_multicast_if(struct inet_socket *s, const void *value, size_t size)
{
    const struct in6_addr any_group = addr_v4(INADDR_ALLHOSTS_GROUP);
    struct ip_mreqn req = {0};
    int interface = 0;

    if (size < sizeof(struct in_addr))
        return -EINVAL;
    if (size >= sizeof(struct ip_mreq))
        memcpy(&req, value, MIN(size, sizeof(req)));
    else
        memcpy(&req.imr_address, value, sizeof(struct in_addr));
    if ((req.imr_ifindex || req.imr_address.s_addr) &&
        group_interface(s, &any_group, req.imr_ifindex, ntohl(req.imr_address.s_addr), &interface) <
            0)
        return -EADDRNOTAVAIL;
    lock_acquire(&s->sock.lock);
    s->ip.multicast_if = interface;
    s->ip.multicast_from = req.imr_address;
    lock_release(&s->sock.lock);
    return 0;
}

/* ---- setting ----------------------------------------------------------------------------------
 */

/* An int, or for IPPROTO_IP a single byte. */
static int get_argument(int level, const void *value, size_t size, int *ret)
{
    if (size >= sizeof(int)) {
        memcpy(ret, value, sizeof(int));
        return 0;
    }
    if (level == IPPROTO_IPV6)
        return -EINVAL;
    *ret = size >= 1 ? *(const uint8_t *)value : 0;
    return 0;
}

static int check_option(const struct inet_socket *s, const struct ip_option *o, int value)
{
    if (value < o->min || value > o->max)
        return -EINVAL;
    if (o->level == IPPROTO_IP && o->name == IP_TTL && value == 0)
        return -EINVAL;
    if (o->level == IPPROTO_IPV6 && o->name == IPV6_MULTICAST_IF && value) {
        const struct in6_addr all = {.s6_addr = {0xff, 2, [15] = 1}};

        return s->sock.type == SOCK_STREAM ? -ENOPROTOOPT
                                           : group_interface(s, &all, value, 0, &value);
    }
    if (o->level == IPPROTO_IPV6 && o->name == IPV6_V6ONLY && s->local.port)
        return -EINVAL;
    if (((o->level == IPPROTO_IP && o->name == IP_TRANSPARENT) ||
         (o->level == IPPROTO_IPV6 && o->name == IPV6_TRANSPARENT)) &&
        value && !net_capable(s->sock.net, CAP_NET_ADMIN) && !net_capable(s->sock.net, CAP_NET_RAW))
        return -EPERM;
    if (s->sock.type == SOCK_STREAM && o->level == IPPROTO_IP &&
        (o->name == IP_MULTICAST_TTL || o->name == IP_CHECKSUM || o->name == IP_NODEFRAG))
        return o->name == IP_NODEFRAG ? -ENOPROTOOPT : -EINVAL;
    return 0;
}

/* IPV6_ADDRFORM: a connection to a mapped address goes on as one of IPv4. */
static int become_v4(struct inet_socket *s, const void *value, size_t size)
{
    int family, err = socket_option_int(value, size, &family);

    if (err < 0)
        return err;
    if (family != AF_INET)
        return -EINVAL;
    lock_acquire(&s->sock.lock);
    if (!s->remote.port)
        err = -ENOTCONN;
    else if (s->ip.v6only || !addr_is_v4(&s->remote.addr))
        err = -EADDRNOTAVAIL;
    else
        s->sock.domain = AF_INET;
    lock_release(&s->sock.lock);
    return err;
}

static int set_other(struct inet_socket *s, int level, int name, const void *value, size_t size)
{
    int number = 0, err = groups_setsockopt(s, level, name, value, size);

    if (err != -ENOPROTOOPT)
        return err;
    if (level == IPPROTO_IPV6) {
        switch (name) {
        case IPV6_ADDRFORM:
            return become_v4(s, value, size);
        case IPV6_MTU:
            return size < sizeof(int) ? -EINVAL : 0;
        default:
            return -ENOPROTOOPT;
        }
    }
    switch (name) {
    case IP_MULTICAST_IF:
        return s->sock.type == SOCK_STREAM ? -EINVAL : set_multicast_if(s, value, size);
    case OPT_IP_LOCAL_PORT_RANGE:
        if (size != sizeof(number))
            return -EINVAL;
        memcpy(&s->ip.port_range, value, sizeof(number));
        return (s->ip.port_range & 0xffff) && (s->ip.port_range >> 16) &&
                       (s->ip.port_range & 0xffff) > s->ip.port_range >> 16
                   ? -EINVAL
                   : 0;
    case IP_OPTIONS: /* none can be sent; none at all is what is wanted mostly */
        return size == 0 ? 0 : -EINVAL;
    default:
        return -ENOPROTOOPT;
    }
}

int ip_setsockopt(struct socket *sock, int level, int name, const void *value, size_t size)
{
    struct inet_socket *s = inet_of(sock);
    const struct ip_option *o = NULL;
    int *field, number, err;

    if (level != IPPROTO_IP && !(level == IPPROTO_IPV6 && sock->domain == AF_INET6))
        return -ENOPROTOOPT;
    field = field_of(s, level, name, &o);
    if (!field)
        return set_other(s, level, name, value, size);
    err = get_argument(level, value, size, &number);
    if (err < 0)
        return err;
    lock_acquire(&sock->lock);
    err = check_option(s, o, number);
    if (!err)
        *field = o->is_switch ? number != 0 : number;
    lock_release(&sock->lock);
    return err;
}

/* ---- getting ----------------------------------------------------------------------------------
 */

/* A small number may be asked for as a byte: do_ip_getsockopt(). */
static int give_number(int level, void *value, size_t *size, int number)
{
    if (level == IPPROTO_IP && *size > 0 && *size < sizeof(int) && number >= 0 && number <= 255) {
        *(uint8_t *)value = (uint8_t)number;
        *size = 1;
        return 0;
    }
    return socket_option_put_int(value, size, number);
}

/* IP_MTU: of the interface that leads to the other side, once there is one. */
static int give_mtu(const struct inet_socket *s, int level, void *value, size_t *size)
{
    struct net_device device;

    if (!s->remote.port)
        return -ENOTCONN;
    if (net_ns_device(s->sock.net, endpoint_interface(s, &s->remote.addr), &device) < 0)
        return -ENODEV;
    return give_number(level, value, size,
                       level == IPPROTO_IP ? MIN(device.mtu, UINT16_MAX) : device.mtu);
}

static int get_other(struct inet_socket *s, int level, int name, void *value, size_t *size)
{
    int err = groups_getsockopt(s, level, name, value, size);

    if (err != -ENOPROTOOPT)
        return err;
    if (level == IPPROTO_IPV6)
        return name == IPV6_MTU ? give_mtu(s, level, value, size) : -ENOPROTOOPT;
    switch (name) {
    case IP_MTU:
        return give_mtu(s, level, value, size);
    case IP_MULTICAST_IF:
        return socket_option_put(value, size, &s->ip.multicast_from, sizeof(s->ip.multicast_from));
    case OPT_IP_LOCAL_PORT_RANGE:
        return socket_option_put(value, size, &s->ip.port_range, sizeof(s->ip.port_range));
    case IP_OPTIONS:
        *size = 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

int ip_getsockopt(struct socket *sock, int level, int name, void *value, size_t *size)
{
    struct inet_socket *s = inet_of(sock);
    const struct ip_option *o = NULL;
    const int *field;
    int number;

    if (level != IPPROTO_IP && !(level == IPPROTO_IPV6 && sock->domain == AF_INET6))
        return sock->domain == AF_INET ? -EOPNOTSUPP : -ENOPROTOOPT;
    field = field_of(s, level, name, &o);
    if (!field)
        return get_other(s, level, name, value, size);
    number = *field;
    if (number == -1 && name == (level == IPPROTO_IP ? IP_TTL : IPV6_UNICAST_HOPS))
        number = 64;
    if (number == -1 && level == IPPROTO_IPV6 && name == IPV6_MULTICAST_HOPS)
        number = 1;
    return give_number(level, value, size, number);
}
