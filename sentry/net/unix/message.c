/*
 * Messages: allocated in one piece with their bytes, charged to the sender until they are read.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/mm/uio.h"
#include "sentry/net/unix/internal.h"

static void charge(struct unix_socket *sender, struct unix_message *m)
{
    m->charge = m->size + SOCKET_MESSAGE_COST;
    __atomic_add_fetch(&sender->sent, m->charge, __ATOMIC_RELAXED);
}

static void uncharge(struct unix_message *m)
{
    struct unix_socket *sender = m->sender;

    __atomic_sub_fetch(&sender->sent, m->charge, __ATOMIC_RELAXED);
    if (unix_writable(sender))
        socket_wake(&sender->sock, POLLOUT | POLLWRNORM | POLLWRBAND);
}

static void set_creds(struct unix_socket *sender, const struct unix_socket *receiver,
                      const struct socket_message *msg, struct unix_message *m)
{
    struct net_caller caller;

    m->creds = msg->creds;
    if (m->creds.known || !(unix_passes_creds(sender) || unix_passes_creds(receiver)))
        return;
    net_caller(&caller);
    m->creds = (struct net_creds){
        .known = true,
        .pid = caller.pid,
        .serial = caller.serial,
        .uid = caller.uid,
        .gid = caller.gid,
    };
}

static int take_rights(struct socket_message *msg, struct unix_message *m)
{
    int err = net_rights_count(msg->rights);

    if (err < 0)
        return err;
    unix_rights_queued(msg->rights);
    m->rights = msg->rights;
    msg->rights = NULL;
    return 0;
}

/* The bytes; a stream takes what can be read of them, a datagram comes whole. */
static int take_bytes(struct unix_socket *sender, struct socket_message *msg,
                      struct unix_message *m)
{
    ssize_t n;

    if (m->size == 0)
        return 0;
    n = uio_copy_in(msg->uio, m->data, m->size);
    if (n < 0 || ((size_t)n < m->size && !sender->sock.ops->stream))
        return -EFAULT;
    m->size = (uint32_t)n;
    return 0;
}

int unix_message_create(struct unix_socket *sender, const struct unix_socket *receiver,
                        struct socket_message *msg, size_t size, struct unix_message **ret)
{
    struct unix_message *m;
    int err;

    if (__atomic_load_n(&sender->sent, __ATOMIC_RELAXED) >= sender->sock.opt.sndbuf)
        return -EAGAIN;
    err = socket_memory_take(size + SOCKET_MESSAGE_COST);
    if (err < 0)
        return err;
    m = malloc(sizeof(*m) + size);
    if (m) {
        *m = (struct unix_message){.size = (uint32_t)size, .allocated = (uint32_t)size};
        list_init(&m->node);
    }
    err = m ? take_bytes(sender, msg, m) : -ENOBUFS;
    if (!err && msg->rights)
        err = take_rights(msg, m);
    if (err < 0) {
        free(m);
        socket_memory_give(size + SOCKET_MESSAGE_COST);
        return err;
    }
    set_creds(sender, receiver, msg, m);
    m->sender = unix_ref(sender);
    charge(sender, m);
    *ret = m;
    return 0;
}

void unix_message_free(struct unix_message *m)
{
    if (m->rights) {
        unix_rights_taken(m->rights);
        net_rights_uncount(m->rights);
        net_rights_free(m->rights);
    }
    uncharge(m);
    unix_address_unref(m->from);
    unix_unref(m->sender);
    socket_memory_give(m->allocated + SOCKET_MESSAGE_COST);
    free(m);
}

void unix_message_unlink_locked(struct unix_socket *u, struct unix_message *m)
{
    list_del_init(&m->node);
    u->queued_count--;
    u->queued_bytes -= m->size - m->offset;
    if (u->oob == m)
        u->oob = NULL;
}

int unix_message_give_rights(struct unix_socket *u, struct unix_message *m,
                             struct socket_message *msg, bool peek)
{
    struct net_rights *rights;

    if (!m->rights)
        return 0;
    net_rights_free(msg->rights);
    msg->rights = NULL;
    if (peek) {
        msg->rights = unix_rights_peek(m->rights);
        return msg->rights ? 0 : -ENOMEM;
    }
    /* First out of the queue, then out of flight: garbage.c relies on that. */
    lock_acquire(&u->sock.lock);
    rights = m->rights;
    m->rights = NULL;
    lock_release(&u->sock.lock);
    unix_rights_taken(rights);
    net_rights_uncount(rights);
    msg->rights = rights;
    return 0;
}

void unix_purge(struct unix_socket *u)
{
    lock_acquire(&u->sock.lock);
    while (!list_empty(&u->messages)) {
        struct unix_message *m = list_first(&u->messages, struct unix_message, node);

        unix_message_unlink_locked(u, m);
        lock_release(&u->sock.lock);
        unix_message_free(m);
        lock_acquire(&u->sock.lock);
    }
    lock_release(&u->sock.lock);
}
