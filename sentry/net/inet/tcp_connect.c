/* Who is connected to whom: connect(2), and the end of it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>

#include "sentry/net/inet/tcp.h"
#include "sentry/net/inet/wire.h"
#include "sentry/vfs/landlock/landlock.h"

#define PORT_TRIES 64

static void forget_remote_locked(struct tcp_socket *t)
{
    struct inet_socket *in = &t->inet;

    in->remote.port = 0;
    in->remote.addr = addr_any(in);
    in->local.addr = in->bound;
}

/* A port that nobody asked for goes with the connection. */
static void drop_chosen_port(struct tcp_socket *t)
{
    if (!t->inet.bound_port) {
        port_drop(&t->inet);
        t->inet.local.port = 0;
    }
}

/*
 * Outward. Where a connection of the same names has not quite ended yet, one of another port is
 * meant if we chose it: inet_hash_connect().
 */
static int connect_outward(struct tcp_socket *t, const struct inet_outward *outward, bool chosen)
{
    int err = outward->connect(t);

    for (int i = 0; err == -EADDRNOTAVAIL && chosen && i < PORT_TRIES; i++) {
        drop_chosen_port(t);
        err = inet_autobind(&t->inet);
        err = err < 0 ? -EADDRNOTAVAIL : outward->connect(t);
    }
    return err < 0 ? err : 1;
}

/* TCP_WAITING was set by the caller, so nobody else connects it meanwhile. */
static int establish(struct tcp_socket *t, struct endpoint *to)
{
    struct inet_socket *in = &t->inet, *found;
    const struct inet_outward *outward;
    bool chosen = in->local.port == 0;
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
    if (outward)
        return connect_outward(t, outward, chosen);
    found = port_find(in->sock.net, IPPROTO_TCP, to, &in->local, NULL, 0);
    if (!found) {
        inet_count(in->sock.net, TCP_ATTEMPT_FAILS);
        wire_refuse(in->sock.net, &in->local, to, false);
        return -ECONNREFUSED;
    }
    err = tcp_join(t, tcp_of(&found->sock));
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
        t->shut = 0;
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
    /* Until the next connect(2) of who has not been told yet. */
    t->shut = nonblock && err == -ECONNREFUSED ? TCP_SHUT_BOTH : 0;
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
    int err = 0;

    lock_acquire(&s->lock);
    if (t->state != TCP_IDLE || t->unreported) /* whatever the address is */
        err = check_connect_locked(t);
    lock_release(&s->lock);
    if (err)
        return err == 1 ? 0 : err;
    err = endpoint_parse(&t->inet, addr, false, &to);
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

/* ---- the end ----------------------------------------------------------------------------------
 */

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
    tcp_leave_listener(t);
    tcp_leave_outside(t);
    if (state == TCP_LISTENING) {
        __atomic_store_n(&s->accepting, 0, __ATOMIC_RELAXED);
        tcp_stop_listening(t);
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
