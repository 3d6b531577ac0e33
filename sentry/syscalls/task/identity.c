/* Who am I: pids, uids, gids (getpid(2), getuid(2), getresuid(2), getgroups(2)). */
#include <errno.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

SYSCALL_DEFINE0(getpid)
{
    return task->process->vpid;
}

SYSCALL_DEFINE0(gettid)
{
    return task->vtid;
}

SYSCALL_DEFINE0(getppid)
{
    return task_shown_pid(task, task->process->parent_pid);
}

SYSCALL_DEFINE0(getuid)
{
    return cred_shown_uid(task->cred, task->cred->uid);
}

SYSCALL_DEFINE0(geteuid)
{
    return cred_shown_uid(task->cred, task->cred->euid);
}

SYSCALL_DEFINE0(getgid)
{
    return cred_shown_gid(task->cred, task->cred->gid);
}

SYSCALL_DEFINE0(getegid)
{
    return cred_shown_gid(task->cred, task->cred->egid);
}

/* Three kernel ids, as the caller's namespace shows them. */
static long put_three(struct task *task, const uaddr_t to[3],
                      uint32_t (*show)(const struct cred *viewer, uint32_t id),
                      const uint32_t ids[3])
{
    for (int i = 0; i < 3; i++) {
        uint32_t shown = show(task->cred, ids[i]);

        if (copy_to_user(task->mm, to[i], &shown, sizeof(shown)) < 0)
            return -EFAULT;
    }
    return 0;
}

SYSCALL_DEFINE3(getresuid, uaddr_t, ruid, uaddr_t, euid, uaddr_t, suid)
{
    const struct cred *cred = task->cred;

    return put_three(task, (uaddr_t[]){ruid, euid, suid}, cred_shown_uid,
                     (uint32_t[]){cred->uid, cred->euid, cred->suid});
}

SYSCALL_DEFINE3(getresgid, uaddr_t, rgid, uaddr_t, egid, uaddr_t, sgid)
{
    const struct cred *cred = task->cred;

    return put_three(task, (uaddr_t[]){rgid, egid, sgid}, cred_shown_gid,
                     (uint32_t[]){cred->gid, cred->egid, cred->sgid});
}

SYSCALL_DEFINE2(getgroups, int, size, uaddr_t, list)
{
    const struct cred *cred = task->cred;

    if (size < 0)
        return -EINVAL;
    if (size == 0)
        return cred->group_count;
    if ((uint32_t)size < cred->group_count)
        return -EINVAL;
    for (uint32_t i = 0; i < cred->group_count; i++) {
        uint32_t shown = cred_shown_gid(cred, cred->groups[i]);

        if (copy_to_user(task->mm, list + i * sizeof(shown), &shown, sizeof(shown)) < 0)
            return -EFAULT;
    }
    return cred->group_count;
}

/* The process that a pid argument means; 0 is the caller. NULL: no such process. */
static struct process *find_process(struct task *task, int pid)
{
    struct task *found;
    struct process *process;

    if (pid == 0)
        return process_ref(task->process);
    found = task_lookup(task, pid);
    if (!found)
        return NULL;
    process = process_ref(found->process);
    task_unref(found);
    return process;
}

/* The Sentry is no process, but leads a group and a session of its own like Linux's init. */
static long number_of_absent(int pid)
{
    return pid == KERNEL_PID_SENTRY ? KERNEL_PID_SENTRY : -ESRCH;
}

SYSCALL_DEFINE1(getpgid, int, pid)
{
    struct process *process = find_process(task, pid);
    long result = process ? task_shown_pid(task, process->pgid) : number_of_absent(pid);

    process_unref(process);
    return result;
}

SYSCALL_DEFINE0(getpgrp)
{
    return task_shown_pid(task, task->process->pgid);
}

SYSCALL_DEFINE1(getsid, int, pid)
{
    struct process *process = find_process(task, pid);
    long result = process ? task_shown_pid(task, process->sid) : number_of_absent(pid);

    process_unref(process);
    return result;
}
