/*
 * Linux aio: io_setup(2), io_submit(2) and their relatives. As on Linux, reads and writes of files
 * that are not opened for direct transfers are done while io_submit(2) lasts; what remains is to
 * put the event into the ring. Only IOCB_CMD_POLL goes on by itself (aiopoll.c).
 */
#include "sentry/syscalls/aio/aio.h"

#include <errno.h>
#include <poll.h>

#include "sentry/fs/event/eventfd.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/poll/poll.h"
#include "sentry/vfs/file.h"

#define IOCB_KEY 0

SYSCALL_DEFINE2(io_setup, unsigned, events, uaddr_t, id_addr)
{
    uint64_t id;
    int err;

    if (copy_struct_from_user(task->mm, &id, id_addr) < 0)
        return -EFAULT;
    if (id != 0 || events == 0)
        return -EINVAL;
    err = aio_create(task, events, &id);
    if (err < 0)
        return err;
    if (copy_struct_to_user(task->mm, id_addr, &id) < 0) {
        struct aio_context *ctx = aio_find(task, id);

        if (ctx)
            aio_destroy(task, ctx);
        aio_unref(ctx);
        return -EFAULT;
    }
    return 0;
}

SYSCALL_DEFINE1(io_destroy, uint64_t, id)
{
    struct aio_context *ctx = aio_find(task, id);
    long result = -EINVAL;

    if (ctx && aio_destroy(task, ctx))
        result = 0;
    aio_unref(ctx);
    return result;
}

static ssize_t move(struct task *task, struct file *file, const struct iocb *iocb, struct uio *uio,
                    bool write)
{
    struct task_transfer t = {
        .task = task,
        .file = file,
        .uio = uio,
        .write = write,
        .flags = iocb->aio_rw_flags,
        .positioned = file->ops->llseek != NULL,
        .pos = iocb->aio_offset,
    };
    ssize_t n = task_transfer(&t);

    if (n <= -ERESTARTSYS && n >= -ERESTART_RESTARTBLOCK)
        n = -EINTR; /* an event cannot be restarted */
    return n;
}

/* PREAD, PWRITE and the vectored ones. What is wrong with the request is refused at once. */
static int submit_rw(struct task *task, struct file *file, const struct iocb *iocb, bool write,
                     bool vectored, int64_t *ret_result)
{
    struct uio uio;
    int64_t end;
    int err = 0;

    if (!(write ? file_can_write(file) : file_can_read(file)))
        return -EBADF;
    if (!(write ? file->ops->write : file->ops->read))
        return -EINVAL;
    if (vectored)
        err = uio_import(&uio, task->mm, iocb->aio_buf, iocb->aio_nbytes);
    else
        uio_init_user(&uio, task->mm, iocb->aio_buf, iocb->aio_nbytes);
    if (err < 0)
        return err;
    if (iocb->aio_offset < 0 || __builtin_add_overflow(iocb->aio_offset, (int64_t)uio.left, &end))
        err = -EINVAL;
    if (iocb->aio_rw_flags & ~(RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC | RWF_APPEND))
        err = -EOPNOTSUPP;
    if (!err)
        *ret_result = move(task, file, iocb, &uio, write);
    uio_release(&uio);
    return err;
}

static int submit_sync(struct file *file, const struct iocb *iocb, int64_t *ret_result)
{
    if (iocb->aio_buf || iocb->aio_offset || iocb->aio_nbytes || iocb->aio_rw_flags ||
        !file->ops->sync)
        return -EINVAL;
    *ret_result = file->ops->sync(file);
    return 0;
}

static int submit_poll(struct aio_context *ctx, struct file *file, const struct iocb *iocb,
                       const struct io_event *event, struct file *notify)
{
    if (iocb->aio_buf > UINT16_MAX || iocb->aio_offset || iocb->aio_nbytes || iocb->aio_rw_flags)
        return -EINVAL;
    return aio_poll_submit(ctx, file, (uint32_t)iocb->aio_buf, event, notify);
}

/* -errno: not accepted. The place in the ring is reserved. */
static int submit_to_file(struct task *task, struct aio_context *ctx, const struct iocb *iocb,
                          struct io_event *event, struct file *file, struct file *notify)
{
    int64_t result = 0;
    int err = -EINVAL;

    switch (iocb->aio_lio_opcode) {
    case IOCB_CMD_PREAD:
    case IOCB_CMD_PREADV:
        err = submit_rw(task, file, iocb, false, iocb->aio_lio_opcode == IOCB_CMD_PREADV, &result);
        break;
    case IOCB_CMD_PWRITE:
    case IOCB_CMD_PWRITEV:
        err = submit_rw(task, file, iocb, true, iocb->aio_lio_opcode == IOCB_CMD_PWRITEV, &result);
        break;
    case IOCB_CMD_FSYNC:
    case IOCB_CMD_FDSYNC:
        err = submit_sync(file, iocb, &result);
        break;
    case IOCB_CMD_POLL:
        return submit_poll(ctx, file, iocb, event, notify);
    }
    if (err < 0)
        return err;
    event->res = result;
    aio_complete(ctx, event, notify);
    return 0;
}

static int submit_reserved(struct task *task, struct aio_context *ctx, const struct iocb *iocb,
                           uaddr_t addr)
{
    struct io_event event = {.data = iocb->aio_data, .obj = addr};
    const uint32_t key = IOCB_KEY;
    struct file *file = task_file(task, (int)iocb->aio_fildes), *notify = NULL;
    int err = file ? 0 : -EBADF;

    if (!err && (iocb->aio_flags & IOCB_FLAG_RESFD)) {
        notify = task_file(task, (int)iocb->aio_resfd);
        if (!notify)
            err = -EBADF;
        else if (!eventfd_is(notify))
            err = -EINVAL;
    }
    if (!err)
        err = copy_struct_to_user(task->mm, addr + offsetof(struct iocb, aio_key), &key);
    if (!err)
        err = submit_to_file(task, ctx, iocb, &event, file, notify);
    file_unref(notify);
    file_unref(file);
    return err;
}

static int submit_one(struct task *task, struct aio_context *ctx, uaddr_t addr)
{
    struct iocb iocb;
    int err;

    if (copy_struct_from_user(task->mm, &iocb, addr) < 0)
        return -EFAULT;
    if (iocb.aio_reserved2 || (int64_t)iocb.aio_nbytes < 0)
        return -EINVAL;
    if (!aio_reserve(ctx))
        return -EAGAIN;
    err = submit_reserved(task, ctx, &iocb, addr);
    if (err < 0)
        aio_unreserve(ctx);
    return err;
}

SYSCALL_DEFINE3(io_submit, uint64_t, id, long, count, uaddr_t, iocbs)
{
    struct aio_context *ctx;
    long done = 0;
    int err = 0;

    if (count < 0)
        return -EINVAL;
    ctx = aio_find(task, id);
    if (!ctx)
        return -EINVAL;
    count = MIN(count, (long)ctx->slots);
    while (done < count && err == 0) {
        uaddr_t addr;

        err = copy_struct_from_user(task->mm, &addr, iocbs + (uint64_t)done * sizeof(addr));
        if (!err)
            err = submit_one(task, ctx, addr);
        done += err == 0;
    }
    aio_unref(ctx);
    return done ? done : err;
}

SYSCALL_DEFINE3(io_cancel, uint64_t, id, uaddr_t, iocb, uaddr_t, result)
{
    struct aio_context *ctx;
    uint32_t key;
    long err;

    if (copy_struct_from_user(task->mm, &key, iocb + offsetof(struct iocb, aio_key)) < 0)
        return -EFAULT;
    if (key != IOCB_KEY)
        return -EINVAL;
    ctx = aio_find(task, id);
    if (!ctx)
        return -EINVAL;
    err = aio_poll_cancel(ctx, iocb);
    aio_unref(ctx);
    return err;
}

/* Until `min` events came, the deadline, or a signal: -EINTR. */
static long wait_events(struct task *task, struct aio_context *ctx, long min, long max, uaddr_t to,
                        uint64_t deadline_ns)
{
    struct wait_entry entry;
    long done = 0, n;
    int err = 0;

    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(&ctx->queue, &entry);
    for (;;) {
        n = aio_take(task, ctx, to + (uint64_t)done * sizeof(struct io_event), max - done);
        if (n > 0)
            done += n;
        if (n < 0 || done >= min || err == -ETIMEDOUT || deadline_ns == 0)
            break;
        err = task_block(task, deadline_ns);
        if (err < 0 && err != -ETIMEDOUT) {
            n = -EINTR;
            break;
        }
    }
    wait_queue_remove(&ctx->queue, &entry);
    return done || n > 0 ? done : n;
}

static long get_events(struct task *task, uint64_t id, long min, long max, uaddr_t events,
                       uint64_t deadline_ns)
{
    struct aio_context *ctx = aio_find(task, id);
    long result = -EINVAL;

    if (ctx && min <= max && min >= 0)
        result = wait_events(task, ctx, min, max, events, deadline_ns);
    aio_unref(ctx);
    return result;
}

/* Not checked as other timeouts are: what it comes to counts, and less than nothing is for ever. */
static int get_timeout(struct task *task, uaddr_t addr, uint64_t *ret_deadline_ns)
{
    struct timespec ts;
    int64_t ns;

    *ret_deadline_ns = TIME_NEVER;
    if (!addr)
        return 0;
    if (copy_struct_from_user(task->mm, &ts, addr) < 0)
        return -EFAULT;
    if (__builtin_mul_overflow(ts.tv_sec, (int64_t)NSEC_PER_SEC, &ns) ||
        __builtin_add_overflow(ns, ts.tv_nsec, &ns))
        return 0;
    if (ns >= 0)
        *ret_deadline_ns = poll_deadline((uint64_t)ns);
    return 0;
}

SYSCALL_DEFINE5(io_getevents, uint64_t, id, long, min, long, max, uaddr_t, events, uaddr_t, timeout)
{
    uint64_t deadline;
    int err = get_timeout(task, timeout, &deadline);

    return err < 0 ? err : get_events(task, id, min, max, events, deadline);
}

SYSCALL_DEFINE6(io_pgetevents, uint64_t, id, long, min, long, max, uaddr_t, events, uaddr_t,
                timeout, uaddr_t, sigmask_arg)
{
    struct {
        uaddr_t set;
        uint64_t size;
    } arg = {0, 0};
    struct poll_mask mask;
    uint64_t deadline;
    long result = get_timeout(task, timeout, &deadline);

    if (result < 0)
        return result;
    if (sigmask_arg && copy_struct_from_user(task->mm, &arg, sigmask_arg) < 0)
        return -EFAULT;
    result = poll_mask_set(task, arg.set, arg.size, &mask);
    if (result < 0)
        return result;
    result = get_events(task, id, min, max, events, deadline);
    return poll_mask_restore(task, &mask, result);
}
