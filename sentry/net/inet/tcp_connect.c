/* Who is connected to whom: connect(2), listen(2), accept(2), and the end of it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>

#include "sentry/net/filter.h"
#include "sentry/net/inet/tcp.h"
#include "sentry/vfs/landlock/landlock.h"

/* ---- listen(2), accept(2) ---------------------------------------------------------------------
 */

int tcp_listen(struct socket *s, int backlog)
{
    struct tcp_socket *t = tcp_of(s);
    int err = 0;

    lock_acquire(&s->lock);
    if (t->state != TCP_IDLE && t->state != TCP_LISTENING)
        err = -EINVAL;
    lock_release(&s->lock);
    if (!err)
        err = inet_autobind(&t->inet);
    if (!err)
        err = port_listen(&t->inet);
    if (err < 0)
        return err;
    lock_acquire(&s->lock);
    t->state = TCP_LISTENING;
    t->backlog = (uint32_t)backlog;
    t->shut = 0;
    lock_release(&s->lock);
    __atomic_store_n(&s->accepting, 1, __ATOMIC_RELAXED);
    port_tell_listening(s->net, t->inet.local.port);
    return 0;
}

static bool queue_full(const struct tcp_socket *listener)
{
    return listener->queued > listener->backlog;
}

static uint32_t set_size(uint32_t size, bool locked)
{
    return locked ? size / 2 : 0;
}

/* listener->lock and the client's held: a connection for the client, in the listener's queue. */
static int connect_locked(struct tcp_socket *client, struct tcp_socket *listener)
{
    struct inet_socket *in = &client->inet;
    const struct socket_options *opt = &tcp_sock(client)->opt, *theirs = &tcp_sock(listener)->opt;
    struct tcp_conn *c = tcp_conn_create(&in->local, &in->remote);

    if (!c)
        return -ENOBUFS;
    c->end[0].owner = client;
    c->end[0].rcvbuf = set_size(opt->rcvbuf, opt->rcvbuf_locked);
    c->end[0].sndbuf = set_size(opt->sndbuf, opt->sndbuf_locked);
    c->end[1].rcvbuf = set_size(theirs->rcvbuf, theirs->rcvbuf_locked);
    c->end[1].sndbuf = set_size(theirs->sndbuf, theirs->sndbuf_locked);
    client->conn = c;
    client->side = 0;
    client->state = TCP_CONNECTED;
    inet_count(tcp_sock(client)->net, TCP_PASSIVE_OPENS);
    list_add_tail(&listener->queue, &tcp_conn_ref(c)->queue_node);
    listener->queued++;
    return 0;
}

/* The first of those who wait for room in the queue, with a reference. */
static struct tcp_socket *take_hopeful_locked(struct tcp_socket *listener)
{
    struct tcp_socket *client = list_first(&listener->hopefuls, struct tcp_socket, wait_node);
    bool waits;

    list_del_init(&client->wait_node);
    socket_ref(tcp_sock(client));
    lock_acquire(&tcp_sock(client)->lock);
    waits = client->listener != NULL;
    client->listener = NULL;
    lock_release(&tcp_sock(client)->lock);
    if (waits) /* never the last: the caller has one */
        socket_unref(tcp_sock(listener));
    return client;
}

/* There is room in the queue again: the first of those who wait for it, referenced; NULL. */
static struct tcp_socket *promote_locked(struct tcp_socket *listener)
{
    struct tcp_socket *client;

    if (queue_full(listener) || list_empty(&listener->hopefuls))
        return NULL;
    client = take_hopeful_locked(listener);
    lock_acquire(&tcp_sock(client)->lock);
    if (client->state == TCP_WAITING && connect_locked(client, listener) < 0)
        client->state = TCP_IDLE;
    lock_release(&tcp_sock(client)->lock);
    return client;
}

/* The socket for a connection that was waiting; the reference on `c` is taken over. */
static int make_accepted(struct tcp_socket *listener, struct tcp_conn *c, struct socket **ret)
{
    struct socket *from = tcp_sock(listener);
    struct tcp_socket *t;
    bool was_reset;
    int err = tcp_alloc(from->net, from->domain, &t);

    if (err < 0) {
        tcp_conn_close(c, 1, true);
        tcp_conn_unref(c);
        return err;
    }
    tcp_sock(t)->opt = from->opt;
    socket_filter_inherit(tcp_sock(t), from);
    t->opt = listener->opt;
    t->inet.ip = listener->inet.ip;
    t->inet.local = c->end[1].name;
    t->inet.bound = t->inet.local.addr;
    t->inet.remote = c->end[0].name;
    t->state = TCP_CONNECTED;
    t->conn = c;
    t->side = 1;
    port_share(&t->inet, &listener->inet);
    lock_acquire(&c->lock);
    c->end[1].owner = t;
    was_reset = c->end[1].reset;
    lock_release(&c->lock);
    if (was_reset) {
        t->reset = true;
        tcp_sock(t)->error = ECONNRESET;
    }
    *ret = tcp_sock(t);
    return 0;
}

int tcp_accept(struct socket *s, struct socket **ret)
{
    struct tcp_socket *t = tcp_of(s), *promoted = NULL;
    struct tcp_conn *c = NULL;
    int err = 0;

    lock_acquire(&s->lock);
    if (t->state != TCP_LISTENING) {
        err = -EINVAL;
    } else if (list_empty(&t->queue)) {
        err = -EAGAIN;
    } else {
        c = list_first(&t->queue, struct tcp_conn, queue_node);
        list_del_init(&c->queue_node);
        t->queued--;
        promoted = promote_locked(t);
    }
    lock_release(&s->lock);
    if (promoted) {
        socket_wake(tcp_sock(promoted), POLLOUT | POLLWRNORM | POLLIN);
        socket_unref(tcp_sock(promoted));
        socket_wake(s, POLLIN | POLLRDNORM);
    }
    return err < 0 ? err : make_accepted(t, c, ret);
}

/* ---- connect(2) -------------------------------------------------------------------------------
 */

/* To a listener, whose lock is taken first. -ECONNREFUSED; 1: its queue is full. */
static int join(struct tcp_socket *t, struct tcp_socket *listener)
{
    int err = 0;

    lock_acquire(&tcp_sock(listener)->lock);
    lock_acquire(&tcp_sock(t)->lock);
    if (t == listener || listener->state != TCP_LISTENING) {
        err = -ECONNREFUSED;
    } else if (queue_full(listener)) {
        t->listener = tcp_of(socket_ref(tcp_sock(listener)));
        list_add_tail(&listener->hopefuls, &t->wait_node);
        inet_count(tcp_sock(t)->net, TCP_LISTEN_OVERFLOWS);
        err = 1;
    } else {
        err = connect_locked(t, listener);
    }
    lock_release(&tcp_sock(t)->lock);
    lock_release(&tcp_sock(listener)->lock);
    if (!err)
        socket_wake(tcp_sock(listener), POLLIN | POLLRDNORM);
    return err;
}

static void forget_remote_locked(struct tcp_socket *t)
{
    struct inet_socket *in = &t->inet;

    in->remote.port = 0;
    in->remote.addr = addr_any(in);
    in->local.addr = in->bound;
}

/* TCP_WAITING was set by the caller, so nobody else connects it meanwhile. */
static int establish(struct tcp_socket *t, struct endpoint *to)
{
    struct inet_socket *in = &t->inet, *found;
    const struct inet_outward *outward;
    struct in6_addr from;
    int err = endpoint_route(in, to, &from);

    if (!err && addr_is_multicast(&to->addr))
        err = -ENETUNREACH;
    if (!err)
        err = inet_autobind(in);
    if (err < 0)
        return err == -EADDRINUSE ? -EADDRNOTAVAIL : err;
    lock_acquire(&in->sock.lock);
    in->local.addr = from;
    in->remote = *to;
    lock_release(&in->sock.lock);
    inet_count(in->sock.net, TCP_ACTIVE_OPENS);
    outward = endpoint_outward(in, &to->addr);
    if (outward) {
        err = outward->connect(t);
        return err < 0 ? err : 1;
    }
    found = port_find(in->sock.net, IPPROTO_TCP, to, &in->local);
    if (!found) {
        inet_count(in->sock.net, TCP_ATTEMPT_FAILS);
        return -ECONNREFUSED;
    }
    err = join(t, tcp_of(&found->sock));
    socket_unref(&found->sock);
    return err;
}

/* 0: now begin; else what connect(2) says to one in this state. */
static int check_connect_locked(struct tcp_socket *t)
{
    int err;

    if (t->state == TCP_WAITING)
        return -EALREADY;
    if (t->state == TCP_LISTENING)
        return -EISCONN;
    if (t->unreported) {
        t->unreported = false;
        if (t->state == TCP_CONNECTED)
            return 1;
        err = socket_take_error(tcp_sock(t));
        return err ? err : -ECONNABORTED;
    }
    if (t->state == TCP_CONNECTED)
        return -EISCONN;
    t->state = TCP_WAITING;
    return 0;
}

/* How the one that was begun went on. */
static int connect_result(struct tcp_socket *t)
{
    int err;

    lock_acquire(&tcp_sock(t)->lock);
    err = t->state == TCP_WAITING ? -EINPROGRESS : check_connect_locked(t);
    lock_release(&tcp_sock(t)->lock);
    return err == 1 ? 0 : err;
}

/* A port that nobody asked for goes with the connection. */
static void drop_chosen_port(struct tcp_socket *t)
{
    if (!t->inet.bound_port) {
        port_drop(&t->inet);
        t->inet.local.port = 0;
    }
}

static int begin_connect(struct tcp_socket *t, struct endpoint *to)
{
    struct socket *s = tcp_sock(t);
    bool nonblock = __atomic_load_n(&s->file.flags, __ATOMIC_RELAXED) & O_NONBLOCK;
    int err = establish(t, to);

    lock_acquire(&s->lock);
    if (err < 0) {
        t->state = TCP_IDLE;
        forget_remote_locked(t);
    }
    t->shut = err == -ECONNREFUSED ? TCP_SHUT_BOTH : 0;
    /* As the handshake is never over when a Linux program that does not wait comes back. */
    t->unreported = err == 1 || (nonblock && (!err || err == -ECONNREFUSED));
    lock_release(&s->lock);
    if (err < 0)
        drop_chosen_port(t);
    if (nonblock && err == -ECONNREFUSED)
        socket_set_error(s, ECONNREFUSED);
    return t->unreported ? -EINPROGRESS : err;
}

static int connect_to(struct tcp_socket *t, const struct socket_address *addr)
{
    struct socket *s = tcp_sock(t);
    struct endpoint to;
    int err = endpoint_parse(&t->inet, addr, false, &to);

    if (!err)
        err = landlock_check_port(to.port, LANDLOCK_CONNECT_TCP);
    if (err < 0)
        return err;
    lock_acquire(&s->lock);
    err = check_connect_locked(t);
    lock_release(&s->lock);
    if (err)
        return err == 1 ? 0 : err;
    return begin_connect(t, &to);
}

int tcp_connect(struct socket *s, const struct socket_address *addr, bool first,
                struct socket **ret_wait)
{
    struct tcp_socket *t = tcp_of(s);
    int err;

    if (!first)
        return connect_result(t);
    if (addr->size < sizeof(addr->family))
        return -EINVAL;
    lock_acquire(&t->connect_lock);
    if (addr->family == AF_UNSPEC) {
        tcp_disconnect(t, true);
        err = 0;
    } else {
        err = connect_to(t, addr);
    }
    lock_release(&t->connect_lock);
    return err;
}

/* ---- from and to outside ----------------------------------------------------------------------
 */

int tcp_meet(struct tcp_socket *peer, const struct endpoint *from, const struct endpoint *to)
{
    struct inet_socket *in = &peer->inet, *found;
    int err;

    lock_acquire(&in->sock.lock);
    in->local = *from;
    in->bound = from->addr;
    in->bound_port = true;
    in->remote = *to;
    peer->state = TCP_WAITING;
    lock_release(&in->sock.lock);
    found = port_find(in->sock.net, IPPROTO_TCP, to, from);
    if (!found)
        return -ECONNREFUSED;
    err = join(peer, tcp_of(&found->sock));
    socket_unref(&found->sock);
    return err;
}

/* Both locks are held; -ENOBUFS. */
static int connect_peer_locked(struct tcp_socket *t, struct tcp_socket *peer)
{
    const struct socket_options *opt = &tcp_sock(t)->opt;
    struct tcp_conn *c = tcp_conn_create(&t->inet.local, &t->inet.remote);

    if (!c)
        return -ENOBUFS;
    c->end[0].owner = t;
    c->end[0].rcvbuf = set_size(opt->rcvbuf, opt->rcvbuf_locked);
    c->end[0].sndbuf = set_size(opt->sndbuf, opt->sndbuf_locked);
    c->end[1].owner = peer;
    t->conn = c;
    t->side = 0;
    peer->conn = tcp_conn_ref(c);
    peer->side = 1;
    peer->inet.local = t->inet.remote;
    peer->inet.remote = t->inet.local;
    t->state = peer->state = TCP_CONNECTED;
    return 0;
}

void tcp_answer(struct tcp_socket *t, struct tcp_socket *peer, int error)
{
    struct tcp_socket *outside = NULL;

    lock_acquire(&tcp_sock(t)->lock);
    if (t->outside == peer && t->state == TCP_WAITING) {
        outside = t->outside;
        t->outside = NULL;
        lock_acquire(&tcp_sock(peer)->lock);
        if (!error)
            error = connect_peer_locked(t, peer);
        lock_release(&tcp_sock(peer)->lock);
        if (error) {
            t->state = TCP_IDLE;
            t->shut = TCP_SHUT_BOTH;
        }
    }
    lock_release(&tcp_sock(t)->lock);
    if (!outside)
        return;
    if (error)
        socket_set_error(tcp_sock(t), -error);
    socket_wake(tcp_sock(t), POLLOUT | POLLWRNORM | POLLIN | (error ? POLLHUP | POLLERR : 0));
    socket_unref(tcp_sock(outside));
}

static void leave_outside(struct tcp_socket *t)
{
    struct tcp_socket *outside;

    lock_acquire(&tcp_sock(t)->lock);
    outside = t->outside;
    t->outside = NULL;
    lock_release(&tcp_sock(t)->lock);
    if (outside)
        inet_ns_of(tcp_sock(t)->net)->outward->cancel(outside);
    socket_unref(outside ? tcp_sock(outside) : NULL);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void leave_listener(struct tcp_socket *t)
{
    struct tcp_socket *listener;

    lock_acquire(&tcp_sock(t)->lock);
    listener = t->listener;
    t->listener = NULL;
    lock_release(&tcp_sock(t)->lock);
    if (!listener)
        return;
    lock_acquire(&tcp_sock(listener)->lock);
    list_del_init(&t->wait_node);
    lock_release(&tcp_sock(listener)->lock);
    socket_unref(tcp_sock(listener));
}

/* Who waited to be accepted, or for room to wait, is told. */
static void stop_listening(struct tcp_socket *t)
{
    struct socket *s = tcp_sock(t);
    struct list queue = LIST_INIT(queue), refused = LIST_INIT(refused);

    lock_acquire(&s->lock);
    while (!list_empty(&t->queue)) {
        struct list *node = t->queue.next;

        list_del_init(node);
        list_add_tail(&queue, node);
    }
    t->queued = 0;
    while (!list_empty(&t->hopefuls)) {
        struct tcp_socket *client = take_hopeful_locked(t);

        lock_acquire(&tcp_sock(client)->lock);
        client->state = TCP_IDLE;
        client->shut = TCP_SHUT_BOTH;
        lock_release(&tcp_sock(client)->lock);
        list_add_tail(&refused, &client->wait_node);
    }
    lock_release(&s->lock);
    while (!list_empty(&refused)) {
        struct tcp_socket *client = list_first(&refused, struct tcp_socket, wait_node);

        list_del_init(&client->wait_node);
        socket_set_error(tcp_sock(client), ECONNREFUSED);
        socket_unref(tcp_sock(client));
    }
    while (!list_empty(&queue)) {
        struct tcp_conn *c = list_first(&queue, struct tcp_conn, queue_node);

        list_del_init(&c->queue_node);
        tcp_conn_close(c, 1, true);
        tcp_conn_unref(c);
    }
}

void tcp_disconnect(struct tcp_socket *t, bool reset)
{
    struct socket *s = tcp_sock(t);
    enum tcp_state state;
    struct tcp_conn *c;
    uint16_t port;

    lock_acquire(&s->lock);
    state = t->state;
    port = t->inet.local.port;
    c = t->conn;
    t->conn = NULL;
    t->state = TCP_IDLE;
    t->unreported = t->sent_in_vain = false;
    forget_remote_locked(t);
    lock_release(&s->lock);
    if (c) {
        tcp_conn_close(c, t->side, reset);
        tcp_conn_unref(c);
    }
    leave_listener(t);
    leave_outside(t);
    if (state == TCP_LISTENING) {
        __atomic_store_n(&s->accepting, 0, __ATOMIC_RELAXED);
        stop_listening(t);
    }
    drop_chosen_port(t);
    if (state == TCP_LISTENING) {
        port_deafen(&t->inet);
        port_tell_listening(s->net, port);
    }
    __atomic_store_n(&t->reset, false, __ATOMIC_RELEASE);
    __atomic_store_n(&s->error, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&t->shut, 0, __ATOMIC_RELEASE);
    socket_wake(s, POLLIN | POLLOUT | POLLHUP);
}
