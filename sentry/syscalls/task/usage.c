/* What was used: getrusage(2), times(2). */
#include "sentry/syscalls/task/usage.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/times.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define NS_PER_TICK 10000000UL /* USER_HZ 100 */

static struct timeval ns_timeval(uint64_t ns)
{
    return (struct timeval){
        .tv_sec = (time_t)(ns / NSEC_PER_SEC),
        .tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / 1000),
    };
}

/* Blocks read and written are not told: file systems here have no disk below them. */
long put_usage(struct task *task, uaddr_t ptr, const struct usage *usage)
{
    const struct rusage out = {
        .ru_utime = ns_timeval(usage->user_ns),
        .ru_stime = ns_timeval(usage->system_ns),
        .ru_maxrss = (long)(usage->max_resident >> 10),
        .ru_minflt = (long)usage->minor_faults,
        .ru_majflt = (long)usage->major_faults,
        .ru_nvcsw = (long)usage->sleeps,
        .ru_nivcsw = (long)usage->preemptions,
    };

    return copy_struct_to_user(task->mm, ptr, &out);
}

static void children_usage(struct task *task, struct usage *ret)
{
    lock_acquire(&task->kernel->lock);
    *ret = task->process->children_usage;
    lock_release(&task->kernel->lock);
}

static void thread_usage(struct task *task, struct usage *ret)
{
    lock_acquire(&task->process->lock);
    task_usage_locked(task, ret);
    ret->max_resident = task->process->dead_usage.max_resident;
    lock_release(&task->process->lock);
}

SYSCALL_DEFINE2(getrusage, int, who, uaddr_t, ptr)
{
    struct usage usage;
    struct mm_stats stats;

    switch (who) {
    case RUSAGE_SELF:
        process_usage(task->process, &usage);
        break;
    case RUSAGE_THREAD:
        thread_usage(task, &usage);
        break;
    case RUSAGE_CHILDREN:
        children_usage(task, &usage);
        break;
    default:
        return -EINVAL;
    }
    if (who != RUSAGE_CHILDREN) {
        mm_get_stats(task->mm, &stats);
        usage.max_resident = MAX(usage.max_resident, stats.peak_resident);
    }
    return put_usage(task, ptr, &usage);
}

SYSCALL_DEFINE1(times, uaddr_t, ptr)
{
    struct usage own, children;
    struct tms tms;

    process_usage(task->process, &own);
    children_usage(task, &children);
    tms = (struct tms){
        .tms_utime = (clock_t)(own.user_ns / NS_PER_TICK),
        .tms_stime = (clock_t)(own.system_ns / NS_PER_TICK),
        .tms_cutime = (clock_t)(children.user_ns / NS_PER_TICK),
        .tms_cstime = (clock_t)(children.system_ns / NS_PER_TICK),
    };
    if (ptr && copy_struct_to_user(task->mm, ptr, &tms) < 0)
        return -EFAULT;
    return (long)(time_monotonic_ns() / NS_PER_TICK);
}
