/* Who talks to whom: connect(2), listen(2), accept(2), socketpair(2). */
#include <errno.h>
#include <poll.h>

#include "sentry/net/unix/internal.h"

/* More wait to be accepted, or to be read, than the backlog. */
bool unix_queue_full(const struct unix_socket *u)
{
    uint32_t count = u->sock.type == SOCK_DGRAM
                         ? __atomic_load_n(&u->queued_count, __ATOMIC_RELAXED)
                         : __atomic_load_n(&u->waiting_count, __ATOMIC_RELAXED);

    return count > __atomic_load_n(&u->backlog, __ATOMIC_RELAXED);
}

static void set_creds(struct unix_socket *u, struct net_peer **field, struct net_peer *creds)
{
    struct net_peer *old;

    lock_acquire(&u->sock.lock);
    old = *field;
    *field = creds;
    lock_release(&u->sock.lock);
    net_peer_unref(old);
}

static void set_state_locked(struct unix_socket *u, enum unix_state state)
{
    lock_acquire(&u->sock.lock);
    u->state = state;
    lock_release(&u->sock.lock);
}

int unix_listen(struct socket *s, int backlog)
{
    struct unix_socket *u = unix_of(s);
    int err = 0;

    if (!unix_name(u))
        return -EINVAL;
    lock_acquire(&unix_state_lock);
    if (u->state == UNIX_CONNECTED) {
        err = -EINVAL;
    } else {
        set_creds(u, &u->own_creds, net_peer_current());
        set_state_locked(u, UNIX_LISTENING);
        __atomic_store_n(&u->backlog, (uint32_t)backlog, __ATOMIC_RELAXED);
        __atomic_store_n(&s->accepting, 1, __ATOMIC_RELAXED);
    }
    lock_release(&unix_state_lock);
    if (!err)
        wait_queue_wake(&s->room, POLLOUT);
    return err;
}

/* The socket that accept(2) will give. */
static int make_server_side(struct unix_socket *client, struct unix_socket *listener,
                            struct unix_socket **ret)
{
    struct socket_options *opt = &listener->sock.opt;
    struct unix_socket *u;
    int err = unix_create(listener->sock.net, client->sock.type, &u);

    if (err < 0)
        return err;
    u->address = unix_address_ref(unix_name(listener));
    u->peer_creds = net_peer_current();
    u->sock.opt.pass_cred = opt->pass_cred;
    u->sock.opt.pass_pidfd = opt->pass_pidfd;
    u->sock.opt.no_rights = opt->no_rights;
    u->state = UNIX_CONNECTED;
    u->peer = unix_ref(client);
    *ret = u;
    return 0;
}

/* state_lock held: may they be connected? unix_stream_connect() has the order. */
static int check_connect(const struct unix_socket *u, const struct unix_socket *listener)
{
    if (listener->dead || listener->state != UNIX_LISTENING ||
        (unix_shut(listener) & UNIX_SHUT_RECEIVE))
        return -ECONNREFUSED;
    if (unix_queue_full(listener))
        return -EAGAIN;
    if (u->state == UNIX_CONNECTED)
        return -EISCONN;
    return u->state == UNIX_IDLE && u != listener ? 0 : -EINVAL;
}

static void join(struct unix_socket *u, struct unix_socket *listener, struct unix_socket *server)
{
    set_creds(u, &u->peer_creds, net_peer_ref(listener->own_creds));
    unix_unref(unix_set_peer_locked(u, unix_ref(server)));
    set_state_locked(u, UNIX_CONNECTED);
    lock_acquire(&listener->sock.lock);
    list_add_tail(&listener->waiting, &server->waiting_node);
    listener->waiting_count++;
    lock_release(&listener->sock.lock);
}

static int connect_to(struct unix_socket *u, struct unix_socket *listener, struct socket **ret_wait)
{
    struct unix_socket *server;
    int err = make_server_side(u, listener, &server);

    if (err < 0)
        return err;
    lock_acquire(&unix_state_lock);
    err = check_connect(u, listener);
    if (!err)
        join(u, listener, server);
    lock_release(&unix_state_lock);
    if (!err) {
        socket_wake(&listener->sock, POLLIN | POLLRDNORM);
        return 0;
    }
    /* It has to leave without a word to the client. */
    lock_acquire(&unix_state_lock);
    unix_unref(unix_set_peer_locked(server, NULL));
    lock_release(&unix_state_lock);
    file_unref(&server->sock.file);
    if (err == -EAGAIN)
        *ret_wait = socket_ref(&listener->sock);
    return err;
}

int unix_stream_connect(struct socket *s, const struct socket_address *addr, bool first,
                        struct socket **ret_wait)
{
    struct unix_socket *u = unix_of(s), *listener;
    struct socket_address name;
    int err = unix_check_address(addr, &name);

    if (!err && unix_passes_creds(u) && !unix_name(u))
        err = unix_autobind(u);
    if (!err)
        err = unix_find(u, &name, &listener);
    if (err == -ECONNREFUSED)
        return unix_connect_outside(u, &name);
    if (err < 0)
        return err;
    err = connect_to(u, listener, ret_wait);
    unix_unref(listener);
    return err;
}

/* A datagram socket has no peer any more, or another one: what the old one sent is dropped. */
static void dgram_leave(struct unix_socket *u, struct unix_socket *old)
{
    bool was_mutual, unread;

    lock_acquire(&u->sock.lock);
    unread = !list_empty(&u->messages);
    lock_release(&u->sock.lock);
    unix_purge(u);
    lock_acquire(&unix_state_lock);
    was_mutual = !old->dead && old->peer == u;
    lock_release(&unix_state_lock);
    if (unread && was_mutual)
        socket_set_error(&old->sock, ECONNRESET);
    unix_unref(old);
}

static int dgram_join(struct unix_socket *u, struct unix_socket *other)
{
    struct unix_socket *old;

    lock_acquire(&unix_state_lock);
    if (other && (other->dead || (other->peer && other->peer != u))) {
        int err = other->dead ? -ECONNREFUSED : -EPERM;

        lock_release(&unix_state_lock);
        return err;
    }
    old = unix_set_peer_locked(u, other ? unix_ref(other) : NULL);
    set_state_locked(u, other ? UNIX_CONNECTED : UNIX_IDLE);
    lock_release(&unix_state_lock);
    if (old == other)
        unix_unref(old);
    else if (old)
        dgram_leave(u, old);
    socket_wake(&u->sock, POLLOUT | POLLWRNORM);
    return 0;
}

int unix_dgram_connect(struct socket *s, const struct socket_address *addr, bool first,
                       struct socket **ret_wait)
{
    struct unix_socket *u = unix_of(s), *other;
    struct socket_address name;
    int err;

    if (addr->size < sizeof(addr->family))
        return -EINVAL;
    if (addr->family == AF_UNSPEC)
        return dgram_join(u, NULL);
    err = unix_check_address(addr, &name);
    if (!err && unix_passes_creds(u) && !unix_name(u))
        err = unix_autobind(u);
    if (!err)
        err = unix_find(u, &name, &other);
    if (err == -ECONNREFUSED)
        return unix_connect_outside(u, &name);
    if (err < 0)
        return err;
    err = dgram_join(u, other);
    unix_unref(other);
    return err;
}

int unix_accept(struct socket *s, struct socket **ret)
{
    struct unix_socket *u = unix_of(s), *server = NULL;
    bool was_full;
    int err = 0;

    lock_acquire(&s->lock);
    was_full = unix_queue_full(u);
    if (u->state != UNIX_LISTENING) {
        err = -EINVAL;
    } else if (list_empty(&u->waiting)) {
        err = unix_shut(u) & UNIX_SHUT_RECEIVE ? -EINVAL : -EAGAIN;
    } else {
        server = list_first(&u->waiting, struct unix_socket, waiting_node);
        list_del_init(&server->waiting_node);
        u->waiting_count--;
    }
    lock_release(&s->lock);
    if (err < 0)
        return err;
    if (was_full)
        wait_queue_wake(&s->room, POLLOUT | POLLWRNORM);
    *ret = &server->sock;
    return 0;
}

int unix_pair(struct socket *a, struct socket *b)
{
    struct unix_socket *u[2] = {unix_of(a), unix_of(b)};
    struct net_peer *creds = net_peer_current();

    lock_acquire(&unix_state_lock);
    for (int i = 0; i < 2; i++) {
        set_creds(u[i], &u[i]->peer_creds, net_peer_ref(creds));
        unix_set_peer_locked(u[i], unix_ref(u[1 - i]));
        set_state_locked(u[i], UNIX_CONNECTED);
    }
    lock_release(&unix_state_lock);
    net_peer_unref(creds);
    return 0;
}
