/*
 * Scheduling: sched(7), getpriority(2). The host's scheduler decides who runs when, and is told
 * what it may be told (sentry/kernel/sched.c). All of it is checked, kept and shown as Linux would.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "host/thread.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/sched/sched.h"

#define RESET_ON_FORK   0x40000000
#define RT_PRIORITY_MAX 99
#define RR_INTERVAL_NS  100000000UL /* RR_TIMESLICE */
#define SLICE_NS        3000000UL   /* of ordinary tasks, as the fair class tells it */
#define NICE_MIN        -20
#define NICE_MAX        19

SYSCALL_DEFINE0(sched_yield)
{
    host_yield();
    return 0;
}

/* A reference to the task that a pid argument means, 0 for the caller. */
static struct task *find_task(struct task *task, int pid)
{
    return pid == 0 ? task_ref(task) : task_lookup(task, pid);
}

/* Our own "init", which is no task: it runs like any other, and nobody changes that. */
static bool is_init(const struct task *task, int pid)
{
    return pid == KERNEL_PID_SENTRY && task->process->pid_ns->level == 0;
}

static bool same_owner(const struct task *task, const struct task *target)
{
    return task->cred->euid == target->cred->euid || task->cred->euid == target->cred->uid;
}

SYSCALL_DEFINE3(sched_getaffinity, int, pid, unsigned, size, uaddr_t, mask_ptr)
{
    struct kernel *kernel = task->kernel;
    uint64_t mask[ARRAY_COUNT(task->sched.affinity)];
    struct task *target;

    if (size % sizeof(uint64_t) != 0 || size < kernel->cpu_mask_min)
        return -EINVAL;
    size = MIN(size, kernel->cpu_mask_size);
    target = find_task(task, pid);
    if (target) {
        lock_acquire(&target->process->lock);
        memcpy(mask, target->sched.affinity, sizeof(mask));
        lock_release(&target->process->lock);
        task_unref(target);
    } else if (is_init(task, pid)) {
        memcpy(mask, kernel->cpus, sizeof(mask));
    } else {
        return -ESRCH;
    }
    if (copy_to_user(task->mm, mask_ptr, mask, size) < 0)
        return -EFAULT;
    return size;
}

/* One that reserves processor time has to be able to run wherever some is. */
static bool runs_everywhere(const struct kernel *kernel, const uint64_t *mask)
{
    for (size_t i = 0; i < ARRAY_COUNT(kernel->cpus); i++) {
        if (kernel->cpus[i] & ~mask[i])
            return false;
    }
    return true;
}

SYSCALL_DEFINE3(sched_setaffinity, int, pid, unsigned, size, uaddr_t, mask_ptr)
{
    uint64_t mask[ARRAY_COUNT(task->sched.affinity)] = {0}, any = 0;
    struct task *target;
    long error = 0;

    if (copy_from_user(task->mm, mask, mask_ptr, MIN((size_t)size, sizeof(mask))) < 0)
        return -EFAULT;
    target = find_task(task, pid);
    if (!target)
        return is_init(task, pid) ? -EPERM : -ESRCH;
    for (size_t i = 0; i < ARRAY_COUNT(mask); i++) {
        mask[i] &= task->kernel->cpus[i];
        any |= mask[i];
    }
    lock_acquire(&target->process->lock);
    if (!same_owner(task, target) && !task_has_ns_cap(task, target->cred->user_ns, CAP_SYS_NICE))
        error = -EPERM;
    else if (!any)
        error = -EINVAL;
    else if (target->sched.policy == LINUX_SCHED_DEADLINE && !runs_everywhere(task->kernel, mask))
        error = -EBUSY;
    else
        memcpy(target->sched.affinity, mask, sizeof(mask));
    if (error == 0)
        task_sched_changed_locked(target);
    lock_release(&target->process->lock);
    if (error == 0 && target == task)
        task_apply_sched(task); /* before a child inherits what is told now */
    task_unref(target);
    return error;
}

static bool is_realtime(int policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool policy_valid(int policy)
{
    return is_realtime(policy) || policy == SCHED_OTHER || policy == SCHED_BATCH ||
           policy == SCHED_IDLE;
}

/* Linux user_check_sched_setscheduler(); process->lock held. */
static int check_policy(struct task *task, struct task *target, int policy, int priority,
                        bool reset)
{
    uint64_t limit = target->process->limits[RLIMIT_RTPRIO].rlim_cur;

    if (task_has_cap(task, CAP_SYS_NICE))
        return 0;
    if (target->sched.policy == SCHED_IDLE && policy != SCHED_IDLE &&
        (uint64_t)(20 - target->sched.nice) > target->process->limits[RLIMIT_NICE].rlim_cur)
        return -EPERM; /* out of the idle class is upward */
    if (is_realtime(policy)) {
        if (policy != target->sched.policy && limit == 0)
            return -EPERM;
        if (priority > target->sched.priority && (uint64_t)priority > limit)
            return -EPERM;
    }
    if (!same_owner(task, target) || (target->sched.reset_on_fork && !reset))
        return -EPERM;
    return 0;
}

/* Nice below what it has, and below what RLIMIT_NICE grants (Linux is_nice_reduction()). */
static bool may_set_nice(struct task *task, struct task *target, int nice)
{
    uint64_t limit = target->process->limits[RLIMIT_NICE].rlim_cur;

    return nice >= target->sched.nice || (uint64_t)(20 - nice) <= limit ||
           task_has_cap(task, CAP_SYS_NICE);
}

/* What the change comes to for who is scheduled like `now`. -EINVAL. */
static int complete_change(const struct task_sched *now, struct sched_change *change,
                           struct sched_deadline *ret_deadline)
{
    bool has_deadline;

    *ret_deadline = now->deadline;
    if (change->keep_policy) {
        change->policy = now->policy;
        change->reset_on_fork = now->reset_on_fork;
    }
    if (change->keep_params) {
        change->priority = now->priority;
        change->set_nice = false;
    } else if (change->deadline) {
        *ret_deadline = *change->deadline;
    }
    has_deadline = change->policy == LINUX_SCHED_DEADLINE;
    if (has_deadline ? !ret_deadline->deadline : !policy_valid(change->policy))
        return -EINVAL;
    if (change->priority < 0 || change->priority > RT_PRIORITY_MAX ||
        is_realtime(change->policy) != (change->priority != 0))
        return -EINVAL;
    change->set_nice &= !is_realtime(change->policy) && !has_deadline;
    return 0;
}

static int change_locked(struct task *task, struct task *target, struct sched_change change)
{
    struct sched_deadline deadline;
    int error = complete_change(&target->sched, &change, &deadline);
    bool has_deadline = change.policy == LINUX_SCHED_DEADLINE;

    if (error < 0)
        return error;
    change.nice = MAX(NICE_MIN, MIN(change.nice, NICE_MAX));
    if (change.set_nice && !may_set_nice(task, target, change.nice))
        return -EPERM;
    if (has_deadline && !task_has_cap(task, CAP_SYS_NICE))
        return -EPERM;
    error = check_policy(task, target, change.policy, change.priority, change.reset_on_fork);
    if (error < 0)
        return error;
    target->sched.policy = change.policy;
    target->sched.deadline = has_deadline ? deadline : (struct sched_deadline){0};
    target->sched.priority = change.priority;
    target->sched.reset_on_fork = change.reset_on_fork;
    if (change.set_nice)
        target->sched.nice = change.nice;
    task_sched_changed_locked(target);
    return 0;
}

/* ---- deadlines ---------------------------------------------------------------------------- */

#define SHARE_SHIFT 20 /* BW_SHIFT: a share of a processor as a fraction of 2^20 */
/* sched_rt_runtime_us of sched_rt_period_us, less what ordinary tasks are kept (fair servers). */
#define SHARE_LIMIT ((uint64_t)((950000UL << SHARE_SHIFT) / 1000000 - (1UL << SHARE_SHIFT) / 20))

static uint64_t share_of(const struct sched_deadline *d)
{
    return d->period ? (uint64_t)(((unsigned __int128)d->runtime << SHARE_SHIFT) / d->period) : 0;
}

/* What all tasks but this one have been promised; kernel->lock held. */
static uint64_t promised_locked(struct kernel *kernel, const struct task *except)
{
    uint64_t sum = 0;

    for (int pid = 1; pid < KERNEL_PID_MAX; pid++) {
        struct task *other = kernel->pids[pid];

        if (!other || other == except)
            continue;
        lock_acquire(&other->process->lock);
        if (other->sched.policy == LINUX_SCHED_DEADLINE && !other->dead)
            sum += share_of(&other->sched.deadline);
        lock_release(&other->process->lock);
    }
    return sum;
}

/* Linux sched_dl_overflow(): -EBUSY. Two such changes at a time are kept apart by kernel->lock. */
static int change_deadline(struct task *task, struct task *target,
                           const struct sched_change *change)
{
    struct kernel *kernel = task->kernel;
    uint64_t sum, limit = SHARE_LIMIT * kernel_cpu_count(kernel);
    int error;

    lock_acquire(&kernel->lock);
    sum = promised_locked(kernel, target) + share_of(change->deadline);
    lock_acquire(&target->process->lock);
    if (task_has_cap(task, CAP_SYS_NICE) && !runs_everywhere(kernel, target->sched.affinity))
        error = -EPERM;
    else if (task_has_cap(task, CAP_SYS_NICE) && sum > limit)
        error = -EBUSY;
    else
        error = change_locked(task, target, *change);
    lock_release(&target->process->lock);
    lock_release(&kernel->lock);
    return error;
}

static int change_init(struct sched_change change)
{
    const struct task_sched ordinary = {.policy = SCHED_OTHER};
    struct sched_deadline deadline;

    return complete_change(&ordinary, &change, &deadline) < 0 ? -EINVAL : -EPERM;
}

int sched_change(struct task *task, int pid, const struct sched_change *change)
{
    struct task *target = find_task(task, pid);
    int error;

    if (!target)
        return is_init(task, pid) ? change_init(*change) : -ESRCH;
    if (change->deadline && !change->keep_policy && !change->keep_params) {
        error = change_deadline(task, target, change);
    } else {
        lock_acquire(&target->process->lock);
        error = change_locked(task, target, *change);
        lock_release(&target->process->lock);
    }
    if (error == 0)
        futex_pi_priority_changed(target);
    task_unref(target);
    return error;
}

/* policy -1: the one it has. */
static long set_policy(struct task *task, int pid, int policy, uaddr_t param_ptr)
{
    struct sched_change change = {
        .policy = policy & ~RESET_ON_FORK,
        .reset_on_fork = policy & RESET_ON_FORK,
        .keep_policy = policy < 0,
    };

    if (!param_ptr || pid < 0)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &change.priority, param_ptr) < 0)
        return -EFAULT;
    return sched_change(task, pid, &change);
}

SYSCALL_DEFINE3(sched_setscheduler, int, pid, int, policy, uaddr_t, param_ptr)
{
    return policy < 0 ? -EINVAL : set_policy(task, pid, policy, param_ptr);
}

SYSCALL_DEFINE2(sched_setparam, int, pid, uaddr_t, param_ptr)
{
    return set_policy(task, pid, -1, param_ptr);
}

int sched_read(struct task *task, int pid, struct task_sched *ret_sched)
{
    struct task *target;

    if (pid < 0)
        return -EINVAL;
    target = find_task(task, pid);
    if (!target && is_init(task, pid)) {
        *ret_sched = (struct task_sched){.policy = SCHED_OTHER};
        return 0;
    }
    if (!target)
        return -ESRCH;
    lock_acquire(&target->process->lock);
    *ret_sched = target->sched;
    lock_release(&target->process->lock);
    task_unref(target);
    return 0;
}

SYSCALL_DEFINE1(sched_getscheduler, int, pid)
{
    struct task_sched sched;
    int error = sched_read(task, pid, &sched);

    return error < 0 ? error : sched.policy | (sched.reset_on_fork ? RESET_ON_FORK : 0);
}

SYSCALL_DEFINE2(sched_getparam, int, pid, uaddr_t, param_ptr)
{
    struct task_sched sched;
    int error;

    if (!param_ptr)
        return -EINVAL;
    error = sched_read(task, pid, &sched);
    return error < 0 ? error : copy_struct_to_user(task->mm, param_ptr, &sched.priority);
}

SYSCALL_DEFINE2(sched_rr_get_interval, int, pid, uaddr_t, ptr)
{
    struct task_sched sched;
    struct timespec ts;
    int error = sched_read(task, pid, &sched);

    if (error < 0)
        return error;
    if (sched.policy == SCHED_FIFO || sched.policy == LINUX_SCHED_DEADLINE)
        ts = ns_timespec(0);
    else
        ts = ns_timespec(sched.policy == SCHED_RR ? RR_INTERVAL_NS : SLICE_NS);
    return copy_struct_to_user(task->mm, ptr, &ts);
}

SYSCALL_DEFINE1(sched_get_priority_max, int, policy)
{
    if (is_realtime(policy))
        return RT_PRIORITY_MAX;
    return policy_valid(policy) || policy == LINUX_SCHED_DEADLINE ? 0 : -EINVAL;
}

SYSCALL_DEFINE1(sched_get_priority_min, int, policy)
{
    if (is_realtime(policy))
        return 1;
    return policy_valid(policy) || policy == LINUX_SCHED_DEADLINE ? 0 : -EINVAL;
}

/* Called for each task that getpriority(2)'s which and who name; kernel->lock held. */
typedef long (*nice_fn)(struct task *task, struct task *target, int value, long result);

static bool is_meant(struct task *task, const struct task *target, int which, int who)
{
    switch (which) {
    case PRIO_PROCESS:
        return target->tid == (who ? task_global_pid(task, who) : task->tid);
    case PRIO_PGRP:
        return target->process->pgid == (who ? task_global_pid(task, who) : task->process->pgid);
    default:
        return target->cred->uid ==
               (who ? cred_kernel_uid(task->cred, (uint32_t)who) : task->cred->uid);
    }
}

static long for_each_meant(struct task *task, int which, int who, nice_fn fn, int value)
{
    struct kernel *kernel = task->kernel;
    long result = -ESRCH;

    if (which != PRIO_PROCESS && which != PRIO_PGRP && which != PRIO_USER)
        return -EINVAL;
    lock_acquire(&kernel->lock);
    for (int pid = 1; pid < KERNEL_PID_MAX; pid++) {
        struct task *target = kernel->pids[pid];

        if (!target)
            continue;
        lock_acquire(&target->process->lock);
        if (is_meant(task, target, which, who))
            result = fn(task, target, value, result);
        lock_release(&target->process->lock);
    }
    lock_release(&kernel->lock);
    return result;
}

/* The highest priority of all, shown as 20 - nice so that it is never negative. */
static long read_nice(struct task *task, struct task *target, int value, long result)
{
    return MAX(result, (long)(20 - target->sched.nice));
}

static long write_nice(struct task *task, struct task *target, int nice, long result)
{
    if (target->cred->uid != task->cred->euid && target->cred->euid != task->cred->euid &&
        !task_has_ns_cap(task, target->cred->user_ns, CAP_SYS_NICE))
        return -EPERM;
    if (!may_set_nice(task, target, nice))
        return -EACCES;
    target->sched.nice = nice;
    task_sched_changed_locked(target);
    return result == -ESRCH ? 0 : result;
}

/* As nice as any, and root's. */
static bool is_sentry(const struct task *task, int which, int who)
{
    return which == PRIO_PROCESS && is_init(task, who);
}

SYSCALL_DEFINE2(getpriority, int, which, int, who)
{
    if (is_sentry(task, which, who))
        return 20;
    return for_each_meant(task, which, who, read_nice, 0);
}

SYSCALL_DEFINE3(setpriority, int, which, int, who, int, nice)
{
    if (is_sentry(task, which, who))
        return task_has_cap(task, CAP_SYS_NICE) ? 0 : -EPERM;
    return for_each_meant(task, which, who, write_nice, MAX(NICE_MIN, MIN(nice, NICE_MAX)));
}
