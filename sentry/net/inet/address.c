#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/net/inet/internal.h"
#include "sentry/net/netns.h"

static const struct in6_addr any_v6 = IN6ADDR_ANY_INIT, loopback_v6 = IN6ADDR_LOOPBACK_INIT;

#define SIN6_SIZE_OLD 24 /* RFC 2133: without sin6_scope_id */

struct in6_addr addr_v4(uint32_t host_order)
{
    struct in6_addr a = {0};

    a.s6_addr32[2] = htonl(0xffff);
    a.s6_addr32[3] = htonl(host_order);
    return a;
}

uint32_t addr_get_v4(const struct in6_addr *a)
{
    return ntohl(a->s6_addr32[3]);
}

bool addr_is_any(const struct in6_addr *a)
{
    return addr_is_v4(a) ? addr_get_v4(a) == INADDR_ANY : IN6_IS_ADDR_UNSPECIFIED(a);
}

bool addr_is_loopback(const struct in6_addr *a)
{
    return addr_is_v4(a) ? addr_get_v4(a) >> 24 == IN_LOOPBACKNET : IN6_IS_ADDR_LOOPBACK(a);
}

bool addr_is_multicast(const struct in6_addr *a)
{
    return addr_is_v4(a) ? IN_MULTICAST(addr_get_v4(a)) : IN6_IS_ADDR_MULTICAST(a);
}

/* 127.255.255.255 is lo's own. */
bool addr_is_broadcast(const struct in6_addr *a)
{
    return addr_is_v4(a) && (addr_get_v4(a) == INADDR_BROADCAST || addr_get_v4(a) == 0x7fffffff);
}

bool addr_equal(const struct in6_addr *a, const struct in6_addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

struct in6_addr addr_any(const struct inet_socket *s)
{
    return s->sock.domain == AF_INET ? addr_v4(INADDR_ANY) : any_v6;
}

static int parse_v4(const struct socket_address *addr, struct endpoint *ret)
{
    if (addr->size < sizeof(addr->in))
        return -EINVAL;
    ret->addr = addr_v4(ntohl(addr->in.sin_addr.s_addr));
    ret->port = ntohs(addr->in.sin_port);
    return 0;
}

int endpoint_parse(const struct inet_socket *s, const struct socket_address *addr, bool for_bind,
                   struct endpoint *ret)
{
    if (s->sock.domain == AF_INET) {
        if (addr->size < sizeof(addr->in))
            return -EINVAL;
        /* Old programs bind to the any address without telling the family. */
        if (addr->family != AF_INET &&
            !(for_bind && addr->family == AF_UNSPEC && addr->in.sin_addr.s_addr == INADDR_ANY))
            return -EAFNOSUPPORT;
        return parse_v4(addr, ret);
    }
    if (addr->size >= sizeof(addr->family) && addr->family == AF_INET && !for_bind &&
        s->sock.type == SOCK_DGRAM && !s->ip.v6only)
        return parse_v4(addr, ret);
    if (addr->size < SIN6_SIZE_OLD)
        return -EINVAL;
    if (addr->family != AF_INET6)
        return -EAFNOSUPPORT;
    ret->addr = addr->in6.sin6_addr;
    ret->port = ntohs(addr->in6.sin6_port);
    return 0;
}

void endpoint_put(const struct inet_socket *s, const struct endpoint *e, struct socket_address *ret)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;

    memset(&ret->storage, 0, sizeof(ret->storage));
    if (s->sock.domain == AF_INET) {
        ret->size = sizeof(ret->in);
        ret->in.sin_family = AF_INET;
        ret->in.sin_port = htons(e->port);
        ret->in.sin_addr.s_addr = htonl(addr_get_v4(&e->addr));
    } else {
        ret->size = sizeof(ret->in6);
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(e->port);
        ret->in6.sin6_addr = e->addr;
        if (outward && IN6_IS_ADDR_LINKLOCAL(&e->addr))
            ret->in6.sin6_scope_id = (uint32_t)outward->index;
    }
}

/* Does the socket send to there over lo though there is another way? */
static bool stays_on_lo(const struct inet_socket *s, const struct in6_addr *dst)
{
    if (s->sock.opt.device)
        return s->sock.opt.device == LO_INDEX;
    return addr_is_multicast(dst) &&
           (addr_is_v4(dst) ? s->ip.multicast_if : s->ip.multicast_if6) == LO_INDEX;
}

const struct inet_outward *endpoint_outward(const struct inet_socket *s, const struct in6_addr *dst)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;

    return !outward || stays_on_lo(s, dst) || addr_is_any(dst) || addr_is_loopback(dst) ||
                   outward->owns(dst)
               ? NULL
               : outward;
}

bool inet_owns(const struct inet_socket *s, const struct in6_addr *addr)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;

    return addr_is_loopback(addr) || (outward && outward->owns(addr));
}

int endpoint_interface(const struct inet_socket *s, const struct in6_addr *other)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;

    return outward && !addr_is_any(other) && !addr_is_loopback(other) && !outward->owns(other)
               ? outward->index
               : LO_INDEX;
}

/* From which address to one that is neither any nor the loopback's. */
static int route_outward(const struct inet_socket *s, const struct inet_outward *outward,
                         const struct in6_addr *dst, struct in6_addr *ret_src)
{
    bool broadcast = addr_is_broadcast(dst) || outward->is_broadcast(dst);
    struct in6_addr src;
    int err = 0;

    if (outward->owns(dst))
        src = *dst;
    else
        err = outward->route(dst, &src);
    if (err < 0)
        return err;
    if (broadcast && !s->sock.opt.broadcast)
        return s->sock.type == SOCK_DGRAM ? -EACCES : -ENETUNREACH;
    if (!addr_is_any(&s->bound) && !addr_is_multicast(&s->bound)) {
        if (addr_is_v4(&s->bound) != addr_is_v4(dst))
            return addr_is_v4(dst) ? -ENETUNREACH : -EINVAL;
        if (addr_is_loopback(&s->bound) && !outward->owns(dst))
            return addr_is_multicast(dst) ? 0 : -EINVAL;
        src = s->bound;
    }
    *ret_src = src;
    return 0;
}

int endpoint_route(const struct inet_socket *s, struct endpoint *dst, struct in6_addr *ret_src)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;
    bool v4 = addr_is_v4(&dst->addr) || (s->sock.domain == AF_INET6 && addr_is_any(&dst->addr) &&
                                         addr_is_v4(&s->bound) && !addr_is_any(&s->bound));

    if (v4 && s->sock.domain == AF_INET6 && s->ip.v6only)
        return -ENETUNREACH;
    if (addr_is_any(&dst->addr))
        dst->addr = v4 ? addr_v4(INADDR_LOOPBACK) : loopback_v6;
    /* Linux sends by a device what is for ourselves, and IPv4 by lo for others: nobody takes it. */
    if (s->sock.opt.device && !addr_is_multicast(&dst->addr) &&
        s->sock.opt.device != endpoint_interface(s, &dst->addr))
        return -ENETUNREACH;
    if (outward && !addr_is_loopback(&dst->addr) && !stays_on_lo(s, &dst->addr))
        return route_outward(s, outward, &dst->addr, ret_src);
    if (!net_ns_lo_is_up(s->sock.net))
        return -ENETUNREACH;
    /* 127.255.255.255 is one of the loopback's, and its broadcast address. */
    if ((!addr_is_loopback(&dst->addr) || addr_is_broadcast(&dst->addr)) &&
        !addr_is_multicast(&dst->addr))
        return addr_is_broadcast(&dst->addr) && s->sock.type == SOCK_DGRAM ? -EACCES : -ENETUNREACH;
    if (!addr_is_any(&s->bound)) {
        if (addr_is_v4(&s->bound) != v4)
            return v4 ? -ENETUNREACH : -EINVAL;
        *ret_src = s->bound;
    } else {
        *ret_src = v4 ? addr_v4(INADDR_LOOPBACK) : loopback_v6;
    }
    return 0;
}
