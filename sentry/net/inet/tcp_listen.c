/* A socket that listens: listen(2), the queue of connections, and accept(2). */
#include <netinet/tcp.h>
#include <errno.h>
#include <poll.h>

#include "sentry/net/filter.h"
#include "sentry/net/inet/tcp.h"
#include "sentry/net/inet/wire.h"

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

/* listener->lock and the client's held: a connection for the client, in the listener's queue. */
static int connect_locked(struct tcp_socket *client, struct tcp_socket *listener)
{
    struct inet_socket *in = &client->inet;
    const struct socket_options *opt = &tcp_sock(client)->opt, *theirs = &tcp_sock(listener)->opt;
    struct tcp_conn *c =
        tcp_conn_create(client->foreign ? NULL : in->sock.net, &in->local, &in->remote);

    if (!c)
        return -ENOBUFS;
    c->end[0].owner = client;
    c->end[0].rcvbuf = tcp_set_size(opt->rcvbuf, opt->rcvbuf_locked);
    c->end[0].sndbuf = tcp_set_size(opt->sndbuf, opt->sndbuf_locked);
    c->end[1].rcvbuf = tcp_set_size(theirs->rcvbuf, theirs->rcvbuf_locked);
    c->end[1].sndbuf = tcp_set_size(theirs->sndbuf, theirs->sndbuf_locked);
    client->conn = c;
    client->side = 0;
    client->state = TCP_CONNECTED;
    inet_count(tcp_sock(client)->net, TCP_PASSIVE_OPENS);
    list_add_tail(&listener->queue, &tcp_conn_ref(c)->queue_node);
    listener->queued++;
    return 0;
}

/* The handshake, for those who look on. */
static void show_connected(struct tcp_socket *client)
{
    struct tcp_conn *c = tcp_get_conn(client);

    if (c)
        wire_connect(c);
    tcp_conn_unref(c);
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
        show_connected(promoted);
        socket_wake(tcp_sock(promoted), POLLOUT | POLLWRNORM | POLLIN);
        socket_unref(tcp_sock(promoted));
        socket_wake(s, POLLIN | POLLRDNORM);
    }
    return err < 0 ? err : make_accepted(t, c, ret);
}

/* To a listener, whose lock is taken first. -ECONNREFUSED; 1: its queue is full. */
int tcp_join(struct tcp_socket *t, struct tcp_socket *listener)
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
    if (!err) {
        show_connected(t);
        socket_wake(tcp_sock(listener), POLLIN | POLLRDNORM);
    } else if (err == 1 && !t->foreign) {
        wire_refuse(tcp_sock(t)->net, &t->inet.local, &t->inet.remote, true);
    }
    return err;
}

void tcp_leave_listener(struct tcp_socket *t)
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
void tcp_stop_listening(struct tcp_socket *t)
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
