/* Datagrams and sequenced packets: messages that come whole. */
#include <errno.h>
#include <poll.h>

#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/unix/internal.h"

/* unix_dgram_sendmsg(): where to, in Linux's order of errors. */
static int find_target(struct unix_socket *u, struct socket_message *msg, struct unix_socket **ret)
{
    struct socket_address name;
    int err = 0;

    if (msg->to_address)
        err = unix_check_address(msg->address, &name);
    if (err < 0)
        return err;
    if (unix_passes_creds(u) && !unix_name(u)) {
        err = unix_autobind(u);
        if (err < 0)
            return err;
    }
    if (msg->to_address)
        return unix_find(u, &name, ret);
    *ret = unix_get_peer(u);
    return *ret ? 0 : -ENOTCONN;
}

/* The peer is closed: a datagram socket forgets it. */
static int peer_is_gone(struct unix_socket *u, struct unix_socket *peer)
{
    struct unix_socket *old = NULL;

    if (u->sock.type == SOCK_SEQPACKET)
        return -EPIPE;
    lock_acquire(&unix_state_lock);
    if (u->peer == peer) {
        old = unix_set_peer_locked(u, NULL);
        u->state = UNIX_IDLE;
    }
    lock_release(&unix_state_lock);
    if (old)
        unix_purge(u);
    unix_unref(old);
    return -ECONNREFUSED;
}

static int check_target(struct unix_socket *u, struct unix_socket *target,
                        struct socket_message *msg)
{
    struct unix_socket *theirs = __atomic_load_n(&target->peer, __ATOMIC_ACQUIRE);

    if (target->dead)
        return peer_is_gone(u, target);
    if (theirs && theirs != u)
        return -EPERM;
    if (unix_shut(target) & UNIX_SHUT_RECEIVE)
        return -EPIPE;
    if (target->sock.opt.no_rights && msg->rights)
        return -EPERM;
    /* Two that are connected to each other are held back by their send buffers alone. */
    if (target != u && theirs != u && unix_queue_full(target)) {
        msg->wait = socket_ref(&target->sock);
        return -EAGAIN;
    }
    return 0;
}

static int deliver(struct unix_socket *target, struct unix_message *m)
{
    lock_acquire(&target->sock.lock);
    if (target->dead) {
        lock_release(&target->sock.lock);
        return target->sock.type == SOCK_SEQPACKET ? -EPIPE : -ECONNREFUSED;
    }
    list_add_tail(&target->messages, &m->node);
    target->queued_count++;
    target->queued_bytes += m->size;
    lock_release(&target->sock.lock);
    socket_wake(&target->sock, POLLIN | POLLRDNORM);
    return 0;
}

/* The receiver's filter may cut it, or toss it; the sender does not learn of that. */
static bool filter(struct unix_socket *target, struct unix_message *m)
{
    uint32_t stays;

    if (!socket_has_filter(&target->sock))
        return true;
    stays = socket_filter_bytes(&target->sock, m->data, m->size);
    if (stays == 0)
        unix_message_free(m);
    else
        m->size = MIN(m->size, stays);
    return stays > 0;
}

static ssize_t send_to(struct unix_socket *u, struct unix_socket *target,
                       struct socket_message *msg)
{
    size_t size = msg->uio->left;
    struct unix_message *m;
    int err;

    if (size > (size_t)u->sock.opt.sndbuf - 32)
        return -EMSGSIZE;
    if (unix_shut(u) & UNIX_SHUT_SEND)
        return -EPIPE;
    err = check_target(u, target, msg);
    if (!err)
        err = unix_message_create(u, target, msg, size, &m);
    if (err < 0)
        return err;
    m->from = unix_address_ref(unix_name(u));
    if (!filter(target, m))
        return (ssize_t)size;
    err = deliver(target, m);
    if (err < 0) {
        unix_message_free(m);
        return err;
    }
    return (ssize_t)size;
}

ssize_t unix_dgram_send(struct socket *s, struct socket_message *msg)
{
    struct unix_socket *u = unix_of(s), *target;
    ssize_t n;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    n = socket_take_error(s);
    if (n < 0)
        return n;
    n = find_target(u, msg, &target);
    if (n < 0)
        return n;
    n = send_to(u, target, msg);
    unix_unref(target);
    return n;
}

ssize_t unix_seqpacket_send(struct socket *s, struct socket_message *msg)
{
    int err = socket_take_error(s);

    if (err < 0)
        return err;
    if (unix_of(s)->state != UNIX_CONNECTED)
        return -ENOTCONN;
    msg->to_address = false;
    return unix_dgram_send(s, msg);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static struct unix_message *first_message(struct unix_socket *u)
{
    struct unix_message *m = NULL;

    lock_acquire(&u->sock.lock);
    if (!list_empty(&u->messages))
        m = list_first(&u->messages, struct unix_message, node);
    lock_release(&u->sock.lock);
    return m;
}

static ssize_t nothing(struct unix_socket *u, int flags)
{
    if (!(unix_shut(u) & UNIX_SHUT_RECEIVE))
        return -EAGAIN;
    /* Whoever does not wait is told so, but on a connection. */
    return u->sock.type == SOCK_DGRAM && (flags & MSG_DONTWAIT) ? -EAGAIN : 0;
}

static void remove_first(struct unix_socket *u, struct unix_message *m)
{
    bool was_full;

    lock_acquire(&u->sock.lock);
    was_full = unix_queue_full(u);
    unix_message_unlink_locked(u, m);
    lock_release(&u->sock.lock);
    unix_message_free(m);
    if (was_full)
        wait_queue_wake(&u->sock.room, POLLOUT | POLLWRNORM | POLLWRBAND);
}

/* With read_lock held, so that the first message stays. */
static ssize_t receive(struct unix_socket *u, struct socket_message *msg)
{
    bool peek = msg->flags & MSG_PEEK;
    struct unix_message *m;
    ssize_t n;
    size_t size;
    int err = socket_take_error(&u->sock);

    if (err < 0)
        return err;
    m = first_message(u);
    if (!m)
        return nothing(u, msg->flags);
    size = m->size;
    if (peek && u->sock.opt.peek_off > 0)
        size -= MIN(size, (size_t)u->sock.opt.peek_off);
    n = socket_message_give(msg, m->data + (m->size - size), size);
    if (n < 0) {
        if (!peek)
            remove_first(u, m); /* lost, as on Linux */
        return n;
    }
    if (msg->address && m->from)
        *msg->address = m->from->addr;
    msg->creds = m->creds;
    err = unix_message_give_rights(u, m, msg, peek);
    if (!peek)
        remove_first(u, m);
    return err < 0 ? err : n;
}

ssize_t unix_dgram_receive(struct socket *s, struct socket_message *msg)
{
    struct unix_socket *u = unix_of(s);
    ssize_t n;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    lock_acquire(&u->read_lock);
    n = receive(u, msg);
    lock_release(&u->read_lock);
    return n;
}

ssize_t unix_seqpacket_receive(struct socket *s, struct socket_message *msg)
{
    if (unix_of(s)->state != UNIX_CONNECTED)
        return -ENOTCONN;
    return unix_dgram_receive(s, msg);
}
