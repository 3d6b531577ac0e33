#include "sentry/fs/proc/view.h"

#include <string.h>

#include "sentry/kernel/signal/signal.h"

void task_view_take(struct task *task, struct task_view *ret)
{
    struct process *process = task->process;
    struct sighand *sighand;

    *ret = (struct task_view){0};
    lock_acquire(&process->lock);
    ret->threads = MAX(process->thread_count, 1U); /* a zombie counts */
    ret->own_pending = task->pending.set;
    ret->shared_pending = process->pending.set;
    ret->blocked = task->blocked;
    ret->sched = task->sched;
    task_usage_locked(task, &ret->usage);
    memcpy(ret->limits, process->limits, sizeof(ret->limits));
    memcpy(ret->comm, task->comm, sizeof(ret->comm));
    ret->seccomp_mode = task->seccomp.mode;
    ret->seccomp_filters = seccomp_filter_count(task);
    sighand = process->sighand;
    lock_acquire(&sighand->lock);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uaddr_t handler = sighand->actions[i].handler;

        if (handler == (uaddr_t)SIG_IGN)
            ret->ignored |= 1UL << i;
        else if (handler != (uaddr_t)SIG_DFL)
            ret->caught |= 1UL << i;
    }
    lock_release(&sighand->lock);
    lock_release(&process->lock);
}

char task_shown_state(struct task *task)
{
    return task == task_current() ? 'R' : task_state(task);
}
