/*
 * Moving bytes: read(2), write(2) and their relatives. Files never sleep; here is the loop that
 * does, until there is something to return.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sentry/kernel/signal/signal.h"
#include "sentry/mm/uio.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"
#include "sentry/syscalls/tty.h"
#include "sentry/vfs/notify.h"

#define LINUX_RWF_NOAPPEND 0x20 /* newer than Debian 12's headers */

/* The sleep of a transfer. */
struct transfer_wait {
    bool told; /* `entry` is in the file's queue */
    struct wait_entry entry;
};

static ssize_t attempt(struct task_transfer *t)
{
    if (t->positioned)
        return t->write ? file_pwrite(t->file, t->uio, t->pos)
                        : file_pread(t->file, t->uio, t->pos);
    return t->write ? file_write(t->file, t->uio) : file_read(t->file, t->uio);
}

/* Is a short write the whole answer? A blocking stream goes on until everything is out. */
static bool write_goes_on(const struct task_transfer *t, ssize_t n, bool nonblock)
{
    return t->write && n > 0 && t->uio->left > 0 && !nonblock && !t->file->ops->llseek;
}

/* Terminals take any number of bytes and drop what is too much, but look for signals. */
static bool has_to_stop(const struct task_transfer *t)
{
    return t->file->terminal ? task_interrupted(t->task) : task_is_leaving(t->task);
}

/*
 * Flags that hint, or ask for what always holds here; -EOPNOTSUPP for the others (RWF_ATOMIC,
 * RWF_DONTCACHE), as tmpfs and overlayfs answer.
 */
static int apply_flags(struct task_transfer *t)
{
    struct linux_stat st;

    if (!(t->write ? file_can_write(t->file) : file_can_read(t->file)) ||
        (t->positioned && !t->file->ops->llseek))
        return 0; /* refused for that first */
    if (t->flags &
        ~(RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC | RWF_APPEND | LINUX_RWF_NOAPPEND))
        return -EOPNOTSUPP;
    if ((t->flags & RWF_APPEND) && (t->flags & LINUX_RWF_NOAPPEND))
        return -EINVAL;
    t->uio->no_append = t->flags & LINUX_RWF_NOAPPEND;
    if (!(t->flags & RWF_APPEND) || !t->write || !t->file->ops->llseek)
        return 0;
    if (file_stat(t->file, &st) < 0)
        return -EOPNOTSUPP;
    if (!t->positioned)
        file_llseek(t->file, st.st_size, SEEK_SET);
    t->pos = st.st_size;
    return 0;
}

/*
 * Be told from now on, try once more, then park. Being told goes on until the end, since what
 * poll(2) calls writable need not take this write: an eventfd's counter has room for one, but not
 * for so many.
 */
static int wait_until_ready(struct task_transfer *t, struct transfer_wait *w)
{
    if (w->told)
        return task_block(t->task, UINT64_MAX);
    wait_entry_init(&w->entry, &t->task->waiter, (t->write ? POLLOUT : POLLIN) | POLLERR | POLLHUP);
    waiter_reset(&t->task->waiter);
    file_poll(t->file, &w->entry);
    w->told = true;
    return 0;
}

static ssize_t transfer_loop(struct task_transfer *t, struct transfer_wait *w)
{
    bool nonblock = (t->flags & RWF_NOWAIT) || (t->file->flags & O_NONBLOCK);
    ssize_t done = 0;

    if (t->flags && t->uio->left > 0) {
        done = apply_flags(t);
        if (done < 0)
            return done;
    }
    if (socket_is(t->file) && !t->positioned) {
        done = socket_transfer(t, nonblock);
        if (done > 0)
            notify_file(t->file, t->write ? NOTIFY_MODIFY : NOTIFY_ACCESS);
        return done;
    }
    if (unlikely(t->file->terminal) && !t->positioned) {
        int err;

        if (!t->write)
            return terminal_read(t->task, t->file, t->uio, nonblock);
        err = terminal_may_write(t->task, t->file);
        if (err < 0)
            return err;
    }
    if (t->write)
        t->uio->size_limit = task_rlimit(t->task, RLIMIT_FSIZE);
    for (;;) {
        ssize_t n = attempt(t);

        if (n >= 0) {
            done += n;
            if (!write_goes_on(t, n, nonblock) || has_to_stop(t))
                return done;
            continue;
        }
        if (n == -EPIPE && t->write)
            signal_send_task(t->task, SIGPIPE, NULL);
        if (n == -EFBIG && t->uio->size_limit != RLIM64_INFINITY)
            signal_send_task(t->task, SIGXFSZ, NULL);
        if (n == -EINTR) /* the host's word: this thread was kicked */
            n = task_interrupted(t->task) ? -ERESTARTSYS : 0;
        else if (n == -EAGAIN && !nonblock)
            n = wait_until_ready(t, w);
        if (n < 0)
            return done ? done : n;
    }
}

static ssize_t transfer(struct task_transfer *t)
{
    struct transfer_wait w = {.told = false};
    ssize_t n = transfer_loop(t, &w);

    if (w.told)
        file_unpoll(t->file, &w.entry);
    return n;
}

ssize_t task_transfer(struct task_transfer *t)
{
    ssize_t n = transfer(t);

    usage_moved(&t->task->usage, t->write, n);
    return n;
}

ssize_t task_write(struct task *task, struct file *file, struct uio *uio)
{
    struct task_transfer t = {.task = task, .file = file, .uio = uio, .write = true};

    return transfer(&t);
}

static long with_file(struct task *task, int fd, struct task_transfer *t)
{
    ssize_t n;

    t->task = task;
    t->file = task_file(task, fd);
    if (!t->file)
        return -EBADF;
    n = task_transfer(t);
    file_unref(t->file);
    return n;
}

/* read(2) and its like with one buffer. */
static long one_buffer(struct task *task, int fd, uaddr_t buf, size_t size, struct task_transfer t)
{
    struct uio uio;
    int64_t end;

    /* access_ok() before rw_verify_area(): no buffer is that large; then no offset is. */
    if ((ssize_t)size < 0 || __builtin_add_overflow(t.pos, (int64_t)size, &end)) {
        if (fdtable_get_cloexec(task->files, fd) < 0)
            return -EBADF;
        return (ssize_t)size < 0 ? -EFAULT : -EINVAL;
    }
    uio_init_user(&uio, task->mm, buf, MIN(size, UIO_MAX_BYTES));
    t.uio = &uio;
    return with_file(task, fd, &t);
}

static long many_buffers(struct task *task, int fd, uaddr_t iov, uint64_t count,
                         struct task_transfer t)
{
    struct uio uio;
    long n;

    if (fdtable_get_cloexec(task->files, fd) < 0)
        return -EBADF;
    n = uio_import(&uio, task->mm, iov, count);
    if (n < 0)
        return n;
    t.uio = &uio;
    n = with_file(task, fd, &t);
    uio_release(&uio);
    return n;
}

SYSCALL_DEFINE3(read, int, fd, uaddr_t, buf, size_t, count)
{
    return one_buffer(task, fd, buf, count, (struct task_transfer){.write = false});
}

SYSCALL_DEFINE3(write, int, fd, uaddr_t, buf, size_t, count)
{
    return one_buffer(task, fd, buf, count, (struct task_transfer){.write = true});
}

SYSCALL_DEFINE4(pread64, int, fd, uaddr_t, buf, size_t, count, int64_t, pos)
{
    if (pos < 0)
        return -EINVAL;
    return one_buffer(task, fd, buf, count, (struct task_transfer){.positioned = true, .pos = pos});
}

SYSCALL_DEFINE4(pwrite64, int, fd, uaddr_t, buf, size_t, count, int64_t, pos)
{
    if (pos < 0)
        return -EINVAL;
    return one_buffer(task, fd, buf, count,
                      (struct task_transfer){.write = true, .positioned = true, .pos = pos});
}

SYSCALL_DEFINE3(readv, int, fd, uaddr_t, iov, uint64_t, count)
{
    return many_buffers(task, fd, iov, count, (struct task_transfer){.write = false});
}

SYSCALL_DEFINE3(writev, int, fd, uaddr_t, iov, uint64_t, count)
{
    return many_buffers(task, fd, iov, count, (struct task_transfer){.write = true});
}

/* On a 64-bit machine the whole offset is in pos_low; pos_high is shifted out. */
SYSCALL_DEFINE5(preadv, int, fd, uaddr_t, iov, uint64_t, count, int64_t, pos, int64_t, pos_high)
{
    if (pos < 0)
        return -EINVAL;
    return many_buffers(task, fd, iov, count,
                        (struct task_transfer){.positioned = true, .pos = pos});
}

SYSCALL_DEFINE5(pwritev, int, fd, uaddr_t, iov, uint64_t, count, int64_t, pos, int64_t, pos_high)
{
    if (pos < 0)
        return -EINVAL;
    return many_buffers(task, fd, iov, count,
                        (struct task_transfer){.write = true, .positioned = true, .pos = pos});
}

SYSCALL_DEFINE6(preadv2, int, fd, uaddr_t, iov, uint64_t, count, int64_t, pos, int64_t, pos_high,
                int, flags)
{
    struct task_transfer t = {.positioned = pos != -1, .pos = pos, .flags = flags};

    return pos < -1 ? -EINVAL : many_buffers(task, fd, iov, count, t);
}

SYSCALL_DEFINE6(pwritev2, int, fd, uaddr_t, iov, uint64_t, count, int64_t, pos, int64_t, pos_high,
                int, flags)
{
    struct task_transfer t = {.write = true, .positioned = pos != -1, .pos = pos, .flags = flags};

    return pos < -1 ? -EINVAL : many_buffers(task, fd, iov, count, t);
}

SYSCALL_DEFINE3(lseek, int, fd, int64_t, offset, unsigned, whence)
{
    struct file *file = task_file(task, fd);
    int64_t pos;

    if (!file)
        return -EBADF;
    pos = whence > SEEK_HOLE ? -EINVAL : file_llseek(file, offset, (int)whence);
    file_unref(file);
    return pos;
}
