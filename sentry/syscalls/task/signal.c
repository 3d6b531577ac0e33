/* Signals of the calling thread: sigaction(2), sigprocmask(2), sigaltstack(2), waiting for them. */
#include <errno.h>
#include <signal.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/signal/sigframe.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define SIGSET_SIZE 8
/* What of sa_flags is kept and shown again (UAPI_SA_FLAGS); programs probe for the rest. */
#define SA_KNOWN                                                                                   \
    ((uint64_t)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER) | \
     0x80000000UL /* SA_RESETHAND */ | 0x800UL /* SA_EXPOSE_TAGBITS */ | LINUX_SA_RESTORER)

SYSCALL_DEFINE4(rt_sigaction, int, signo, uaddr_t, new_ptr, uaddr_t, old_ptr, uint64_t, size)
{
    struct linux_sigaction action, old;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (new_ptr && copy_struct_from_user(task->mm, &action, new_ptr) < 0)
        return -EFAULT;
    if (signo < 1 || signo > SIGNAL_COUNT || (new_ptr && (SIGNAL_BIT(signo) & SIGNALS_UNBLOCKABLE)))
        return -EINVAL;
    if (new_ptr)
        action.flags &= SA_KNOWN;
    signal_set_action(task, signo, new_ptr ? &action : NULL, &old);
    return old_ptr ? copy_struct_to_user(task->mm, old_ptr, &old) : 0;
}

SYSCALL_DEFINE4(rt_sigprocmask, int, how, uaddr_t, set_ptr, uaddr_t, old_ptr, uint64_t, size)
{
    uint64_t set, old = task->blocked;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (set_ptr) {
        if (copy_struct_from_user(task->mm, &set, set_ptr) < 0)
            return -EFAULT;
        set &= ~SIGNALS_UNBLOCKABLE;
        switch (how) {
        case SIG_BLOCK:
            set |= old;
            break;
        case SIG_UNBLOCK:
            set = old & ~set;
            break;
        case SIG_SETMASK:
            break;
        default:
            return -EINVAL;
        }
        signal_set_blocked(task, set);
    }
    return old_ptr ? copy_struct_to_user(task->mm, old_ptr, &old) : 0;
}

SYSCALL_DEFINE2(rt_sigpending, uaddr_t, set_ptr, uint64_t, size)
{
    uint64_t set = signal_pending_set(task) & task->blocked;

    if (size > SIGSET_SIZE)
        return -EINVAL;
    return copy_to_user(task->mm, set_ptr, &set, size);
}

SYSCALL_DEFINE0(rt_sigreturn)
{
    if (sigframe_pop(task) < 0)
        signal_fault(task, SIGSEGV, SI_KERNEL, 0);
    task->in_syscall = false; /* rax is the frame's */
    task->syscall_nr = -1UL;
    return 0;
}

SYSCALL_DEFINE2(sigaltstack, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    uaddr_t sp = task->ctx->regs.rsp;
    struct linux_stack ss, old = sigstack_get(task, sp);
    int error;

    if (new_ptr) {
        if (copy_struct_from_user(task->mm, &ss, new_ptr) < 0)
            return -EFAULT;
        error = sigstack_set(task, &ss, sp);
        if (error < 0)
            return error;
    }
    return old_ptr ? copy_struct_to_user(task->mm, old_ptr, &old) : 0;
}

/* Until a signal is due. */
static void sleep_for_signal(struct task *task)
{
    while (task_block(task, TIME_NEVER) == 0)
        ;
}

SYSCALL_DEFINE0(pause)
{
    sleep_for_signal(task);
    return -ERESTARTNOHAND;
}

SYSCALL_DEFINE2(rt_sigsuspend, uaddr_t, set_ptr, uint64_t, size)
{
    uint64_t set;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &set, set_ptr) < 0)
        return -EFAULT;
    task->saved_blocked = task->blocked;
    signal_set_blocked(task, set);
    sleep_for_signal(task);
    task->restore_blocked = true;
    return -ERESTARTNOHAND;
}

/* Takes a signal of `set`, blocked or not, waiting until `deadline_ns`. */
static int wait_for_signal(struct task *task, uint64_t set, uint64_t deadline_ns,
                           siginfo_t *ret_info)
{
    struct process *process = task->process;
    int signo, error = 0;

    lock_acquire(&process->lock);
    signo = signal_dequeue_locked(task, set, ret_info);
    if (!signo && deadline_ns != 0) {
        task->waited_for = set;
        lock_release(&process->lock);
        do {
            error = task_block(task, deadline_ns);
        } while (error == 0);
        lock_acquire(&process->lock);
        task->waited_for = 0;
        signo = signal_dequeue_locked(task, set, ret_info);
    }
    lock_release(&process->lock);
    if (signo)
        return signo;
    return error == -ERESTARTSYS ? -EINTR : -EAGAIN;
}

SYSCALL_DEFINE4(rt_sigtimedwait, uaddr_t, set_ptr, uaddr_t, info_ptr, uaddr_t, timeout_ptr,
                uint64_t, size)
{
    uint64_t set, deadline = TIME_NEVER;
    struct timespec timeout;
    siginfo_t info;
    int signo;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &set, set_ptr) < 0)
        return -EFAULT;
    if (timeout_ptr) {
        if (copy_struct_from_user(task->mm, &timeout, timeout_ptr) < 0)
            return -EFAULT;
        if (!timespec_valid(&timeout))
            return -EINVAL;
        deadline = timespec_ns(&timeout);
        if (deadline != 0)
            deadline = time_add(time_monotonic_ns(), deadline);
    }
    signo = wait_for_signal(task, set & ~SIGNALS_UNBLOCKABLE, deadline, &info);
    if (signo > 0 && info_ptr && copy_struct_to_user(task->mm, info_ptr, &info) < 0)
        return -EFAULT;
    return signo;
}

SYSCALL_DEFINE0(restart_syscall)
{
    struct restart_block block = task->restart;

    task->restart.fn = NULL;
    return block.fn ? block.fn(task, &block) : -EINTR;
}
