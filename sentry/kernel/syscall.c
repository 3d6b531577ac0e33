/*
 * Dispatch: registers to typed body and back. The result may be a restart code; signal_deliver()
 * turns it into what the guest sees, see task_run().
 */
#include "sentry/kernel/syscall.h"

#include <errno.h>

#include "base/log.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/strace/strace.h"

static long absent(struct task *task, uint32_t nr, const struct syscall_entry *entry)
{
    uint64_t *word, bit;

    if (!entry || entry->level != SYSCALL_ABSENT ||
        nr >= 64 * ARRAY_COUNT(task->kernel->absent_logged))
        return -ENOSYS;
    word = &task->kernel->absent_logged[nr / 64];
    bit = 1UL << (nr % 64);
    if (!(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit))
        log_info("%s: system call %s (%u) is not implemented: %s", task->comm, entry->name, nr,
                 entry->note);
    return -ENOSYS;
}

static long call_traced(struct task *task, uint32_t nr, const struct syscall_entry *entry,
                        const uint64_t args[6])
{
    struct strace_call call;
    long result;

    strace_enter(&call, task->mm, task->tid, nr, entry, args);
    result = entry && entry->handler ? entry->handler(task, args) : absent(task, nr, entry);
    if (task->exiting || !task->in_syscall)
        strace_leave_noreturn(&call, task->mm);
    else
        strace_leave(&call, task->mm, result);
    return result;
}

/* The call that the registers ask for; not answered: -ENOSYS. */
static long call(struct task *task)
{
    struct kernel *kernel = task->kernel;
    const struct cpu_regs *regs = &task->ctx->regs;
    const uint64_t args[6] = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9};
    uint32_t nr = (uint32_t)task->syscall_nr; /* the upper half is ignored, as on Linux */
    const struct syscall_entry *entry = NULL;

    if (likely(nr < kernel->table->count) && kernel->table->entries[nr].name)
        entry = &kernel->table->entries[nr];
    if (unlikely(strace_wants(&kernel->strace, nr)))
        return call_traced(task, nr, entry, args);
    if (likely(entry && entry->handler))
        return entry->handler(task, args);
    return absent(task, nr, entry);
}

/*
 * The program itself may want the call back. A tracer or a filter looks at it next; each may change
 * it, or answer it itself: then the number is -1, and what is in rax stays there.
 */
static bool enter_with_work(struct task *task)
{
    uint32_t work = __atomic_load_n(&task->syscall_work, __ATOMIC_RELAXED);

    if ((work & SYSCALL_WORK_DISPATCH) && user_dispatch_takes(task))
        return false;
    task->ctx->regs.rax = (uint64_t)-ENOSYS;
    if ((work & (SYSCALL_WORK_TRACE | SYSCALL_WORK_EMU)) && !ptrace_syscall_enter(task))
        return false;
    if ((int)task->syscall_nr == -1)
        return false;
    if ((work & SYSCALL_WORK_SECCOMP) && !seccomp_allows(task))
        return false;
    return (int)task->syscall_nr != -1;
}

void syscall_dispatch(struct task *task)
{
    struct cpu_regs *regs = &task->ctx->regs;
    bool wanted = true;
    long result;

    task->in_syscall = true;
    task->syscall_nr = regs->rax;
    if (unlikely(task->syscall_work))
        wanted = enter_with_work(task);
    if (likely(wanted)) {
        task->in_syscall = true;
        result = call(task);
        /* execve(2) and rt_sigreturn(2) have put all registers in place themselves. */
        if (likely(task->in_syscall)) {
            regs->rax = (uint64_t)result;
            task->restart_due = result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK;
        }
    }
    if (unlikely(task->syscall_work) && !task->exiting && !task->dispatch.fired)
        ptrace_syscall_exit(task);
    task->dispatch.fired = false;
}
