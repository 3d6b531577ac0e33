/* What the tasks of a group have used: cpu.stat, and the memory that they have now. */
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

/* What a member has used since it came; it may have left meanwhile. */
static void add_member(struct cgroup *cg, struct task *task, struct usage *sum)
{
    struct usage usage;

    lock_acquire(&task->process->lock);
    cgroup_lock();
    if (!list_empty(&task->cgroup_node) && cgroup_is_below(task->cgroup, cg)) {
        task_usage_locked(task, &usage);
        sum->user_ns += usage.user_ns - task->cgroup_base.user_ns;
        sum->system_ns += usage.system_ns - task->cgroup_base.system_ns;
    }
    cgroup_unlock();
    lock_release(&task->process->lock);
}

void cgroup_cpu(struct cgroup *cg, struct usage *ret)
{
    struct usage sum = {0};
    struct task **tasks;
    size_t count;

    if (cgroup_members(cg, true, &tasks, &count) == 0) {
        for (size_t i = 0; i < count; i++)
            add_member(cg, tasks[i], &sum);
        cgroup_members_free(tasks, count);
    }
    cgroup_lock();
    for (struct cgroup *at = cg; at; at = cgroup_walk_locked(cg, at)) {
        sum.user_ns += at->gone.user_ns;
        sum.system_ns += at->gone.system_ns;
    }
    /* Who ends while this is counted may count twice or not at all. */
    cg->cpu_told.user_ns = MAX(cg->cpu_told.user_ns, sum.user_ns);
    cg->cpu_told.system_ns = MAX(cg->cpu_told.system_ns, sum.system_ns);
    *ret = cg->cpu_told;
    cgroup_unlock();
}

/* The pages of each address space once; what several have is counted for each. */
int cgroup_memory(struct cgroup *cg, struct cgroup_memory *ret)
{
    struct task **tasks;
    size_t count;
    int err = cgroup_members(cg, true, &tasks, &count);

    if (err < 0)
        return err;
    *ret = (struct cgroup_memory){0};
    for (size_t i = 0; i < count; i++) {
        struct mm_resident r;
        struct mm *mm;

        if (i > 0 && tasks[i]->process == tasks[i - 1]->process)
            continue;
        mm = task_get_mm(tasks[i]);
        if (!mm)
            continue;
        mm_get_resident(mm, &r);
        ret->anonymous += r.anonymous;
        ret->file += r.file;
        ret->shared += r.memory;
        ret->tables += r.tables;
        mm_unref(mm);
    }
    cgroup_members_free(tasks, count);
    return 0;
}
