/* Namespaces and what else a task can stop sharing: unshare(2), setns(2), sethostname(2). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/fs_context.h"

#define NEW_ALL                                                                                    \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET) |                                                     \
     CLONE_NEWTIME)
#define UNSHARE_ALL                                                                                \
    (NEW_ALL | CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM)
#define NEW_BUILT                                                                                  \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWNET | CLONE_NEWPID) |                                                     \
     CLONE_NEWTIME)

static bool is_alone(struct task *task)
{
    bool alone;

    lock_acquire(&task->process->lock);
    alone = task->process->thread_count == 1;
    lock_release(&task->process->lock);
    return alone;
}

/* ---- unshare ------------------------------------------------------------------------------ */

/* What comes with what: Linux ksys_unshare(). */
static uint64_t complete_flags(uint64_t flags)
{
    if (flags & CLONE_NEWUSER)
        flags |= CLONE_THREAD | CLONE_FS;
    if (flags & CLONE_VM)
        flags |= CLONE_SIGHAND;
    if (flags & CLONE_SIGHAND)
        flags |= CLONE_THREAD;
    if (flags & CLONE_NEWNS)
        flags |= CLONE_FS;
    if (flags & CLONE_NEWIPC)
        flags |= CLONE_SYSVSEM;
    return flags;
}

/* Linux check_unshare_flags(). */
static int check_flags(struct task *task, uint64_t flags)
{
    if (flags & ~UNSHARE_ALL)
        return -EINVAL;
    if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && !is_alone(task))
        return -EINVAL;
    if ((flags & (CLONE_SIGHAND | CLONE_VM)) && refcount_read(&task->process->sighand->refs) > 1)
        return -EINVAL;
    if ((flags & CLONE_VM) && mm_is_shared(task->mm))
        return -EINVAL;
    return flags & NEW_ALL & ~NEW_BUILT ? -EINVAL : 0;
}

/* What the task has to itself afterwards; nothing is put in place before all of it is made. */
struct own {
    struct fdtable *files;
    struct fs_context *fs;
    struct cred *cred;
    struct ns_proxy *namespaces;
};

static void drop_own(struct own *own)
{
    fdtable_unref(own->files);
    fs_context_unref(own->fs);
    cred_unref(own->cred);
    ns_proxy_unref(own->namespaces);
}

static int make_user_ns(struct task *task, struct cred **ret)
{
    struct user_ns *ns;
    struct cred *cred;
    int error = user_ns_create_for(task, &ns);

    if (error < 0)
        return error;
    cred = cred_copy(task->cred, task->cred->group_count);
    if (!cred) {
        user_ns_unref(ns);
        return -ENOMEM;
    }
    cred_enter_user_ns(cred, ns);
    *ret = cred;
    return 0;
}

static int make_own(struct task *task, uint64_t flags, struct own *own)
{
    int error = 0;

    if ((flags & CLONE_FS) && fs_context_shared(task->fs))
        error = fs_context_clone(task->fs, &own->fs);
    if (error == 0 && (flags & CLONE_FILES) && fdtable_shared(task->files))
        error = fdtable_clone(task->files, &own->files);
    if (error == 0 && (flags & CLONE_NEWUSER))
        error = make_user_ns(task, &own->cred);
    if (error == 0 && (flags & NEW_ALL & ~(uint64_t)CLONE_NEWUSER))
        error = ns_proxy_unshare(task, flags, own->cred ? own->cred : task->cred, &own->namespaces);
    if (error < 0)
        drop_own(own);
    return error;
}

SYSCALL_DEFINE1(unshare, uint64_t, flags)
{
    struct own own = {0};
    int error;

    flags = complete_flags(flags);
    error = check_flags(task, flags);
    if (error == 0)
        error = make_own(task, flags, &own);
    if (error < 0)
        return error;
    if (flags & CLONE_SYSVSEM)
        sem_exit(task);
    if (own.files)
        task_set_files(task, own.files);
    if (own.fs)
        task_set_fs(task, own.fs);
    if (own.namespaces && (flags & CLONE_NEWNS))
        mnt_ns_take_along(task->fs, task->namespaces->ns[NS_MNT], own.namespaces->ns[NS_MNT]);
    if (own.namespaces)
        task_set_namespaces(task, own.namespaces);
    if (own.cred)
        task_set_cred(task, own.cred);
    return 0;
}

/* ---- setns -------------------------------------------------------------------------------- */

/* What setns(2) has come to so far: put in place when all of it is known to work. */
struct change {
    struct ns_proxy *namespaces; /* a copy */
    const struct cred *cred;     /* the one that the task will have */
    bool cred_is_new;
    bool leaves_ipc;
    bool enters_mnt;
};

static int begin_change(struct task *task, struct change *change)
{
    *change = (struct change){
        .namespaces = ns_proxy_copy(task->namespaces),
        .cred = cred_ref(task->cred),
    };
    if (change->namespaces)
        return 0;
    cred_unref(change->cred);
    return -ENOMEM;
}

static void end_change(struct task *task, struct change *change, bool done)
{
    bool other_time;

    if (!done) {
        ns_proxy_unref(change->namespaces);
        cred_unref(change->cred);
        return;
    }
    if (change->leaves_ipc)
        sem_exit(task); /* what is undone lies in the old one */
    other_time = change->namespaces->ns[NS_TIME] != task->namespaces->ns[NS_TIME];
    if (change->enters_mnt)
        mnt_ns_enter(task->fs, change->namespaces->ns[NS_MNT]);
    task_set_namespaces(task, change->namespaces);
    if (other_time)
        time_ns_map(task, task->namespaces, task->mm);
    if (change->cred_is_new)
        task_set_cred(task, change->cred);
    else
        cred_unref(change->cred);
}

static int enter_user_ns(struct task *task, struct user_ns *ns, struct change *change)
{
    struct cred *cred;

    if (ns == task->cred->user_ns)
        return -EINVAL; /* or it would get back capabilities that it gave away */
    if (!is_alone(task) || fs_context_shared(task->fs))
        return -EINVAL;
    if (!task_has_ns_cap(task, ns, CAP_SYS_ADMIN))
        return -EPERM;
    cred = cred_copy(task->cred, task->cred->group_count);
    if (!cred)
        return -ENOMEM;
    cred_enter_user_ns(cred, user_ns_ref(ns));
    cred_unref(change->cred);
    change->cred = cred;
    change->cred_is_new = true;
    return 0;
}

static int enter(struct task *task, struct ns *ns, struct change *change)
{
    if (ns->type == NS_USER)
        return enter_user_ns(task, user_ns_of(ns), change);
    /* In both: where the namespace belongs, and where the task is or comes to be. */
    if (!task_has_ns_cap(task, ns->owner, CAP_SYS_ADMIN) ||
        !cred_has_own_cap(change->cred, CAP_SYS_ADMIN))
        return -EPERM;
    if (ns->type == NS_MNT && !cred_has_own_cap(change->cred, CAP_SYS_CHROOT))
        return -EPERM;
    if (ns->type == NS_MNT && fs_context_shared(task->fs))
        return -EINVAL;
    if (ns->type == NS_PID && !pid_ns_is_below(pid_ns_of(ns), task->process->pid_ns))
        return -EINVAL;
    if (ns->type == NS_TIME && !is_alone(task))
        return -EUSERS;
    change->leaves_ipc |= ns->type == NS_IPC;
    change->enters_mnt |= ns->type == NS_MNT;
    if (ns->type == NS_TIME)
        ns_proxy_join_time(change->namespaces, ns);
    else
        ns_proxy_set(change->namespaces, ns->type, ns_ref(ns));
    return 0;
}

/* Linux validate_nsset(): the user namespace first, the others as its member. */
static const enum ns_type enter_order[NS_TYPES] = {NS_USER, NS_MNT,    NS_UTS, NS_IPC,
                                                   NS_PID,  NS_CGROUP, NS_NET, NS_TIME};

/* The namespaces of the process that a handle means, one for each flag. */
static int enter_those_of(struct task *task, struct task *target, uint64_t flags,
                          struct change *change)
{
    int error = ptrace_may_access(task, target, PTRACE_READ_REALCREDS);

    for (size_t i = 0; i < ARRAY_COUNT(enter_order) && error == 0; i++) {
        struct ns *ns;

        if (!(flags & ns_flag(enter_order[i])))
            continue;
        ns = task_get_ns(target, enter_order[i]);
        error = ns ? enter(task, ns, change) : -ESRCH;
        ns_unref(ns);
    }
    return error;
}

static int enter_by_handle(struct task *task, struct file *file, uint64_t flags,
                           struct change *change)
{
    struct task *target;
    int error = -ESRCH;

    if (!flags || flags & ~NEW_ALL)
        return -EINVAL;
    target = pidfd_task(file);
    if (target)
        error = enter_those_of(task, target, flags, change);
    task_unref(target);
    return error;
}

SYSCALL_DEFINE2(setns, int, fd, int, type)
{
    struct file *file = task_file(task, fd);
    struct change change;
    struct ns *ns;
    int error;

    if (!file)
        return -EBADF;
    error = begin_change(task, &change);
    if (error == 0) {
        ns = ns_of_file(file);
        if (ns)
            error =
                type && (uint32_t)type != ns_flag(ns->type) ? -EINVAL : enter(task, ns, &change);
        else if (pidfd_is(file))
            error = enter_by_handle(task, file, (uint32_t)type, &change);
        else
            error = -EINVAL;
        end_change(task, &change, error == 0);
    }
    file_unref(file);
    return error;
}

/* ---- names -------------------------------------------------------------------------------- */

/* `name` is hostname or domainname of the task's uts. */
static long set_name(struct task *task, bool domain, uaddr_t ptr, int size)
{
    struct uts_ns *uts = task_uts(task);
    char name[UTS_NAME_SIZE] = {0};

    if (!task_has_ns_cap(task, uts->ns.owner, CAP_SYS_ADMIN))
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
