/*
 * What the host's scheduler is told about a task: the processors it may use, its nice value and its
 * policy, as far as the host lets an unprivileged process go: up to the RLIMIT_NICE and
 * RLIMIT_RTPRIO that the Sentry was started with. Of SCHED_IDLE nobody comes back without the
 * former, and deadlines take a capability, so for the host those are ordinary. A thread can only
 * tell about itself: a change from outside is left with the task, which tells before it next enters
 * the guest.
 */
#include <sched.h>
#include <string.h>

#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rseq.h"

static void tell_policy(struct task *task, const struct task_sched *sched)
{
    const struct platform_ops *ops = task->ctx->ops;
    int policy = SCHED_OTHER, priority = 0;

    if (sched->policy == SCHED_FIFO || sched->policy == SCHED_RR)
        priority = MIN(sched->priority, task->kernel->host_rt_max);
    if (priority > 0 || sched->policy == SCHED_BATCH)
        policy = sched->policy;
    if (!ops->ctx_set_policy || (policy == task->told_policy && priority == task->told_priority))
        return;
    ops->ctx_set_policy(task->ctx, policy, priority);
    task->told_policy = policy;
    task->told_priority = priority;
}

void task_apply_sched(struct task *task)
{
    const struct platform_ops *ops = task->ctx->ops;
    struct task_sched sched;

    __atomic_fetch_and(&task->work, ~(uint32_t)TASK_WORK_SCHED, __ATOMIC_SEQ_CST);
    lock_acquire(&task->process->lock);
    sched = task->sched;
    lock_release(&task->process->lock);
    if (ops->ctx_set_cpus)
        ops->ctx_set_cpus(task->ctx, sched.affinity, sizeof(sched.affinity));
    if (ops->ctx_set_nice)
        ops->ctx_set_nice(task->ctx, MAX(sched.nice, task->kernel->host_nice_min));
    tell_policy(task, &sched);
    rseq_follow_affinity(task);
}

void task_sched_changed_locked(struct task *task)
{
    __atomic_store_n(&task->kernel->sched_told, true, __ATOMIC_RELAXED);
    if (task->dead)
        return;
    task->rt_sleeps = UINT64_MAX; /* RLIMIT_RTTIME: what it used before does not count */
    cpu_timers_start_locked(task->process);
    /* It need not wake up for this: a task that sleeps tells when it comes back. */
    __atomic_fetch_or(&task->work, TASK_WORK_SCHED, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&task->in_guest, __ATOMIC_SEQ_CST) && task->ctx)
        task->ctx->ops->ctx_interrupt(task->ctx);
}

void task_start_sched(struct task *task)
{
    if (__atomic_load_n(&task->kernel->sched_told, __ATOMIC_RELAXED))
        task_apply_sched(task);
}
