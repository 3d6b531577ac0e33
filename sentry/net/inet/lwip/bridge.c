/*
 * Connections that lead out. Inside, a program's socket is connected, in memory, to one that no
 * program has; outside, lwIP has the connection of the same names. A bridge carries bytes, ends
 * and resets between the two:
 *
 *      program's socket == tcp_conn == `inside`  <-bridge->  `stream` ~~~ the other host
 *
 * It has no queue of its own: bytes stay with lwIP, whose window closes, while the program's queue
 * is full, and with the program's socket while lwIP's is. Whoever changes either side puts the
 * bridge on a list, and the stack's thread looks at those on it.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "host/io.h"
#include "sentry/mm/uio.h"
#include "sentry/net/inet/lwip/bridge.h"
#include "sentry/net/inet/lwip/stack.h"
#include "sentry/net/inet/tcp.h"
#include "sentry/net/netns.h"

#define CARRY_MAX   16384 /* bytes at once */
#define WAITING_MAX 1024  /* connections from outside for which no listener's queue has room */

struct bridge {
    struct list pending; /* of those to look at; under pending_lock */
    struct stack_stream *stream;
    struct tcp_socket *inside;  /* its file's reference is ours */
    struct tcp_socket *program; /* owned: who connects, until that is decided; NULL */
    struct wait_entry entry;    /* in inside's queue */
    bool waits;                 /* came from outside, and no listener has it yet */
    bool sent_end, got_end;
    bool ending; /* the program has closed it, and not all has left */
};

static struct net_ns *net; /* the first one: as long as the sandbox */
static struct lock pending_lock = LOCK_INIT;
static struct list pending = LIST_INIT(pending); /* under pending_lock */
static int kick_fd = -1;
static bool kicked;                /* atomic: the thread will look */
static int waiting, ending;        /* under stack_lock: how many are so */
static uint8_t carried[CARRY_MAX]; /* likewise */
static __thread bool is_stack_thread;

/* ---- who is to be looked at -------------------------------------------------------------------
 */

static void bridge_poke(struct bridge *b)
{
    static const uint64_t one = 1;

    lock_acquire(&pending_lock);
    if (list_empty(&b->pending))
        list_add_tail(&pending, &b->pending);
    lock_release(&pending_lock);
    if (!is_stack_thread && !__atomic_exchange_n(&kicked, true, __ATOMIC_ACQ_REL))
        host_write(kick_fd, &one, sizeof(one));
}

static void inside_changed(struct wait_entry *entry, uint32_t events)
{
    bridge_poke(container_of(entry, struct bridge, entry));
}

static void stream_changed(void *user)
{
    bridge_poke(user);
}

/* ---- one bridge -------------------------------------------------------------------------------
 */

static struct bridge *bridge_create(bool v4)
{
    struct bridge *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    if (tcp_alloc(net, v4 ? AF_INET : AF_INET6, &b->inside) < 0) {
        free(b);
        return NULL;
    }
    list_init(&b->pending);
    b->entry = (struct wait_entry){.wake = inside_changed};
    list_init(&b->entry.node);
    wait_queue_add(&tcp_sock(b->inside)->queue, &b->entry);
    return b;
}

/* `reset`: neither side may think that all went well. */
static void bridge_destroy(struct bridge *b, bool reset)
{
    struct socket *s = tcp_sock(b->inside);

    wait_queue_remove(&s->queue, &b->entry);
    lock_acquire(&pending_lock);
    list_del_init(&b->pending);
    lock_release(&pending_lock);
    if (b->stream)
        stack_stream_close(b->stream, reset);
    waiting -= b->waits;
    ending -= b->ending;
    s->opt.linger = reset;
    s->opt.linger_seconds = 0;
    file_unref(&s->file);
    socket_unref(b->program ? tcp_sock(b->program) : NULL);
    free(b);
}

static enum tcp_state inside_state(struct bridge *b)
{
    enum tcp_state state;

    lock_acquire(&tcp_sock(b->inside)->lock);
    state = b->inside->state;
    lock_release(&tcp_sock(b->inside)->lock);
    return state;
}

/* Has the program closed its socket? If not, *ret is that, referenced; NULL before accept(2). */
static bool program_gone(struct bridge *b, struct tcp_socket **ret)
{
    struct tcp_conn *c = tcp_get_conn(b->inside);
    bool gone;

    *ret = NULL;
    if (!c)
        return true;
    lock_acquire(&c->lock);
    gone = c->end[1 - b->inside->side].closed;
    *ret = tcp_owner_locked(&c->end[1 - b->inside->side]);
    lock_release(&c->lock);
    tcp_conn_unref(c);
    return gone;
}

/* SO_KEEPALIVE as the program has it now. */
static void keep_alive(struct bridge *b, const struct tcp_socket *program)
{
    bool on = program->inet.sock.opt.keep_alive;

    stack_stream_keep_alive(b->stream, on ? (uint32_t)program->opt.keepidle : 0,
                            (uint32_t)program->opt.keepintvl, (uint32_t)program->opt.keepcnt);
}

/* 0: as much as could be; -errno: the connection inside is broken. */
static int carry_out(struct bridge *b)
{
    ssize_t n = 0;

    while (!b->sent_end) {
        size_t room = MIN(stack_stream_room(b->stream), sizeof(carried));
        struct socket_message msg = {.flags = MSG_DONTWAIT};
        struct uio uio;

        if (room == 0)
            break;
        uio_init_host(&uio, carried, room);
        msg.uio = &uio;
        n = tcp_receive(tcp_sock(b->inside), &msg);
        if (n < 0)
            break;
        if (n == 0) {
            stack_stream_finish(b->stream);
            b->sent_end = true;
        } else if (stack_stream_write(b->stream, carried, (size_t)n) < 0) {
            return -ENOBUFS;
        }
    }
    stack_stream_push(b->stream);
    return n == -EAGAIN ? 0 : (int)MIN(n, 0);
}

static int carry_in(struct bridge *b)
{
    const void *data;
    ssize_t n = 0;
    size_t size;

    while ((size = stack_stream_peek(b->stream, &data)) > 0) {
        struct socket_message msg = {.flags = MSG_DONTWAIT | MSG_NOSIGNAL};
        struct uio uio;

        uio_init_host(&uio, (void *)data, size);
        msg.uio = &uio;
        n = tcp_send(tcp_sock(b->inside), &msg);
        if (n < 0)
            break;
        stack_stream_take(b->stream, (size_t)n);
    }
    if (!b->got_end && stack_stream_ended(b->stream)) {
        tcp_sock(b->inside)->ops->shutdown(tcp_sock(b->inside), SHUT_WR);
        b->got_end = true;
    }
    return n == -EAGAIN ? 0 : (int)MIN(n, 0);
}

/* What a program began to connect: false while it is not decided; the bridge may be gone after. */
static bool settle(struct bridge *b)
{
    struct tcp_socket *t = b->program;
    enum stack_stream_state state = stack_stream_state(b->stream);
    bool wanted;

    lock_acquire(&tcp_sock(t)->lock);
    wanted = t->outside == b->inside;
    lock_release(&tcp_sock(t)->lock);
    if (wanted && state == STREAM_OPENING)
        return false;
    if (wanted && state == STREAM_OPEN) {
        tcp_answer(t, b->inside, 0);
        b->program = NULL;
        socket_unref(tcp_sock(t));
        if (inside_state(b) == TCP_CONNECTED)
            return true;
    } else if (wanted) {
        int err = stack_stream_error(b->stream);

        tcp_answer(t, b->inside, err ? err : -ECONNREFUSED);
    }
    bridge_destroy(b, true);
    return false;
}

/* What came from outside and found the listener's queue full: likewise. */
static bool join_later(struct bridge *b)
{
    enum tcp_state state = inside_state(b);

    if (stack_stream_state(b->stream) == STREAM_DEAD || state == TCP_IDLE) {
        bridge_destroy(b, true);
        return false;
    }
    if (state != TCP_CONNECTED)
        return false;
    b->waits = false;
    waiting--;
    return true;
}

/* lwIP has given up: what the program will be told. */
static void note_error(struct bridge *b)
{
    struct tcp_conn *c = tcp_get_conn(b->inside);
    int err = stack_stream_error(b->stream);

    if (!c)
        return;
    lock_acquire(&c->lock);
    c->broken = err == -ECONNRESET ? 0 : -err;
    lock_release(&c->lock);
    tcp_conn_unref(c);
}

static void bridge_look(struct bridge *b)
{
    struct tcp_socket *program;
    bool broken, gone;

    if (b->program && !settle(b))
        return;
    if (b->waits && !join_later(b))
        return;
    broken = stack_stream_state(b->stream) == STREAM_DEAD && stack_stream_error(b->stream);
    if (broken)
        note_error(b);
    if (broken || carry_in(b) < 0 || carry_out(b) < 0) {
        bridge_destroy(b, true);
        return;
    }
    gone = program_gone(b, &program);
    if (program) {
        keep_alive(b, program);
        socket_unref(tcp_sock(program));
    }
    if (b->sent_end && (b->got_end || gone)) {
        bridge_destroy(b, false);
    } else if (gone && !b->ending) {
        b->ending = true;
        ending++;
    }
}

bool bridges_ending(void)
{
    bool looks;

    lock_acquire(&pending_lock);
    looks = !list_empty(&pending);
    lock_release(&pending_lock);
    return looks || ending > 0;
}

bool bridges_look(void)
{
    struct bridge *b;

    __atomic_store_n(&kicked, false, __ATOMIC_RELEASE);
    for (int i = 0; i < 256; i++) {
        lock_acquire(&pending_lock);
        b = list_empty(&pending) ? NULL : list_first(&pending, struct bridge, pending);
        if (b)
            list_del_init(&b->pending);
        lock_release(&pending_lock);
        if (!b)
            return true;
        bridge_look(b);
    }
    return false;
}

/* ---- from outside -----------------------------------------------------------------------------
 */

static struct endpoint endpoint_of(const struct stack_name *name)
{
    return (struct endpoint){name->addr, name->port};
}

static struct stack_name name_of(const struct endpoint *e)
{
    return (struct stack_name){e->addr, e->port};
}

static void *incoming(struct stack_stream *stream, const struct stack_name *from,
                      const struct stack_name *to)
{
    struct bridge *b = waiting < WAITING_MAX ? bridge_create(addr_is_v4(&to->addr)) : NULL;
    struct endpoint source = endpoint_of(from), destination = endpoint_of(to);
    int result;

    if (!b)
        return NULL;
    result = tcp_meet(b->inside, &source, &destination);
    if (result < 0) {
        bridge_destroy(b, true);
        return NULL;
    }
    b->stream = stream;
    b->waits = result == 1;
    waiting += b->waits;
    return b;
}

/* ---- from inside ------------------------------------------------------------------------------
 */

int bridge_connect(struct tcp_socket *t)
{
    struct stack_name from = name_of(&t->inet.local), to = name_of(&t->inet.remote);
    struct bridge *b;
    int err;

    lock_acquire(&stack_lock);
    b = bridge_create(addr_is_v4(&to.addr));
    err = b ? stack_stream_connect(&from, &to, b, &b->stream) : -ENOBUFS;
    if (!err) {
        b->program = tcp_of(socket_ref(tcp_sock(t)));
        lock_acquire(&tcp_sock(t)->lock);
        t->outside = tcp_of(socket_ref(tcp_sock(b->inside)));
        lock_release(&tcp_sock(t)->lock);
        /* The thread may sleep, without a timer that this one needs; and b may go with the lock. */
        bridge_poke(b);
    } else if (b) {
        bridge_destroy(b, true);
    }
    lock_release(&stack_lock);
    return err;
}

void bridge_cancel(struct tcp_socket *connecting)
{
    socket_wake(tcp_sock(connecting), POLLHUP);
}

void bridge_listening_changed(struct inet_ns *ns, uint16_t port)
{
    lock_acquire(&stack_lock);
    if (port_has_listener(ns, port))
        (void)stack_stream_listen(port); /* without memory nobody comes */
    else
        stack_stream_deafen(port);
    lock_release(&stack_lock);
}

void bridges_start(struct net_ns *first, int kick)
{
    static const struct stack_stream_user user = {.incoming = incoming, .changed = stream_changed};

    net = first;
    kick_fd = kick;
    lock_acquire(&stack_lock);
    stack_stream_start(&user);
    lock_release(&stack_lock);
}

void bridges_own_thread(void)
{
    is_stack_thread = true;
}
