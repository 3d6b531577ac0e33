/* What the sockets of TCP and UDP share: bind(2), names, and which socket(2) makes which. */
#include "sentry/net/inet/inet.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/mm/usercopy.h"
#include "sentry/net/inet/internal.h"
#include "sentry/net/inet/raw.h"
#include "sentry/net/netns.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/landlock/landlock.h"

void inet_socket_init(struct inet_socket *s, struct net_ns *net,
                      const struct socket_operations *ops, int domain, int type, int protocol)
{
    socket_init(&s->sock, net, ops, domain, type, protocol);
    list_init(&s->port_node);
    ip_options_init(&s->ip);
    s->ip.multicast_all = domain == AF_INET; /* IPv6 has a switch of its own */
    s->bound = s->local.addr = s->remote.addr = addr_any(s);
}

void inet_socket_fini(struct inet_socket *s)
{
    groups_leave_all(s); /* has been done unless the socket never became a file */
}

/* Addresses that bind(2) takes: the loopback's, any, and for datagrams those of groups. */
int inet_check_bindable(const struct inet_socket *s, const struct endpoint *e)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;

    if (addr_is_v4(&e->addr) && s->sock.domain == AF_INET6 && s->ip.v6only)
        return -EINVAL;
    if (addr_is_any(&e->addr) ||
        (addr_is_loopback(&e->addr) && (addr_is_v4(&e->addr) || net_ns_lo_is_up(s->sock.net))) ||
        s->ip.freebind || s->ip.freebind6 || s->ip.transparent || s->ip.transparent6)
        return 0;
    if (addr_is_multicast(&e->addr) || addr_is_broadcast(&e->addr)) /* __inet6_bind() */
        return !addr_is_v4(&e->addr) && s->sock.type == SOCK_STREAM ? -EINVAL : 0;
    if (outward && (outward->owns(&e->addr) || outward->is_broadcast(&e->addr)))
        return 0;
    if (IN6_IS_ADDR_LINKLOCAL(&e->addr))
        return -EINVAL; /* lo has none, and no other device could be named */
    return -EADDRNOTAVAIL;
}

int inet_bind(struct socket *sock, const struct socket_address *addr)
{
    struct inet_socket *s = inet_of(sock);
    struct endpoint e;
    int err = endpoint_parse(s, addr, true, &e);

    if (!err && sock->type == SOCK_STREAM)
        err = landlock_check_port(e.port, LANDLOCK_BIND_TCP);
    if (!err)
        err = inet_check_bindable(s, &e);
    if (err < 0)
        return err;
    lock_acquire(&sock->lock);
    if (s->local.port || s->remote.port)
        err = -EINVAL;
    else
        s->bound = s->local.addr = e.addr;
    lock_release(&sock->lock);
    if (!err)
        err = port_take(s, e.port);
    lock_acquire(&sock->lock);
    if (!err) {
        s->bound_port = e.port != 0;
        s->bound_addr = !addr_is_any(&e.addr);
    } else if (!s->local.port) {
        s->bound = s->local.addr = addr_any(s);
    }
    lock_release(&sock->lock);
    return err;
}

int inet_autobind(struct inet_socket *s)
{
    return __atomic_load_n(&s->local.port, __ATOMIC_ACQUIRE) ? 0 : port_take(s, 0);
}

int inet_getname(struct socket *sock, bool peer, struct socket_address *ret)
{
    struct inet_socket *s = inet_of(sock);
    int err = 0;

    lock_acquire(&sock->lock);
    if (peer && !s->remote.port)
        err = -ENOTCONN;
    else
        endpoint_put(s, peer ? &s->remote : &s->local, ret);
    lock_release(&sock->lock);
    return err;
}

long inet_answer(struct mm *mm, uint64_t arg, int answer)
{
    return copy_struct_to_user(mm, arg, &answer);
}

/* ---- the families -----------------------------------------------------------------------------
 */

static int inet_create(struct net_ns *net, int domain, int type, int protocol, struct socket **ret)
{
    if (protocol < 0 || protocol >= IPPROTO_MAX)
        return -EINVAL;
    switch (type) {
    case SOCK_STREAM:
        if (protocol && protocol != IPPROTO_TCP)
            return -EPROTONOSUPPORT;
        return tcp_create(net, domain, IPPROTO_TCP, ret);
    case SOCK_DGRAM:
        /* ping_group_range lets nobody have the sockets of ICMP. */
        if (protocol == (domain == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6))
            return -EACCES;
        if (protocol && protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE)
            return -EPROTONOSUPPORT;
        return udp_create(net, domain, protocol ? protocol : IPPROTO_UDP, ret);
    case SOCK_RAW:
        if (protocol == 0)
            return -EPROTONOSUPPORT;
        return raw_create(net, domain, protocol, ret);
    default:
        return -ESOCKTNOSUPPORT;
    }
}

static int inet4_create(struct net_ns *net, int type, int protocol, struct socket **ret)
{
    return inet_create(net, AF_INET, type, protocol, ret);
}

static int inet6_create(struct net_ns *net, int type, int protocol, struct socket **ret)
{
    return inet_create(net, AF_INET6, type, protocol, ret);
}

static void report4(struct net_ns *net, int protocol, inet_report_fn show, void *arg)
{
    inet_for_each(net, AF_INET, protocol, show, arg);
}

static void report6(struct net_ns *net, int protocol, inet_report_fn show, void *arg)
{
    inet_for_each(net, AF_INET6, protocol, show, arg);
}

/* What all of them tell. sock.lock is held. */
void inet_report_locked(struct inet_socket *s, struct inet_report *ret)
{
    *ret = (struct inet_report){
        .socket = &s->sock,
        .local = s->local.addr,
        .remote = s->remote.addr,
        .local_port = s->local.port,
        .remote_port = s->remote.port,
        .uid = own_attr_uid(&s->sock.attr),
        .ino = s->sock.ino,
        .family = s->sock.domain,
        .protocol = s->sock.protocol,
        .mark = s->sock.opt.mark,
        .tos = (uint8_t)s->ip.tos,
        .tclass = (uint8_t)MAX(s->ip.tclass, 0),
        .v6only = s->ip.v6only,
        .bound_port = s->bound_port,
        .sndbuf = s->sock.opt.sndbuf,
        .rcvbuf = s->sock.opt.rcvbuf,
    };
}

const struct socket_family inet_family = {
    .family = AF_INET,
    .create = inet4_create,
    .ns_init = inet_ns_create,
    .ns_fini = inet_ns_destroy,
    .report = report4,
};

const struct socket_family inet6_family = {
    .family = AF_INET6,
    .create = inet6_create,
    .report = report6,
};
