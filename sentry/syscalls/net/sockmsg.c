/*
 * Sending and receiving: send(2), recv(2). Sockets never sleep; here are the loops that do, until a
 * message, or what a stream was asked for, is through.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "sentry/kernel/signal/signal.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/rights.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"

#define INTERNAL_FLAGS 0x8110000u  /* what only Linux says to itself */
#define CMSG_COMPAT    0x80000000u /* likewise, of whom it refuses it: MSG_CMSG_COMPAT */

void socket_message_end(struct socket_message *msg)
{
    msg->rights = net_rights_free(msg->rights);
    msg->wait = socket_unref(msg->wait);
}

/* ---- the loops --------------------------------------------------------------------------------
 */

static ssize_t send_failed(struct task *task, struct socket *s, const struct socket_message *msg,
                           size_t done, ssize_t err)
{
    if (done > 0)
        return (ssize_t)done;
    if (err == -EPIPE && s->ops->stream && !(msg->flags & MSG_NOSIGNAL))
        signal_send_task(task, SIGPIPE, NULL);
    return err;
}

/* A time limit that was set ends as if nobody had waited; a connection's own is ETIMEDOUT. */
static ssize_t sleep_for(struct socket_sleep *w, struct socket *s, uint32_t events,
                         struct socket *room)
{
    int err = socket_sleep(w, s, events, room);

    return err == -ETIMEDOUT ? -EAGAIN : err;
}

ssize_t socket_send(struct task *task, struct socket *s, struct socket_message *msg, bool nonblock)
{
    struct socket_sleep w;
    size_t done = 0;
    ssize_t n;

    if (!s->ops->sendmsg)
        return -EOPNOTSUPP;
    nonblock |= (msg->flags & MSG_DONTWAIT) || s->opt.sndtimeo_ns == 0;
    if (nonblock)
        msg->flags |= MSG_DONTWAIT;
    socket_sleep_begin(&w, task, s->opt.sndtimeo_ns);
    for (;;) {
        n = s->ops->sendmsg(s, msg);
        if (n >= 0) {
            done += (size_t)n;
            if (!s->ops->stream || msg->uio->left == 0 || n == 0)
                break;
            continue;
        }
        if (n == -EAGAIN && !nonblock) {
            n = sleep_for(&w, s, POLLOUT, msg->wait);
            msg->wait = NULL;
            msg->started = true;
        }
        if (n < 0)
            break;
    }
    socket_sleep_end(&w);
    return n < 0 ? send_failed(task, s, msg, done, n) : (ssize_t)done;
}

ssize_t socket_receive(struct task *task, struct socket *s, struct socket_message *msg,
                       bool nonblock)
{
    struct socket_sleep w;
    size_t done = 0, target;
    ssize_t n;

    if (!s->ops->recvmsg)
        return -EOPNOTSUPP;
    nonblock |= (msg->flags & MSG_DONTWAIT) || s->opt.rcvtimeo_ns == 0;
    /* Errors are there or not; only AF_UNIX does not know the flag. */
    nonblock |= (msg->flags & MSG_ERRQUEUE) && s->domain != AF_UNIX;
    if (nonblock)
        msg->flags |= MSG_DONTWAIT;
    target = MIN(msg->uio->left, (size_t)s->opt.rcvlowat);
    if (msg->flags & MSG_WAITALL)
        target = msg->uio->left;
    socket_sleep_begin(&w, task, s->opt.rcvtimeo_ns);
    for (;;) {
        n = s->ops->recvmsg(s, msg);
        if (n >= 0) {
            done += (size_t)n;
            if (!s->ops->stream || n == 0 || msg->boundary || done >= target ||
                (msg->flags & (MSG_PEEK | MSG_OOB)))
                break;
            continue;
        }
        if (n == -EAGAIN && !nonblock)
            n = sleep_for(&w, s, POLLIN | POLLRDHUP, NULL);
        if (n < 0)
            break;
    }
    socket_sleep_end(&w);
    if (n < 0 && done == 0)
        return n;
    /* What is wrong with the connection is told by the next call. */
    if (n == -ECONNRESET)
        __atomic_store_n(&s->error, ECONNRESET, __ATOMIC_RELEASE);
    return (ssize_t)done;
}

ssize_t socket_transfer(struct task_transfer *t, bool nonblock)
{
    struct socket *s = socket_of(t->file);
    struct socket_message msg = {.uio = t->uio};
    ssize_t n;

    if (!t->write && t->uio->left == 0)
        return 0;
    if (t->write)
        n = socket_send(t->task, s, &msg, nonblock);
    else
        n = socket_receive(t->task, s, &msg, nonblock);
    socket_message_end(&msg);
    return n;
}

/* ---- one buffer -------------------------------------------------------------------------------
 */

SYSCALL_DEFINE6(sendto, int, fd, uaddr_t, buf, size_t, size, unsigned, flags, uaddr_t, addr, int,
                addr_size)
{
    struct socket_address address;
    struct socket_message msg = {.flags = (int)(flags & ~INTERNAL_FLAGS)};
    struct socket *s;
    struct uio uio;
    ssize_t n;

    n = task_socket(task, fd, &s);
    if (n < 0)
        return n;
    uio_init_user(&uio, task->mm, buf, MIN(size, UIO_MAX_BYTES));
    msg.uio = &uio;
    if (addr) {
        n = address_from_user(task, addr, addr_size, &address);
        msg.address = &address;
        msg.to_address = address.size > 0;
    }
    if (n == 0)
        n = socket_send(task, s, &msg, socket_is_nonblocking(s));
    socket_message_end(&msg);
    task_socket_put(s);
    return n;
}

SYSCALL_DEFINE6(recvfrom, int, fd, uaddr_t, buf, size_t, size, unsigned, flags, uaddr_t, addr,
                uaddr_t, addr_size)
{
    struct socket_address address = {.size = 0};
    struct socket_message msg = {.flags = (int)flags};
    struct socket *s;
    struct uio uio;
    ssize_t n;

    n = task_socket(task, fd, &s);
    if (n < 0)
        return n;
    uio_init_user(&uio, task->mm, buf, MIN(size, UIO_MAX_BYTES));
    msg.uio = &uio;
    if (addr)
        msg.address = &address;
    n = socket_receive(task, s, &msg, socket_is_nonblocking(s));
    if (n >= 0 && addr) {
        int err = address_to_user(task, &address, addr, addr_size);

        n = err < 0 ? err : n;
    }
    socket_message_end(&msg);
    task_socket_put(s);
    return n;
}

/* ---- headers ----------------------------------------------------------------------------------
 */

/* Checks that sending and receiving share: copy_msghdr_from_user(). */
static int check_header(struct guest_msghdr *hdr)
{
    if (!hdr->name)
        hdr->name_size = 0;
    if (hdr->name_size < 0)
        return -EINVAL;
    hdr->name_size = MIN(hdr->name_size, (int32_t)SOCKET_ADDRESS_MAX);
    return hdr->iov_count > UIO_MAX_SEGMENTS ? -EMSGSIZE : 0;
}

static ssize_t send_with_control(struct task *task, struct socket *s,
                                 const struct guest_msghdr *hdr, struct socket_message *msg,
                                 bool nonblock)
{
    uint8_t *control;
    ssize_t n;

    if (hdr->control_size > INT32_MAX)
        return -ENOBUFS;
    n = control_from_user(task, s, hdr->control, hdr->control_size, msg, &control);
    if (n < 0)
        return n;
    n = socket_send(task, s, msg, nonblock);
    free(control);
    return n;
}

ssize_t socket_sendmsg_uio(struct task *task, struct socket *s, const struct guest_msghdr *hdr,
                           struct socket_address *to, struct uio *uio, int flags, bool nonblock)
{
    struct socket_message msg = {
        .uio = uio,
        .flags = (int)((unsigned)flags & ~INTERNAL_FLAGS),
        .address = to,
        .to_address = to != NULL,
    };
    ssize_t n = send_with_control(task, s, hdr, &msg, nonblock);

    socket_message_end(&msg);
    return n;
}

int msghdr_import(struct task *task, struct guest_msghdr *hdr, bool sends,
                  struct socket_address *ret_to, struct uio *ret_uio)
{
    int err = check_header(hdr);

    ret_to->size = 0;
    if (!err && sends && hdr->name_size > 0)
        err = address_from_user(task, hdr->name, hdr->name_size, ret_to);
    return err ? err : uio_import(ret_uio, task->mm, hdr->iov, hdr->iov_count);
}

ssize_t socket_sendmsg(struct task *task, struct socket *s, const struct guest_msghdr *given,
                       int flags, bool nonblock)
{
    struct guest_msghdr hdr = *given;
    struct socket_address to;
    struct uio uio;
    ssize_t n = msghdr_import(task, &hdr, true, &to, &uio);

    if (n < 0)
        return n;
    n = socket_sendmsg_uio(task, s, &hdr, to.size ? &to : NULL, &uio, flags, nonblock);
    uio_release(&uio);
    return n;
}

/* What the program's header says afterwards. */
static int finish_receive(struct task *task, struct socket *s, struct socket_message *msg,
                          struct guest_msghdr *hdr)
{
    control_to_user(task, s, msg, hdr);
    if (!hdr->control)
        hdr->control_size = 0;
    hdr->flags = (uint32_t)(msg->out_flags | (msg->flags & MSG_CMSG_CLOEXEC));
    if (!msg->address)
        return 0;
    if (copy_to_user(task->mm, hdr->name, msg->address->bytes,
                     (size_t)MIN(hdr->name_size, (int32_t)msg->address->size)) < 0)
        return -EFAULT;
    hdr->name_size = (int32_t)msg->address->size;
    return 0;
}

ssize_t socket_recvmsg_uio(struct task *task, struct socket *s, struct guest_msghdr *hdr,
                           struct uio *uio, int flags, bool nonblock)
{
    struct socket_address address = {.size = 0};
    struct socket_control control = {.size = 0};
    struct socket_message msg = {.uio = uio, .flags = flags, .control_out = &control};
    ssize_t n;

    if (hdr->name)
        msg.address = &address;
    n = socket_receive(task, s, &msg, nonblock);
    if (n >= 0) {
        int err = finish_receive(task, s, &msg, hdr);

        n = err < 0 ? err : n;
    }
    socket_message_end(&msg);
    return n;
}

ssize_t socket_recvmsg(struct task *task, struct socket *s, struct guest_msghdr *hdr, int flags,
                       bool nonblock)
{
    struct socket_address unused;
    struct uio uio;
    ssize_t n = msghdr_import(task, hdr, false, &unused, &uio);

    if (n < 0)
        return n;
    n = socket_recvmsg_uio(task, s, hdr, &uio, flags, nonblock);
    uio_release(&uio);
    return n;
}

int msghdr_to_user(struct task *task, uaddr_t addr, const struct guest_msghdr *hdr)
{
    if (hdr->name && copy_struct_to_user(task->mm, addr + offsetof(struct guest_msghdr, name_size),
                                         &hdr->name_size) < 0)
        return -EFAULT;
    if (copy_struct_to_user(task->mm, addr + offsetof(struct guest_msghdr, flags), &hdr->flags) < 0)
        return -EFAULT;
    return copy_struct_to_user(task->mm, addr + offsetof(struct guest_msghdr, control_size),
                               &hdr->control_size);
}

ssize_t socket_sendmsg_at(struct task *task, struct socket *s, uaddr_t addr, int flags)
{
    struct guest_msghdr hdr;

    if ((uint32_t)flags & CMSG_COMPAT)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &hdr, addr) < 0)
        return -EFAULT;
    return socket_sendmsg(task, s, &hdr, flags, socket_is_nonblocking(s));
}

ssize_t socket_recvmsg_at(struct task *task, struct socket *s, uaddr_t addr, int flags,
                          uint32_t *ret_flags)
{
    struct guest_msghdr hdr;
    ssize_t n;
    int err;

    if ((uint32_t)flags & CMSG_COMPAT)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &hdr, addr) < 0)
        return -EFAULT;
    n = socket_recvmsg(task, s, &hdr, flags, socket_is_nonblocking(s));
    if (n < 0)
        return n;
    *ret_flags = hdr.flags;
    err = msghdr_to_user(task, addr, &hdr);
    return err < 0 ? err : n;
}

SYSCALL_DEFINE3(sendmsg, int, fd, uaddr_t, msg, unsigned, flags)
{
    struct socket *s;
    ssize_t n = task_socket(task, fd, &s);

    if (n < 0)
        return n;
    n = socket_sendmsg_at(task, s, msg, (int)flags);
    task_socket_put(s);
    return n;
}

SYSCALL_DEFINE3(recvmsg, int, fd, uaddr_t, msg, unsigned, flags)
{
    uint32_t got;
    struct socket *s;
    ssize_t n = task_socket(task, fd, &s);

    if (n < 0)
        return n;
    n = socket_recvmsg_at(task, s, msg, (int)flags, &got);
    task_socket_put(s);
    return n;
}
