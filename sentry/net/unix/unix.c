#include "sentry/net/unix/unix.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/mm/usercopy.h"
#include "sentry/net/unix/internal.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/landlock/landlock.h"

struct lock unix_state_lock = LOCK_INIT;

static const struct socket_operations stream_operations, dgram_operations, seqpacket_operations;

static const struct socket_operations *operations_of(int type)
{
    return type == SOCK_STREAM  ? &stream_operations
           : type == SOCK_DGRAM ? &dgram_operations
                                : &seqpacket_operations;
}

/* The peer's queue has room again: our own waiters may send. Called under its lock. */
static void peer_room_wake(struct wait_entry *entry, uint32_t events)
{
    struct unix_socket *u = container_of(entry, struct unix_socket, peer_room);

    socket_wake(&u->sock, events);
}

int unix_create(struct net_ns *net, int type, struct unix_socket **ret)
{
    struct unix_socket *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    socket_init(&u->sock, net, operations_of(type), AF_UNIX, type, 0);
    list_init(&u->name_node);
    list_init(&u->messages);
    list_init(&u->waiting);
    list_init(&u->waiting_node);
    list_init(&u->inflight_node);
    list_init(&u->work_node);
    list_init(&u->all_node);
    lock_init(&u->read_lock);
    wait_entry_init(&u->peer_room, NULL, 0);
    u->peer_room.wake = peer_room_wake;
    u->backlog = UNIX_DGRAM_QUEUE;
    u->outside = -1;
    u->landlock = landlock_domain_ref(vfs_identity()->landlock);
    unix_enlist(u);
    *ret = u;
    return 0;
}

static int family_create(struct net_ns *net, int type, int protocol, struct socket **ret)
{
    struct unix_socket *u;
    int err;

    if (protocol && protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_RAW) /* has always been so */
        type = SOCK_DGRAM;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    err = unix_create(net, type, &u);
    if (!err)
        *ret = &u->sock;
    return err;
}

struct unix_socket *unix_get_peer(struct unix_socket *u)
{
    struct unix_socket *peer;

    lock_acquire(&u->sock.lock);
    peer = u->peer ? unix_ref(u->peer) : NULL;
    lock_release(&u->sock.lock);
    return peer;
}

struct unix_socket *unix_set_peer_locked(struct unix_socket *u, struct unix_socket *peer)
{
    struct unix_socket *old;

    if (u->watching)
        wait_queue_remove(&u->peer->sock.room, &u->peer_room);
    lock_acquire(&u->sock.lock);
    old = u->peer;
    __atomic_store_n(&u->peer, peer, __ATOMIC_RELEASE);
    lock_release(&u->sock.lock);
    u->watching = peer && u->sock.type == SOCK_DGRAM;
    if (u->watching)
        wait_queue_add(&peer->sock.room, &u->peer_room);
    return old;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/* The other side of a connection learns of it. */
static void leave_peer(struct unix_socket *u, struct unix_socket *peer, bool reset)
{
    if (u->sock.type != SOCK_DGRAM) {
        __atomic_fetch_or(&peer->shutdown, UNIX_SHUT_BOTH, __ATOMIC_ACQ_REL);
        if (reset)
            __atomic_store_n(&peer->sock.error, ECONNRESET, __ATOMIC_RELEASE);
        socket_wake(&peer->sock, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP | POLLHUP |
                                     (reset ? POLLERR : 0));
    }
    unix_unref(peer);
}

static void close_waiting(struct list *waiting)
{
    while (!list_empty(waiting)) {
        struct unix_socket *u = list_first(waiting, struct unix_socket, waiting_node);

        list_del_init(&u->waiting_node);
        /* Its other side shall see a reset, as if something had been left unread. */
        __atomic_store_n(&u->sock.error, ECONNRESET, __ATOMIC_RELEASE);
        file_unref(&u->sock.file);
    }
}

void unix_close(struct socket *s)
{
    struct unix_socket *u = unix_of(s), *peer;
    struct list waiting = LIST_INIT(waiting);
    bool unread;

    lock_acquire(&unix_state_lock);
    lock_acquire(&s->lock);
    u->dead = true;
    u->state = UNIX_IDLE;
    unread = !list_empty(&u->messages) || socket_error(s) == ECONNRESET;
    if (!list_empty(&u->waiting)) {
        waiting = u->waiting;
        waiting.next->prev = waiting.prev->next = &waiting;
        list_init(&u->waiting);
        u->waiting_count = 0;
    }
    lock_release(&s->lock);
    __atomic_store_n(&u->shutdown, UNIX_SHUT_BOTH, __ATOMIC_RELEASE);
    peer = unix_set_peer_locked(u, NULL);
    lock_release(&unix_state_lock);
    if (peer)
        leave_peer(u, peer, unread);
    wait_queue_wake(&s->room, POLLOUT | POLLWRNORM | POLLHUP | POLLERR);
    unix_unbind(u);
    unix_delist(u);
    close_waiting(&waiting);
    unix_purge(u);
    unix_garbage_look();
}

static void unix_flush(struct socket *s)
{
    unix_garbage_look();
}

void unix_free(struct socket *s)
{
    struct unix_socket *u = unix_of(s);

    unix_address_unref(u->address);
    unix_address_unref(u->outside_name);
    net_peer_unref(u->own_creds);
    net_peer_unref(u->peer_creds);
    lock_destroy(&u->read_lock);
    landlock_domain_unref(u->landlock);
    free(u);
}

static int unix_shutdown(struct socket *s, int how)
{
    struct unix_socket *u = unix_of(s), *peer = NULL;
    uint32_t mask = (uint32_t)how + 1, theirs = 0;

    __atomic_fetch_or(&u->shutdown, mask, __ATOMIC_ACQ_REL);
    if (s->type != SOCK_DGRAM)
        peer = unix_get_peer(u);
    if (mask & UNIX_SHUT_RECEIVE)
        theirs |= UNIX_SHUT_SEND;
    if (mask & UNIX_SHUT_SEND)
        theirs |= UNIX_SHUT_RECEIVE;
    if (peer) {
        __atomic_fetch_or(&peer->shutdown, theirs, __ATOMIC_ACQ_REL);
        socket_wake(&peer->sock, POLLIN | POLLRDNORM | POLLOUT | POLLRDHUP | POLLHUP);
        unix_unref(peer);
    }
    socket_wake(s, POLLIN | POLLRDNORM | POLLOUT | POLLRDHUP | POLLHUP);
    wait_queue_wake(&s->room, POLLOUT | POLLHUP);
    return 0;
}

/* ---- what it says of itself -------------------------------------------------------------------
 */

static uint32_t unix_poll(struct socket *s)
{
    struct unix_socket *u = unix_of(s), *peer;
    uint32_t shut = unix_shut(u), events = 0;
    bool writable;

    lock_acquire(&s->lock);
    if (socket_error(s))
        events |= POLLERR;
    if (shut == UNIX_SHUT_BOTH)
        events |= POLLHUP;
    if (shut & UNIX_SHUT_RECEIVE)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (!list_empty(&u->messages) || !list_empty(&u->waiting))
        events |= POLLIN | POLLRDNORM;
    if (u->oob)
        events |= POLLPRI;
    if (s->type != SOCK_DGRAM && u->state == UNIX_IDLE)
        events |= POLLHUP;
    writable = unix_writable(u) && u->state != UNIX_LISTENING;
    peer = u->peer;
    if (s->type == SOCK_DGRAM && peer && __atomic_load_n(&peer->peer, __ATOMIC_ACQUIRE) != u)
        writable &= !unix_queue_full(peer);
    lock_release(&s->lock);
    return events | (writable ? POLLOUT | POLLWRNORM | POLLWRBAND : 0);
}

int unix_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    struct unix_socket *u = unix_of(s), *other = peer ? unix_get_peer(u) : NULL;
    struct unix_address *name;

    if (peer && !other)
        return -ENOTCONN;
    name = unix_name(other ? other : u);
    if (name) {
        *ret = name->addr;
    } else {
        ret->size = sizeof(ret->family);
        ret->family = AF_UNIX;
    }
    unix_unref(other);
    return 0;
}

static struct net_peer *unix_peer_creds(struct socket *s)
{
    struct unix_socket *u = unix_of(s);
    struct net_peer *creds;

    lock_acquire(&s->lock);
    creds = net_peer_ref(u->state == UNIX_LISTENING ? u->own_creds : u->peer_creds);
    lock_release(&s->lock);
    return creds;
}

/* SIOCINQ: a stream's bytes, or the next datagram's. */
static int64_t bytes_queued(struct unix_socket *u)
{
    int64_t n;

    lock_acquire(&u->sock.lock);
    if (u->state == UNIX_LISTENING)
        n = -EINVAL;
    else if (u->sock.type != SOCK_DGRAM)
        n = (int64_t)u->queued_bytes;
    else if (list_empty(&u->messages))
        n = 0;
    else
        n = list_first(&u->messages, struct unix_message, node)->size;
    lock_release(&u->sock.lock);
    return n;
}

static int unix_queued(struct socket *s, uint32_t cmd, int *ret)
{
    struct unix_socket *u = unix_of(s);
    int64_t n;

    switch (cmd) {
    case SIOCOUTQ:
        *ret = (int)__atomic_load_n(&u->sent, __ATOMIC_RELAXED);
        return 0;
    case SIOCINQ:
        n = bytes_queued(u);
        *ret = (int)n;
        return n < 0 ? (int)n : 0;
    default:
        return -ENOTTY;
    }
}

static long unix_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct unix_socket *u = unix_of(s);
    int answer, err;

    switch (cmd) {
    case SIOCOUTQ:
    case SIOCINQ:
        err = unix_queued(s, cmd, &answer);
        if (err < 0)
            return err;
        break;
    case SIOCATMARK:
        lock_acquire(&s->lock);
        answer = u->oob && u->messages.next == &u->oob->node;
        lock_release(&s->lock);
        break;
    default:
        return -ENOTTY;
    }
    return copy_struct_to_user(mm, arg, &answer);
}

#define COMMON_OPERATIONS                                                                          \
    .bind = unix_bind, .pair = unix_pair, .getname = unix_getname, .shutdown = unix_shutdown,      \
    .queued = unix_queued, .ioctl = unix_ioctl, .poll = unix_poll, .peer = unix_peer_creds,        \
    .flush = unix_flush, .carries_rights = true, .close = unix_close, .free = unix_free

static const struct socket_operations stream_operations = {
    COMMON_OPERATIONS,     .listen = unix_listen,       .connect = unix_stream_connect,
    .accept = unix_accept, .sendmsg = unix_stream_send, .recvmsg = unix_stream_receive,
    .stream = true,
};

static const struct socket_operations dgram_operations = {
    COMMON_OPERATIONS,
    .connect = unix_dgram_connect,
    .sendmsg = unix_dgram_send,
    .recvmsg = unix_dgram_receive,
};

static const struct socket_operations seqpacket_operations = {
    COMMON_OPERATIONS,     .listen = unix_listen,          .connect = unix_stream_connect,
    .accept = unix_accept, .sendmsg = unix_seqpacket_send, .recvmsg = unix_seqpacket_receive,
};

const struct socket_family unix_family = {
    .family = AF_UNIX,
    .create = family_create,
    .ns_init = unix_names_create,
    .ns_fini = unix_names_destroy,
    .list = unix_list,
};
