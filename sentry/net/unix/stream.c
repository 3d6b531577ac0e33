/*
 * Streams. Bytes lie in messages of up to 64 KiB, as they were sent; a reader copies out of the
 * first ones without holding the queue's lock, since only readers take messages out.
 */
#include <errno.h>
#include <poll.h>

#include "sentry/mm/uio.h"
#include "sentry/net/unix/internal.h"

/* Into the peer's queue; -EPIPE when it does not read any more. */
static int enqueue(struct unix_socket *peer, struct unix_message *m)
{
    bool urgent = m->urgent; /* a reader may take the message at once */

    lock_acquire(&peer->sock.lock);
    if (peer->dead || (unix_shut(peer) & UNIX_SHUT_RECEIVE)) {
        lock_release(&peer->sock.lock);
        return -EPIPE;
    }
    list_add_tail(&peer->messages, &m->node);
    peer->queued_count++;
    peer->queued_bytes += m->size;
    if (m->urgent)
        peer->oob = m;
    lock_release(&peer->sock.lock);
    socket_wake(&peer->sock, POLLIN | POLLRDNORM | (urgent ? POLLPRI : 0));
    if (urgent)
        socket_tell_urgent(&peer->sock);
    return 0;
}

/* `urgent`: one byte of MSG_OOB. */
static ssize_t send_one(struct unix_socket *u, struct unix_socket *peer, struct socket_message *msg,
                        size_t size, bool urgent)
{
    struct unix_message *m;
    size_t sent;
    int err;

    if (unix_shut(u) & UNIX_SHUT_SEND)
        return -EPIPE;
    err = unix_message_create(u, peer, msg, size, &m);
    if (err < 0)
        return err;
    m->urgent = urgent;
    sent = m->size;
    err = enqueue(peer, m);
    if (err < 0) {
        unix_message_free(m);
        return err;
    }
    return (ssize_t)sent;
}

static ssize_t send_all(struct unix_socket *u, struct unix_socket *peer, struct socket_message *msg)
{
    bool oob = msg->flags & MSG_OOB;
    size_t done = 0;
    ssize_t n = 0;

    if (unix_shut(u) & UNIX_SHUT_SEND) {
        /* sock_alloc_send_pskb(): who has waited hears first why. */
        n = msg->started ? socket_take_error(&u->sock) : 0;
        return n ? n : -EPIPE;
    }
    while (msg->uio->left > (oob ? 1 : 0)) {
        size_t part = MIN(msg->uio->left - (oob ? 1 : 0), (size_t)UNIX_CHUNK);

        part = MIN(part, MAX((size_t)u->sock.opt.sndbuf / 2, 128UL) - 64);
        n = send_one(u, peer, msg, part, false);
        if (n < 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
        if ((size_t)n < part) /* what is behind cannot be read */
            return (ssize_t)done;
    }
    if (oob) {
        n = send_one(u, peer, msg, 1, true);
        if (n < 0)
            return done ? (ssize_t)done : n;
        done++;
    }
    return (ssize_t)done;
}

ssize_t unix_stream_send(struct socket *s, struct socket_message *msg)
{
    struct unix_socket *u = unix_of(s), *peer;
    ssize_t n;

    if ((msg->flags & MSG_OOB) && msg->uio->left == 0)
        return -EOPNOTSUPP;
    if (msg->to_address)
        return u->state == UNIX_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    peer = unix_get_peer(u);
    if (!peer)
        return -ENOTCONN;
    if (peer->sock.opt.no_rights && msg->rights)
        n = -EPERM;
    else
        n = send_all(u, peer, msg);
    unix_unref(peer);
    return n;
}

/* ---- receiving --------------------------------------------------------------------------------
 */

/* One reading of a stream. */
struct stream_read {
    struct unix_socket *u;
    struct socket_message *msg;
    size_t done;
    int64_t skip; /* MSG_PEEK: bytes that were looked at before */
    bool peek;
};

static bool is_last(const struct unix_socket *u, const struct unix_message *m)
{
    return m->node.next == &u->messages;
}

/*
 * The message after `m`, or the first one; NULL: no more to read now. Urgent bytes are passed over,
 * and end a read that has got something before them.
 */
static struct unix_message *next_message(struct stream_read *r, struct unix_message *m)
{
    struct unix_socket *u = r->u;
    struct unix_message *passed = NULL;

    lock_acquire(&u->sock.lock);
    if (m)
        m = is_last(u, m) ? NULL : list_entry(m->node.next, struct unix_message, node);
    else if (!list_empty(&u->messages))
        m = list_first(&u->messages, struct unix_message, node);
    if (m && m->urgent && r->done > 0) {
        r->msg->boundary = true;
        m = NULL;
    } else if (m && m->urgent && !u->sock.opt.oob_inline) {
        struct unix_message *urgent = m;

        m = is_last(u, m) ? NULL : list_entry(m->node.next, struct unix_message, node);
        if (!r->peek) {
            unix_message_unlink_locked(u, urgent);
            passed = urgent;
        }
    }
    lock_release(&u->sock.lock);
    if (passed)
        unix_message_free(passed);
    return m;
}

static bool same_creds(const struct net_creds *a, const struct net_creds *b)
{
    return a->known == b->known && a->serial == b->serial && a->pid == b->pid && a->uid == b->uid &&
           a->gid == b->gid;
}

/* False: it is another sender's, and the program shall be able to tell them apart. */
static bool begin_message(struct stream_read *r, const struct unix_message *m)
{
    struct socket_message *msg = r->msg;
    struct unix_address *name;

    if (msg->started)
        return !unix_passes_creds(r->u) || same_creds(&msg->creds, &m->creds);
    msg->started = true;
    msg->creds = m->creds;
    name = msg->address ? unix_name(m->sender) : NULL;
    if (name)
        *msg->address = name->addr;
    return true;
}

static void consume(struct unix_socket *u, struct unix_message *m, size_t size)
{
    bool gone;

    lock_acquire(&u->sock.lock);
    gone = m->offset + size == m->size;
    if (gone) {
        unix_message_unlink_locked(u, m);
    } else {
        m->offset += (uint32_t)size;
        u->queued_bytes -= size;
    }
    lock_release(&u->sock.lock);
    if (gone)
        unix_message_free(m);
}

/* Copies out of one message. True: and on to the next; `*m` is NULL when it is gone. */
static bool read_message(struct stream_read *r, struct unix_message **m, int *ret_err)
{
    struct unix_message *now = *m;
    size_t have = now->size - now->offset, n;
    bool had_rights = now->rights != NULL;
    ssize_t copied;

    if (r->peek && r->skip >= (int64_t)have && have > 0) {
        r->skip -= (int64_t)have;
        return true;
    }
    if (!begin_message(r, now)) {
        r->msg->boundary = true;
        return false;
    }
    n = MIN(have - (size_t)r->skip, r->msg->uio->left);
    copied = uio_copy_out(r->msg->uio, now->data + now->offset + r->skip, n);
    if (copied < 0) {
        *ret_err = -EFAULT;
        return false;
    }
    r->done += (size_t)copied;
    *ret_err = unix_message_give_rights(r->u, now, r->msg, r->peek);
    if (now->urgent)
        r->msg->out_flags |= MSG_OOB;
    if (!r->peek) {
        consume(r->u, now, (size_t)copied);
        *m = NULL;
    }
    r->skip = 0;
    if (had_rights)
        r->msg->boundary = true;
    return (size_t)copied == n && r->msg->uio->left > 0 && !had_rights && *ret_err == 0;
}

/* Nothing is there: why? */
static ssize_t nothing(struct unix_socket *u)
{
    int err = socket_take_error(&u->sock);

    if (err < 0)
        return err;
    return unix_shut(u) & UNIX_SHUT_RECEIVE ? 0 : -EAGAIN;
}

static ssize_t read_queue(struct stream_read *r)
{
    struct socket_options *opt = &r->u->sock.opt;
    struct unix_message *m = NULL;
    int err = 0;
    bool any = false;

    if (r->peek && opt->peek_off >= 0)
        r->skip = opt->peek_off;
    while ((m = next_message(r, m))) {
        any |= r->skip < (int64_t)(m->size - m->offset);
        if (!read_message(r, &m, &err))
            break;
    }
    if (opt->peek_off >= 0 && r->done > 0)
        opt->peek_off =
            r->peek ? opt->peek_off + (int)r->done : MAX(opt->peek_off - (int)r->done, 0);
    if (r->done > 0)
        return (ssize_t)r->done;
    if (err < 0)
        return err;
    return any || r->msg->boundary ? 0 : nothing(r->u);
}

/* MSG_OOB: the urgent byte, once. */
static ssize_t read_urgent(struct unix_socket *u, struct socket_message *msg)
{
    bool peek = msg->flags & MSG_PEEK;
    struct unix_message *m;
    char byte;

    lock_acquire(&u->sock.lock);
    m = u->oob;
    if (!m || u->sock.opt.oob_inline) {
        lock_release(&u->sock.lock);
        return -EINVAL;
    }
    byte = m->data[0];
    if (!peek)
        unix_message_unlink_locked(u, m);
    lock_release(&u->sock.lock);
    if (!peek)
        unix_message_free(m);
    msg->boundary = true;
    if (msg->uio->left == 0) {
        msg->out_flags |= MSG_TRUNC | MSG_OOB;
        return 0;
    }
    msg->out_flags |= MSG_OOB;
    return uio_copy_out(msg->uio, &byte, 1) == 1 ? 1 : -EFAULT;
}

ssize_t unix_stream_receive(struct socket *s, struct socket_message *msg)
{
    struct stream_read r = {.u = unix_of(s), .msg = msg, .peek = msg->flags & MSG_PEEK};
    ssize_t n;

    if (r.u->state != UNIX_CONNECTED)
        return -EINVAL;
    lock_acquire(&r.u->read_lock);
    n = msg->flags & MSG_OOB ? read_urgent(r.u, msg) : read_queue(&r);
    lock_release(&r.u->read_lock);
    return n;
}
