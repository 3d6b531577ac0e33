/*
 * ioprio_get(2), ioprio_set(2): kept and shown. The Sentry schedules no disks, and the host decides
 * about its own.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/define.h"

#define CLASS_OF(ioprio) ((ioprio) >> IOPRIO_CLASS_SHIFT)
#define LEVEL_MASK       7

/* What counts when none was set: the class and level that follow from the nice value. */
static int effective(const struct task_sched *sched)
{
    int class = IOPRIO_CLASS_BE;

    if (CLASS_OF(sched->ioprio) != IOPRIO_CLASS_NONE)
        return sched->ioprio;
    if (sched->policy == SCHED_IDLE)
        class = IOPRIO_CLASS_IDLE;
    else if (sched->policy == SCHED_FIFO || sched->policy == SCHED_RR)
        class = IOPRIO_CLASS_RT;
    return IOPRIO_PRIO_VALUE(class, (sched->nice + 20) / 5);
}

static bool is_meant(struct task *task, const struct task *target, int which, int who)
{
    switch (which) {
    case IOPRIO_WHO_PROCESS:
        return target->tid == (who ? task_global_pid(task, who) : task->tid);
    case IOPRIO_WHO_PGRP:
        return target->process->pgid == (who ? task_global_pid(task, who) : task->process->pgid);
    default:
        return target->cred->uid ==
               (who ? cred_kernel_uid(task->cred, (uint32_t)who) : task->cred->uid);
    }
}

/* `set` -1: only reads. The result so far comes in and goes out; process->lock held. */
static long serve_one(struct task *task, struct task *target, int which, int set, long result)
{
    const struct cred *cred = task->cred;

    if (set < 0) {
        int value = which == IOPRIO_WHO_PROCESS ? target->sched.ioprio : effective(&target->sched);

        return result < 0 ? value : MIN(result, (long)value);
    }
    if (target->cred->uid != cred->euid && target->cred->uid != cred->uid &&
        !cred_has_ns_cap(cred, target->cred->user_ns, CAP_SYS_NICE))
        return -EPERM;
    target->sched.ioprio = (uint16_t)set;
    return result == -ESRCH ? 0 : result;
}

static long serve(struct task *task, int which, int who, int set)
{
    struct kernel *kernel = task->kernel;
    long result = -ESRCH;

    if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER)
        return -EINVAL;
    lock_acquire(&kernel->lock);
    for (int pid = 1; pid < KERNEL_PID_MAX && result != -EPERM; pid++) {
        struct task *target = kernel->pids[pid];

        if (!target)
            continue;
        lock_acquire(&target->process->lock);
        if (is_meant(task, target, which, who))
            result = serve_one(task, target, which, set, result);
        lock_release(&target->process->lock);
    }
    lock_release(&kernel->lock);
    return result;
}

SYSCALL_DEFINE2(ioprio_get, int, which, int, who)
{
    return serve(task, which, who, -1);
}

SYSCALL_DEFINE3(ioprio_set, int, which, int, who, int, ioprio)
{
    switch (CLASS_OF(ioprio)) {
    case IOPRIO_CLASS_RT:
        if (!task_has_cap(task, CAP_SYS_ADMIN) && !task_has_cap(task, CAP_SYS_NICE))
            return -EPERM;
        break;
    case IOPRIO_CLASS_BE:
    case IOPRIO_CLASS_IDLE:
        break;
    case IOPRIO_CLASS_NONE:
        if (ioprio & LEVEL_MASK)
            return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    return serve(task, which, who, ioprio & 0xffff);
}
