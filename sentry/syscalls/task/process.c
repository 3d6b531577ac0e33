/* Processes: fork(2), vfork(2), wait4(2), waitid(2), process groups and sessions. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "sentry/kernel/clone.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/wait.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/task/pidfd.h"
#include "sentry/syscalls/task/usage.h"
#include "sentry/vfs/file.h"

#define WAIT_CLONES (__WNOTHREAD | __WCLONE | __WALL)

SYSCALL_DEFINE0(fork)
{
    return task_clone(task, &(struct clone_request){.exit_signal = SIGCHLD});
}

SYSCALL_DEFINE0(vfork)
{
    return task_clone(task, &(struct clone_request){
                                .flags = CLONE_VFORK | CLONE_VM,
                                .exit_signal = SIGCHLD,
                            });
}

/* The global number; one that no child has where nobody is meant. */
static int32_t child_number(struct task *task, int32_t number)
{
    int32_t global = task_global_pid(task, number);

    return global > 0 ? global : INT32_MAX;
}

SYSCALL_DEFINE4(wait4, int, pid, uaddr_t, status_ptr, int, options, uaddr_t, usage_ptr)
{
    struct wait_request request = {.options = options | WEXITED};
    struct wait_result result;
    int error;

    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | WAIT_CLONES))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    if (pid > 0)
        request.pid = child_number(task, pid);
    else if (pid != -1)
        request.pgid = pid == 0 ? task->process->pgid : child_number(task, -pid);
    error = wait_for_child(task, &request, &result);
    if (error < 0 || result.pid == 0)
        return error;
    if (status_ptr && copy_struct_to_user(task->mm, status_ptr, &result.status) < 0)
        return -EFAULT;
    if (usage_ptr && put_usage(task, usage_ptr, &result.usage) < 0)
        return -EFAULT;
    return result.pid;
}

/* `ret_handle` is what has to stay open for the time of the call, if anything. */
static int waitid_request(struct task *task, int type, int id, struct wait_request *request,
                          struct file **ret_handle)
{
    switch (type) {
    case P_ALL:
        return 0;
    case P_PID:
        request->pid = child_number(task, id);
        return id <= 0 ? -EINVAL : 0;
    case P_PGID:
        request->pgid = id > 0 ? child_number(task, id) : task->process->pgid;
        return id < 0 ? -EINVAL : 0;
    case P_PIDFD:
        if (id < 0)
            return -EINVAL;
        *ret_handle = pidfd_get(task, id);
        if (!*ret_handle)
            return -EBADF;
        request->process = pidfd_process(*ret_handle);
        request->pid = request->process->pid;
        return 0;
    default:
        return -EINVAL;
    }
}

/* What siginfo's si_status says: the exit code or the signal alone. */
static int short_status(const struct wait_result *result)
{
    switch (result->code) {
    case CLD_EXITED:
    case CLD_STOPPED:
        return result->status >> 8 & 0xff;
    case CLD_TRAPPED:
        return result->status >> 8; /* with the event, if it was one */
    case CLD_CONTINUED:
        return SIGCONT;
    default:
        return result->status & 0x7f;
    }
}

/* A handle that does not block answers EAGAIN where the options alone would have waited. */
static int wait_on(struct task *task, struct wait_request *request, struct file *handle,
                   struct wait_result *ret_result)
{
    bool impatient = handle && (handle->flags & O_NONBLOCK) && !(request->options & WNOHANG);
    int error;

    if (handle && (!pidfd_is_leader(handle) || request->process->reaped))
        return -ECHILD;
    if (impatient)
        request->options |= WNOHANG;
    error = wait_for_child(task, request, ret_result);
    return error == 0 && impatient && ret_result->pid == 0 ? -EAGAIN : error;
}

SYSCALL_DEFINE5(waitid, int, type, int, id, uaddr_t, info_ptr, int, options, uaddr_t, usage_ptr)
{
    struct wait_request request = {.options = options};
    struct file *handle = NULL;
    struct wait_result result;
    siginfo_t info = {0};
    int error;

    if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WAIT_CLONES) ||
        !(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    error = waitid_request(task, type, id, &request, &handle);
    if (error < 0)
        return error;
    error = wait_on(task, &request, handle, &result);
    file_unref(handle);
    if (error < 0)
        return error;
    if (result.pid) {
        info.si_signo = SIGCHLD;
        info.si_code = result.code;
        info.si_pid = result.pid;
        info.si_uid = result.uid;
        info.si_status = short_status(&result);
        if (usage_ptr && put_usage(task, usage_ptr, &result.usage) < 0)
            return -EFAULT;
    }
    return info_ptr ? copy_struct_to_user(task->mm, info_ptr, &info) : 0;
}

/* Linux kernel/sys.c setpgid(), under kernel->lock. */
static int set_group_locked(struct task *task, struct task *target, int pgid)
{
    struct process *process = target->process;

    if (process->leader != target)
        return -EINVAL;
    if (process->parent == task->process) {
        if (process->sid != task->process->sid)
            return -EPERM;
        if (process->has_execed)
            return -EACCES;
    } else if (process != task->process) {
        return -ESRCH;
    }
    if (process->sid == process->pid)
        return -EPERM; /* leads its session */
    return group_move_locked(process, pgid);
}

SYSCALL_DEFINE2(setpgid, int, pid, int, pgid)
{
    struct kernel *kernel = task->kernel;
    struct task *target;
    int error = -ESRCH;

    if (!pid)
        pid = task->process->vpid;
    if (!pgid)
        pgid = pid;
    if (pgid < 0)
        return -EINVAL;
    pgid = task_global_pid(task, pgid);
    target = task_lookup(task, pid);
    if (!target)
        return -ESRCH;
    lock_acquire(&kernel->lock);
    error = set_group_locked(task, target, pgid);
    lock_release(&kernel->lock);
    task_unref(target);
    return error;
}

SYSCALL_DEFINE0(setsid)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    long result;

    lock_acquire(&kernel->lock);
    result = session_make_locked(process);
    if (result == 0) {
        ctty_drop_locked(process);
        result = process->vpid;
    }
    lock_release(&kernel->lock);
    return result;
}
