/*
 * The pid table: task numbers, handed out in rising order and taken up again only after all others,
 * so that a stale number does not soon name somebody else.
 */
#include <errno.h>

#include "sentry/kernel/kernel.h"

#define RESERVED_PIDS 300 /* after the first round, as Linux: low numbers stay with early tasks */

int pid_alloc_locked(struct kernel *kernel, struct task *task)
{
    int32_t pid = kernel->last_pid;

    if (task->wanted_tid) {
        if (task->wanted_tid == KERNEL_PID_SENTRY || kernel->pids[task->wanted_tid])
            return -EEXIST;
        kernel->pids[task->wanted_tid] = task_ref(task);
        task->tid = task->wanted_tid;
        return 0;
    }
    for (int tried = 0; tried < KERNEL_PID_MAX; tried++) {
        if (++pid >= KERNEL_PID_MAX)
            pid = RESERVED_PIDS;
        /* A group or session may outlive the process that named it. */
        if (kernel->pids[pid] || kernel->groups[pid] || kernel->sessions[pid])
            continue;
        kernel->pids[pid] = task_ref(task);
        kernel->last_pid = pid;
        task->tid = pid;
        return 0;
    }
    return -EAGAIN;
}

void pid_free_locked(struct kernel *kernel, struct task *task)
{
    BUG_ON(kernel->pids[task->tid] != task);
    kernel->pids[task->tid] = NULL;
    task_unref(task);
}

struct task *task_find(struct kernel *kernel, int32_t tid)
{
    struct task *task = NULL;

    if (tid <= 0 || tid >= KERNEL_PID_MAX)
        return NULL;
    lock_acquire(&kernel->lock);
    if (kernel->pids[tid])
        task = task_ref(kernel->pids[tid]);
    lock_release(&kernel->lock);
    return task;
}
