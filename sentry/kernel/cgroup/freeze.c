/*
 * cgroup.freeze and cgroup.kill. A task that is to be frozen is kicked out of the guest or out of
 * its sleep, as by a signal, and parks before it goes back; its call is repeated when it thaws, and
 * signals wait until then, all but one that kills.
 */
#include <errno.h>

#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/jobs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

#define KILL_ROUNDS 1000 /* what is being made meanwhile is killed in the next one */

static void set_frozen_locked(struct task *task, bool frozen)
{
    if (task->cgroup_frozen == frozen || list_empty(&task->cgroup_node))
        return;
    task->cgroup_frozen = frozen;
    for (struct cgroup *at = task->cgroup; at; at = at->parent)
        at->frozen_below += frozen ? 1 : -1UL;
    cgroup_settle_locked(task->cgroup);
}

void cgroup_mark_waiting(struct task *task, bool waits)
{
    if (likely(!task->cgroup_frozen &&
               !(__atomic_load_n(&task->work, __ATOMIC_ACQUIRE) & TASK_WORK_FREEZE)))
        return;
    cgroup_lock();
    set_frozen_locked(task, waits && task->cgroup->frozen_from_above);
    cgroup_unlock();
}

bool cgroup_stay_frozen_locked(struct task *task)
{
    bool frozen;

    if (likely(!(__atomic_load_n(&task->work, __ATOMIC_ACQUIRE) & TASK_WORK_FREEZE)))
        return false;
    cgroup_lock();
    frozen = task->cgroup->frozen_from_above;
    if (!frozen)
        __atomic_fetch_and(&task->work, ~(uint32_t)TASK_WORK_FREEZE, __ATOMIC_SEQ_CST);
    set_frozen_locked(task, frozen);
    cgroup_unlock();
    if (frozen)
        job_stay_locked(task);
    return frozen;
}

static void spread_locked(struct cgroup *top)
{
    for (struct cgroup *at = top; at; at = cgroup_walk_locked(top, at))
        at->frozen_from_above = at->freeze || (at->parent && at->parent->frozen_from_above);
    for (struct cgroup *at = top; at; at = cgroup_walk_locked(top, at))
        cgroup_settle_locked(at);
}

/* Where it is may have changed since: what holds now is looked at under the lock. */
static void tell(struct task *task)
{
    struct process *process = task->process;
    bool frozen;

    lock_acquire(&process->lock);
    cgroup_lock();
    frozen = task->cgroup->frozen_from_above;
    cgroup_unlock();
    if (frozen && !task->dead)
        task_kick_locked(task, TASK_WORK_FREEZE);
    lock_release(&process->lock);
    process_poke(process);
}

int cgroup_set_freeze(struct cgroup *cg, bool freeze)
{
    struct task **tasks;
    size_t count;
    int err;

    cgroup_lock();
    err = cg->removed ? -ENODEV : 0;
    if (!err && cg->freeze != freeze) {
        cg->freeze = freeze;
        spread_locked(cg);
    }
    cgroup_unlock();
    if (!err)
        err = cgroup_members(cg, true, &tasks, &count);
    if (err < 0)
        return err;
    for (size_t i = 0; i < count; i++)
        tell(tasks[i]);
    cgroup_members_free(tasks, count);
    return 0;
}

int cgroup_thaw(struct cgroup *cg)
{
    int err = 0;

    for (struct cgroup *at = cg; at && err == 0; at = at->parent) {
        if (__atomic_load_n(&at->freeze, __ATOMIC_RELAXED))
            err = cgroup_set_freeze(at, false);
    }
    return err == -ENODEV ? 0 : err;
}

/* How many were still alive. */
static size_t kill_all(struct task **tasks, size_t count)
{
    size_t alive = 0;

    for (size_t i = 0; i < count; i++) {
        struct process *process = tasks[i]->process;

        lock_acquire(&process->lock);
        if (!process->group_exit) {
            process_group_exit_locked(process, SIGKILL);
            alive++;
        }
        lock_release(&process->lock);
    }
    return alive;
}

int cgroup_kill(struct cgroup *cg)
{
    bool threaded;

    cgroup_lock();
    threaded = cg->threaded;
    cgroup_unlock();
    if (threaded)
        return -EOPNOTSUPP;
    for (int i = 0; i < KILL_ROUNDS; i++) {
        struct task **tasks;
        size_t count, alive;
        int err = cgroup_members(cg, true, &tasks, &count);

        if (err < 0)
            return err;
        alive = kill_all(tasks, count);
        cgroup_members_free(tasks, count);
        if (alive == 0)
            break;
    }
    return 0;
}
