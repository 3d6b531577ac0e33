/* Sending signals: kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2). */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/signal/siginfo.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/task/kill.h"
#include "sentry/vfs/landlock/landlock.h"

siginfo_t kill_info(const struct task *task, int signo, int code)
{
    siginfo_t info = {.si_signo = signo, .si_code = code};

    info.si_pid = task->process->pid;
    info.si_uid = task->cred->uid;
    return info;
}

void kill_take_ids(const struct task *task, siginfo_t *info)
{
    enum siginfo_layout layout = siginfo_layout(info);

    if (layout != SIGINFO_KILL && layout != SIGINFO_QUEUE && layout != SIGINFO_CHILD)
        return;
    info->si_uid = cred_kernel_uid(task->cred, info->si_uid);
    info->si_pid = task_global_pid(task, info->si_pid);
}

int kill_check_permission(struct task *task, struct task *target, int signo)
{
    const struct cred *cred = task->cred, *other;
    bool may, scoped;

    if (signo < 0 || signo > SIGNAL_COUNT)
        return -EINVAL;
    other = task_get_cred(target);
    may = cred->euid == other->suid || cred->euid == other->uid || cred->uid == other->suid ||
          cred->uid == other->uid || cred_has_ns_cap(cred, other->user_ns, CAP_KILL);
    scoped = landlock_scoped(cred->landlock, other->landlock, LANDLOCK_SIGNAL);
    cred_unref(other);
    if (task->process == target->process)
        return 0;
    if (scoped)
        return -EPERM;
    if (may || (signo == SIGCONT && task->process->sid == target->process->sid))
        return 0;
    return -EPERM;
}

/* To the process that `target` belongs to; signal 0 only asks. */
static int send_to_process(struct task *task, struct task *target, int signo, const siginfo_t *info)
{
    int error = kill_check_permission(task, target, signo);

    return error < 0 || signo == 0 ? error : signal_send_process(target->process, signo, info);
}

int kill_sentry(const struct task *task, int signo)
{
    if (signo < 0 || signo > SIGNAL_COUNT)
        return -EINVAL;
    return task_has_cap(task, CAP_KILL) ? 0 : -EPERM;
}

static long send_to_pid(struct task *task, int pid, int signo, const siginfo_t *info)
{
    struct task *target = task_lookup(task, pid);
    long error;

    if (!target && pid == KERNEL_PID_SENTRY)
        return kill_sentry(task, signo);
    if (!target)
        return -ESRCH;
    error = send_to_process(task, target, signo, info);
    task_unref(target);
    return error;
}

long kill_group(struct task *task, int pgid, int signo, const siginfo_t *info)
{
    struct kernel *kernel = task->kernel;
    struct process_group *group;
    struct process *member;
    long error = -ESRCH;
    int sent = 0;

    lock_acquire(&kernel->lock);
    group = group_find_locked(kernel, pgid);
    if (group) {
        list_for_each (member, &group->members, group_node) {
            error = send_to_process(task, member->leader, signo, info);
            sent += error == 0;
        }
    }
    lock_release(&kernel->lock);
    return sent ? 0 : error;
}

/* To every process but the caller's own. */
static long kill_all(struct task *task, int signo, const siginfo_t *info)
{
    struct kernel *kernel = task->kernel;
    long error = -ESRCH;
    int sent = 0;

    lock_acquire(&kernel->lock);
    for (int pid = 1; pid < KERNEL_PID_MAX; pid++) {
        struct task *target = kernel->pids[pid];

        if (!target || target->process->leader != target || target->process == task->process ||
            task_shown_pid(task, pid) <= 1)
            continue;
        error = send_to_process(task, target, signo, info);
        sent += error == 0;
    }
    lock_release(&kernel->lock);
    /* Whoever may not be told does not count. */
    return sent || error == -EPERM ? 0 : error;
}

SYSCALL_DEFINE2(kill, int, pid, int, signo)
{
    siginfo_t info = kill_info(task, signo, SI_USER);

    if (pid > 0)
        return send_to_pid(task, pid, signo, &info);
    if (pid == INT32_MIN)
        return -ESRCH;
    if (pid == 0)
        return kill_group(task, task->process->pgid, signo, &info);
    if (pid == -1)
        return kill_all(task, signo, &info);
    return kill_group(task, task_global_pid(task, -pid), signo, &info);
}

/* tgid 0: whatever process the thread belongs to. */
static long send_to_thread(struct task *task, int tgid, int tid, int signo, const siginfo_t *info)
{
    struct task *target = task_lookup(task, tid);
    long error;

    if (!target)
        return -ESRCH;
    if (tgid > 0 && task_shown_pid(task, target->process->pid) != tgid) {
        error = -ESRCH;
    } else {
        error = kill_check_permission(task, target, signo);
        if (error == 0 && signo != 0)
            error = signal_send_task(target, signo, info);
    }
    task_unref(target);
    return error;
}

SYSCALL_DEFINE3(tgkill, int, tgid, int, tid, int, signo)
{
    siginfo_t info = kill_info(task, signo, SI_TKILL);

    if (tgid <= 0 || tid <= 0)
        return -EINVAL;
    return send_to_thread(task, tgid, tid, signo, &info);
}

SYSCALL_DEFINE2(tkill, int, tid, int, signo)
{
    siginfo_t info = kill_info(task, signo, SI_TKILL);

    if (tid <= 0)
        return -EINVAL;
    return send_to_thread(task, 0, tid, signo, &info);
}

/* A program may pretend to be sigqueue(3) or a timer, but neither the kernel nor kill(2). */
static int get_info(struct task *task, uaddr_t ptr, int signo, siginfo_t *ret_info)
{
    if (copy_struct_from_user(task->mm, ret_info, ptr) < 0)
        return -EFAULT;
    ret_info->si_signo = signo;
    if (!siginfo_accept(ret_info))
        return -E2BIG;
    kill_take_ids(task, ret_info);
    return 0;
}

static bool may_pretend(const struct task *task, const siginfo_t *info, int pid)
{
    return (info->si_code < 0 && info->si_code != SI_TKILL) || pid == task->vtid;
}

SYSCALL_DEFINE3(rt_sigqueueinfo, int, pid, int, signo, uaddr_t, info_ptr)
{
    siginfo_t info;
    int error = get_info(task, info_ptr, signo, &info);

    if (error < 0)
        return error;
    return may_pretend(task, &info, pid) ? send_to_pid(task, pid, signo, &info) : -EPERM;
}

SYSCALL_DEFINE4(rt_tgsigqueueinfo, int, tgid, int, tid, int, signo, uaddr_t, info_ptr)
{
    siginfo_t info;
    int error = get_info(task, info_ptr, signo, &info);

    if (error < 0)
        return error;
    if (tid <= 0 || tgid <= 0)
        return -EINVAL;
    return may_pretend(task, &info, tid) ? send_to_thread(task, tgid, tid, signo, &info) : -EPERM;
}
