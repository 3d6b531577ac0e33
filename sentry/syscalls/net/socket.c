/* Sockets' life: socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), shutdown(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include "host/clock.h"
#include "sentry/kernel/netcaller.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"

#define TYPE_MASK  0xf
#define TYPE_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)

int task_socket(struct task *task, int fd, struct socket **ret)
{
    struct file *file = task_file(task, fd);

    if (!file)
        return -EBADF;
    if (!socket_is(file)) {
        file_unref(file);
        return -ENOTSOCK;
    }
    *ret = socket_of(file);
    return 0;
}

int address_from_user(struct task *task, uaddr_t addr, int size, struct socket_address *ret)
{
    if (size < 0 || (size_t)size > SOCKET_ADDRESS_MAX)
        return -EINVAL;
    ret->size = (uint32_t)size;
    ret->family = AF_UNSPEC;
    return copy_from_user(task->mm, ret->bytes, addr, (size_t)size);
}

int address_to_user(struct task *task, const struct socket_address *address, uaddr_t addr,
                    uaddr_t size_addr)
{
    int room, size = (int)address->size;

    if (copy_struct_from_user(task->mm, &room, size_addr) < 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (copy_to_user(task->mm, addr, address->bytes, (size_t)MIN(room, size)) < 0)
        return -EFAULT;
    return copy_struct_to_user(task->mm, size_addr, &size);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

void socket_sleep_begin(struct socket_sleep *w, struct task *task, uint64_t timeo_ns)
{
    w->task = task;
    w->queue = NULL;
    w->room_of = NULL;
    w->deadline_ns = UINT64_MAX;
    if (timeo_ns != SOCKET_TIMEO_MAX &&
        __builtin_add_overflow(host_monotonic_ns(), timeo_ns, &w->deadline_ns))
        w->deadline_ns = UINT64_MAX;
}

void socket_sleep_end(struct socket_sleep *w)
{
    if (w->queue)
        wait_queue_remove(w->queue, &w->entry);
    w->queue = NULL;
    w->room_of = socket_unref(w->room_of);
}

int socket_sleep(struct socket_sleep *w, struct socket *s, uint32_t events, struct socket *room)
{
    struct wait_queue *queue = room ? &room->room : &s->queue;
    int err;

    if (w->queue != queue) {
        socket_sleep_end(w);
        w->room_of = room;
        w->queue = queue;
        wait_entry_init(&w->entry, &w->task->waiter, room ? 0 : events);
        waiter_reset(&w->task->waiter);
        wait_queue_add(queue, &w->entry);
        return 0;
    }
    socket_unref(room);
    err = task_block(w->task, w->deadline_ns);
    return err == -ERESTARTSYS && w->deadline_ns != UINT64_MAX ? -EINTR : err;
}

/* ---- making -----------------------------------------------------------------------------------
 */

static void set_nonblock(struct socket *s, int flags)
{
    if (flags & SOCK_NONBLOCK)
        s->file.flags |= O_NONBLOCK;
}

SYSCALL_DEFINE3(socket, int, domain, int, type, int, protocol)
{
    int flags = type & ~TYPE_MASK, err;
    struct socket *s;

    if (flags & ~TYPE_FLAGS)
        return -EINVAL;
    err = socket_create(task_net(task), domain, type & TYPE_MASK, protocol, &s);
    if (err < 0)
        return err;
    set_nonblock(s, flags);
    return task_install(task, &s->file, 0, flags & SOCK_CLOEXEC);
}

static int make_pair(struct task *task, int domain, int type, int protocol, struct socket *ret[2])
{
    int err = socket_create(task_net(task), domain, type, protocol, &ret[0]);

    if (err < 0)
        return err;
    err = socket_create(task_net(task), domain, type, protocol, &ret[1]);
    if (err < 0) {
        file_unref(&ret[0]->file);
        return err;
    }
    err = ret[0]->ops->pair ? ret[0]->ops->pair(ret[0], ret[1]) : -EOPNOTSUPP;
    if (err < 0) {
        file_unref(&ret[0]->file);
        file_unref(&ret[1]->file);
    }
    return err;
}

SYSCALL_DEFINE4(socketpair, int, domain, int, type, int, protocol, uaddr_t, fds_addr)
{
    int flags = type & ~TYPE_MASK, fds[2] = {-1, -1}, err;
    struct socket *s[2];

    if (flags & ~TYPE_FLAGS)
        return -EINVAL;
    if (fdtable_full(task->files, task_rlimit(task, RLIMIT_NOFILE)))
        return -EMFILE;
    err = make_pair(task, domain, type & TYPE_MASK, protocol, s);
    if (err < 0)
        return err;
    set_nonblock(s[0], flags);
    set_nonblock(s[1], flags);
    fds[0] = task_install(task, &s[0]->file, 0, flags & SOCK_CLOEXEC);
    if (fds[0] < 0) {
        file_unref(&s[1]->file);
        return fds[0];
    }
    fds[1] = task_install(task, &s[1]->file, 0, flags & SOCK_CLOEXEC);
    if (fds[1] >= 0 && copy_struct_to_user(task->mm, fds_addr, &fds) == 0)
        return 0;
    fdtable_close(task->files, fds[0]);
    if (fds[1] < 0)
        return fds[1];
    fdtable_close(task->files, fds[1]);
    return -EFAULT;
}

/* ---- names ------------------------------------------------------------------------------------
 */

SYSCALL_DEFINE3(bind, int, fd, uaddr_t, addr, int, size)
{
    struct socket_address address;
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    err = address_from_user(task, addr, size, &address);
    if (!err)
        err = s->ops->bind ? s->ops->bind(s, &address) : -EOPNOTSUPP;
    task_socket_put(s);
    return err;
}

static long get_name(struct task *task, int fd, bool peer, uaddr_t addr, uaddr_t size_addr)
{
    struct socket_address address;
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    err = s->ops->getname ? s->ops->getname(s, peer, &address) : -EOPNOTSUPP;
    if (!err)
        err = address_to_user(task, &address, addr, size_addr);
    task_socket_put(s);
    return err;
}

SYSCALL_DEFINE3(getsockname, int, fd, uaddr_t, addr, uaddr_t, size_addr)
{
    return get_name(task, fd, false, addr, size_addr);
}

SYSCALL_DEFINE3(getpeername, int, fd, uaddr_t, addr, uaddr_t, size_addr)
{
    return get_name(task, fd, true, addr, size_addr);
}

/* ---- connections ------------------------------------------------------------------------------
 */

SYSCALL_DEFINE2(listen, int, fd, int, backlog)
{
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    if ((unsigned)backlog > SOCKET_SOMAXCONN)
        backlog = SOCKET_SOMAXCONN;
    err = s->ops->listen ? s->ops->listen(s, backlog) : -EOPNOTSUPP;
    task_socket_put(s);
    return err;
}

int task_accept(struct task *task, struct socket *s, unsigned flags, bool nonblock,
                struct file **ret)
{
    struct socket_sleep w;
    struct socket *made;
    int err;

    if (!s->ops->accept)
        return -EOPNOTSUPP;
    nonblock |= s->opt.rcvtimeo_ns == 0;
    socket_sleep_begin(&w, task, s->opt.rcvtimeo_ns);
    while ((err = s->ops->accept(s, &made)) == -EAGAIN && !nonblock) {
        err = socket_sleep(&w, s, POLLIN, NULL);
        if (err < 0)
            break;
    }
    socket_sleep_end(&w);
    if (err < 0)
        return err == -ETIMEDOUT ? -EAGAIN : err;
    set_nonblock(made, (int)flags);
    *ret = &made->file;
    return 0;
}

static long accept_socket(struct task *task, struct socket *s, uaddr_t addr, uaddr_t size_addr,
                          unsigned flags)
{
    struct socket_address address;
    struct file *file;
    int err;

    if (fdtable_full(task->files, task_rlimit(task, RLIMIT_NOFILE)))
        return -EMFILE;
    err = task_accept(task, s, flags, s->file.flags & O_NONBLOCK, &file);
    if (err < 0)
        return err;
    if (addr) {
        struct socket *made = socket_of(file);

        err = made->ops->getname(made, true, &address);
        err = err < 0 ? -ECONNABORTED : address_to_user(task, &address, addr, size_addr);
        if (err < 0) {
            file_unref(file);
            return err;
        }
    }
    return task_install(task, file, 0, flags & SOCK_CLOEXEC);
}

static long do_accept(struct task *task, int fd, uaddr_t addr, uaddr_t size_addr, unsigned flags)
{
    struct socket *s;
    long result;

    if (flags & ~(unsigned)TYPE_FLAGS)
        return -EINVAL;
    result = task_socket(task, fd, &s);
    if (result < 0)
        return result;
    result = accept_socket(task, s, addr, size_addr, flags);
    task_socket_put(s);
    return result;
}

SYSCALL_DEFINE3(accept, int, fd, uaddr_t, addr, uaddr_t, size_addr)
{
    return do_accept(task, fd, addr, size_addr, 0);
}

SYSCALL_DEFINE4(accept4, int, fd, uaddr_t, addr, uaddr_t, size_addr, unsigned, flags)
{
    return do_accept(task, fd, addr, size_addr, flags);
}

int task_connect(struct task *task, struct socket *s, const struct socket_address *addr,
                 bool nonblock)
{
    struct socket_sleep w;
    bool first = true;
    int err, waiting, said = 0;

    if (!s->ops->connect)
        return -EOPNOTSUPP;
    nonblock |= s->opt.sndtimeo_ns == 0;
    socket_sleep_begin(&w, task, s->opt.sndtimeo_ns);
    for (;; first = false) {
        struct socket *room = NULL;

        err = waiting = s->ops->connect(s, addr, first, &room);
        said = first ? err : said;
        /* Begun by an earlier call: whoever waits waits for that. */
        if (err != -EAGAIN && err != -EINPROGRESS && err != -EALREADY)
            break;
        if (nonblock) {
            socket_unref(room);
            break;
        }
        err = socket_sleep(&w, s, POLLOUT, room);
        if (err < 0)
            break;
    }
    socket_sleep_end(&w);
    if (err != -ETIMEDOUT || waiting == -ETIMEDOUT)
        return err;
    return said == -EAGAIN ? waiting : said; /* no longer */
}

SYSCALL_DEFINE3(connect, int, fd, uaddr_t, addr, int, size)
{
    struct socket_address address;
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    err = address_from_user(task, addr, size, &address);
    if (!err)
        err = task_connect(task, s, &address, s->file.flags & O_NONBLOCK);
    task_socket_put(s);
    return err;
}

SYSCALL_DEFINE2(shutdown, int, fd, int, how)
{
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    if (!s->ops->shutdown)
        err = -EOPNOTSUPP;
    else
        err = how < SHUT_RD || how > SHUT_RDWR ? -EINVAL : s->ops->shutdown(s, how);
    task_socket_put(s);
    return err;
}
