/* Namespaces and what else a task can stop sharing: unshare(2), setns(2), sethostname(2). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/sem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/files.h"
#include "sentry/vfs/fs_context.h"

#define NEW_ALL                                                                                    \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET) |                                                     \
     CLONE_NEWTIME)
#define UNSHARE_ALL                                                                                \
    (NEW_ALL | CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM)
#define NEW_BUILT ((uint64_t)CLONE_NEWUTS)

static bool is_alone(struct task *task)
{
    bool alone;

    lock_acquire(&task->process->lock);
    alone = task->process->thread_count == 1;
    lock_release(&task->process->lock);
    return alone;
}

/* Linux check_unshare_flags() and create_new_namespaces(), which come in this order. */
static int check_flags(struct task *task, uint64_t flags)
{
    if (flags & ~UNSHARE_ALL)
        return -EINVAL;
    if (flags & CLONE_NEWUSER)
        flags |= CLONE_THREAD | CLONE_FS;
    if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && !is_alone(task))
        return -EINVAL;
    if ((flags & (CLONE_SIGHAND | CLONE_VM)) && refcount_read(&task->process->sighand->refs) > 1)
        return -EINVAL;
    if ((flags & CLONE_VM) && mm_is_shared(task->mm))
        return -EINVAL;
    if (flags & CLONE_NEWUSER)
        return -EINVAL; /* as a Linux without user namespaces */
    if ((flags & NEW_ALL) && !task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    return flags & NEW_ALL & ~NEW_BUILT ? -EINVAL : 0;
}

/* What the task has to itself afterwards; nothing is put in place before all of it is made. */
struct own {
    struct fdtable *files;
    struct fs_context *fs;
    struct uts_ns *uts;
};

static int make_own(struct task *task, uint64_t flags, struct own *own)
{
    int error = 0;

    if ((flags & CLONE_FILES) && fdtable_shared(task->files))
        error = fdtable_clone(task->files, &own->files);
    if (error == 0 && (flags & (CLONE_FS | CLONE_NEWNS)) && fs_context_shared(task->fs))
        error = fs_context_clone(task->fs, &own->fs);
    if (error == 0 && (flags & CLONE_NEWUTS)) {
        own->uts = uts_ns_copy(task->kernel, task->uts);
        if (!own->uts)
            error = -ENOMEM;
    }
    if (error < 0) {
        fdtable_unref(own->files);
        fs_context_unref(own->fs);
    }
    return error;
}

SYSCALL_DEFINE1(unshare, uint64_t, flags)
{
    struct own own = {0};
    int error = check_flags(task, flags);

    if (error == 0)
        error = make_own(task, flags, &own);
    if (error < 0)
        return error;
    if (own.files)
        task_set_files(task, own.files);
    if (own.fs)
        task_set_fs(task, own.fs);
    if (own.uts)
        task_set_uts(task, own.uts);
    if (flags & CLONE_SYSVSEM)
        sem_exit(task);
    return 0;
}

/* Enters one namespace; of most kinds there is only the one that the task is in already. */
static int enter(struct task *task, struct ns *ns)
{
    if (ns->type == NS_USER)
        return -EINVAL; /* the one that it is in */
    if (!task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    if (ns->type == NS_MNT && (!task_has_cap(task, CAP_SYS_CHROOT) || fs_context_shared(task->fs)))
        return task_has_cap(task, CAP_SYS_CHROOT) ? -EINVAL : -EPERM;
    if (ns->type == NS_TIME && !is_alone(task))
        return -EUSERS;
    if (ns->type == NS_UTS)
        task_set_uts(task, uts_ns_of(ns_ref(ns)));
    return 0;
}

/* The namespaces of the process that a handle means, one for each flag. */
static int enter_those_of(struct task *task, struct task *target, uint64_t flags)
{
    int error = 0;

    if (!task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    for (int type = 0; type < NS_TYPES && error == 0; type++) {
        struct ns *ns;

        if (!(flags & ns_flag((enum ns_type)type)))
            continue;
        ns = task_get_ns(target, (enum ns_type)type);
        error = ns ? enter(task, ns) : -ESRCH;
        ns_unref(ns);
    }
    return error;
}

static int enter_by_handle(struct task *task, struct file *file, uint64_t flags)
{
    struct task *target;
    int error = -ESRCH;

    if (!flags || flags & ~NEW_ALL)
        return -EINVAL;
    target = pidfd_task(file);
    if (target)
        error = enter_those_of(task, target, flags);
    task_unref(target);
    return error;
}

SYSCALL_DEFINE2(setns, int, fd, int, type)
{
    struct file *file = task_file(task, fd);
    struct ns *ns;
    int error;

    if (!file)
        return -EBADF;
    ns = ns_of_file(file);
    if (ns)
        error = type && (uint32_t)type != ns_flag(ns->type) ? -EINVAL : enter(task, ns);
    else
        error = pidfd_is(file) ? enter_by_handle(task, file, (uint32_t)type) : -EINVAL;
    file_unref(file);
    return error;
}

/* `name` is hostname or domainname of the task's uts. */
static long set_name(struct task *task, bool domain, uaddr_t ptr, int size)
{
    struct uts_ns *uts = task->uts;
    char name[UTS_NAME_SIZE] = {0};

    if (!task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    if (size < 0 || size >= UTS_NAME_SIZE)
        return -EINVAL;
    if (copy_from_user(task->mm, name, ptr, (size_t)size) < 0)
        return -EFAULT;
    lock_acquire(&uts->lock);
    memcpy(domain ? uts->domainname : uts->hostname, name, sizeof(name));
    lock_release(&uts->lock);
    return 0;
}

SYSCALL_DEFINE2(sethostname, uaddr_t, ptr, int, size)
{
    return set_name(task, false, ptr, size);
}

SYSCALL_DEFINE2(setdomainname, uaddr_t, ptr, int, size)
{
    return set_name(task, true, ptr, size);
}
