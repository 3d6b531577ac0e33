#include "sentry/kernel/clone.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "abi/ptrace.h"
#include "host/futex.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/kernel/tree.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/fs_context.h"

#define LINUX_CLONE_PIDFD 0x1000UL
#define CLONE_NAMESPACES                                                                           \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET) |                                                     \
     CLONE_NEWTIME)
#define CLONE_BUILT                                                                                \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWNET | CLONE_NEWPID) |                                                     \
     CLONE_NEWTIME)
#define TLS_MAX             0x7ffffffff000UL
#define CLONE_CLEAR_SIGHAND 0x100000000UL

/* The combinations that Linux's copy_process() refuses, in its order, and what we lack. */
static int check_flags(const struct task *task, uint64_t flags)
{
    const struct process *process = task->process;

    if ((flags & (CLONE_NEWNS | CLONE_FS)) == (CLONE_NEWNS | CLONE_FS) ||
        (flags & (CLONE_NEWUSER | CLONE_FS)) == (CLONE_NEWUSER | CLONE_FS))
        return -EINVAL;
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
        return -EINVAL;
    if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
        return -EINVAL;
    if ((flags & CLONE_PARENT) && process->unkillable)
        return -EINVAL; /* init's siblings would have no reaper */
    if ((flags & CLONE_THREAD) && ((flags & (CLONE_NEWUSER | CLONE_NEWPID)) ||
                                   &process->pid_ns->ns != task->namespaces->ns[NS_PID]))
        return -EINVAL;
    if ((flags & LINUX_CLONE_PIDFD) && (flags & CLONE_DETACHED))
        return -EINVAL;
    if ((flags & CLONE_NEWIPC) && (flags & CLONE_SYSVSEM))
        return -EINVAL;
    return flags & CLONE_NAMESPACES & ~CLONE_BUILT ? -EINVAL : 0;
}

/* General registers, segment bases, extended state: as the parent's, but for what was asked. */
static int copy_context(struct task *parent, struct task *child,
                        const struct clone_request *request)
{
    const struct platform_ops *ops = parent->ctx->ops;
    uint32_t size = parent->kernel->fp_size;
    void *fp = malloc(size);
    uint64_t fs, gs;
    int error;

    if (!fp)
        return -ENOMEM;
    child->ctx->regs = parent->ctx->regs;
    child->ctx->regs.rax = 0;
    if (parent->trace.forced_tf)
        child->ctx->regs.rflags &= ~RFLAGS_TF;
    if (request->stack)
        child->ctx->regs.rsp = request->stack;
    ops->ctx_get_bases(parent->ctx, &fs, &gs);
    if (request->flags & CLONE_SETTLS)
        fs = request->tls;
    error = ops->ctx_get_fp(parent->ctx, fp, size);
    if (error == 0)
        error = ops->ctx_set_fp(child->ctx, fp, size);
    if (error == 0)
        error = ops->ctx_set_bases(child->ctx, fs, gs);
    free(fp);
    return error;
}

static int copy_files(struct task *parent, struct task *child, uint64_t flags)
{
    int error = 0;

    if (flags & CLONE_VM)
        child->mm = mm_ref(parent->mm);
    else
        error = mm_fork(parent->mm, &child->mm);
    if (error == 0 && child->namespaces->ns[NS_TIME] != parent->namespaces->ns[NS_TIME])
        error = time_ns_map(child, child->namespaces, child->mm);
    if (error < 0)
        return error;
    if (flags & CLONE_FILES)
        child->files = fdtable_ref(parent->files);
    else
        error = fdtable_clone(parent->files, &child->files);
    if (error < 0)
        return error;
    if (flags & CLONE_FS)
        child->fs = fs_context_ref(parent->fs);
    else
        error = fs_context_clone(parent->fs, &child->fs);
    if (error < 0)
        return error;
    if (flags & CLONE_NEWNS)
        mnt_ns_take_along(child->fs, parent->namespaces->ns[NS_MNT], child->namespaces->ns[NS_MNT]);
    error = rseq_clone(parent, child, flags & CLONE_VM);
    return error;
}

/* Who the child is, and in which namespaces. */
struct identity {
    const struct cred *cred;
    struct ns_proxy *namespaces;
};

static void drop_identity(struct identity *own)
{
    cred_unref(own->cred);
    ns_proxy_unref(own->namespaces);
}

/* Replaces the child's credentials by some in a user namespace of its own. */
static int enter_new_user_ns(struct task *parent, const struct cred **cred)
{
    struct user_ns *ns;
    struct cred *own;
    int error = user_ns_create_for(parent, &ns);

    if (error < 0)
        return error;
    own = cred_copy(*cred, (*cred)->group_count);
    if (!own) {
        user_ns_unref(ns);
        return -ENOMEM;
    }
    cred_enter_user_ns(own, ns);
    cred_unref(*cred);
    *cred = own;
    return 0;
}

/* The namespaces that it gets anew belong to its user namespace. */
static int copy_identity(struct task *parent, uint64_t flags, struct identity *ret)
{
    struct identity own = {.cred = key_cred_for_child(parent->cred, flags & CLONE_THREAD)};
    int error = 0;

    if (!own.cred)
        return -ENOMEM;
    if (flags & CLONE_NEWUSER)
        error = enter_new_user_ns(parent, &own.cred);
    if (error == 0 && (flags & CLONE_NAMESPACES & ~(uint64_t)CLONE_NEWUSER))
        error = ns_proxy_unshare(parent, flags, own.cred, &own.namespaces);
    else if (error == 0)
        own.namespaces = ns_proxy_ref(parent->namespaces);
    if (error == 0 && !(flags & CLONE_VM))
        error = ns_proxy_enter_time(&own.namespaces);
    if (error < 0)
        drop_identity(&own);
    else
        *ret = own;
    return error;
}

static void copy_attributes(struct task *parent, struct task *child, uint64_t flags)
{
    memcpy(child->comm, parent->comm, sizeof(child->comm));
    child->blocked = parent->blocked;
    child->syscall_nr = parent->syscall_nr;
    child->timer_slack_ns = child->default_slack_ns = parent->timer_slack_ns;
    child->personality = parent->personality;
    child->policy = parent->policy;
    child->sched = parent->sched;
    if (parent->sched.reset_on_fork) {
        child->sched.reset_on_fork = false;
        child->sched.nice = MAX(child->sched.nice, 0);
        if (child->sched.policy == SCHED_FIFO || child->sched.policy == SCHED_RR ||
            child->sched.policy == LINUX_SCHED_DEADLINE)
            child->sched.policy = SCHED_OTHER;
        child->sched.deadline = (struct sched_deadline){0};
        child->sched.priority = 0;
    }
    /* A thread that shares memory must not run handlers on its maker's alternate stack. */
    if (!(flags & CLONE_VM) || (flags & CLONE_VFORK))
        child->altstack = parent->altstack;
}

struct birth {
    const struct clone_request *request;
    struct task *parent;
    int event;  /* PTRACE_EVENT_* that its tracer wants, or 0 */
    int handle; /* the descriptor of CLONE_PIDFD; -1: none */
};

static int join_tree(struct task *parent, struct task *child, uint64_t flags)
{
    struct kernel *kernel = parent->kernel;
    struct process *above = parent->process;
    int error = 0;

    lock_acquire(&kernel->lock);
    child->process->maker_tid = parent->tid;
    if (flags & CLONE_PARENT)
        above = above->parent;
    /* Whoever signals a group holds the lock: what came before now must reach the child, too. */
    if (task_interrupted(parent)) {
        error = -ERESTARTNOINTR;
    } else {
        if (parent->process->group)
            group_join_locked(child->process, parent->process->group);
        ctty_inherit_locked(child->process, parent->process);
        tree_add_locked(child->process, above);
        child->process->parent_thread =
            flags & CLONE_PARENT ? parent->process->parent_thread : parent;
    }
    lock_release(&kernel->lock);
    return error;
}

/* CLONE_PIDFD: a handle on the child among the parent's descriptors. -EMFILE, -ENOMEM, -EFAULT. */
static int give_handle(struct birth *birth, struct task *child)
{
    const struct clone_request *request = birth->request;
    struct task *parent = birth->parent;
    unsigned flags = request->flags & CLONE_THREAD ? PIDFD_FLAG_THREAD : 0;
    struct file *file;
    int32_t fd;
    int error = pidfd_create(child, flags, &file);

    if (error < 0)
        return error;
    fd = fdtable_install(parent->files, file, 0, task_rlimit(parent, RLIMIT_NOFILE), true);
    if (fd < 0) {
        file_unref(file);
        return fd;
    }
    if (copy_struct_to_user(parent->mm, request->pidfd, &fd) < 0) {
        fdtable_close(parent->files, fd);
        return -EFAULT;
    }
    birth->handle = fd;
    return 0;
}

/* The number is known, the thread does not run yet. A bad address is the caller's own loss. */
static int tell_numbers(struct task *child, void *arg)
{
    struct birth *birth = arg;
    const struct clone_request *request = birth->request;
    int32_t shown = task_shown_pid(birth->parent, child->tid);
    int error;

    if (request->flags & LINUX_CLONE_PIDFD) {
        error = give_handle(birth, child);
        if (error < 0)
            return error;
    }
    if (!(request->flags & CLONE_THREAD)) {
        error = join_tree(birth->parent, child, request->flags);
        if (error < 0)
            return error;
    }
    seccomp_inherit(birth->parent, child);
    if (birth->event || (request->flags & CLONE_PTRACE))
        ptrace_inherit(birth->parent, child);
    if (request->flags & CLONE_PARENT_SETTID)
        copy_to_user(birth->parent->mm, request->parent_tid, &shown, sizeof(shown));
    if (request->flags & CLONE_CHILD_SETTID)
        copy_to_user(child->mm, request->child_tid, &child->vtid, sizeof(child->vtid));
    if (request->flags & CLONE_CHILD_CLEARTID)
        child->clear_child_tid = request->child_tid;
    return 0;
}

/* The process of a task that is no thread of its maker's. */
static struct process *copy_process(struct task *parent, struct ns *ns,
                                    const struct clone_request *request)
{
    struct process *old = parent->process;
    struct process *process = process_create(parent->kernel, pid_ns_of(ns));

    if (!process)
        return NULL;
    if (request->flags & CLONE_SIGHAND)
        process->sighand = sighand_ref(old->sighand);
    else
        process->sighand = sighand_copy(old->sighand);
    if (!process->sighand)
        return process_unref(process);
    if (request->flags & CLONE_CLEAR_SIGHAND)
        sighand_reset_handlers(process->sighand);
    lock_acquire(&old->lock);
    memcpy(process->limits, old->limits, sizeof(process->limits));
    process->oom_score_adj = old->oom_score_adj;
    process->oom_score_min = old->oom_score_min;
    process->exe = old->exe ? file_ref(old->exe) : NULL;
    lock_release(&old->lock);
    process->exit_signal = request->flags & CLONE_PARENT ? old->exit_signal : request->exit_signal;
    process->dumpable = old->dumpable;
    process->login_uid = __atomic_load_n(&old->login_uid, __ATOMIC_RELAXED);
    process->login_session = __atomic_load_n(&old->login_session, __ATOMIC_RELAXED);
    process->memory_failure = old->memory_failure;
    process->no_huge_pages = old->no_huge_pages;
    process->io_flusher = old->io_flusher;
    return process;
}

static struct task *create_child(struct task *parent, const struct identity *own,
                                 const struct clone_request *request)
{
    struct process *process;
    struct task *child;

    if (request->flags & CLONE_THREAD)
        return task_create(parent->kernel, parent->process);
    process = copy_process(parent, own->namespaces->ns[NS_PID], request);
    if (!process)
        return NULL;
    child = task_create(parent->kernel, process);
    process_unref(process);
    return child;
}

/* Until the child has another address space or none; only the end of our own process is sooner. */
static void wait_for_vfork(struct task *task, struct task *child)
{
    struct process *process = task->process;

    for (;;) {
        uint32_t word = __atomic_load_n(&process->stop_word, __ATOMIC_ACQUIRE);
        bool leaving;

        if (__atomic_load_n(&child->vfork_done, __ATOMIC_ACQUIRE))
            break;
        lock_acquire(&process->lock);
        leaving = process->group_exit || (process->exec_task && process->exec_task != task);
        lock_release(&process->lock);
        if (leaving)
            break;
        cgroup_mark_waiting(task, true);
        usage_enter(&task->times, MODE_ASLEEP);
        host_futex_wait(&process->stop_word, word, HOST_NEVER);
        usage_enter(&task->times, MODE_SYSTEM);
        cpu_timers_wake(process);
    }
    cgroup_mark_waiting(task, false);
}

static int may_clone(struct task *parent, const struct clone_request *request)
{
    int error = check_flags(parent, request->flags);

    if (error < 0)
        return error;
    if ((request->flags & CLONE_SETTLS) && request->tls >= TLS_MAX)
        return -EPERM;
    /* A share of the processors cannot be inherited: sched_fork(). */
    if (parent->sched.policy == LINUX_SCHED_DEADLINE && !parent->sched.reset_on_fork)
        return -EAGAIN;
    /* A signal for the group must not miss the new member: first deliver, then come again. */
    return task_interrupted(parent) ? -ERESTARTNOINTR : 0;
}

/* What a new task has besides its identity. */
static int furnish(struct task *parent, struct task *child, const struct clone_request *request)
{
    int error;

    copy_attributes(parent, child, request->flags);
    child->wanted_tids = request->wanted_tids;
    child->wanted_count = request->wanted_count;
    child->cgroup = request->cgroup ? cgroup_ref(request->cgroup) : NULL;
    error = copy_context(parent, child, request);
    if (error == 0)
        error = copy_files(parent, child, request->flags);
    if (error == 0 && (request->flags & CLONE_SYSVSEM))
        error = sem_share_undo(parent, child);
    if (error == 0 && (request->flags & CLONE_VFORK))
        child->vfork_parent = process_ref(parent->process);
    return error;
}

long task_clone(struct task *parent, const struct clone_request *request)
{
    struct birth birth = {
        .request = request,
        .parent = parent,
        .event = ptrace_clone_event(parent, request),
        .handle = -1,
    };
    int error = may_clone(parent, request);
    struct identity own;
    struct task *child;
    int32_t tid, shown;

    if (error == 0)
        error = copy_identity(parent, request->flags, &own);
    if (error < 0)
        return error;
    child = create_child(parent, &own, request);
    if (!child) {
        drop_identity(&own);
        return -ENOMEM;
    }
    child->cred = own.cred;
    child->namespaces = own.namespaces;
    error = furnish(parent, child, request);
    task_ref(child); /* it may be gone before we read its number */
    if (error == 0)
        error = task_start(child, parent, tell_numbers, &birth);
    tid = child->tid;
    shown = task_shown_pid(parent, tid);
    if (error < 0 && birth.handle >= 0)
        fdtable_close(parent->files, birth.handle);
    if (error < 0) {
        task_unref(child);
    } else {
        if (birth.event)
            ptrace_event_task(parent, birth.event, tid);
        if (request->flags & CLONE_VFORK) {
            wait_for_vfork(parent, child);
            ptrace_event_task(parent, PTRACE_EVENT_VFORK_DONE, tid);
        }
    }
    task_unref(child);
    return error < 0 ? error : shown;
}
