/* kernel/entry/syscall_user_dispatch.c of Linux. */
#include "sentry/kernel/userdispatch.h"

#include <errno.h>
#include <linux/audit.h>
#include <signal.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"

#define SYS_USER_DISPATCH 2 /* si_code of SIGSYS */
#define SELECTOR_ALLOW    0
#define SELECTOR_BLOCK    1

int user_dispatch_set_locked(struct task *task, uint64_t mode, uint64_t start, uint64_t size,
                             uaddr_t selector)
{
    const struct platform_limits *limits = &mm_environment(task->mm)->limits;

    switch (mode) {
    case LINUX_DISPATCH_OFF:
        if (start || size || selector)
            return -EINVAL;
        break;
    case LINUX_DISPATCH_EXCLUSIVE_ON:
        if (start && start + size <= start)
            return -EINVAL;
        break;
    case LINUX_DISPATCH_INCLUSIVE_ON:
        if (size == 0 || start + size <= start)
            return -EINVAL;
        start += size;
        size = -size;
        break;
    default:
        return -EINVAL;
    }
    if (selector >= limits->user_max)
        return -EFAULT;
    task->dispatch = (struct user_dispatch){start, size, selector, false};
    if (mode == LINUX_DISPATCH_OFF) {
        __atomic_fetch_and(&task->syscall_work, ~(uint32_t)SYSCALL_WORK_DISPATCH, __ATOMIC_RELEASE);
    } else {
        __atomic_fetch_or(&task->syscall_work, SYSCALL_WORK_DISPATCH, __ATOMIC_RELEASE);
        task_leave_fastpath_locked(task);
    }
    return 0;
}

int user_dispatch_set(struct task *task, uint64_t mode, uint64_t start, uint64_t size,
                      uaddr_t selector)
{
    int error;

    lock_acquire(&task->process->lock);
    error = user_dispatch_set_locked(task, mode, start, size, selector);
    lock_release(&task->process->lock);
    if (error == 0 && mode == LINUX_DISPATCH_OFF)
        task_update_fastpath(task);
    return error;
}

void user_dispatch_off(struct task *task)
{
    (void)user_dispatch_set(task, LINUX_DISPATCH_OFF, 0, 0, 0);
}

/* force_exit_sig(): nobody catches it. */
static bool end_by(struct task *task, int signo)
{
    process_group_exit(task->process, signo);
    return true;
}

bool user_dispatch_takes(struct task *task)
{
    const struct user_dispatch *d = &task->dispatch;
    struct cpu_regs *regs = &task->ctx->regs;
    siginfo_t info = {.si_signo = SIGSYS, .si_code = SYS_USER_DISPATCH};
    uint8_t state;

    if (regs->rip - d->start < d->size)
        return false;
    if (d->selector) {
        if (copy_from_user(task->mm, &state, d->selector, sizeof(state)) < 0)
            return end_by(task, SIGSEGV);
        if (state == SELECTOR_ALLOW)
            return false;
        if (state != SELECTOR_BLOCK)
            return end_by(task, SIGSYS);
    }
    task->dispatch.fired = true;
    regs->rax = task->syscall_nr;
    task->in_syscall = false; /* nothing to restart */
    info.si_call_addr = (void *)regs->rip;
    info.si_syscall = (int)task->syscall_nr;
    info.si_arch = AUDIT_ARCH_X86_64;
    signal_force(task, &info);
    return true;
}
