/*
 * What a datagram carries beside its bytes: the socket's own marks, or what control messages of
 * sendmsg(2) say instead: ip(7), ipv6(7), udp(7); sock_cmsg_send(), ip_cmsg_send(),
 * ip6_datagram_send_ctl(), udp_cmsg_send().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/udp.h>
#include <string.h>

#include "sentry/net/inet/udp.h"
#include "sentry/net/netns.h"

#define OPTION_END     0 /* of IP's header: no more options */
#define OPTION_NOTHING 1
#define OPTIONS_MAX    40
#define DEFAULT_TTL    64

/* Which of our own addresses it is sent from, if any is named, and by which interface. */
static int take_source(const struct inet_socket *s, const struct in6_addr *from, int interface,
                       struct udp_message *m)
{
    struct net_device device;

    if (interface && net_ns_device(s->sock.net, interface, &device) < 0)
        return -ENODEV;
    if (addr_is_any(from))
        return 0;
    if (!inet_owns(s, from) && !(addr_is_v4(from) ? s->ip.freebind || s->ip.transparent
                                                  : s->ip.freebind6 || s->ip.transparent6))
        return addr_is_v4(from) && !addr_is_multicast(from) && !addr_is_broadcast(from)
                   ? -ENETUNREACH
                   : -EINVAL;
    m->from.addr = *from;
    return 0;
}

/* IP_RETOPTS: no header here has options, so there may be none that say anything. */
static int take_options(const uint8_t *data, size_t size)
{
    if (size > OPTIONS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < size && data[i] != OPTION_END; i++)
        if (data[i] != OPTION_NOTHING)
            return -EINVAL;
    return 0;
}

static int take_v4(const struct inet_socket *s, int type, const void *data, size_t size, int number,
                   struct udp_message *m)
{
    struct in_pktinfo info;
    struct in6_addr from;

    switch (type) {
    case IP_RETOPTS:
        return take_options(data, size);
    case IP_TTL:
        m->ttl = (uint8_t)number;
        return size != sizeof(int) || number < 1 || number > 255 ? -EINVAL : 0;
    case IP_TOS:
        if (size != sizeof(int) && size != 1)
            return -EINVAL;
        m->tos = (uint8_t)number;
        return number < 0 || number > 255 ? -EINVAL : 0;
    case IP_PKTINFO:
        if (size != sizeof(info))
            return -EINVAL;
        memcpy(&info, data, sizeof(info));
        from = addr_v4(ntohl(info.ipi_spec_dst.s_addr));
        return take_source(s, &from, info.ipi_ifindex, m);
    case OPT_IP_PROTOCOL: /* of raw sockets with a header of their own, which names it already */
        return size != sizeof(int) || number < 1 || number > 255 ? -EINVAL : 0;
    default:
        return -EINVAL;
    }
}

static int take_v6(const struct inet_socket *s, int type, const void *data, size_t size, int number,
                   struct udp_message *m)
{
    struct in6_pktinfo info;

    switch (type) {
    case IPV6_HOPLIMIT:
    case IPV6_2292HOPLIMIT:
        if (size != sizeof(int) || number < -1 || number > 255)
            return -EINVAL;
        if (number >= 0)
            m->ttl = (uint8_t)number;
        return 0;
    case IPV6_TCLASS:
        if (size != sizeof(int) || number < -1 || number > 255)
            return -EINVAL;
        m->tos = (uint8_t)number; /* of -1, too: ip6_setup_cork() */
        return 0;
    case IPV6_DONTFRAG:
        return size != sizeof(int) || number < 0 || number > 1 ? -EINVAL : 0;
    case OPT_IPV6_FLOWINFO: /* nobody looks at a label here */
        return size < sizeof(int) ? -EINVAL : 0;
    case IPV6_PKTINFO:
    case IPV6_2292PKTINFO:
        if (size < sizeof(info))
            return -EINVAL;
        memcpy(&info, data, sizeof(info));
        return take_source(s, &info.ipi6_addr, (int)info.ipi6_ifindex, m);
    default:
        return -EINVAL;
    }
}

/* UDP_SEGMENT: struct udp_message's `segment`. */
static int take_udp(int type, const void *data, size_t size, struct udp_message *m)
{
    if (type != OPT_UDP_SEGMENT || size != sizeof(m->segment))
        return -EINVAL;
    memcpy(&m->segment, data, sizeof(m->segment));
    return 0;
}

/* One control message. */
static int take_control(const struct inet_socket *s, const struct cmsghdr *c, const uint8_t *data,
                        size_t size, struct udp_message *m)
{
    int number = 0;

    if (size >= sizeof(int))
        memcpy(&number, data, sizeof(int));
    else if (size == 1)
        number = *data;
    switch (c->cmsg_level) {
    case SOL_SOCKET:
        return socket_take_marks(&s->sock, c->cmsg_type, data, size, &m->marks);
    case IPPROTO_IP:
        return take_v4(s, c->cmsg_type, data, size, number, m);
    case IPPROTO_IPV6:
        return take_v6(s, c->cmsg_type, data, size, number, m);
    case IPPROTO_UDP:
        return s->sock.type == SOCK_DGRAM ? take_udp(c->cmsg_type, data, size, m) : 0;
    default:
        return 0;
    }
}

int udp_mark_message(const struct inet_socket *s, const struct socket_message *msg,
                     const struct endpoint *to, struct udp_message *m)
{
    const uint8_t *data;
    struct cmsghdr c;
    size_t at = 0;
    int more;

    m->tos = (uint8_t)(addr_is_v4(&to->addr) ? s->ip.tos : MAX(s->ip.tclass, 0));
    m->ttl = (uint8_t)(addr_is_v4(&to->addr) ? s->ip.ttl : s->ip.unicast_hops);
    if (m->ttl == UINT8_MAX)
        m->ttl = DEFAULT_TTL;
    m->marks = (struct socket_marks){.mark = s->sock.opt.mark, .priority = s->sock.opt.priority};
    while ((more = socket_next_control(msg, &at, &c, &data)) > 0) {
        int err = take_control(s, &c, data, c.cmsg_len - CMSG_LEN(0), m);

        if (err < 0)
            return err;
    }
    return more;
}
