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
#include "sentry/net/inet/udp.h"
#include "sentry/net/netns.h"

/* Where the headers of libc and of the kernel exclude each other: linux/in.h, linux/in6.h. */
#define OPT_IP_RECVERR_RFC4884   26
#define OPT_IP_LOCAL_PORT_RANGE  51
#define OPT_IP_PROTOCOL          52
#define OPT_IPV6_RECVERR_RFC4884 31
#define OPT_IPV6_FLOWINFO_SEND   33
#define OPT_IPV6_RECVORIGDSTADDR 74
#define OPT_IPV6_RECVFRAGSIZE    77
#define OPT_IPV6_FREEBIND        78
#define OPT_IPV6_MULTICAST_ALL   29

/* IPV6_ADDR_PREFERENCES and its bits: linux/in6.h. */
#define OPT_IPV6_ADDR_PREFERENCES 72
#define PREFER_TMP                0x0001
#define PREFER_PUBLIC             0x0002
#define PREFER_COA                0x0004
#define PREFER_CGA                0x0008
#define PREFER_PUBTMP_DEFAULT     0x0100
#define PREFER_HOME               0x0400
#define PREFER_NONCGA             0x0800

#define V6_MTU_MIN                1280
#define ECN_BITS                  3 /* of IP_TOS and IPV6_TCLASS: TCP's own */

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
    SWITCH_V4(IP_RECVERR, recverr),
    NUMBER_V4(OPT_IP_RECVERR_RFC4884, recverr_rfc4884, 0, 1),
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
    NUMBER_V4(IP_MULTICAST_ALL, multicast_all, 0, 1),
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
    NUMBER_V6(OPT_IPV6_RECVERR_RFC4884, recverr6_rfc4884, 0, 1),
    SWITCH_V6(OPT_IPV6_FLOWINFO, flowinfo),
    SWITCH_V6(IPV6_ROUTER_ALERT_ISOLATE, router_alert_isolate),
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

/* IP_UNICAST_IF, whose index has the network's order, and IPV6_UNICAST_IF, whose has too. */
static int set_unicast_if(struct inet_socket *s, int *field, const void *value, size_t size)
{
    struct net_device device;
    uint32_t index;

    if (size != sizeof(index))
        return -EINVAL;
    memcpy(&index, value, sizeof(index));
    if (index && net_ns_device(s->sock.net, (int)ntohl(index), &device) < 0)
        return -EADDRNOTAVAIL;
    if (index && s->sock.opt.device && s->sock.opt.device != (int)ntohl(index))
        return -EINVAL;
    *field = (int)index;
    return 0;
}

/* IPV6_ADDR_PREFERENCES: ip6_sock_set_addr_preferences(). There is nothing to choose from. */
static int set_preferences(struct inet_socket *s, const void *value, size_t size)
{
    int number, temporary, home, err = socket_option_int(value, size, &number);

    if (err < 0)
        return err;
    temporary = number & (PREFER_TMP | PREFER_PUBLIC | PREFER_PUBTMP_DEFAULT);
    home = number & (PREFER_HOME | PREFER_COA);
    if ((temporary & (temporary - 1)) || (home & (home - 1)) ||
        ((number & PREFER_CGA) && (number & PREFER_NONCGA)))
        return -EINVAL;
    s->ip.addr_preferences = number & (PREFER_TMP | PREFER_PUBLIC | PREFER_COA);
    return 0;
}

static int get_preferences(const struct inet_socket *s)
{
    int kept = s->ip.addr_preferences, told = kept & (PREFER_TMP | PREFER_PUBLIC);

    return (told ? told : PREFER_PUBTMP_DEFAULT) | (kept & PREFER_COA ? PREFER_COA : PREFER_HOME);
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

/* Of IPPROTO_IP: others are 0 when nothing is given. */
static bool needs_value(int name)
{
    return name == IP_TTL || name == IP_FREEBIND || name == IP_TRANSPARENT || name == IP_MINTTL ||
           name == IP_MULTICAST_TTL || name == IP_MULTICAST_LOOP || name == IP_MULTICAST_ALL;
}

/* An int, or for IPPROTO_IP a single byte. */
static int get_argument(int level, int name, const void *value, size_t size, int *ret)
{
    if (size >= sizeof(int)) {
        memcpy(ret, value, sizeof(int));
        return 0;
    }
    if (level == IPPROTO_IPV6
            ? name != IPV6_DONTFRAG && name != IPV6_AUTOFLOWLABEL && name != OPT_IPV6_RECVFRAGSIZE
            : size == 0 && needs_value(name))
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
    if (o->level == IPPROTO_IP && o->name == IP_NODEFRAG && s->sock.type != SOCK_RAW)
        return -ENOPROTOOPT;
    if (s->sock.type == SOCK_STREAM && o->level == IPPROTO_IP &&
        (o->name == IP_MULTICAST_TTL || o->name == IP_RECVFRAGSIZE))
        return -EINVAL;
    return s->sock.type == SOCK_STREAM && o->level == IPPROTO_IPV6 && o->name == IPV6_MULTICAST_HOPS
               ? -ENOPROTOOPT
               : 0;
}

/* IP_TOS chooses among queues, too: rt_tos2priority(). */
static int tos_priority(int tos)
{
    static const int priorities[] = {0, 2, 6, 4};

    return priorities[tos >> 3 & 3];
}

/* What is kept of a number that is allowed. */
static void keep(struct inet_socket *s, const struct ip_option *o, int *field, int value)
{
    bool tos = o->level == IPPROTO_IP && o->name == IP_TOS;
    bool tclass = o->level == IPPROTO_IPV6 && o->name == IPV6_TCLASS;

    if (o->is_switch)
        value = value != 0;
    else if (o->level == IPPROTO_IP && o->name == IP_MULTICAST_TTL && value == -1)
        value = 1;
    else if (tos)
        value &= UINT8_MAX;
    else if (tclass && value == -1)
        value = 0;
    if ((tos || tclass) && s->sock.type == SOCK_STREAM)
        value = (value & ~ECN_BITS) | (*field & ECN_BITS);
    if (tos && value != *field)
        s->sock.opt.priority = tos_priority(value);
    *field = value;
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
    uint32_t range;

    if (err != -ENOPROTOOPT)
        return err;
    if (level == IPPROTO_IPV6) {
        switch (name) {
        case IPV6_ADDRFORM:
            return become_v4(s, value, size);
        case IPV6_MTU:
            err = socket_option_int(value, size, &number);
            return err ? err : number && number < V6_MTU_MIN ? -EINVAL : 0;
        case IPV6_UNICAST_IF:
            return set_unicast_if(s, &s->ip.unicast_if6, value, size);
        case OPT_IPV6_ADDR_PREFERENCES:
            return set_preferences(s, value, size);
        case IPV6_HOPOPTS:
        case IPV6_RTHDRDSTOPTS:
        case IPV6_RTHDR:
        case IPV6_DSTOPTS: /* no header here is extended */
            return size == 0 ? 0 : -EINVAL;
        default:
            return -ENOPROTOOPT;
        }
    }
    switch (name) {
    case IP_MULTICAST_IF:
        return s->sock.type == SOCK_STREAM ? -EINVAL : set_multicast_if(s, value, size);
    case IP_UNICAST_IF:
        return set_unicast_if(s, &s->ip.unicast_if, value, size);
    case OPT_IP_LOCAL_PORT_RANGE:
        if (size != sizeof(range))
            return -EINVAL;
        memcpy(&range, value, sizeof(range));
        if ((range & 0xffff) && (range >> 16) && (range & 0xffff) > range >> 16)
            return -EINVAL;
        s->ip.port_range = range;
        return 0;
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
    if (level == IPPROTO_IP && sock->domain == AF_INET6 && sock->type == SOCK_RAW)
        return -ENOPROTOOPT;
    field = field_of(s, level, name, &o);
    if (!field)
        return set_other(s, level, name, value, size);
    err = get_argument(level, name, value, size, &number);
    if (err < 0)
        return err;
    lock_acquire(&sock->lock);
    err = check_option(s, o, number);
    if (!err)
        keep(s, o, field, number);
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
    if (level == IPPROTO_IPV6) {
        switch (name) {
        case IPV6_MTU:
            return give_mtu(s, level, value, size);
        case IPV6_UNICAST_IF:
            return socket_option_put_int(value, size, s->ip.unicast_if6);
        case OPT_IPV6_ADDR_PREFERENCES:
            return socket_option_put_int(value, size, get_preferences(s));
        case IPV6_ADDRFORM:
            if (s->sock.type == SOCK_RAW)
                return -ENOPROTOOPT;
            return s->remote.port ? socket_option_put_int(value, size, s->sock.domain) : -ENOTCONN;
        case IPV6_HOPOPTS:
        case IPV6_RTHDRDSTOPTS:
        case IPV6_RTHDR:
        case IPV6_DSTOPTS:
            *size = 0;
            return 0;
        default:
            return -ENOPROTOOPT;
        }
    }
    switch (name) {
    case IP_HDRINCL: /* raw sockets have more to say */
    case IP_ROUTER_ALERT:
        return give_number(level, value, size, 0);
    case OPT_IP_PROTOCOL: /* which is the port of those that have one: inet_num */
        return give_number(level, value, size,
                           s->sock.type == SOCK_RAW ? s->sock.protocol : s->local.port);
    case IP_UNICAST_IF:
        return give_number(level, value, size, s->ip.unicast_if);
    case IP_MTU:
        return give_mtu(s, level, value, size);
    case IP_MULTICAST_IF:
        return socket_option_put(value, size, &s->ip.multicast_from, sizeof(s->ip.multicast_from));
    case OPT_IP_LOCAL_PORT_RANGE:
        return give_number(level, value, size, (int)s->ip.port_range);
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
    if (level == IPPROTO_IP && sock->domain == AF_INET6 && sock->type == SOCK_RAW)
        return -ENOPROTOOPT;
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
