/* Resource limits: getrlimit(2), prlimit(2). */
#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/vfs/fdtable.h"

/* Checks and exchanges under the process's lock. */
static int exchange(struct task *task, struct process *process, unsigned resource,
                    const struct rlimit64 *new_limit, struct rlimit64 *ret_old)
{
    struct rlimit64 *slot = &process->limits[resource];

    *ret_old = *slot;
    if (!new_limit)
        return 0;
    if (new_limit->rlim_cur > new_limit->rlim_max)
        return -EINVAL;
    if (resource == RLIMIT_NOFILE &&
        new_limit->rlim_max > __atomic_load_n(&fdtable_nr_open, __ATOMIC_RELAXED))
        return -EPERM;
    if (new_limit->rlim_max > slot->rlim_max && !task_has_cap(task, CAP_SYS_RESOURCE))
        return -EPERM;
    *slot = *new_limit;
    if (resource == RLIMIT_CPU || resource == RLIMIT_RTTIME)
        cpu_timers_start_locked(process);
    return 0;
}

/* Linux check_prlimit_permission(): all ids are the caller's real ones, or a capability. */
static bool may_change(struct task *task, struct task *target)
{
    const struct cred *own = task->cred, *other;
    bool may;

    if (target->process == task->process)
        return true;
    other = task_get_cred(target);
    may = (own->uid == other->euid && own->uid == other->suid && own->uid == other->uid &&
           own->gid == other->egid && own->gid == other->sgid && own->gid == other->gid) ||
          cred_has_ns_cap(own, other->user_ns, CAP_SYS_RESOURCE);
    cred_unref(other);
    return may;
}

static long change_limit(struct task *task, int pid, unsigned resource,
                         const struct rlimit64 *new_limit, struct rlimit64 *ret_old)
{
    struct task *target;
    int error;

    if (resource >= RLIM_NLIMITS)
        return -EINVAL;
    target = pid == 0 ? task_ref(task) : task_lookup(task, pid);
    if (!target)
        return -ESRCH;
    error = -EPERM;
    if (may_change(task, target)) {
        lock_acquire(&target->process->lock);
        error = exchange(task, target->process, resource, new_limit, ret_old);
        lock_release(&target->process->lock);
    }
    if (error == 0 && new_limit && target->process == task->process)
        rlimits_apply(task, task->mm);
    task_unref(target);
    return error;
}

SYSCALL_DEFINE4(prlimit64, int, pid, unsigned, resource, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    struct rlimit64 new_limit, old;
    long error;

    if (new_ptr && copy_struct_from_user(task->mm, &new_limit, new_ptr) < 0)
        return -EFAULT;
    error = change_limit(task, pid, resource, new_ptr ? &new_limit : NULL, &old);
    if (error == 0 && old_ptr)
        error = copy_struct_to_user(task->mm, old_ptr, &old);
    return error;
}

SYSCALL_DEFINE2(getrlimit, unsigned, resource, uaddr_t, ptr)
{
    struct rlimit64 old;
    long error = change_limit(task, 0, resource, NULL, &old);

    return error < 0 ? error : copy_struct_to_user(task->mm, ptr, &old);
}

SYSCALL_DEFINE2(setrlimit, unsigned, resource, uaddr_t, ptr)
{
    struct rlimit64 new_limit, old;

    if (copy_struct_from_user(task->mm, &new_limit, ptr) < 0)
        return -EFAULT;
    return change_limit(task, 0, resource, &new_limit, &old);
}
