/* Receiving. Only the reader takes chunks out, so what it copies from stays. */
#include <errno.h>
#include <poll.h>

#include "sentry/mm/uio.h"
#include "sentry/net/inet/tcp.h"

/* One call of recvmsg(2). */
struct tcp_read {
    struct tcp_socket *t;
    struct tcp_conn *c;
    struct tcp_end *end;
    struct socket_message *msg;
    uint64_t at; /* position in the stream; MSG_PEEK moves it ahead of end->taken */
    bool peek;
};

/*
 * Where to read on: the chunk, and how much of it until its end or the urgent byte. NULL: nothing,
 * or the mark is reached.
 */
static const char *next_bytes(struct tcp_read *r, size_t done, size_t *ret_size)
{
    struct tcp_end *end = r->end;
    uint64_t position = end->taken;
    struct tcp_chunk *chunk;
    const char *found = NULL;

    lock_acquire(&r->c->lock);
    position = end->taken;
    if (!r->peek)
        r->at = position;
    if (end->urgent && r->at == end->urgent_at) {
        if (done > 0) {
            r->msg->boundary = true;
            goto out; /* a read ends before the mark */
        }
        if (!tcp_sock(r->t)->opt.oob_inline) { /* and the next one leaves the byte out */
            r->at++;
            if (!r->peek && end->bytes > 0)
                tcp_chunk_take_locked(end, 1);
            position = end->taken;
        }
        if (!r->peek)
            end->urgent = false;
    }
    list_for_each (chunk, &end->chunks, node) {
        size_t have = chunk->size - chunk->offset;

        if (r->at < position + have) {
            found = chunk->data + chunk->offset + (r->at - position);
            *ret_size = (size_t)(position + have - r->at);
            break;
        }
        position += have;
    }
    if (r->at >= end->taken + end->bytes) /* what lies behind is held back */
        found = NULL;
    else
        *ret_size = MIN(*ret_size, (size_t)(end->taken + end->bytes - r->at));
    if (found && end->urgent && end->urgent_at > r->at)
        *ret_size = MIN(*ret_size, (size_t)(end->urgent_at - r->at));
out:
    lock_release(&r->c->lock);
    return found;
}

/* `size` bytes were read: the writer may have been waiting for the room. */
static void consume(struct tcp_read *r, size_t size)
{
    struct tcp_end *from = &r->c->end[1 - r->t->side];
    struct tcp_socket *writer = NULL;

    lock_acquire(&r->c->lock);
    tcp_chunk_take_locked(r->end, size);
    if (from->starved && tcp_writable_locked(from, r->end)) {
        from->starved = false;
        writer = tcp_owner_locked(from);
    }
    lock_release(&r->c->lock);
    if (writer) {
        socket_wake(tcp_sock(writer), POLLOUT | POLLWRNORM);
        socket_unref(tcp_sock(writer));
    }
}

static ssize_t read_queue(struct tcp_read *r)
{
    struct uio *uio = r->msg->uio;
    size_t done = 0, have = 0;
    const char *bytes;

    while (uio->left > 0 && (bytes = next_bytes(r, done, &have))) {
        size_t want = MIN(have, uio->left);
        ssize_t n = (ssize_t)want;

        if (r->msg->flags & MSG_TRUNC) /* they are thrown away */
            uio_advance(uio, want);
        else
            n = uio_copy_out(uio, bytes, want);
        if (n <= 0)
            return done ? (ssize_t)done : -EFAULT;
        if (r->peek)
            r->at += (size_t)n;
        else
            consume(r, (size_t)n);
        done += (size_t)n;
        if ((size_t)n < want)
            break;
    }
    return (ssize_t)done;
}

/* Nothing was there: why? As tcp_recvmsg_locked(). */
static ssize_t nothing(struct tcp_read *r)
{
    bool fin, closed;
    int err;

    lock_acquire(&r->c->lock);
    fin = r->end->fin && !r->end->reset;
    closed = r->end->reset;
    lock_release(&r->c->lock);
    if (fin)
        return 0;
    err = socket_take_error(tcp_sock(r->t));
    if (err < 0)
        return err;
    if (closed || (__atomic_load_n(&r->t->shut, __ATOMIC_ACQUIRE) & TCP_SHUT_RECEIVE))
        return 0;
    return -EAGAIN;
}

/* MSG_OOB: the urgent byte, once. */
static ssize_t read_urgent(struct tcp_read *r)
{
    struct tcp_end *end = r->end;
    uint8_t byte = 0;
    int err = 0;

    lock_acquire(&r->c->lock);
    if (tcp_sock(r->t)->opt.oob_inline || !end->urgent || end->urgent_read)
        err = end->fin && !end->urgent ? 0 : -EINVAL;
    else
        err = 1;
    byte = end->urgent_byte;
    if (err == 1 && !r->peek)
        end->urgent_read = true;
    lock_release(&r->c->lock);
    r->msg->boundary = true;
    if (err != 1)
        return err;
    r->msg->out_flags |= MSG_OOB;
    if (r->msg->uio->left == 0) {
        r->msg->out_flags |= MSG_TRUNC;
        return 0;
    }
    return uio_copy_out(r->msg->uio, &byte, 1) == 1 ? 1 : -EFAULT;
}

static ssize_t read_connection(struct tcp_read *r)
{
    const struct socket_options *opt = &tcp_sock(r->t)->opt;
    uint64_t wanted = MIN((uint64_t)MAX(opt->rcvlowat, 1), r->msg->uio->left), bytes;
    bool more;
    ssize_t n;

    if (r->msg->flags & MSG_OOB)
        return read_urgent(r);
    lock_acquire(&r->c->lock);
    r->at = r->end->taken;
    bytes = r->end->bytes;
    /* A writer who waits for room waits for the reader. */
    more =
        !r->end->fin && !r->end->reset && tcp_writable_locked(&r->c->end[1 - r->t->side], r->end);
    lock_release(&r->c->lock);
    if (r->msg->uio->left == 0) /* as for any size, it waits until there is something */
        return bytes ? 0 : nothing(r);
    if (bytes < wanted && more && !(r->msg->flags & MSG_DONTWAIT) && !r->peek &&
        !(__atomic_load_n(&r->t->shut, __ATOMIC_ACQUIRE) & TCP_SHUT_RECEIVE))
        return -EAGAIN;
    n = read_queue(r);
    return n ? n : nothing(r);
}

ssize_t tcp_receive(struct socket *s, struct socket_message *msg)
{
    struct tcp_read r = {.t = tcp_of(s), .msg = msg, .peek = msg->flags & MSG_PEEK};
    ssize_t n;
    int err;

    if (msg->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    r.c = tcp_get_conn(r.t);
    if (!r.c) {
        err = r.t->state == TCP_LISTENING ? 0 : socket_take_error(s);
        if (err < 0)
            return err;
        if (r.t->state == TCP_WAITING)
            return -EAGAIN;
        return __atomic_load_n(&r.t->shut, __ATOMIC_ACQUIRE) & TCP_SHUT_RECEIVE ? 0 : -ENOTCONN;
    }
    r.end = &r.c->end[r.t->side];
    lock_acquire(&r.t->read_lock);
    n = read_connection(&r);
    lock_release(&r.t->read_lock);
    tcp_conn_unref(r.c);
    return n;
}
