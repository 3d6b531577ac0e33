/*
 * Sending. Bytes are copied once into a chunk and once out of it, with no lock that the other end
 * needs; little writes are gathered in a chunk with room for more.
 *
 * MSG_MORE and TCP_CORK hold back what does not fill a segment: those bytes lie in the other end's
 * queue, where `held` hides them until something pushes them, at the latest a timer.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/inet/packet.h"
#include "sentry/net/inet/tcp.h"
#include "sentry/net/inet/wire.h"

#define READABLE (POLLIN | POLLRDNORM)

/* One call of sendmsg(2). */
struct tcp_write {
    struct tcp_socket *t;
    struct tcp_conn *c;
    struct tcp_end *from, *to;
    struct socket_message *msg;
    bool urgent; /* the last byte of this call is MSG_OOB's */
    bool more;   /* MSG_MORE, or TCP_CORK */
};

/* Why nothing can be written; 0: something can. conn->lock held. */
static int why_not_locked(struct tcp_write *w)
{
    if (tcp_room_locked(w->from, w->to) > 0)
        return 0;
    w->from->starved = true;
    return -EAGAIN;
}

static void append_locked(struct tcp_end *to, const char *data, size_t size,
                          struct tcp_chunk *spare)
{
    struct tcp_chunk *last =
        list_empty(&to->chunks) ? NULL : list_entry(to->chunks.prev, struct tcp_chunk, node);

    if (last && last->room - last->size >= size) {
        memcpy(last->data + last->size, data, size);
        last->size += (uint32_t)size;
        to->held += size;
        tcp_chunk_free(spare);
        return;
    }
    memcpy(spare->data, data, size);
    spare->size = (uint32_t)size;
    tcp_chunk_add_locked(to, spare);
}

static void mark_urgent_locked(struct tcp_end *to)
{
    const struct tcp_chunk *last = list_entry(to->chunks.prev, struct tcp_chunk, node);

    to->urgent = true;
    to->urgent_read = false;
    to->urgent_at = to->arrived - 1;
    to->urgent_byte = (uint8_t)last->data[last->size - 1];
}

/* What was copied is written; the reader, to be woken, referenced. NULL: nothing to be told. */
static struct tcp_socket *publish(struct tcp_write *w, const char *small, struct tcp_chunk *chunk,
                                  size_t size, bool urgent)
{
    struct tcp_socket *peer = NULL;
    uint64_t before;
    bool held;

    lock_acquire(&w->c->lock);
    if (w->to->closed) {
        lock_release(&w->c->lock);
        tcp_chunk_free(chunk);
        return NULL;
    }
    if (small)
        append_locked(w->to, small, size, chunk);
    else
        tcp_chunk_add_locked(w->to, chunk);
    before = w->to->arrived;
    tcp_release_locked(w->to, urgent || !w->more);
    if (urgent)
        mark_urgent_locked(w->to);
    if (w->to->arrived != before)
        peer = tcp_owner_locked(w->to);
    held = w->to->held > 0;
    lock_release(&w->c->lock);
    if (held)
        (void)timer_arm(&w->t->cork, host_monotonic_ns() + TCP_CORK_NS);
    return peer;
}

/*
 * The reader's filter sees what is sent as one segment. What it drops Linux sends again and again;
 * here the bytes stay held back as long as there is that filter.
 */
static void filter(struct tcp_write *w, const char *bytes, size_t size)
{
    struct inet_packet *packet;
    struct tcp_socket *peer;

    lock_acquire(&w->c->lock);
    peer = tcp_owner_locked(w->to);
    lock_release(&w->c->lock);
    if (peer && socket_has_filter(tcp_sock(peer))) {
        packet = packet_create(&w->from->name, &w->to->name, IPPROTO_TCP, bytes, size);
        if (!packet || packet_filter(packet, tcp_sock(peer)) <= packet->transport_size) {
            lock_acquire(&w->c->lock);
            w->to->stalled = true;
            lock_release(&w->c->lock);
        }
        free(packet);
    }
    if (peer)
        socket_unref(tcp_sock(peer));
}

/* Copies the next part of the message. Bytes, or -errno. */
static ssize_t write_part(struct tcp_write *w, size_t room)
{
    char small[TCP_CHUNK_SMALL];
    size_t limit = MIN(room, (size_t)TCP_CHUNK_MAX), want = MIN(limit, w->msg->uio->left);
    bool is_small = want < sizeof(small) / 2;
    struct tcp_chunk *chunk = tcp_chunk_create(is_small ? sizeof(small) : want);
    struct tcp_socket *peer;
    bool urgent;
    ssize_t n;

    if (!chunk)
        return -ENOBUFS;
    n = uio_copy_in(w->msg->uio, is_small ? small : chunk->data, want);
    if (n <= 0) {
        tcp_chunk_free(chunk);
        return n;
    }
    if (!is_small)
        chunk->size = (uint32_t)n;
    filter(w, is_small ? small : chunk->data, (size_t)n);
    wire_send(w->c, w->t->side, is_small ? small : chunk->data, (size_t)n);
    urgent = w->urgent && w->msg->uio->left == 0;
    peer = publish(w, is_small ? small : NULL, chunk, (size_t)n, urgent);
    if (peer) {
        socket_wake(tcp_sock(peer), READABLE | (urgent ? POLLPRI : 0));
        if (urgent)
            socket_tell_urgent(tcp_sock(peer));
        socket_unref(tcp_sock(peer));
    }
    return n;
}

void tcp_push(struct tcp_conn *c, int side)
{
    struct tcp_end *to = &c->end[1 - side];
    struct tcp_socket *peer = NULL;

    lock_acquire(&c->lock);
    if (to->held > 0 && !to->stalled) {
        tcp_release_locked(to, true);
        peer = tcp_owner_locked(to);
    }
    lock_release(&c->lock);
    if (peer) {
        socket_wake(tcp_sock(peer), READABLE);
        socket_unref(tcp_sock(peer));
    }
}

void tcp_filter_gone(struct tcp_conn *c, int side)
{
    lock_acquire(&c->lock);
    c->end[side].stalled = false;
    lock_release(&c->lock);
    tcp_push(c, 1 - side);
}

void tcp_cork_expired(struct timer *timer)
{
    struct tcp_socket *t = container_of(timer, struct tcp_socket, cork);
    struct tcp_conn *c = tcp_get_conn(t);

    if (c)
        tcp_push(c, t->side);
    tcp_conn_unref(c);
}

/* Nobody is there any more: the bytes get lost, and a reset comes back. */
static ssize_t write_in_vain(struct tcp_write *w)
{
    ssize_t n = (ssize_t)w->msg->uio->left;

    uio_advance(w->msg->uio, w->msg->uio->left);
    if (!w->t->sent_in_vain) {
        w->t->sent_in_vain = true;
        __atomic_store_n(&w->t->reset, true, __ATOMIC_RELEASE);
        socket_set_error(tcp_sock(w->t), EPIPE);
        socket_wake(tcp_sock(w->t), POLLHUP | POLLIN | POLLOUT | POLLERR);
    }
    return n;
}

/* Likewise, where somebody is, but wants to hear nothing any more. */
static ssize_t write_to_deaf(struct tcp_write *w)
{
    ssize_t n = (ssize_t)w->msg->uio->left;

    uio_advance(w->msg->uio, w->msg->uio->left);
    tcp_conn_refuse(w->c, 1 - w->t->side);
    return n;
}

static ssize_t write_all(struct tcp_write *w)
{
    size_t done = 0;
    ssize_t n = 0;

    while (w->msg->uio->left > 0) {
        int64_t room;
        bool gone, deaf;

        if (tcp_sock(w->t)->error || __atomic_load_n(&w->t->reset, __ATOMIC_ACQUIRE) ||
            (__atomic_load_n(&w->t->shut, __ATOMIC_ACQUIRE) & TCP_SHUT_SEND)) {
            n = done ? 0 : socket_take_error(tcp_sock(w->t));
            return done ? (ssize_t)done : n ? n : -EPIPE;
        }
        lock_acquire(&w->c->lock);
        gone = w->to->closed;
        deaf = tcp_deaf_locked(w->c, 1 - w->t->side);
        room = tcp_room_locked(w->from, w->to);
        n = gone || deaf ? 0 : why_not_locked(w);
        lock_release(&w->c->lock);
        if (gone || deaf)
            return (ssize_t)done + (gone ? write_in_vain(w) : write_to_deaf(w));
        if (n == -EAGAIN)
            tcp_push(w->c, w->t->side);
        if (n == 0)
            n = write_part(w, (size_t)room);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done ? (ssize_t)done : n;
}

/* On one that is not connected. */
static int not_connected(struct tcp_socket *t)
{
    int err = socket_take_error(tcp_sock(t));

    if (err < 0)
        return err;
    return t->state == TCP_WAITING ? -EAGAIN : -EPIPE;
}

/* MSG_FASTOPEN: connects first. No server gives out cookies here, so no data goes with the SYN. */
static int connect_first(struct socket *s, struct socket_message *msg)
{
    struct socket *unused = NULL;
    int err;

    if (msg->to_address && msg->address->family == AF_UNSPEC)
        return -EOPNOTSUPP;
    if (!msg->to_address)
        return tcp_of(s)->state == TCP_IDLE ? -EINVAL : -EISCONN;
    err = tcp_connect(s, msg->address, true, &unused);
    if (err == -EINPROGRESS && !(msg->flags & MSG_DONTWAIT))
        err = -EAGAIN;
    if (!err || err == -EAGAIN) {
        msg->flags &= ~MSG_FASTOPEN;
        msg->to_address = false;
    }
    return err;
}

/* Of control messages those of SOL_SOCKET are looked at alone: sock_cmsg_send(). */
static int check_control(const struct socket *s, const struct socket_message *msg)
{
    struct socket_marks unused;
    const uint8_t *data;
    struct cmsghdr c;
    size_t at = 0;
    int more;

    while ((more = socket_next_control(msg, &at, &c, &data)) > 0) {
        int err = 0;

        if (c.cmsg_level == SOL_SOCKET)
            err = socket_take_marks(s, c.cmsg_type, data, c.cmsg_len - CMSG_LEN(0), &unused);
        if (err < 0)
            return err;
    }
    return more;
}

ssize_t tcp_send(struct socket *s, struct socket_message *msg)
{
    struct tcp_write w = {.t = tcp_of(s), .msg = msg, .urgent = msg->flags & MSG_OOB};
    ssize_t n;

    if (msg->flags & MSG_FASTOPEN) {
        n = connect_first(s, msg);
        if (n < 0)
            return n;
    }
    w.c = tcp_get_conn(w.t);
    if (!w.c)
        return not_connected(w.t);
    n = check_control(s, msg);
    if (n < 0) {
        tcp_conn_unref(w.c);
        return n;
    }
    w.more = (msg->flags & MSG_MORE) || w.t->opt.cork;
    w.from = &w.c->end[w.t->side];
    w.to = &w.c->end[1 - w.t->side];
    lock_acquire(&w.t->write_lock);
    n = write_all(&w);
    lock_release(&w.t->write_lock);
    tcp_conn_unref(w.c);
    return n;
}
