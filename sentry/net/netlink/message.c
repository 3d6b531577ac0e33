/* What comes to netlink sockets and what they say: queues, questions, messages from one to another.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/netlink/internal.h"

#define SEND_MAX (256u << 10)

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

/*
 * A dump that Linux would still be making, since its reader has not read: there is none beside it.
 * So a queue has one long answer at most.
 */
static bool is_dumping(struct netlink_socket *n, const struct nlmsghdr *h)
{
    bool full;

    lock_acquire(&n->sock.lock);
    full = n->queued_bytes >= n->sock.opt.rcvbuf;
    lock_release(&n->sock.lock);
    return full && (h->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
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
            err = is_dumping(n, h) ? -EBUSY : answer(&r, &dumped);
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
    struct netlink_socket *to = netlink_find_port(n, port);
    int err;

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

ssize_t netlink_send(struct socket *s, struct socket_message *msg)
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
        err = netlink_read_address(msg->address, &nl);
        if (!err && (nl.nl_groups || nl.nl_pid) && s->protocol == NETLINK_ROUTE &&
            !net_capable(s->net, CAP_NET_ADMIN))
            err = -EPERM;
    }
    if (!err)
        err = netlink_take_port(n, 0);
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

ssize_t netlink_receive(struct socket *s, struct socket_message *msg)
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
