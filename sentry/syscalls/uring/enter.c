/* io_uring_enter(2): submits, and waits for completions. */
#include <errno.h>

#include "sentry/kernel/syscall.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/poll/poll.h"
#include "sentry/syscalls/uring/uring.h"

/* What to wait for, and how long. */
struct waiting {
    uint32_t count;
    uaddr_t sigmask;
    size_t sigmask_size;
    uint64_t deadline_ns;
    uint64_t min_ns; /* after so long one completion is enough; 0: it never is */
};

/* By the clock of the ring (IORING_REGISTER_CLOCK) when it is a point in time. */
static uint64_t deadline_of(const struct uring *ring, const struct timespec *ts, uint32_t flags)
{
    uint64_t ns = ts->tv_sec < 0 ? 0 : timespec_ns(ts);

    if (flags & URING_ENTER_ABS_TIMER)
        return time_to_monotonic(READ_ONCE(ring->clock), ns);
    return time_add(time_monotonic_ns(), ns);
}

/* IORING_ENTER_EXT_ARG_REG: the argument's place in the region that was registered. */
static int get_registered(struct uring *ring, struct task *task, uint32_t flags, uint64_t offset,
                          size_t size, struct waiting *ret)
{
    struct uring_reg_wait reg;
    int err;

    if (size != sizeof(reg))
        return -EINVAL;
    err = uring_region_wait(ring, task, offset, &reg);
    if (err < 0)
        return err;
    if (reg.flags & ~URING_REG_WAIT_TS)
        return -EINVAL;
    ret->sigmask = reg.sigmask;
    ret->sigmask_size = reg.sigmask_size;
    ret->min_ns = reg.min_wait_usec * 1000UL;
    if (reg.flags & URING_REG_WAIT_TS) {
        const struct timespec ts = {.tv_sec = reg.ts[0], .tv_nsec = reg.ts[1]};

        ret->deadline_ns = deadline_of(ring, &ts, flags);
    }
    return 0;
}

static int get_waiting(struct uring *ring, struct task *task, uint32_t flags, uaddr_t arg,
                       size_t size, struct waiting *ret)
{
    struct uring_getevents_arg ext;
    struct timespec ts;

    ret->deadline_ns = TIME_NEVER;
    if (!(flags & URING_ENTER_EXT_ARG)) {
        ret->sigmask = arg;
        ret->sigmask_size = size;
        return 0;
    }
    if (flags & URING_ENTER_EXT_ARG_REG)
        return get_registered(ring, task, flags, arg, size, ret);
    if (size != sizeof(ext))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &ext, arg) < 0)
        return -EFAULT;
    ret->sigmask = ext.sigmask;
    ret->sigmask_size = ext.sigmask_size;
    ret->min_ns = ext.min_wait_usec * 1000UL;
    if (!ext.timeout)
        return 0;
    if (copy_struct_from_user(task->mm, &ts, ext.timeout) < 0)
        return -EFAULT;
    ret->deadline_ns = deadline_of(ring, &ts, flags);
    return 0;
}

/* 0, -ETIME, -EINTR. */
static long wait_completions(struct uring *ring, struct task *task, const struct waiting *w)
{
    struct wait_entry entry;
    long err = 0;

    if (uring_ready(ring) >= w->count)
        return 0;
    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(&ring->queue, &entry);
    while (uring_ready(ring) < w->count) {
        if (err < 0)
            break;
        err = task_block(task, w->deadline_ns);
    }
    if (uring_ready(ring) >= w->count)
        err = 0;
    wait_queue_remove(&ring->queue, &entry);
    if (err == -ETIMEDOUT)
        return -ETIME;
    return err < 0 ? -EINTR : 0;
}

/*
 * A wait with a least time (min_wait_usec): until that has passed it is for all of the completions,
 * then for the first.
 */
static long wait_at_least(struct uring *ring, struct task *task, struct waiting w)
{
    uint64_t deadline = w.deadline_ns;
    long err;

    w.deadline_ns = MIN(deadline, time_add(time_monotonic_ns(), w.min_ns));
    err = wait_completions(ring, task, &w);
    if (err != -ETIME || w.deadline_ns == deadline)
        return err;
    w.deadline_ns = deadline;
    w.count = MIN(w.count, 1u);
    return wait_completions(ring, task, &w);
}

static long get_events(struct uring *ring, struct task *task, struct waiting *w)
{
    struct poll_mask mask;
    long result;

    /* Nothing is ever on its way that polling would bring (IOPOLL). */
    w->count = ring->flags & URING_SETUP_IOPOLL ? 0 : MIN(w->count, READ_ONCE(ring->cq_entries));
    result = poll_mask_set(task, w->sigmask, w->sigmask_size, &mask);
    if (result < 0)
        return result;
    result = w->min_ns ? wait_at_least(ring, task, *w) : wait_completions(ring, task, w);
    result = poll_mask_restore(task, &mask, result);
    return result == -ERESTARTNOHAND ? -EINTR : result;
}

/* The ring that one thread alone submits to belongs to the first that does. */
static int check_issuer(struct uring *ring, struct task *task)
{
    if (!(ring->flags & URING_SETUP_SINGLE_ISSUER))
        return 0;
    return ring->issuer == task->tid ? 0 : -EEXIST;
}

static long enter(struct uring *ring, struct task *task, uint32_t submit, uint32_t flags,
                  struct waiting *w, uaddr_t arg, size_t size)
{
    bool disabled, dead;
    long done = 0, err;

    lock_acquire(&ring->lock);
    disabled = ring->disabled;
    dead = ring->dead;
    lock_release(&ring->lock);
    if (disabled)
        return -EBADFD;
    if (dead)
        return -ENXIO;
    if (ring->poller) {
        done = uring_poller_enter(ring, task, submit, flags);
        if (done < 0)
            return done;
    } else if (submit > 0) {
        done = check_issuer(ring, task);
        if (done == 0)
            done = uring_use(ring, task);
        if (done == 0)
            done = uring_submit(ring, task, submit);
        if (done != submit)
            return done; /* also when it was less: the caller looks first */
    }
    if (!(flags & URING_ENTER_GETEVENTS))
        return done;
    if ((ring->flags & URING_SETUP_DEFER_TASKRUN) && check_issuer(ring, task) < 0)
        return done ? done : -EEXIST;
    err = get_waiting(ring, task, flags, arg, size, w);
    if (err == 0)
        err = get_events(ring, task, w);
    return done ? done : err;
}

SYSCALL_DEFINE6(io_uring_enter, unsigned, fd, uint32_t, submit, uint32_t, min_complete, uint32_t,
                flags, uaddr_t, arg, size_t, size)
{
    struct waiting w = {.count = min_complete};
    struct file *file;
    long result;

    if (flags & ~URING_ENTER_FLAGS)
        return -EINVAL;
    result = uring_file(task, fd, flags & URING_ENTER_REGISTERED_RING, &file);
    if (result < 0)
        return result;
    result = -EOPNOTSUPP;
    if (uring_is(file))
        result = enter(uring_of(file), task, submit, flags, &w, arg, size);
    file_unref(file);
    return result;
}
