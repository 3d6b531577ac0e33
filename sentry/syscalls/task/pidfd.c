/* Process handles: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2). */
#include "sentry/syscalls/task/pidfd.h"

#include <errno.h>

#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/task/kill.h"

#define SIGNAL_THREAD       1u /* PIDFD_SIGNAL_* */
#define SIGNAL_THREAD_GROUP 2u
#define SIGNAL_GROUP        4u

#define SELF_THREAD         -10000 /* PIDFD_SELF_THREAD */
#define SELF_PROCESS        -10001

struct file *pidfd_get(struct task *task, int fd)
{
    struct file *file = task_file(task, fd);

    if (file && !pidfd_is(file))
        file = file_unref(file);
    return file;
}

SYSCALL_DEFINE2(pidfd_open, int, pid, unsigned, flags)
{
    struct task *target;
    struct file *file;
    int error;

    if (flags & ~(PIDFD_FLAG_NONBLOCK | PIDFD_FLAG_THREAD) || pid <= 0)
        return -EINVAL;
    target = task_lookup(task, pid);
    if (!target)
        return -ESRCH;
    error = pidfd_create(target, flags, &file);
    task_unref(target);
    return error < 0 ? error : task_install(task, file, 0, true);
}

/* Whom a signal is for. */
struct aim {
    struct task *target; /* a reference; NULL: gone, or */
    bool sentry;         /* not a task, but pid 1 */
    unsigned scope;      /* SIGNAL_* */
};

static int take_aim(struct task *task, int fd, unsigned flags, struct aim *ret)
{
    struct file *file;
    bool thread = fd == SELF_THREAD;
    enum procfs_process kind;

    if (thread) {
        ret->target = task_ref(task);
    } else if (fd == SELF_PROCESS) {
        lock_acquire(&task->kernel->lock);
        ret->target = task_ref(task->process->leader);
        lock_release(&task->kernel->lock);
    } else {
        file = task_file(task, fd);
        if (!file)
            return -EBADF;
        /* A directory /proc/PID is as good. */
        kind = procfs_process_of(file, &ret->target);
        if (pidfd_is(file)) {
            kind = PROCFS_TASK;
            ret->target = pidfd_task(file);
            thread = pidfd_is_thread(file);
        }
        file_unref(file);
        if (kind == PROCFS_NONE)
            return -EBADF;
        ret->sentry = kind == PROCFS_SENTRY;
    }
    ret->scope = flags ? flags : thread ? SIGNAL_THREAD : SIGNAL_THREAD_GROUP;
    return 0;
}

static int get_info(struct task *task, const struct aim *aim, int signo, uaddr_t ptr,
                    siginfo_t *ret_info)
{
    if (!ptr) {
        *ret_info = kill_info(task, signo, aim->scope == SIGNAL_THREAD ? SI_TKILL : SI_USER);
        return 0;
    }
    if (copy_struct_from_user(task->mm, ret_info, ptr) < 0)
        return -EFAULT;
    if (ret_info->si_signo != signo)
        return -EINVAL;
    /* Only to itself may a program pretend to be the kernel or kill(2). */
    if ((aim->target != task || aim->scope == SIGNAL_GROUP) &&
        (ret_info->si_code >= 0 || ret_info->si_code == SI_TKILL))
        return -EPERM;
    kill_take_ids(task, ret_info);
    return 0;
}

static long send(struct task *task, const struct aim *aim, int signo, const siginfo_t *info)
{
    struct task *target = aim->target;
    long error;

    if (aim->sentry)
        return kill_sentry(task, signo);
    if (!target)
        return -ESRCH;
    if (aim->scope == SIGNAL_GROUP)
        return kill_group(task, target->tid, signo, info);
    error = kill_check_permission(task, target, signo);
    if (error < 0 || signo == 0)
        return error;
    return aim->scope == SIGNAL_THREAD ? signal_send_task(target, signo, info)
                                       : signal_send_process(target->process, signo, info);
}

SYSCALL_DEFINE4(pidfd_send_signal, int, fd, int, signo, uaddr_t, info_ptr, unsigned, flags)
{
    struct aim aim = {NULL};
    siginfo_t info;
    long error;

    if (flags & ~(SIGNAL_THREAD | SIGNAL_THREAD_GROUP | SIGNAL_GROUP) || (flags & (flags - 1)))
        return -EINVAL;
    error = take_aim(task, fd, flags, &aim);
    if (error < 0)
        return error;
    error = get_info(task, &aim, signo, info_ptr, &info);
    if (error == 0)
        error = send(task, &aim, signo, &info);
    task_unref(aim.target);
    return error;
}

static long take_file(struct task *task, struct task *target, int fd)
{
    struct fdtable *files;
    struct file *file;
    int error = ptrace_may_access(task, target, PTRACE_ATTACH_REALCREDS);

    if (error < 0)
        return error;
    files = task_get_files(target);
    if (!files)
        return -ESRCH;
    file = fdtable_get(files, fd);
    fdtable_unref(files);
    return file ? task_install(task, file, 0, true) : -EBADF;
}

SYSCALL_DEFINE3(pidfd_getfd, int, fd, int, target_fd, unsigned, flags)
{
    struct task *target;
    struct file *file;
    long result;

    if (flags)
        return -EINVAL;
    file = pidfd_get(task, fd);
    if (!file)
        return -EBADF;
    target = pidfd_task(file);
    file_unref(file);
    result = target ? take_file(task, target, target_fd) : -ESRCH;
    task_unref(target);
    return result;
}
