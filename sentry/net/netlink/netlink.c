#include "sentry/net/netlink/netlink.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/netlink/internal.h"
#include "sentry/net/netns.h"

#define PORT_BUCKETS 64
#define PORT_CHOSEN  0xfffff000u /* downwards from here, where a process's own number is taken */
#define SEND_MAX     (256u << 10)

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

/* `port` 0: the process's number, or whatever is free. */
static int take_port(struct netlink_socket *n, uint32_t port)
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

static int read_address(const struct socket_address *addr, struct sockaddr_nl *ret)
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
    int err = read_address(addr, &nl);

    if (!err && nl.nl_groups && s->protocol != NETLINK_ROUTE && !net_capable(s->net, CAP_NET_ADMIN))
        err = -EPERM;
    if (!err)
        err = take_port(n, nl.nl_pid);
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
    err = read_address(addr, &nl);
    if (!err && (nl.nl_groups || nl.nl_pid) && s->protocol == NETLINK_ROUTE &&
        !net_capable(s->net, CAP_NET_ADMIN))
        err = -EPERM;
    if (!err)
        err = take_port(n, 0);
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

/* ---- queues -----------------------------------------------------------------------------------
 */

int netlink_enqueue(struct netlink_socket *n, struct netlink_message *m, uint64_t limit)
{
    bool fits;

    if (socket_has_filter(&n->sock)) {
        m->size = socket_filter_bytes(&n->sock, m->data, m->size);
        if (m->size == 0) {
            free(m);
            return 0;
        }
    }
    limit = MAX(limit, (uint64_t)n->sock.opt.rcvbuf);
    lock_acquire(&n->sock.lock);
    fits = n->queued_bytes + m->size + SOCKET_MESSAGE_COST <= limit &&
           socket_memory_take(m->size + SOCKET_MESSAGE_COST) == 0;
    if (fits) {
        list_add_tail(&n->messages, &m->node);
        n->queued_bytes += m->size + SOCKET_MESSAGE_COST;
    } else {
        n->drops++;
    }
    lock_release(&n->sock.lock);
    if (fits) {
        socket_wake(&n->sock, POLLIN | POLLRDNORM);
        return 0;
    }
    free(m);
    if (!(n->options & 1u << NETLINK_NO_ENOBUFS))
        socket_set_error(&n->sock, ENOBUFS);
    return -ENOBUFS;
}

int netlink_deliver(struct socket *s, const void *data, size_t size)
{
    struct netlink_message *m = malloc(sizeof(*m) + size);

    if (!m)
        return -ENOMEM;
    *m = (struct netlink_message){.size = (uint32_t)size};
    list_init(&m->node);
    memcpy(m->data, data, size);
    return netlink_enqueue(netlink_of(s), m, 0);
}

/* netlink_rcv_skb(): one message after the other, as far as their lengths can be believed. */
static void answer_all(struct netlink_socket *n, const uint8_t *data, size_t size)
{
    int (*answer)(struct netlink_reply * r, bool *ret_dump) =
        n->sock.protocol == NETLINK_ROUTE ? route_answer : diag_answer;

    while (size >= NLMSG_HDRLEN) {
        /* Aligned: malloc()'s memory, and every step is a multiple of four. */
        const struct nlmsghdr *h = (const void *)data;
        struct netlink_reply r = {.to = n, .question = h};
        bool dumped = false;
        size_t step;
        int err = 0;

        if (h->nlmsg_len < NLMSG_HDRLEN || h->nlmsg_len > size)
            return;
        if ((h->nlmsg_flags & NLM_F_REQUEST) && h->nlmsg_type >= NLMSG_MIN_TYPE)
            err = answer(&r, &dumped);
        if (err || ((h->nlmsg_flags & NLM_F_ACK) && !dumped))
            reply_error(&r, err);
        reply_flush(&r);
        step = NLMSG_ALIGN(h->nlmsg_len);
        if (step >= size)
            return;
        data += step;
        size -= step;
    }
}

/* To another program's socket. */
static int send_to_port(struct netlink_socket *n, uint32_t port, struct netlink_message *m)
{
    struct netlink_table *t = table_of(&n->sock);
    struct netlink_socket *to;
    int err;

    lock_acquire(&t->lock);
    to = find_port_locked(t, n->sock.protocol, port);
    if (to)
        socket_ref(&to->sock);
    lock_release(&t->lock);
    if (!to) {
        free(m);
        return -ECONNREFUSED;
    }
    err = netlink_enqueue(to, m, 0);
    socket_unref(&to->sock);
    return err == -ENOBUFS ? -EAGAIN : err;
}

static int take_message(struct netlink_socket *n, struct socket_message *msg,
                        struct netlink_message **ret)
{
    size_t size = msg->uio->left;
    struct netlink_message *m;
    struct net_caller caller;

    if (size > n->sock.opt.sndbuf - 32 || size > SEND_MAX)
        return -EMSGSIZE;
    m = malloc(sizeof(*m) + size);
    if (!m)
        return -ENOBUFS;
    if (size && uio_copy_in(msg->uio, m->data, size) != (ssize_t)size) {
        free(m);
        return -EFAULT;
    }
    net_caller(&caller);
    m->size = (uint32_t)size;
    m->port = n->port;
    m->creds = msg->creds.known
                   ? msg->creds
                   : (struct net_creds){true, caller.pid, caller.serial, caller.uid, caller.gid};
    list_init(&m->node);
    *ret = m;
    return 0;
}

static ssize_t netlink_send(struct socket *s, struct socket_message *msg)
{
    struct netlink_socket *n = netlink_of(s);
    struct sockaddr_nl nl = {.nl_pid = n->to_port, .nl_groups = n->to_groups};
    struct netlink_message *m = NULL;
    ssize_t size = (ssize_t)msg->uio->left;
    int err = 0;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (msg->rights)
        return -EINVAL;
    if (size == 0)
        return -ENODATA;
    if (msg->to_address) {
        err = read_address(msg->address, &nl);
        if (!err && (nl.nl_groups || nl.nl_pid) && s->protocol == NETLINK_ROUTE &&
            !net_capable(s->net, CAP_NET_ADMIN))
            err = -EPERM;
    }
    if (!err)
        err = take_port(n, 0);
    if (!err)
        err = take_message(n, msg, &m);
    if (err < 0)
        return err;
    if (nl.nl_pid) {
        err = send_to_port(n, nl.nl_pid, m);
    } else {
        if (s->protocol != NETLINK_USERSOCK)
            answer_all(n, m->data, m->size);
        else
            err = -ECONNREFUSED;
        free(m);
    }
    return err < 0 ? err : size;
}

static struct netlink_message *first_message(struct netlink_socket *n)
{
    struct netlink_message *m = NULL;

    lock_acquire(&n->sock.lock);
    if (!list_empty(&n->messages))
        m = list_first(&n->messages, struct netlink_message, node);
    lock_release(&n->sock.lock);
    return m;
}

static void remove_message(struct netlink_socket *n, struct netlink_message *m)
{
    lock_acquire(&n->sock.lock);
    list_del_init(&m->node);
    n->queued_bytes -= m->size + SOCKET_MESSAGE_COST;
    lock_release(&n->sock.lock);
    socket_memory_give(m->size + SOCKET_MESSAGE_COST);
    free(m);
}

static ssize_t receive(struct netlink_socket *n, struct socket_message *msg)
{
    int err = socket_take_error(&n->sock);
    struct netlink_message *m = err ? NULL : first_message(n);
    ssize_t got, size;

    if (!m)
        return err ? err : -EAGAIN;
    size = (ssize_t)MIN((uint64_t)m->size, msg->uio->left);
    got = uio_copy_out(msg->uio, m->data, (size_t)size);
    if (got == size && (uint32_t)size < m->size)
        msg->out_flags |= MSG_TRUNC;
    if (got == size && (msg->flags & MSG_TRUNC))
        size = m->size;
    if (msg->address) {
        const struct sockaddr_nl nl = {.nl_family = AF_NETLINK, .nl_pid = m->port};

        msg->address->size = sizeof(nl);
        memcpy(msg->address->bytes, &nl, sizeof(nl));
    }
    if (n->options & 1u << NETLINK_PKTINFO) {
        const struct nl_pktinfo info = {0};

        socket_control_put(msg, SOL_NETLINK, NETLINK_PKTINFO, &info, sizeof(info));
    }
    msg->creds = m->port ? m->creds : (struct net_creds){.known = true};
    if (!(msg->flags & MSG_PEEK))
        remove_message(n, m);
    return got < 0 || (got != size && !(msg->flags & MSG_TRUNC)) ? -EFAULT : size;
}

static ssize_t netlink_receive(struct socket *s, struct socket_message *msg)
{
    struct netlink_socket *n = netlink_of(s);
    ssize_t size;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    lock_acquire(&n->read_lock);
    size = receive(n, msg);
    lock_release(&n->read_lock);
    return size;
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
