/* prctl(2), arch_prctl(2), personality(2): properties of a task. */
#include <asm/prctl.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/task/prctl.h"
#include "sentry/syscalls/task/seccomp.h"

#define TASK_SIZE_MAX 0x7ffffffff000UL

SYSCALL_DEFINE2(arch_prctl, int, code, uaddr_t, addr)
{
    const struct platform_ops *ops = task->ctx->ops;
    uint64_t fs, gs;

    ops->ctx_get_bases(task->ctx, &fs, &gs);
    switch (code) {
    case ARCH_SET_FS:
        return addr >= TASK_SIZE_MAX ? -EPERM : ops->ctx_set_bases(task->ctx, addr, gs);
    case ARCH_SET_GS:
        return addr >= TASK_SIZE_MAX ? -EPERM : ops->ctx_set_bases(task->ctx, fs, addr);
    case ARCH_GET_FS:
        return copy_to_user(task->mm, addr, &fs, sizeof(fs));
    case ARCH_GET_GS:
        return copy_to_user(task->mm, addr, &gs, sizeof(gs));
    case ARCH_GET_CPUID:
        return 1; /* CPUID does not fault */
    case ARCH_SET_CPUID:
        return -ENODEV;
    default:
        return -EINVAL;
    }
}

SYSCALL_DEFINE1(personality, unsigned, persona)
{
    uint32_t old = task->personality;

    if (persona != 0xffffffff)
        task->personality = persona;
    return old;
}

static long set_name(struct task *task, uaddr_t addr)
{
    char name[16] = {0};
    ssize_t length = strncpy_from_user(task->mm, name, addr, sizeof(name) - 1);

    if (length < 0 && length != -ENAMETOOLONG)
        return -EFAULT;
    memset(task->comm, 0, sizeof(task->comm));
    memcpy(task->comm, name, strnlen(name, sizeof(name) - 1));
    return 0;
}

static long put_int(struct task *task, uaddr_t addr, int value)
{
    return copy_to_user(task->mm, addr, &value, sizeof(value));
}

static long set_securebits(struct task *task, uint64_t bits)
{
    const struct cred *old = task->cred;
    uint32_t locked = old->securebits & SECURE_ALL_LOCKS;
    struct cred *cred;

    /* A lock keeps both itself and the bit below it. */
    if (((locked >> 1) & (old->securebits ^ bits)) || (locked & ~bits) ||
        (bits & ~(uint64_t)(SECURE_ALL_LOCKS | SECURE_ALL_BITS)) ||
        !task_has_own_cap(task, CAP_SETPCAP))
        return -EPERM;
    cred = cred_copy(old, old->group_count);
    if (!cred)
        return -ENOMEM;
    cred->securebits = (uint32_t)bits;
    task_set_cred(task, cred);
    return 0;
}

static long set_keepcaps(struct task *task, uint64_t value)
{
    struct cred *cred;

    if (value > 1)
        return -EINVAL;
    if (task->cred->securebits & SECBIT_KEEP_CAPS_LOCKED)
        return -EPERM;
    cred = cred_copy(task->cred, task->cred->group_count);
    if (!cred)
        return -ENOMEM;
    cred->securebits &= ~SECBIT_KEEP_CAPS;
    if (value)
        cred->securebits |= SECBIT_KEEP_CAPS;
    task_set_cred(task, cred);
    return 0;
}

static long drop_bounding(struct task *task, uint64_t cap)
{
    struct cred *cred;

    if (!task_has_own_cap(task, CAP_SETPCAP))
        return -EPERM;
    if (cap > CAP_LAST_CAP)
        return -EINVAL;
    cred = cred_copy(task->cred, task->cred->group_count);
    if (!cred)
        return -ENOMEM;
    cred->cap_bounding &= ~(1UL << cap);
    task_set_cred(task, cred);
    return 0;
}

static long cap_ambient(struct task *task, uint64_t op, uint64_t cap)
{
    struct cred *cred;

    if (op == PR_CAP_AMBIENT_CLEAR_ALL ? cap != 0 : cap > CAP_LAST_CAP)
        return -EINVAL;
    if (op == PR_CAP_AMBIENT_IS_SET)
        return task->cred->cap_ambient >> cap & 1;
    if (op < PR_CAP_AMBIENT_IS_SET || op > PR_CAP_AMBIENT_CLEAR_ALL)
        return -EINVAL;
    if (op == PR_CAP_AMBIENT_RAISE &&
        (!(task->cred->cap_permitted & task->cred->cap_inheritable & (1UL << cap)) ||
         (task->cred->securebits & SECBIT_NO_CAP_AMBIENT_RAISE)))
        return -EPERM;
    cred = cred_copy(task->cred, task->cred->group_count);
    if (!cred)
        return -ENOMEM;
    if (op == PR_CAP_AMBIENT_RAISE)
        cred->cap_ambient |= 1UL << cap;
    else if (op == PR_CAP_AMBIENT_LOWER)
        cred->cap_ambient &= ~(1UL << cap);
    else
        cred->cap_ambient = 0;
    task_set_cred(task, cred);
    return 0;
}

static long set_no_new_privs(struct task *task)
{
    struct cred *cred = cred_copy(task->cred, task->cred->group_count);

    if (!cred)
        return -ENOMEM;
    cred->no_new_privs = true;
    task_set_cred(task, cred);
    return 0;
}

/* Options about privileges. -ENOSYS: not one of them. */
static long prctl_privileges(struct task *task, int option, const uint64_t a[4])
{
    switch (option) {
    case PR_GET_KEEPCAPS:
        return !!(task->cred->securebits & SECBIT_KEEP_CAPS);
    case PR_SET_KEEPCAPS:
        return set_keepcaps(task, a[0]);
    case PR_CAPBSET_READ:
        return a[0] > CAP_LAST_CAP ? -EINVAL : (long)(task->cred->cap_bounding >> a[0] & 1);
    case PR_CAPBSET_DROP:
        return drop_bounding(task, a[0]);
    case PR_GET_SECUREBITS:
        return task->cred->securebits;
    case PR_SET_SECUREBITS:
        return set_securebits(task, a[0]);
    case PR_CAP_AMBIENT:
        return a[2] || a[3] ? -EINVAL : cap_ambient(task, a[0], a[1]);
    case PR_GET_NO_NEW_PRIVS:
        return a[0] || a[1] || a[2] || a[3] ? -EINVAL : task_no_new_privs(task);
    case PR_SET_NO_NEW_PRIVS:
        return a[0] != 1 || a[1] || a[2] || a[3] ? -EINVAL : set_no_new_privs(task);
    default:
        return -ENOSYS;
    }
}

SYSCALL_DEFINE5(prctl, int, option, uint64_t, arg2, uint64_t, arg3, uint64_t, arg4, uint64_t, arg5)
{
    const uint64_t args[4] = {arg2, arg3, arg4, arg5};
    long result = prctl_privileges(task, option, args);

    if (result != -ENOSYS)
        return result;
    switch (option) {
    case PR_SET_NAME:
        return set_name(task, arg2);
    case PR_GET_NAME:
        return copy_to_user(task->mm, arg2, task->comm, sizeof(task->comm));
    case PR_SET_PDEATHSIG:
        if (arg2 > SIGNAL_COUNT)
            return -EINVAL;
        task->parent_death_signal = (int)arg2;
        return 0;
    case PR_GET_PDEATHSIG:
        return put_int(task, arg2, task->parent_death_signal);
    case PR_GET_DUMPABLE:
        return task->process->dumpable;
    case PR_SET_DUMPABLE:
        if (arg2 > 1)
            return -EINVAL;
        task->process->dumpable = (uint32_t)arg2;
        return 0;
    case PR_SET_CHILD_SUBREAPER:
        lock_acquire(&task->kernel->lock);
        task->process->subreaper = arg2 != 0;
        lock_release(&task->kernel->lock);
        return 0;
    case PR_GET_CHILD_SUBREAPER:
        return put_int(task, arg2, task->process->subreaper);
    case PR_SET_TIMERSLACK:
        task->timer_slack_ns = arg2 == 0 || arg2 > INT64_MAX ? task->default_slack_ns : arg2;
        return 0;
    case PR_GET_TIMERSLACK:
        return (long)MIN(task->timer_slack_ns, (uint64_t)INT64_MAX);
    case PR_GET_TIMING:
        return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
        return arg2 == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
    case PR_GET_TSC:
        return put_int(task, arg2, PR_TSC_ENABLE);
    case PR_GET_TID_ADDRESS:
        return copy_to_user(task->mm, arg2, &task->clear_child_tid, sizeof(uint64_t));
    case PR_GET_SECCOMP:
        return task->seccomp.mode;
    case PR_SET_SECCOMP:
        return prctl_set_seccomp(task, arg2, arg3);
    default:
        return prctl_policy(task, option, args);
    }
}
