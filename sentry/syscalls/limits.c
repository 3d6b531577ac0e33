/* Resource limits and usage: getrlimit(2), getrusage(2), times(2). */
#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/times.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/kernel/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define NR_OPEN     1048576UL  /* /proc/sys/fs/nr_open */
#define NS_PER_TICK 10000000UL /* USER_HZ 100 */

/* Checks and exchanges under the process's lock. */
static int exchange(struct task *task, struct process *process, unsigned resource,
                    const struct rlimit64 *new_limit, struct rlimit64 *ret_old)
{
    struct rlimit64 *slot = &process->limits[resource];

    *ret_old = *slot;
    if (!new_limit)
        return 0;
    if (new_limit->rlim_cur > new_limit->rlim_max)
        return -EINVAL;
    if (resource == RLIMIT_NOFILE && new_limit->rlim_max > NR_OPEN)
        return -EPERM;
    if (new_limit->rlim_max > slot->rlim_max && !task_has_cap(task, CAP_SYS_RESOURCE))
        return -EPERM;
    *slot = *new_limit;
    return 0;
}

static long change_limit(struct task *task, int pid, unsigned resource,
                         const struct rlimit64 *new_limit, struct rlimit64 *ret_old)
{
    struct task *target;
    int error;

    if (resource >= RLIM_NLIMITS)
        return -EINVAL;
    target = pid == 0 ? task_ref(task) : task_find(task->kernel, pid);
    if (!target)
        return -ESRCH;
    error = -EPERM;
    if (target->process == task->process || task_has_cap(task, CAP_SYS_RESOURCE) ||
        (target->cred->uid == task->cred->uid && target->cred->euid == task->cred->uid &&
         target->cred->suid == task->cred->uid)) {
        lock_acquire(&target->process->lock);
        error = exchange(task, target->process, resource, new_limit, ret_old);
        lock_release(&target->process->lock);
    }
    if (error == 0 && new_limit && target->process == task->process)
        rlimits_apply(task, task->mm);
    task_unref(target);
    return error;
}

SYSCALL_DEFINE4(prlimit64, int, pid, unsigned, resource, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    struct rlimit64 new_limit, old;
    long error;

    if (new_ptr && copy_struct_from_user(task->mm, &new_limit, new_ptr) < 0)
        return -EFAULT;
    error = change_limit(task, pid, resource, new_ptr ? &new_limit : NULL, &old);
    if (error == 0 && old_ptr)
        error = copy_struct_to_user(task->mm, old_ptr, &old);
    return error;
}

SYSCALL_DEFINE2(getrlimit, unsigned, resource, uaddr_t, ptr)
{
    struct rlimit64 old;
    long error = change_limit(task, 0, resource, NULL, &old);

    return error < 0 ? error : copy_struct_to_user(task->mm, ptr, &old);
}

SYSCALL_DEFINE2(setrlimit, unsigned, resource, uaddr_t, ptr)
{
    struct rlimit64 new_limit, old;

    if (copy_struct_from_user(task->mm, &new_limit, ptr) < 0)
        return -EFAULT;
    return change_limit(task, 0, resource, &new_limit, &old);
}

static struct timeval ns_timeval(uint64_t ns)
{
    return (struct timeval){
        .tv_sec = (time_t)(ns / NSEC_PER_SEC),
        .tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / 1000),
    };
}

static uint64_t children_cpu_ns(struct task *task)
{
    uint64_t ns;

    lock_acquire(&task->kernel->lock);
    ns = task->process->children_cpu_ns;
    lock_release(&task->kernel->lock);
    return ns;
}

SYSCALL_DEFINE2(getrusage, int, who, uaddr_t, ptr)
{
    struct rusage usage = {0};
    struct mm_stats stats;

    switch (who) {
    case RUSAGE_SELF:
        usage.ru_utime = ns_timeval(process_cpu_ns(task->process));
        break;
    case RUSAGE_THREAD:
        usage.ru_utime = ns_timeval(task_cpu_ns(task));
        break;
    case RUSAGE_CHILDREN:
        usage.ru_utime = ns_timeval(children_cpu_ns(task));
        break;
    default:
        return -EINVAL;
    }
    if (who != RUSAGE_CHILDREN) {
        mm_get_stats(task->mm, &stats);
        usage.ru_maxrss = (long)(stats.peak_resident >> 10);
    }
    return copy_struct_to_user(task->mm, ptr, &usage);
}

SYSCALL_DEFINE1(times, uaddr_t, ptr)
{
    const struct tms tms = {
        .tms_utime = (clock_t)(process_cpu_ns(task->process) / NS_PER_TICK),
        .tms_cutime = (clock_t)(children_cpu_ns(task) / NS_PER_TICK),
    };

    if (ptr && copy_struct_to_user(task->mm, ptr, &tms) < 0)
        return -EFAULT;
    return (long)(time_monotonic_ns() / NS_PER_TICK);
}
