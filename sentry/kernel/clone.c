#include "sentry/kernel/clone.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/fs_context.h"

#define LINUX_CLONE_PIDFD 0x1000UL
#define CLONE_NAMESPACES                                                                           \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET) |                                                     \
     CLONE_NEWTIME)
#define TLS_MAX 0x7ffffffff000UL

/* The combinations that Linux's copy_process() refuses, in its order, and what we lack. */
static int check_flags(uint64_t flags)
{
    if ((flags & (CLONE_NEWNS | CLONE_FS)) == (CLONE_NEWNS | CLONE_FS) ||
        (flags & (CLONE_NEWUSER | CLONE_FS)) == (CLONE_NEWUSER | CLONE_FS))
        return -EINVAL;
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
        return -EINVAL;
    if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
        return -EINVAL;
    if ((flags & CLONE_THREAD) && (flags & (CLONE_NEWUSER | CLONE_NEWPID)))
        return -EINVAL;
    if (flags & (CLONE_NAMESPACES | LINUX_CLONE_PIDFD))
        return -EINVAL;
    return flags & CLONE_THREAD ? 0 : -ENOSYS;
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

    child->mm = mm_ref(parent->mm);
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
    return error;
}

static void copy_attributes(struct task *parent, struct task *child, uint64_t flags)
{
    memcpy(child->comm, parent->comm, sizeof(child->comm));
    child->cred = cred_ref(parent->cred);
    child->blocked = parent->blocked;
    child->timer_slack_ns = parent->timer_slack_ns;
    child->personality = parent->personality;
    child->sched = parent->sched;
    if (parent->sched.reset_on_fork) {
        child->sched.reset_on_fork = false;
        child->sched.nice = MAX(child->sched.nice, 0);
        if (child->sched.policy == SCHED_FIFO || child->sched.policy == SCHED_RR)
            child->sched.policy = SCHED_OTHER;
        child->sched.priority = 0;
    }
    /* A thread that shares memory must not run handlers on its maker's alternate stack. */
    if (!(flags & CLONE_VM) || (flags & CLONE_VFORK))
        child->altstack = parent->altstack;
}

/* The number is known, the thread does not run yet. A bad address is the caller's own loss. */
static int tell_numbers(struct task *child, void *arg)
{
    const struct clone_request *request = arg;

    if (request->flags & CLONE_PARENT_SETTID)
        copy_to_user(child->mm, request->parent_tid, &child->tid, sizeof(child->tid));
    if (request->flags & CLONE_CHILD_SETTID)
        copy_to_user(child->mm, request->child_tid, &child->tid, sizeof(child->tid));
    if (request->flags & CLONE_CHILD_CLEARTID)
        child->clear_child_tid = request->child_tid;
    return 0;
}

long task_clone(struct task *parent, const struct clone_request *request)
{
    int error = check_flags(request->flags);
    struct task *child;
    int32_t tid;

    if (error < 0)
        return error;
    if ((request->flags & CLONE_SETTLS) && request->tls >= TLS_MAX)
        return -EPERM;
    child = task_create(parent->kernel, parent->process);
    if (!child)
        return -ENOMEM;
    copy_attributes(parent, child, request->flags);
    error = copy_context(parent, child, request);
    if (error == 0)
        error = copy_files(parent, child, request->flags);
    task_ref(child); /* it may be gone before we read its number */
    if (error == 0)
        error = task_start(child, tell_numbers, (void *)request);
    tid = child->tid;
    if (error < 0)
        task_unref(child);
    task_unref(child);
    return error < 0 ? error : tid;
}
