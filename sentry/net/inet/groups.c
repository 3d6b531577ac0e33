/*
 * Multicast groups: IP_ADD_MEMBERSHIP and its kin of ip(7), MCAST_JOIN_GROUP and its kin of RFC
 * 3678, and the filters of sources; net/ipv4/igmp.c, net/ipv6/mcast.c. A group belongs to an
 * interface: the same on another is another one. joined.c has what all sockets are in.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/internal.h"

#define GROUPS_MAX_V6 256

/* ---- a socket's list; sock.lock held ----------------------------------------------------------
 */

/* `interface` 0: the first, on whichever. */
static struct inet_group *find_locked(struct inet_socket *s, const struct in6_addr *group,
                                      int interface)
{
    for (uint32_t i = 0; i < s->group_count; i++)
        if (addr_equal(&s->groups[i].addr, group) &&
            (!interface || s->groups[i].interface == interface))
            return &s->groups[i];
    return NULL;
}

static int find_source(const struct inet_group *g, const struct in6_addr *source)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (addr_equal(&g->sources[i], source))
            return (int)i;
    return -1;
}

static int join_locked(struct inet_socket *s, const struct in6_addr *group, int interface, int mode)
{
    struct inet_group *more;
    int err;

    if (find_locked(s, group, interface))
        return -EADDRINUSE;
    if (s->group_count >= (addr_is_v4(group) ? INET_GROUPS_MAX : GROUPS_MAX_V6))
        return -ENOBUFS;
    more = realloc(s->groups, (s->group_count + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    s->groups = more;
    err = joined_add(inet_ns_of(s->sock.net), group, interface);
    if (!err)
        s->groups[s->group_count++] =
            (struct inet_group){.addr = *group, .interface = interface, .mode = mode};
    return err;
}

static int leave_locked(struct inet_socket *s, const struct in6_addr *group, int interface)
{
    struct inet_group *g = find_locked(s, group, interface);

    if (!g)
        return -EADDRNOTAVAIL;
    joined_drop(inet_ns_of(s->sock.net), group, g->interface);
    free(g->sources);
    *g = s->groups[--s->group_count];
    return 0;
}

enum group_request {
    GROUP_JOIN,
    GROUP_LEAVE,
    SOURCE_JOIN,
    SOURCE_LEAVE,
    SOURCE_BLOCK,
    SOURCE_UNBLOCK
};

/* A request, whichever structure it came in. */
struct group_change {
    enum group_request request;
    struct in6_addr group, source;
    int interface;   /* 0: not named */
    uint32_t device; /* of IPv4, in host order: the interface's address; 0: not named */
};

/* As ip_mc_source(): one more in the list of sources, or one less. */
static int source_locked(struct inet_socket *s, const struct group_change *c, int mode, bool add)
{
    const struct in6_addr *source = &c->source;
    struct inet_group *g = find_locked(s, &c->group, c->interface);
    uint32_t max = addr_is_v4(&c->group) ? GROUP_SOURCES_MAX_V4 : GROUP_SOURCES_MAX_V6;
    struct in6_addr *more;
    int at;

    if (!g || (g->sources && g->mode != mode))
        return -EINVAL;
    g->mode = mode;
    at = find_source(g, source);
    if (!add) {
        if (at < 0)
            return -EADDRNOTAVAIL;
        if (g->count == 1 && mode == MCAST_INCLUDE)
            return leave_locked(s, &c->group, c->interface);
        g->sources[at] = g->sources[--g->count];
        return 0;
    }
    if (g->count >= max)
        return -ENOBUFS;
    if (at >= 0)
        return -EADDRNOTAVAIL;
    more = realloc(g->sources, (g->count + 1) * sizeof(*more));
    if (!more)
        return -ENOBUFS;
    g->sources = more;
    g->sources[g->count++] = *source;
    return 0;
}

/* As ip_mc_msfilter(): another list; `sources` is taken over. */
static int filter_locked(struct inet_socket *s, const struct in6_addr *group, int interface,
                         int mode, struct in6_addr **sources, uint32_t count)
{
    struct inet_group *g;

    if (mode == MCAST_INCLUDE && count == 0)
        return leave_locked(s, group, interface);
    g = find_locked(s, group, interface);
    if (!g)
        return -EINVAL;
    free(g->sources);
    g->sources = *sources;
    *sources = NULL;
    g->count = count;
    g->mode = mode;
    return 0;
}

int groups_set_filter(struct inet_socket *s, const struct in6_addr *group, int interface, int mode,
                      struct in6_addr *sources, uint32_t count)
{
    int err;

    lock_acquire(&s->sock.lock);
    err = filter_locked(s, group, interface, mode, &sources, count);
    lock_release(&s->sock.lock);
    joined_tell(s->sock.net, group);
    free(sources);
    return err;
}

int groups_get_filter(struct inet_socket *s, const struct in6_addr *group, int interface,
                      int *ret_mode, struct in6_addr ret_sources[GROUP_SOURCES_MAX],
                      uint32_t *ret_count)
{
    struct inet_group *g;

    lock_acquire(&s->sock.lock);
    g = find_locked(s, group, interface);
    if (g) {
        *ret_mode = g->mode;
        *ret_count = g->count;
        for (uint32_t i = 0; i < g->count; i++)
            ret_sources[i] = g->sources[i];
    }
    lock_release(&s->sock.lock);
    return g ? 0 : -EADDRNOTAVAIL;
}

void groups_leave_all(struct inet_socket *s)
{
    for (uint32_t i = 0; i < s->group_count; i++) {
        joined_drop(inet_ns_of(s->sock.net), &s->groups[i].addr, s->groups[i].interface);
        joined_tell(s->sock.net, &s->groups[i].addr);
        free(s->groups[i].sources);
    }
    free(s->groups);
    s->groups = NULL;
    s->group_count = 0;
}

/* As ip_mc_sf_allow(). */
bool groups_wants(struct inet_socket *s, const struct in6_addr *group, const struct in6_addr *from,
                  int interface)
{
    struct inet_group *g;
    bool wants;

    lock_acquire(&s->sock.lock);
    g = find_locked(s, group, interface);
    if (g)
        wants = (find_source(g, from) >= 0) == (g->mode == MCAST_INCLUDE);
    else
        wants = addr_is_v4(group) ? s->ip.multicast_all : s->ip.multicast_all6;
    lock_release(&s->sock.lock);
    return wants;
}

/* ---- what programs ask ------------------------------------------------------------------------
 */

static int change_locked(struct inet_socket *s, const struct group_change *c)
{
    int err;

    switch (c->request) {
    case GROUP_JOIN:
        return join_locked(s, &c->group, c->interface, MCAST_EXCLUDE);
    case GROUP_LEAVE:
        return leave_locked(s, &c->group, c->interface);
    case SOURCE_JOIN:
        err = join_locked(s, &c->group, c->interface, MCAST_INCLUDE);
        if (err < 0 && err != -EADDRINUSE)
            return err;
        return source_locked(s, c, MCAST_INCLUDE, true);
    case SOURCE_LEAVE:
        return source_locked(s, c, MCAST_INCLUDE, false);
    default:
        return source_locked(s, c, MCAST_EXCLUDE, c->request == SOURCE_BLOCK);
    }
}

static int change(struct inet_socket *s, struct group_change *c)
{
    int err = 0;

    if (!addr_is_multicast(&c->group))
        return c->request == GROUP_LEAVE ? -EADDRNOTAVAIL : -EINVAL;
    /* IPV6_LEAVE_GROUP without a number: on whichever it is. */
    if (addr_is_v4(&c->group) || c->interface || c->request != GROUP_LEAVE)
        err = group_interface(s, &c->group, c->interface, c->device, &c->interface);
    if (err < 0)
        return err;
    lock_acquire(&s->sock.lock);
    err = change_locked(s, c);
    lock_release(&s->sock.lock);
    joined_tell(s->sock.net, &c->group);
    return err;
}

/* IP_ADD_MEMBERSHIP: struct ip_mreq, or struct ip_mreqn. */
static int change_v4(struct inet_socket *s, const void *value, size_t size,
                     enum group_request request)
{
    struct group_change c = {.request = request};
    struct ip_mreqn req = {0};

    if (s->sock.type == SOCK_STREAM)
        return -EPROTO;
    if (size < sizeof(struct ip_mreq))
        return -EINVAL;
    memcpy(&req, value, MIN(size, sizeof(req)));
    c.group = addr_v4(ntohl(req.imr_multiaddr.s_addr));
    c.device = ntohl(req.imr_address.s_addr);
    c.interface = req.imr_ifindex;
    return change(s, &c);
}

static int change_source_v4(struct inet_socket *s, const void *value, size_t size,
                            enum group_request request)
{
    struct group_change c = {.request = request};
    struct ip_mreq_source req;

    if (size != sizeof(req))
        return -EINVAL;
    memcpy(&req, value, sizeof(req));
    c.group = addr_v4(ntohl(req.imr_multiaddr.s_addr));
    c.source = addr_v4(ntohl(req.imr_sourceaddr.s_addr));
    c.device = ntohl(req.imr_interface.s_addr);
    return change(s, &c);
}

static int change_v6(struct inet_socket *s, const void *value, size_t size,
                     enum group_request request)
{
    struct group_change c = {.request = request};
    struct ipv6_mreq req;

    if (size < sizeof(req))
        return -EINVAL;
    if (s->sock.type == SOCK_STREAM)
        return -EPROTO;
    memcpy(&req, value, sizeof(req));
    c.group = req.ipv6mr_multiaddr;
    c.interface = (int)req.ipv6mr_interface;
    return addr_is_v4(&c.group) ? -EINVAL : change(s, &c);
}

bool group_read_address(int level, const struct sockaddr_storage *ss, struct in6_addr *ret)
{
    const void *any = ss;

    if (level == IPPROTO_IP) {
        *ret = addr_v4(ntohl(((const struct sockaddr_in *)any)->sin_addr.s_addr));
        return ss->ss_family == AF_INET;
    }
    *ret = ((const struct sockaddr_in6 *)any)->sin6_addr;
    return ss->ss_family == AF_INET6 && !addr_is_v4(ret);
}

/* MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP: any type of socket may. */
static int change_any(struct inet_socket *s, int level, const void *value, size_t size,
                      enum group_request request)
{
    struct group_change c = {.request = request};
    struct group_req req;

    if (size < sizeof(req))
        return -EINVAL;
    memcpy(&req, value, sizeof(req));
    c.interface = (int)req.gr_interface;
    if (!group_read_address(level, &req.gr_group, &c.group))
        return level == IPPROTO_IP ? -EINVAL : -EADDRNOTAVAIL;
    return change(s, &c);
}

static int change_source_any(struct inet_socket *s, int level, const void *value, size_t size,
                             enum group_request request)
{
    struct group_change c = {.request = request};
    struct group_source_req req;

    if (size < sizeof(req) || (level == IPPROTO_IP && size != sizeof(req)))
        return -EINVAL;
    memcpy(&req, value, sizeof(req));
    c.interface = (int)req.gsr_interface;
    if (!group_read_address(level, &req.gsr_group, &c.group) ||
        !group_read_address(level, &req.gsr_source, &c.source))
        return -EADDRNOTAVAIL;
    return change(s, &c);
}

static int set_v4(struct inet_socket *s, int name, const void *value, size_t size)
{
    switch (name) {
    case IP_ADD_MEMBERSHIP:
        return change_v4(s, value, size, GROUP_JOIN);
    case IP_DROP_MEMBERSHIP:
        return change_v4(s, value, size, GROUP_LEAVE);
    case IP_ADD_SOURCE_MEMBERSHIP:
        return change_source_v4(s, value, size, SOURCE_JOIN);
    case IP_DROP_SOURCE_MEMBERSHIP:
        return change_source_v4(s, value, size, SOURCE_LEAVE);
    case IP_BLOCK_SOURCE:
        return change_source_v4(s, value, size, SOURCE_BLOCK);
    case IP_UNBLOCK_SOURCE:
        return change_source_v4(s, value, size, SOURCE_UNBLOCK);
    default:
        return -ENOPROTOOPT;
    }
}

int groups_setsockopt(struct inet_socket *s, int level, int name, const void *value, size_t size)
{
    switch (name) {
    case MCAST_JOIN_GROUP:
        return change_any(s, level, value, size, GROUP_JOIN);
    case MCAST_LEAVE_GROUP:
        return change_any(s, level, value, size, GROUP_LEAVE);
    case MCAST_JOIN_SOURCE_GROUP:
        return change_source_any(s, level, value, size, SOURCE_JOIN);
    case MCAST_LEAVE_SOURCE_GROUP:
        return change_source_any(s, level, value, size, SOURCE_LEAVE);
    case MCAST_BLOCK_SOURCE:
        return change_source_any(s, level, value, size, SOURCE_BLOCK);
    case MCAST_UNBLOCK_SOURCE:
        return change_source_any(s, level, value, size, SOURCE_UNBLOCK);
    default:
        break;
    }
    if (name == MCAST_MSFILTER || (level == IPPROTO_IP && name == IP_MSFILTER))
        return group_filter_set(s, level, name, value, size);
    if (level == IPPROTO_IP)
        return set_v4(s, name, value, size);
    if (name == IPV6_JOIN_GROUP || name == IPV6_LEAVE_GROUP)
        return change_v6(s, value, size, name == IPV6_JOIN_GROUP ? GROUP_JOIN : GROUP_LEAVE);
    return -ENOPROTOOPT;
}
