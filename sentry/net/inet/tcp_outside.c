/* Connections that lead out: their other end is a socket that no program has. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "sentry/net/inet/tcp.h"

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
    peer->foreign = true;
    lock_release(&in->sock.lock);
    found = port_find(in->sock.net, IPPROTO_TCP, to, from, NULL, 0);
    if (!found)
        return -ECONNREFUSED;
    err = tcp_join(peer, tcp_of(&found->sock));
    socket_unref(&found->sock);
    return err;
}

/* Both locks are held; -ENOBUFS. */
static int connect_peer_locked(struct tcp_socket *t, struct tcp_socket *peer)
{
    const struct socket_options *opt = &tcp_sock(t)->opt;
    struct tcp_conn *c = tcp_conn_create(NULL, &t->inet.local, &t->inet.remote);

    if (!c)
        return -ENOBUFS;
    c->end[0].owner = t;
    c->end[0].rcvbuf = tcp_set_size(opt->rcvbuf, opt->rcvbuf_locked);
    c->end[0].sndbuf = tcp_set_size(opt->sndbuf, opt->sndbuf_locked);
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

void tcp_leave_outside(struct tcp_socket *t)
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
