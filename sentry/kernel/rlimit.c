#include "sentry/kernel/rlimit.h"

#include <linux/capability.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

/* Linux include/asm-generic/resource.h, with what a system usually makes of the variable ones. */
static const struct rlimit64 defaults[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_FSIZE] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_DATA] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_STACK] = {8UL << 20, RLIM64_INFINITY},
    [RLIMIT_CORE] = {0, RLIM64_INFINITY},
    [RLIMIT_RSS] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_NPROC] = {KERNEL_THREADS_MAX, KERNEL_THREADS_MAX},
    [RLIMIT_NOFILE] = {1024, 4096},
    [RLIMIT_MEMLOCK] = {8UL << 20, 8UL << 20},
    [RLIMIT_AS] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_LOCKS] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_SIGPENDING] = {KERNEL_THREADS_MAX, KERNEL_THREADS_MAX},
    [RLIMIT_MSGQUEUE] = {819200, 819200},
    [RLIMIT_NICE] = {0, 0},
    [RLIMIT_RTPRIO] = {0, 0},
    [RLIMIT_RTTIME] = {RLIM64_INFINITY, RLIM64_INFINITY},
};

void rlimits_init(struct process *process, const struct rlimit64 *limits)
{
    memcpy(process->limits, limits ? limits : defaults, sizeof(process->limits));
}

void rlimits_apply(struct task *task, struct mm *mm)
{
    struct process *process = task->process;
    struct mm_limits limits;

    lock_acquire(&process->lock);
    limits = (struct mm_limits){
        .address_space = process->limits[RLIMIT_AS].rlim_cur,
        .data = process->limits[RLIMIT_DATA].rlim_cur,
        .stack = process->limits[RLIMIT_STACK].rlim_cur,
        .locked = process->limits[RLIMIT_MEMLOCK].rlim_cur,
    };
    if (task_has_cap(task, CAP_IPC_LOCK))
        limits.locked = UINT64_MAX;
    lock_release(&process->lock);
    mm_set_limits(mm, &limits);
}
