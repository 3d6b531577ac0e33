/* What one process does to another's memory by its handle: process_madvise(2), process_mrelease(2).
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>

#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/uio.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/task/pidfd.h"

#define LINUX_MADV_COLLAPSE 25 /* newer than Debian 12's headers */

/* The task, referenced. -EBADF, -ESRCH. */
static int get_task(struct task *task, int fd, struct task **ret)
{
    struct file *file = pidfd_get(task, fd);

    if (!file)
        return -EBADF;
    *ret = pidfd_task(file);
    file_unref(file);
    return *ret ? 0 : -ESRCH;
}

/* process_madvise_remote_valid() */
static bool fit_for_others(int advice)
{
    return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED ||
           advice == LINUX_MADV_COLLAPSE;
}

static long advise_all(struct mm *mm, const struct uio *ranges, int advice)
{
    uint64_t done = 0;
    int err = 0;

    for (uint32_t i = 0; i < ranges->count && err == 0; i++) {
        const struct uio_segment *s = &ranges->segments[i];

        err = mm_advise(mm, s->base, s->size, advice);
        done += err == 0 ? s->size : 0;
    }
    return done ? (long)done : err;
}

static long advise(struct task *task, struct task *target, const struct uio *ranges, int advice)
{
    struct mm *mm = task_get_mm(target);
    long result;

    if (!mm)
        return -ESRCH;
    if (ptrace_may_access(task, target, PTRACE_READ_FSCREDS) < 0)
        result = -EACCES;
    else if (mm != task->mm && !fit_for_others(advice))
        result = -EINVAL;
    else if (mm != task->mm && !task_has_cap(task, CAP_SYS_NICE))
        result = -EPERM;
    else
        result = advise_all(mm, ranges, advice);
    mm_unref(mm);
    return result;
}

SYSCALL_DEFINE5(process_madvise, int, fd, uaddr_t, iov, uint64_t, count, int, advice, unsigned,
                flags)
{
    struct task *target;
    struct uio ranges;
    long result;

    if (flags)
        return -EINVAL;
    result = uio_import(&ranges, task->mm, iov, count);
    if (result < 0)
        return result;
    result = get_task(task, fd, &target);
    if (result == 0) {
        result = advise(task, target, &ranges, advice);
        task_unref(target);
    }
    uio_release(&ranges);
    return result;
}

/* A process that ends gives its memory back by itself, and soon: nothing is left to be done. */
SYSCALL_DEFINE2(process_mrelease, int, fd, unsigned, flags)
{
    struct task *target;
    struct mm *mm;
    long result;

    if (flags)
        return -EINVAL;
    result = get_task(task, fd, &target);
    if (result < 0)
        return result;
    mm = task_get_mm(target);
    lock_acquire(&target->process->lock);
    if (!mm)
        result = -ESRCH;
    else if (!target->process->group_exit)
        result = -EINVAL;
    lock_release(&target->process->lock);
    mm_unref(mm);
    task_unref(target);
    return result;
}
