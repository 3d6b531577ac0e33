/*
 * Sockets of AF_UNIX that are connected to the host: --host-uds=open, and a path in a folder of
 * --bind at which somebody listens there. The gofer of the folder has connected a descriptor; bytes
 * go through it, and nothing else: no descriptors and no credentials are passed either way.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>

#include "host/io.h"
#include "host/poll.h"
#include "host/socket.h"
#include "sentry/mm/uio.h"
#include "sentry/net/unix/internal.h"
#include "sentry/vfs/path/namei.h"

#define PIN_BYTES  (1UL << 20) /* at once, of a stream */
#define PACKET_MAX 212992UL    /* a host's usual send buffer */
#define ALL_EVENTS (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP)
#define SEND_FLAGS (MSG_EOR | MSG_MORE)
#define RECV_FLAGS (MSG_PEEK | MSG_TRUNC)
#define OUT_FLAGS  (MSG_TRUNC | MSG_EOR)

static void watch(struct unix_socket *u)
{
    lock_acquire(&u->sock.lock);
    if (!u->watch && hostpoll_watch(u->outside, &u->sock.queue, &u->watch) < 0)
        u->watch = NULL;
    lock_release(&u->sock.lock);
}

/* A packet must go whole, so one that lies in many pieces goes through a buffer. */
static ssize_t send_copied(struct unix_socket *u, struct uio *uio, int flags)
{
    struct uio at = *uio; /* another attempt reads it again */
    uint64_t size = uio->left;
    void *buf = malloc(size);
    struct iovec iov = {buf, size};
    const struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (!buf)
        return -ENOBUFS;
    n = uio_copy_in(&at, buf, size);
    n = n == (ssize_t)size ? host_socket_send(u->outside, &hdr, flags) : -EFAULT;
    free(buf);
    return n;
}

static ssize_t outside_send(struct socket *s, struct socket_message *msg)
{
    struct unix_socket *u = unix_of(s);
    struct msghdr hdr = {0};
    struct uio_pin pin;
    ssize_t n;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (msg->rights)
        return -EPERM;
    if (msg->to_address)
        return -EISCONN;
    if (!s->ops->stream && msg->uio->left > PACKET_MAX)
        return -EMSGSIZE;
    n = uio_pin(msg->uio, PIN_BYTES, false, &pin);
    if (n < 0)
        return n;
    hdr.msg_iov = pin.iov;
    hdr.msg_iovlen = (size_t)pin.count;
    if (s->ops->stream || pin.size == msg->uio->left)
        n = host_socket_send(u->outside, &hdr, msg->flags & SEND_FLAGS);
    else
        n = send_copied(u, msg->uio, msg->flags & SEND_FLAGS);
    uio_unpin(&pin);
    if (n > 0)
        uio_advance(msg->uio, MIN((uint64_t)n, msg->uio->left));
    if (n == -EAGAIN)
        watch(u);
    return n;
}

static ssize_t receive_copied(struct unix_socket *u, struct socket_message *msg, struct msghdr *hdr)
{
    uint64_t size = MIN(msg->uio->left, PACKET_MAX);
    void *buf = malloc(size);
    struct iovec iov = {buf, size};
    ssize_t n, copied = 0;

    if (!buf)
        return -ENOBUFS;
    hdr->msg_iov = &iov;
    hdr->msg_iovlen = 1;
    n = host_socket_receive(u->outside, hdr, msg->flags & RECV_FLAGS);
    if (n > 0)
        copied = uio_copy_out(msg->uio, buf, MIN((uint64_t)n, size));
    free(buf);
    return copied < 0 ? copied : n;
}

/* Descriptors that the host's program sends along are lost: nobody makes room for them. */
static ssize_t outside_receive(struct socket *s, struct socket_message *msg)
{
    struct unix_socket *u = unix_of(s);
    struct msghdr hdr = {0};
    struct uio_pin pin;
    ssize_t n;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    n = uio_pin(msg->uio, PIN_BYTES, true, &pin);
    if (n < 0)
        return n;
    if (s->ops->stream || pin.size == msg->uio->left) {
        hdr.msg_iov = pin.iov;
        hdr.msg_iovlen = (size_t)pin.count;
        n = host_socket_receive(u->outside, &hdr, msg->flags & RECV_FLAGS);
        uio_unpin(&pin);
        if (n > 0)
            uio_advance(msg->uio, MIN((uint64_t)n, pin.size));
    } else {
        uio_unpin(&pin);
        n = receive_copied(u, msg, &hdr);
    }
    if (n == -EAGAIN)
        watch(u);
    if (n >= 0)
        msg->out_flags |= hdr.msg_flags & OUT_FLAGS;
    return n;
}

static uint32_t outside_poll(struct socket *s)
{
    struct unix_socket *u = unix_of(s);

    watch(u);
    return host_poll_now(u->outside, ALL_EVENTS) | (socket_error(s) ? POLLERR : 0);
}

static int outside_shutdown(struct socket *s, int how)
{
    int err = host_socket_shutdown(unix_of(s)->outside, how);

    socket_wake(s, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    return err;
}

static int outside_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    if (!peer)
        return unix_getname(s, false, ret);
    *ret = unix_of(s)->outside_name->addr;
    return 0;
}

static int outside_connect(struct socket *s, const struct socket_address *addr, bool first,
                           struct socket **ret_wait)
{
    return -EISCONN;
}

static void outside_close(struct socket *s)
{
    struct unix_socket *u = unix_of(s);

    if (u->watch)
        hostpoll_unwatch(u->watch);
    host_close(u->outside);
    unix_close(s);
}

#define OUTSIDE_OPERATIONS                                                                         \
    .connect = outside_connect, .getname = outside_getname, .sendmsg = outside_send,               \
    .recvmsg = outside_receive, .shutdown = outside_shutdown, .poll = outside_poll,                \
    .carries_rights = true, .close = outside_close, .free = unix_free

static const struct socket_operations stream_operations = {OUTSIDE_OPERATIONS, .stream = true};
static const struct socket_operations packet_operations = {OUTSIDE_OPERATIONS};

/* The descriptor is u's from now on, unless it is something already. */
static int adopt(struct unix_socket *u, const struct socket_address *name, int fd)
{
    struct unix_address *address = unix_address_create(name);
    int err = address ? 0 : -ENOMEM;

    lock_acquire(&unix_state_lock);
    if (!err && (u->state != UNIX_IDLE || u->outside >= 0))
        err = u->state == UNIX_LISTENING ? -EINVAL : -EISCONN;
    if (!err) {
        u->outside = fd;
        u->outside_name = address;
        u->state = UNIX_CONNECTED;
        __atomic_store_n(&u->sock.ops,
                         u->sock.type == SOCK_STREAM ? &stream_operations : &packet_operations,
                         __ATOMIC_RELEASE);
    }
    lock_release(&unix_state_lock);
    if (err < 0)
        unix_address_unref(address);
    return err;
}

int unix_connect_outside(struct unix_socket *u, const struct socket_address *name)
{
    struct walk_result at;
    int fd = -1, err;

    if (name->size <= sizeof(name->family) || !name->un.sun_path[0])
        return -ECONNREFUSED;
    err = unix_walk(name->un.sun_path, &at);
    if (err < 0)
        return err;
    if (at.path.dentry->inode->ops->connect)
        err = at.path.dentry->inode->ops->connect(at.path.dentry, u->sock.type, &fd);
    else
        err = -ECONNREFUSED;
    walk_result_unref(&at);
    if (err < 0)
        return err;
    err = adopt(u, name, fd);
    if (err < 0) {
        host_close(fd);
        return err;
    }
    socket_wake(&u->sock, POLLOUT | POLLWRNORM);
    return 0;
}
