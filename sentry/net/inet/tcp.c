/* A TCP socket's life, and what it says of itself. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/tcp.h"

static void tcp_close(struct socket *s)
{
    struct tcp_socket *t = tcp_of(s);

    /* SO_LINGER with no time at all: what is on its way is forgotten. */
    tcp_disconnect(t, s->opt.linger && s->opt.linger_seconds == 0);
    port_drop(&t->inet);
    groups_leave_all(&t->inet);
}

static void tcp_free(struct socket *s)
{
    struct tcp_socket *t = tcp_of(s);

    timer_cancel(&t->cork);
    inet_socket_fini(&t->inet);
    lock_destroy(&t->connect_lock);
    lock_destroy(&t->read_lock);
    lock_destroy(&t->write_lock);
    free(t);
}

static int tcp_shutdown(struct socket *s, int how)
{
    struct tcp_socket *t = tcp_of(s);
    uint8_t mask = (uint8_t)(how + 1);
    struct tcp_conn *c;
    int err = 0;

    lock_acquire(&t->connect_lock);
    c = tcp_get_conn(t);
    if (c) {
        bool over = tcp_conn_is_over(c) || __atomic_load_n(&t->reset, __ATOMIC_ACQUIRE);
        uint8_t before = __atomic_fetch_or(&t->shut, mask, __ATOMIC_ACQ_REL);

        if (over)
            err = -ENOTCONN;
        else if (mask & ~before & TCP_SHUT_SEND)
            tcp_conn_finish(c, t->side);
        tcp_conn_unref(c);
        socket_wake(s, POLLIN | POLLRDNORM | POLLOUT | POLLRDHUP | POLLHUP);
    } else if (t->state == TCP_WAITING) {
        tcp_disconnect(t, false);
    } else if (t->state == TCP_LISTENING) {
        if (mask & TCP_SHUT_RECEIVE)
            tcp_disconnect(t, false);
    } else {
        err = -ENOTCONN;
    }
    lock_release(&t->connect_lock);
    return err;
}

/* As tcp_abort(): both sides find it broken, each for its own reason. */
static int tcp_abort(struct socket *s, int error)
{
    struct tcp_socket *t = tcp_of(s);
    struct tcp_conn *c;
    int err = 0;

    lock_acquire(&t->connect_lock);
    c = tcp_get_conn(t);
    if (c && !__atomic_load_n(&t->reset, __ATOMIC_ACQUIRE)) {
        tcp_conn_abort(c, t->side);
        __atomic_store_n(&t->reset, true, __ATOMIC_RELEASE);
    } else if (!c && (t->state == TCP_LISTENING || t->state == TCP_WAITING)) {
        tcp_disconnect(t, false);
    } else {
        err = -ENOENT;
    }
    lock_release(&t->connect_lock);
    if (!err) {
        socket_set_error(s, error);
        socket_wake(s, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP | POLLHUP | POLLERR);
    }
    tcp_conn_unref(c);
    return err;
}

/* ---- what it says -----------------------------------------------------------------------------
 */

static uint32_t poll_connected(struct tcp_socket *t, struct tcp_conn *c)
{
    struct tcp_end *end = &c->end[t->side], *other = &c->end[1 - t->side];
    uint8_t shut = __atomic_load_n(&t->shut, __ATOMIC_ACQUIRE);
    bool over = __atomic_load_n(&t->reset, __ATOMIC_ACQUIRE), finished;
    uint32_t events = 0;
    uint64_t wanted = (uint64_t)tcp_sock(t)->opt.rcvlowat;

    lock_acquire(&c->lock);
    /* tcp_poll(): an urgent byte that comes next is read by MSG_OOB alone. */
    if (end->urgent && end->taken == end->urgent_at && !tcp_sock(t)->opt.oob_inline)
        wanted++;
    finished = end->fin && other->fin;
    if (end->fin || over)
        shut |= TCP_SHUT_RECEIVE;
    if (over || finished)
        shut |= TCP_SHUT_BOTH;
    if (end->bytes >= wanted ||
        (end->bytes > 0 && !tcp_writable_locked(other, end))) /* nothing more may come before */
        events |= POLLIN | POLLRDNORM;
    if (end->urgent && !end->urgent_read)
        events |= POLLPRI;
    if ((shut & TCP_SHUT_SEND) || tcp_writable_locked(end, other))
        events |= POLLOUT | POLLWRNORM;
    else
        end->starved = true;
    lock_release(&c->lock);
    if (shut == TCP_SHUT_BOTH)
        events |= POLLHUP;
    if (shut & TCP_SHUT_RECEIVE)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    return events;
}

static uint32_t poll_unconnected(struct tcp_socket *t)
{
    uint8_t shut = __atomic_load_n(&t->shut, __ATOMIC_ACQUIRE);
    uint32_t events;

    if (t->state == TCP_WAITING)
        return 0;
    if (t->state == TCP_LISTENING) {
        lock_acquire(&tcp_sock(t)->lock);
        events = list_empty(&t->queue) ? 0 : POLLIN | POLLRDNORM;
        lock_release(&tcp_sock(t)->lock);
        return events;
    }
    events = POLLHUP | POLLOUT | POLLWRNORM;
    if ((shut & TCP_SHUT_RECEIVE))
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    return events;
}

static uint32_t tcp_poll(struct socket *s)
{
    struct tcp_socket *t = tcp_of(s);
    struct tcp_conn *c = tcp_get_conn(t);
    uint32_t events = c ? poll_connected(t, c) : poll_unconnected(t);

    tcp_conn_unref(c);
    return events | (socket_error(s) ? POLLERR : 0);
}

static int tcp_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    struct tcp_socket *t = tcp_of(s);
    struct tcp_conn *c;
    bool over;

    if (!peer)
        return inet_getname(s, false, ret);
    c = tcp_get_conn(t);
    over = !c || tcp_conn_is_over(c) || __atomic_load_n(&t->reset, __ATOMIC_ACQUIRE);
    tcp_conn_unref(c);
    return over ? -ENOTCONN : inet_getname(s, true, ret);
}

static uint32_t unread_bytes(struct tcp_conn *c, int side)
{
    uint64_t n;

    lock_acquire(&c->lock);
    n = c->end[side].bytes;
    if (c->end[side].urgent && !c->end[side].urgent_read && n > 0)
        n = MIN(n, c->end[side].urgent_at - c->end[side].taken);
    lock_release(&c->lock);
    return (uint32_t)MIN(n, (uint64_t)INT32_MAX);
}

/* Nothing is ever on its way; but bytes may be held back. */
static int unsent_bytes(struct tcp_conn *c, int to)
{
    uint64_t n;

    lock_acquire(&c->lock);
    n = c->end[to].held;
    lock_release(&c->lock);
    return (int)MIN(n, (uint64_t)INT32_MAX);
}

static bool at_mark(struct tcp_conn *c, int side)
{
    bool at;

    lock_acquire(&c->lock);
    at = c->end[side].urgent && c->end[side].taken == c->end[side].urgent_at;
    lock_release(&c->lock);
    return at;
}

static int tcp_queued(struct socket *s, uint32_t cmd, int *ret)
{
    struct tcp_socket *t = tcp_of(s);
    struct tcp_conn *c;
    int answer = 0;

    if (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCOUTQNSD && cmd != SIOCATMARK)
        return -ENOTTY;
    if (t->state == TCP_LISTENING && cmd != SIOCATMARK)
        return -EINVAL;
    c = tcp_get_conn(t);
    if (c && cmd == SIOCINQ)
        answer = (int)unread_bytes(c, t->side);
    else if (c && cmd == SIOCATMARK)
        answer = at_mark(c, t->side);
    else if (c)
        answer = unsent_bytes(c, 1 - t->side);
    tcp_conn_unref(c);
    *ret = answer;
    return 0;
}

static long tcp_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int answer, err = tcp_queued(s, cmd, &answer);

    return err < 0 ? err : inet_answer(mm, arg, answer);
}

uint8_t tcp_state_number(struct tcp_socket *t, struct tcp_conn *c)
{
    if (c)
        return tcp_conn_state(c, t->side);
    return t->state == TCP_LISTENING ? TCP_LISTEN
           : t->state == TCP_WAITING ? TCP_SYN_SENT
                                     : TCP_CLOSE;
}

void tcp_report(struct inet_socket *s, struct inet_report *ret)
{
    struct tcp_socket *t = tcp_of(&s->sock);
    struct tcp_conn *c = tcp_get_conn(t);

    lock_acquire(&s->sock.lock);
    inet_report_locked(s, ret);
    ret->state = tcp_state_number(t, c);
    ret->shutdown = t->shut;
    memcpy(ret->congestion, t->opt.congestion, sizeof(ret->congestion));
    if (t->state == TCP_LISTENING) {
        ret->unread = t->queued;
        ret->unsent = t->backlog;
    }
    lock_release(&s->sock.lock);
    if (c) {
        ret->unread = unread_bytes(c, t->side);
        ret->unsent = (uint32_t)unsent_bytes(c, 1 - t->side);
        ret->read_memory = ret->unread;
    }
    tcp_conn_unref(c);
    ret->info_size = sizeof(ret->info);
    tcp_get_info(t, ret->info, &ret->info_size);
}

/* ---- making -----------------------------------------------------------------------------------
 */

static const struct socket_operations tcp_operations = {
    .bind = inet_bind,
    .listen = tcp_listen,
    .connect = tcp_connect,
    .accept = tcp_accept,
    .getname = tcp_getname,
    .sendmsg = tcp_send,
    .recvmsg = tcp_receive,
    .shutdown = tcp_shutdown,
    .setsockopt = tcp_setsockopt,
    .getsockopt = tcp_getsockopt,
    .option_changed = tcp_option_changed,
    .set_chooser = port_set_chooser,
    .queued = tcp_queued,
    .ioctl = tcp_ioctl,
    .poll = tcp_poll,
    .stream = true,
    .abort = tcp_abort,
    .close = tcp_close,
    .free = tcp_free,
};

int tcp_alloc(struct net_ns *net, int domain, struct tcp_socket **ret)
{
    struct tcp_socket *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOBUFS;
    inet_socket_init(&t->inet, net, &tcp_operations, domain, SOCK_STREAM, IPPROTO_TCP);
    lock_init(&t->connect_lock);
    lock_init(&t->read_lock);
    lock_init(&t->write_lock);
    timer_init(&t->cork, tcp_cork_expired);
    list_init(&t->wait_node);
    list_init(&t->queue);
    list_init(&t->hopefuls);
    tcp_parameters_init(&t->opt);
    *ret = t;
    return 0;
}

int tcp_create(struct net_ns *net, int domain, int protocol, struct socket **ret)
{
    struct tcp_socket *t;
    int err = tcp_alloc(net, domain, &t);

    if (err < 0)
        return err;
    tcp_sock(t)->opt.sndbuf = 16384; /* tcp_wmem, tcp_rmem */
    tcp_sock(t)->opt.rcvbuf = 131072;
    *ret = tcp_sock(t);
    return 0;
}
