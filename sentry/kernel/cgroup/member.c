/*
 * Which task is in which group: birth, end, and moving from one to another. Counters of a group
 * hold for what is below it as well, so each change goes up to the root.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/vfs/attr/identity.h"

static void count_pid(struct cgroup *cg, int by)
{
    for (; cg; cg = cg->parent) {
        cg->pids += (uint64_t)(int64_t)by;
        cg->pids_peak = MAX(cg->pids_peak, cg->pids);
    }
}

/* pids_can_fork(): whose limit is in the way counts it, and so do those above. */
static int charge_pid(struct cgroup *cg)
{
    struct cgroup *full = cg;

    while (full && full->pids < full->pids_max)
        full = full->parent;
    if (!full) {
        count_pid(cg, 1);
        return 0;
    }
    full->pids_events_local++;
    for (; full; full = full->parent) {
        full->pids_events++;
        wait_queue_wake(&full->events, POLLPRI | POLLERR);
    }
    return -EAGAIN;
}

static void enter(struct cgroup *cg, struct task *task)
{
    task->cgroup = cgroup_ref(cg);
    list_add_tail(&cg->members, &task->cgroup_node);
    for (struct cgroup *at = cg; at; at = at->parent) {
        at->members_below++;
        at->frozen_below += task->cgroup_frozen;
    }
}

static void leave(struct task *task)
{
    list_del_init(&task->cgroup_node);
    for (struct cgroup *at = task->cgroup; at; at = at->parent) {
        at->members_below--;
        at->frozen_below -= task->cgroup_frozen;
    }
}

int cgroup_join_locked(struct task *task, struct task *maker)
{
    struct cgroup *cg, *chosen = task->cgroup;
    int err;

    cgroup_lock();
    cg = chosen ? chosen : maker ? maker->cgroup : cgroup_root();
    err = cg->removed ? -ENODEV : charge_pid(cg);
    if (!err) {
        task->cgroup_counted = true;
        enter(cg, task);
        if (cg->frozen_from_above)
            __atomic_fetch_or(&task->work, TASK_WORK_FREEZE, __ATOMIC_SEQ_CST);
        cgroup_settle_locked(cg);
    }
    cgroup_unlock();
    if (!err)
        cgroup_unref(chosen);
    return err;
}

static void keep_times(struct cgroup *cg, struct task *task, const struct usage *usage)
{
    cg->gone.user_ns += usage->user_ns - task->cgroup_base.user_ns;
    cg->gone.system_ns += usage->system_ns - task->cgroup_base.system_ns;
    task->cgroup_base = *usage;
}

void cgroup_exit_locked(struct task *task, const struct usage *usage)
{
    cgroup_lock();
    if (!list_empty(&task->cgroup_node)) {
        keep_times(task->cgroup, task, usage);
        leave(task);
        task->cgroup_frozen = false;
        cgroup_settle_locked(task->cgroup);
    }
    cgroup_unlock();
}

void cgroup_release_locked(struct task *task)
{
    cgroup_lock();
    if (task->cgroup_counted)
        count_pid(task->cgroup, -1);
    task->cgroup_counted = false;
    cgroup_unlock();
}

void cgroup_take_over_locked(struct task *task, struct task *leader)
{
    cgroup_release_locked(leader);
    cgroup_lock();
    if (!task->cgroup_counted)
        count_pid(task->cgroup, 1);
    task->cgroup_counted = true;
    cgroup_unlock();
}

struct cgroup *task_get_cgroup(struct task *task)
{
    struct cgroup *cg;

    cgroup_lock();
    cg = cgroup_ref(task->cgroup ? task->cgroup : cgroup_root());
    cgroup_unlock();
    return cg;
}

/* ---- moving -------------------------------------------------------------------------------- */

/* Who may write cgroup.procs of what is above both (cgroup_procs_write_permission()). */
static int may_write(const struct cgroup *cg)
{
    const struct cgroup_attr *a = &cg->attrs[CGROUP_ATTR_PROCS];
    uint32_t bits = a->mode;

    if (vfs_identity()->uid == a->uid)
        bits >>= 6;
    else if (vfs_in_group(a->gid))
        bits >>= 3;
    return (bits & 2) || vfs_has_cap_over(a->uid, a->gid, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
}

/* cgroup_migrate_vet_dst() */
static int vet_target(struct cgroup *to)
{
    if (!cgroup_valid_domain_locked(cgroup_domain_locked(to)))
        return -EOPNOTSUPP;
    if (cgroup_can_root_threads_locked(to) || to->threaded)
        return 0;
    return to->control ? -EBUSY : 0;
}

/* cgroup_attach_permissions() */
static int may_move(struct cgroup *from, struct cgroup *to, bool process)
{
    const struct cgroup *common = from;
    int err;

    while (!cgroup_is_below(to, common))
        common = common->parent;
    err = to->removed ? -ENODEV : may_write(common);
    if (!err)
        err = vet_target(to);
    if (!err && !process && cgroup_domain_locked(from) != cgroup_domain_locked(to))
        err = -EOPNOTSUPP;
    return err;
}

/* One task; process->lock held. */
static void move_locked(struct task *task, struct cgroup *to)
{
    struct cgroup *from = task->cgroup;
    struct usage usage;

    if (from == to || list_empty(&task->cgroup_node))
        return;
    task_usage_locked(task, &usage);
    keep_times(from, task, &usage);
    leave(task);
    if (task->cgroup_counted) {
        count_pid(from, -1);
        count_pid(to, 1);
    }
    enter(to, task);
    cgroup_settle_locked(from);
    cgroup_settle_locked(to);
    if (to->frozen_from_above)
        task_kick_locked(task, TASK_WORK_FREEZE);
    cgroup_unref(from);
}

static int attach_locked(struct task *task, struct cgroup *to, bool process)
{
    struct task *thread;
    int err;

    cgroup_lock();
    err = task->cgroup ? may_move(task->cgroup, to, process) : -ESRCH;
    if (!err && process) {
        list_for_each (thread, &task->process->threads, process_node)
            move_locked(thread, to);
    } else if (!err) {
        move_locked(task, to);
    }
    cgroup_unlock();
    return err;
}

/* Who works for a program asynchronously (proxy.h) is nowhere: then it means its process. */
static struct task *find_self(struct task *caller)
{
    struct task *self;

    if (caller->cgroup)
        return task_ref(caller);
    lock_acquire(&caller->process->lock);
    self = caller->process->leader ? task_ref(caller->process->leader) : NULL;
    lock_release(&caller->process->lock);
    return self;
}

static struct task *find(int32_t pid)
{
    struct task *caller = task_current();

    if (pid == 0)
        return find_self(caller);
    pid = pid_global(caller->process->pid_ns, pid);
    return pid > 0 ? task_find(caller->kernel, pid) : NULL;
}

int cgroup_attach(struct cgroup *to, int32_t pid, bool process)
{
    struct task *task = find(pid);
    int err;

    if (!task)
        return -ESRCH;
    lock_acquire(&task->process->lock);
    err = attach_locked(task, to, process);
    lock_release(&task->process->lock);
    process_poke(task->process); /* what was frozen where it was may go on */
    task_unref(task);
    return err;
}

int cgroup_may_clone_into(struct cgroup *to)
{
    int err;

    cgroup_lock();
    err = task_current()->cgroup ? may_write(to) : -ESRCH;
    if (!err)
        err = may_move(task_current()->cgroup, to, true);
    cgroup_unlock();
    return err;
}

/* ---- listing ------------------------------------------------------------------------------- */

void cgroup_members_free(struct task **tasks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        task_unref(tasks[i]);
    free(tasks);
}

static size_t take_members(struct cgroup *cg, bool below, struct task **tasks, size_t room)
{
    size_t count = 0;

    for (struct cgroup *at = cg; at; at = below ? cgroup_walk_locked(cg, at) : NULL) {
        struct task *task;

        list_for_each (task, &at->members, cgroup_node) {
            if (count < room)
                tasks[count++] = task_ref(task);
        }
    }
    return count;
}

int cgroup_members(struct cgroup *cg, bool below, struct task ***ret, size_t *ret_count)
{
    size_t room = 0, wanted;

    for (;;) {
        struct task **tasks = room ? malloc(room * sizeof(struct task *)) : NULL;

        if (room && !tasks)
            return -ENOMEM;
        cgroup_lock();
        wanted = cg->members_below;
        if (wanted <= room) {
            *ret_count = take_members(cg, below, tasks, room);
            cgroup_unlock();
            *ret = tasks;
            return 0;
        }
        cgroup_unlock();
        free(tasks);
        room = wanted + 16;
    }
}
