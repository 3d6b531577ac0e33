#include "sentry/net/netlink/netlink.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/netlink/internal.h"
#include "sentry/net/netns.h"

#define PORT_BUCKETS 64
#define PORT_CHOSEN  0xfffff000u /* downwards from here, where a process's own number is taken */

/* The ports of a namespace. */
struct netlink_table {
    struct lock lock;
    struct list sockets __guarded_by(lock); /* those that have a port */
    uint32_t next_port __guarded_by(lock);
};

static const struct socket_operations netlink_operations;

static int table_create(struct net_ns *net, void **ret)
{
    struct netlink_table *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    lock_init(&t->lock);
    list_init(&t->sockets);
    t->next_port = PORT_CHOSEN;
    *ret = t;
    return 0;
}

static void table_destroy(void *data)
{
    lock_destroy(&((struct netlink_table *)data)->lock);
    free(data);
}

static struct netlink_table *table_of(const struct socket *s)
{
    return net_ns_family(s->net, AF_NETLINK);
}

bool netlink_is(const struct socket *s)
{
    return s->ops == &netlink_operations;
}

static int netlink_create(struct net_ns *net, int type, int protocol, struct socket **ret)
{
    struct netlink_socket *n;

    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    if (protocol != NETLINK_ROUTE && protocol != NETLINK_USERSOCK && protocol != NETLINK_SOCK_DIAG)
        return -EPROTONOSUPPORT;
    n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    socket_init(&n->sock, net, &netlink_operations, AF_NETLINK, type, protocol);
    list_init(&n->port_node);
    list_init(&n->messages);
    lock_init(&n->read_lock);
    *ret = &n->sock;
    return 0;
}

/* ---- ports ------------------------------------------------------------------------------------
 */

static struct netlink_socket *find_port_locked(struct netlink_table *t, int protocol, uint32_t port)
{
    struct netlink_socket *n;

    list_for_each (n, &t->sockets, port_node) {
        if (n->sock.protocol == protocol && n->port == port)
            return n;
    }
    return NULL;
}

struct netlink_socket *netlink_find_port(const struct netlink_socket *n, uint32_t port)
{
    struct netlink_table *t = table_of(&n->sock);
    struct netlink_socket *found;

    lock_acquire(&t->lock);
    found = find_port_locked(t, n->sock.protocol, port);
    if (found)
        socket_ref(&found->sock);
    lock_release(&t->lock);
    return found;
}

/* `port` 0: the process's number, or whatever is free. */
int netlink_take_port(struct netlink_socket *n, uint32_t port)
{
    struct netlink_table *t = table_of(&n->sock);
    struct net_caller caller;
    int err = 0;

    net_caller(&caller);
    lock_acquire(&t->lock);
    if (n->bound) {
        err = port && port != n->port ? -EINVAL : 0;
        lock_release(&t->lock);
        return err;
    }
    if (port && find_port_locked(t, n->sock.protocol, port))
        err = -EADDRINUSE;
    if (!port)
        port = (uint32_t)caller.pid;
    while (!err && (port == 0 || find_port_locked(t, n->sock.protocol, port)))
        port = t->next_port--;
    if (!err) {
        n->port = port;
        n->bound = true;
        list_add(&t->sockets, &n->port_node);
    }
    lock_release(&t->lock);
    return err;
}

int netlink_read_address(const struct socket_address *addr, struct sockaddr_nl *ret)
{
    if (addr->size < sizeof(*ret) || addr->family != AF_NETLINK)
        return -EINVAL;
    memcpy(ret, addr->bytes, sizeof(*ret));
    return 0;
}

static int netlink_bind(struct socket *s, const struct socket_address *addr)
{
    struct netlink_socket *n = netlink_of(s);
    struct sockaddr_nl nl;
    int err = netlink_read_address(addr, &nl);

    if (!err && nl.nl_groups && s->protocol != NETLINK_ROUTE && !net_capable(s->net, CAP_NET_ADMIN))
        err = -EPERM;
    if (!err)
        err = netlink_take_port(n, nl.nl_pid);
    if (!err)
        n->groups = nl.nl_groups;
    return err;
}

static int netlink_connect(struct socket *s, const struct socket_address *addr, bool first,
                           struct socket **ret_wait)
{
    struct netlink_socket *n = netlink_of(s);
    struct sockaddr_nl nl;
    int err;

    if (addr->size < sizeof(addr->family))
        return -EINVAL;
    if (addr->family == AF_UNSPEC) {
        n->to_port = n->to_groups = 0;
        return 0;
    }
    err = netlink_read_address(addr, &nl);
    if (!err && (nl.nl_groups || nl.nl_pid) && s->protocol == NETLINK_ROUTE &&
        !net_capable(s->net, CAP_NET_ADMIN))
        err = -EPERM;
    if (!err)
        err = netlink_take_port(n, 0);
    if (!err) {
        n->to_port = nl.nl_pid;
        n->to_groups = nl.nl_groups;
    }
    return err;
}

static int netlink_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    const struct netlink_socket *n = netlink_of(s);
    const struct sockaddr_nl nl = {
        .nl_family = AF_NETLINK,
        .nl_pid = peer ? n->to_port : n->port,
        .nl_groups = peer ? n->to_groups : n->groups,
    };

    ret->size = sizeof(nl);
    memcpy(ret->bytes, &nl, sizeof(nl));
    return 0;
}

static uint32_t netlink_poll(struct socket *s)
{
    struct netlink_socket *n = netlink_of(s);
    uint32_t events = POLLOUT | POLLWRNORM | POLLWRBAND;

    lock_acquire(&s->lock);
    if (!list_empty(&n->messages))
        events |= POLLIN | POLLRDNORM;
    if (socket_error(s))
        events |= POLLERR;
    lock_release(&s->lock);
    return events;
}

/* ---- options ----------------------------------------------------------------------------------
 */

static int set_option(struct socket *s, int level, int name, const void *value, size_t size)
{
    struct netlink_socket *n = netlink_of(s);
    int number, err;

    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    err = socket_option_int(value, size, &number);
    if (err < 0)
        return err;
    switch (name) {
    case NETLINK_ADD_MEMBERSHIP:
    case NETLINK_DROP_MEMBERSHIP:
        if (s->protocol != NETLINK_ROUTE && !net_capable(s->net, CAP_NET_ADMIN))
            return -EPERM;
        if (number < 1 || number > RTNLGRP_MAX)
            return -EINVAL;
        if (number <= 32 && name == NETLINK_ADD_MEMBERSHIP)
            n->groups |= 1u << (number - 1);
        else if (number <= 32)
            n->groups &= ~(1u << (number - 1));
        return 0;
    case NETLINK_LISTEN_ALL_NSID:
        if (!net_capable(s->net, CAP_NET_BROADCAST))
            return -EPERM;
        /* fall through */
    case NETLINK_PKTINFO:
    case NETLINK_BROADCAST_ERROR:
    case NETLINK_NO_ENOBUFS:
    case NETLINK_CAP_ACK:
    case NETLINK_EXT_ACK:
    case NETLINK_GET_STRICT_CHK:
        n->options = number ? n->options | 1u << name : n->options & ~(1u << name);
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int get_option(struct socket *s, int level, int name, void *value, size_t *size)
{
    const struct netlink_socket *n = netlink_of(s);

    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    switch (name) {
    case NETLINK_LISTEN_ALL_NSID:
    case NETLINK_PKTINFO:
    case NETLINK_BROADCAST_ERROR:
    case NETLINK_NO_ENOBUFS:
    case NETLINK_CAP_ACK:
    case NETLINK_EXT_ACK:
    case NETLINK_GET_STRICT_CHK:
        if (*size < sizeof(int))
            return -EINVAL;
        return socket_option_put_int(value, size, (int)(n->options >> name & 1));
    case NETLINK_LIST_MEMBERSHIPS:
        return socket_option_put(value, size, &n->groups, sizeof(n->groups));
    default:
        return -ENOPROTOOPT;
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void netlink_close(struct socket *s)
{
    struct netlink_table *t = table_of(s);

    lock_acquire(&t->lock);
    list_del_init(&netlink_of(s)->port_node);
    lock_release(&t->lock);
}

static void netlink_free(struct socket *s)
{
    struct netlink_socket *n = netlink_of(s);

    /* Nobody else knows the socket any more, and its lock has gone. */
    while (!list_empty(&n->messages)) {
        struct netlink_message *m = list_first(&n->messages, struct netlink_message, node);

        list_del_init(&m->node);
        socket_memory_give(m->size + SOCKET_MESSAGE_COST);
        free(m);
    }
    lock_destroy(&n->read_lock);
    free(n);
}

void netlink_list(struct net_ns *net, bool (*show)(void *arg, const struct netlink_info *info),
                  void *arg)
{
    struct netlink_table *t = net_ns_family(net, AF_NETLINK);
    struct netlink_socket *n;
    bool more = true;

    lock_acquire(&t->lock);
    list_for_each (n, &t->sockets, port_node) {
        const struct netlink_info info = {
            .ino = n->sock.ino,
            .protocol = (uint32_t)n->sock.protocol,
            .port = n->port,
            .groups = n->groups,
            .queued = (uint32_t)n->queued_bytes,
            .refs = refcount_read(&n->sock.refs) + 1,
            .drops = n->drops,
            .type = (uint8_t)n->sock.type,
            .to_port = n->to_port,
            .to_groups = n->to_groups,
            .rcvbuf = (uint32_t)n->sock.opt.rcvbuf,
            .sndbuf = (uint32_t)n->sock.opt.sndbuf,
            .options = n->options,
        };

        if (!more)
            break;
        more = show(arg, &info);
    }
    lock_release(&t->lock);
}

static const struct socket_operations netlink_operations = {
    .bind = netlink_bind,
    .connect = netlink_connect,
    .getname = netlink_getname,
    .sendmsg = netlink_send,
    .recvmsg = netlink_receive,
    .setsockopt = set_option,
    .getsockopt = get_option,
    .poll = netlink_poll,
    .carries_rights = true,
    .close = netlink_close,
    .free = netlink_free,
};

const struct socket_family netlink_family = {
    .family = AF_NETLINK,
    .create = netlink_create,
    .ns_init = table_create,
    .ns_fini = table_destroy,
};
