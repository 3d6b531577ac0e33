/* A connection: two queues of bytes, and what each end knows of the other. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/net/inet/tcp.h"
#include "sentry/net/inet/wire.h"

static uint64_t memory_used; /* atomic: bytes of all chunks */

/* Seen by those who look on alone; nobody can send a segment here that fits. */
uint32_t tcp_initial(void)
{
    static uint32_t next = 0x2b7e1516; /* atomic */

    return __atomic_add_fetch(&next, 0x9e3779b1, __ATOMIC_RELAXED);
}

static void end_init(struct tcp_end *end, const struct endpoint *name)
{
    list_init(&end->chunks);
    end->name = *name;
    end->initial = tcp_initial();
}

struct tcp_conn *tcp_conn_create(struct net_ns *net, const struct endpoint *client,
                                 const struct endpoint *server)
{
    struct tcp_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    refcount_set(&c->refs, 1);
    lock_init(&c->lock);
    list_init(&c->queue_node);
    c->net = net;
    end_init(&c->end[0], client);
    end_init(&c->end[1], server);
    return c;
}

struct tcp_conn *tcp_conn_ref(struct tcp_conn *c)
{
    refcount_get(&c->refs);
    return c;
}

static void drop_chunks(struct tcp_end *end)
{
    while (!list_empty(&end->chunks)) {
        struct tcp_chunk *chunk = list_first(&end->chunks, struct tcp_chunk, node);

        list_del_init(&chunk->node);
        tcp_chunk_free(chunk);
    }
    __atomic_sub_fetch(&memory_used, end->memory, __ATOMIC_RELAXED);
    end->bytes = end->held = end->memory = 0;
}

struct tcp_conn *tcp_conn_unref(struct tcp_conn *c)
{
    if (c && refcount_put(&c->refs)) {
        drop_chunks(&c->end[0]);
        drop_chunks(&c->end[1]);
        lock_destroy(&c->lock);
        free(c);
    }
    return NULL;
}

struct tcp_conn *tcp_get_conn(struct tcp_socket *t)
{
    struct tcp_conn *c;

    lock_acquire(&tcp_sock(t)->lock);
    c = t->conn ? tcp_conn_ref(t->conn) : NULL;
    lock_release(&tcp_sock(t)->lock);
    return c;
}

struct tcp_socket *tcp_owner_locked(struct tcp_end *end)
{
    if (end->owner)
        socket_ref(tcp_sock(end->owner));
    return end->owner;
}

/* ---- room -------------------------------------------------------------------------------------
 */

static int64_t limit_of(const struct tcp_end *from, const struct tcp_end *to)
{
    int64_t limit =
        (from->sndbuf ? from->sndbuf : TCP_BUF_AUTO) + (to->rcvbuf ? to->rcvbuf : TCP_BUF_AUTO);

    if (__atomic_load_n(&memory_used, __ATOMIC_RELAXED) > TCP_MEMORY_MAX)
        limit = MIN(limit, (int64_t)TCP_BUF_SCARCE);
    return limit;
}

int64_t tcp_room_locked(const struct tcp_end *from, const struct tcp_end *to)
{
    return limit_of(from, to) - (int64_t)to->memory;
}

bool tcp_writable_locked(const struct tcp_end *from, const struct tcp_end *to)
{
    return tcp_room_locked(from, to) >= limit_of(from, to) / 3;
}

struct tcp_chunk *tcp_chunk_create(size_t room)
{
    struct tcp_chunk *chunk;

    if (socket_memory_take(sizeof(*chunk) + room) < 0)
        return NULL;
    chunk = malloc(sizeof(*chunk) + room);
    if (!chunk) {
        socket_memory_give(sizeof(*chunk) + room);
        return NULL;
    }
    list_init(&chunk->node);
    chunk->room = (uint32_t)room;
    chunk->size = chunk->offset = 0;
    return chunk;
}

void tcp_chunk_free(struct tcp_chunk *chunk)
{
    if (chunk)
        socket_memory_give(sizeof(*chunk) + chunk->room);
    free(chunk);
}

void tcp_chunk_add_locked(struct tcp_end *to, struct tcp_chunk *chunk)
{
    list_add_tail(&to->chunks, &chunk->node);
    to->held += chunk->size;
    to->memory += chunk->room;
    __atomic_add_fetch(&memory_used, chunk->room, __ATOMIC_RELAXED);
}

void tcp_chunk_take_locked(struct tcp_end *end, size_t size)
{
    struct tcp_chunk *chunk = list_first(&end->chunks, struct tcp_chunk, node);

    chunk->offset += (uint32_t)size;
    end->bytes -= size;
    end->taken += size;
    if (chunk->offset < chunk->size)
        return;
    list_del_init(&chunk->node);
    end->memory -= chunk->room;
    __atomic_sub_fetch(&memory_used, chunk->room, __ATOMIC_RELAXED);
    tcp_chunk_free(chunk);
}

void tcp_release_locked(struct tcp_end *to, bool all)
{
    uint64_t n = all ? to->held : to->held - to->held % TCP_LO_MSS;

    if (to->stalled)
        return;
    to->held -= n;
    to->bytes += n;
    to->arrived += n;
    to->segments += n > 0;
}

/* ---- ends -------------------------------------------------------------------------------------
 */

void tcp_conn_finish(struct tcp_conn *c, int side)
{
    struct tcp_end *other = &c->end[1 - side];
    struct tcp_socket *peer;
    bool first;

    lock_acquire(&c->lock);
    tcp_release_locked(other, true);
    first = !other->fin && !other->reset;
    other->fin = true;
    if (!c->first_closer)
        c->first_closer = (uint8_t)(1 + side);
    peer = tcp_owner_locked(other);
    lock_release(&c->lock);
    if (first)
        wire_finish(c, side, false);
    if (peer) {
        socket_wake(tcp_sock(peer),
                    POLLIN | POLLRDNORM | POLLRDHUP | (c->end[side].fin ? POLLHUP | POLLOUT : 0));
        socket_unref(tcp_sock(peer));
    }
}

/* What the owner of a connection that was reset finds: tcp_reset(). */
static void tell_reset(struct tcp_socket *t, bool had_fin, int broken)
{
    inet_count(tcp_sock(t)->net, TCP_RESETS);
    __atomic_store_n(&t->reset, true, __ATOMIC_RELEASE);
    socket_set_error(tcp_sock(t), had_fin ? EPIPE : broken ? broken : ECONNRESET);
    socket_wake(tcp_sock(t),
                POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP | POLLHUP | POLLERR);
}

/* `side` has ended, and so the other end hears, with a reset or as ever. c->lock is released. */
static void end_and_unlock(struct tcp_conn *c, int side, bool reset)
{
    struct tcp_end *other = &c->end[1 - side];
    struct tcp_socket *peer;
    bool had_fin = other->fin;

    other->fin = true;
    other->reset |= reset;
    if (!c->first_closer)
        c->first_closer = (uint8_t)(1 + side);
    peer = tcp_owner_locked(other);
    lock_release(&c->lock);
    if (reset || !had_fin)
        wire_finish(c, side, reset);
    if (!peer)
        return;
    if (reset)
        tell_reset(peer, had_fin, c->broken);
    else
        socket_wake(tcp_sock(peer), POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP | POLLOUT);
    socket_unref(tcp_sock(peer));
}

void tcp_conn_close(struct tcp_conn *c, int side, bool reset)
{
    struct tcp_end *end = &c->end[side], *other = &c->end[1 - side];

    lock_acquire(&c->lock);
    end->owner = NULL;
    end->closed = true;
    reset |= end->bytes > 0;
    reset &= !end->reset && !other->closed;
    drop_chunks(end);
    if (!reset)
        tcp_release_locked(other, true);
    end_and_unlock(c, side, reset);
}

void tcp_conn_abort(struct tcp_conn *c, int side)
{
    struct tcp_end *end = &c->end[side], *other = &c->end[1 - side];
    bool reset;

    lock_acquire(&c->lock);
    reset = !end->reset && !other->closed;
    end->reset = end->fin = true;
    end_and_unlock(c, side, reset);
}

bool tcp_deaf_locked(const struct tcp_conn *c, int side)
{
    const struct tcp_socket *t = c->end[side].owner;

    return t && c->end[1 - side].fin &&
           (__atomic_load_n(&t->shut, __ATOMIC_ACQUIRE) & TCP_SHUT_RECEIVE);
}

/* tcp_rcv_state_process() in FIN_WAIT2. */
void tcp_conn_refuse(struct tcp_conn *c, int side)
{
    struct tcp_socket *deaf;
    bool had_fin;

    lock_acquire(&c->lock);
    deaf = tcp_owner_locked(&c->end[side]);
    had_fin = c->end[side].fin;
    lock_release(&c->lock);
    tcp_conn_abort(c, side);
    if (deaf) {
        tell_reset(deaf, had_fin, c->broken);
        socket_unref(tcp_sock(deaf));
    }
}

bool tcp_conn_is_over(struct tcp_conn *c)
{
    bool over;

    lock_acquire(&c->lock);
    over = c->end[0].fin && c->end[1].fin;
    lock_release(&c->lock);
    return over;
}

uint8_t tcp_conn_state(struct tcp_conn *c, int side)
{
    struct tcp_end *end = &c->end[side], *other = &c->end[1 - side];
    uint8_t state;

    lock_acquire(&c->lock);
    if (end->reset)
        state = TCP_CLOSE;
    else if (end->fin && other->fin)
        state = c->first_closer == 1 + side ? TCP_TIME_WAIT
                : other->closed             ? TCP_CLOSE
                                            : TCP_LAST_ACK;
    else if (end->fin)
        state = TCP_CLOSE_WAIT;
    else if (other->fin)
        state = TCP_FIN_WAIT2;
    else
        state = TCP_ESTABLISHED;
    lock_release(&c->lock);
    return state;
}
