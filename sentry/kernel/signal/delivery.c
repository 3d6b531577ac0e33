/*
 * From queue to handler, before a task returns to the guest: default actions, frames, and how a
 * call that the signal interrupted goes on (Linux arch/x86/kernel/signal.c, kernel/signal.c).
 */
#include <errno.h>
#include <sys/wait.h>
#include <sys/syscall.h>

#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/core.h"
#include "sentry/kernel/jobs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/signal/sigframe.h"

#define SYSCALL_INSTRUCTION_SIZE 2

static void repeat_call(struct task *task, uint64_t nr)
{
    struct cpu_regs *regs = &task->ctx->regs;

    regs->rax = nr;
    regs->rip -= SYSCALL_INSTRUCTION_SIZE;
}

/* `handler`: the action of the handler that will run, or NULL when none will. */
static void settle_call(struct task *task, const struct linux_sigaction *handler)
{
    struct cpu_regs *regs = &task->ctx->regs;

    if (!task->in_syscall || (int)task->syscall_nr == -1)
        return;
    task->in_syscall = false;
    switch (-(int64_t)regs->rax) {
    case ERESTART_RESTARTBLOCK:
        if (handler)
            regs->rax = (uint64_t)-EINTR;
        else
            repeat_call(task, SYS_restart_syscall);
        break;
    case ERESTARTNOHAND:
        if (handler)
            regs->rax = (uint64_t)-EINTR;
        else
            repeat_call(task, task->syscall_nr);
        break;
    case ERESTARTSYS:
        if (handler && !(handler->flags & SA_RESTART))
            regs->rax = (uint64_t)-EINTR;
        else
            repeat_call(task, task->syscall_nr);
        break;
    case ERESTARTNOINTR:
        repeat_call(task, task->syscall_nr);
        break;
    }
}

/* Another end may come first meanwhile: then that is it. */
static void dump_and_exit_locked(struct task *task, const siginfo_t *info)
{
    struct process *process = task->process;
    int status = info->si_signo;

    lock_release(&process->lock);
    if (core_dump(task, info))
        status |= WCOREFLAG;
    lock_acquire(&process->lock);
    process_group_exit_locked(process, status);
}

static void default_action_locked(struct task *task, const siginfo_t *info)
{
    struct process *process = task->process;
    int signo = info->si_signo;

    if (SIGNAL_BIT(signo) & SIGNALS_STOP)
        job_stop_locked(task, signo);
    else if (core_signal(signo) && core_wanted_locked(process))
        dump_and_exit_locked(task, info);
    else if (!signal_default_ignored(signo))
        process_group_exit_locked(process, signo);
}

/* The action of a signal that was taken; SA_RESETHAND uses it up. */
static struct linux_sigaction take_action(struct process *process, int signo)
{
    struct linux_sigaction action, *slot = &process->sighand->actions[signo - 1];

    lock_acquire(&process->sighand->lock);
    action = *slot;
    if ((action.flags & SA_RESETHAND) && action.handler > (uaddr_t)SIG_IGN)
        slot->handler = (uaddr_t)SIG_DFL;
    lock_release(&process->sighand->lock);
    return action;
}

static void trace_signal(struct task *task, const siginfo_t *info)
{
    if (task->kernel->strace.on)
        strace_signal(task->tid, info->si_signo, info->si_code, (uaddr_t)info->si_addr);
}

/*
 * Takes signals until one has a handler: its number. 0 when none is left, or the task has to end.
 */
static int next_handler(struct task *task, struct delivery *ret_delivery)
{
    struct process *process = task->process;
    struct delivery d;
    int signo = 0;

    lock_acquire(&process->lock);
    for (;;) {
        if (process->group_exit || (process->exec_task && process->exec_task != task)) {
            task->exiting = true;
            signo = 0;
            break;
        }
        if (job_tell_continued_locked(process) || job_enter_stop_locked(task) ||
            ptrace_report_stop_locked(task))
            continue;
        if (cgroup_stay_frozen_locked(task))
            continue;
        if (process->stopped && !task->trace.tracer) {
            job_stay_locked(task);
            continue;
        }
        signo = signal_dequeue_locked(task, ~task->blocked, &d.info);
        if (!signo) {
            __atomic_fetch_and(&task->work,
                               TASK_WORK_SCHED | TASK_WORK_RSEQ | TASK_WORK_KEYS | TASK_WORK_FREEZE,
                               __ATOMIC_SEQ_CST);
            waiter_uninterrupt(&task->waiter);
            break;
        }
        if (unlikely(task->trace.tracer)) {
            signo = ptrace_signal_locked(task, &d.info);
            if (!signo)
                continue;
        }
        d.action = take_action(process, signo);
        if (d.action.handler == (uaddr_t)SIG_IGN)
            continue;
        if (d.action.handler == (uaddr_t)SIG_DFL && process->unkillable &&
            !(SIGNAL_BIT(signo) & SIGNALS_UNBLOCKABLE))
            continue; /* init of a pid namespace gets only what it handles */
        trace_signal(task, &d.info);
        if (d.action.handler != (uaddr_t)SIG_DFL)
            break;
        default_action_locked(task, &d.info);
    }
    lock_release(&process->lock);
    if (signo)
        *ret_delivery = d;
    return signo;
}

static void run_handler(struct task *task, int signo, const struct delivery *d)
{
    uint64_t old = task->restore_blocked ? task->saved_blocked : task->blocked;
    uint64_t blocked = task->blocked | d->action.mask;
    bool stepping = ptrace_end_step(task);

    if (rseq_interrupt(task) < 0 || sigframe_push(task, d, old) < 0) {
        /* A second failure has no handler left to run. */
        if (signo == SIGSEGV)
            process_group_exit(task->process, SIGSEGV);
        else
            signal_fault(task, SIGSEGV, SI_KERNEL, 0);
        return;
    }
    task->restore_blocked = false;
    if (!(d->action.flags & SA_NODEFER))
        blocked |= SIGNAL_BIT(signo);
    signal_set_blocked(task, blocked);
    ptrace_handler_entered(task, stepping);
}

void signal_deliver(struct task *task)
{
    struct delivery d;
    int signo;

    while ((signo = next_handler(task, &d)) != 0) {
        settle_call(task, &d.action);
        run_handler(task, signo, &d);
    }
    if (task->exiting)
        return;
    settle_call(task, NULL);
    if (task->restore_blocked) {
        task->restore_blocked = false;
        signal_set_blocked(task, task->saved_blocked);
    }
}
