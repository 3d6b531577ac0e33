/*
 * The life of a task on its host thread:
 *
 *     task_run:   work?  ->  signals, stop, exit
 *                 switch ->  the guest runs until a trap
 *                 serve  ->  syscall_dispatch, fault_handle, exception_handle
 */
#include <errno.h>

#include "base/log.h"
#include "sentry/kernel/async.h"
#include "sentry/kernel/exception.h"
#include "sentry/kernel/fault.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rseq.h"

/*
 * Runs the guest, unless somebody has something for us: then 0 traps happen. Whoever gives us work
 * raises `work` and then looks at `in_guest`; we do it the other way round, so one sees the other.
 */
static bool switch_to_guest(struct task *task, enum trap *ret_trap, struct trap_info *ret_info)
{
    struct context *ctx = task->ctx;
    bool run;

    __atomic_store_n(&task->in_guest, 1, __ATOMIC_SEQ_CST);
    run = __atomic_load_n(&task->work, __ATOMIC_SEQ_CST) == 0;
    if (run) {
        usage_enter(&task->times, MODE_USER);
        *ret_trap = ctx->ops->ctx_switch(ctx, mm_address_space(task->mm), ret_info);
        usage_enter(&task->times, MODE_SYSTEM);
    }
    __atomic_store_n(&task->in_guest, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&task->switches, task->switches + 1, __ATOMIC_RELEASE);
    return run;
}

/* Where a call need not be a trap, the next one from there shall be none. */
static void note_call(struct task *task, const struct trap_info *info)
{
    struct context *ctx = task->ctx;

    if (info->handed_over || !mm_environment(task->mm)->limits.call_entry)
        return;
    if (mm_note_call(task->mm, ctx->regs.rip, ctx->regs.rax))
        ctx->missed++;
    else
        ctx->missed /= 2;
}

static void serve_trap(struct task *task, enum trap trap, const struct trap_info *info)
{
    if (trap != TRAP_SYSCALL)
        task->ctx->missed /= 2;
    switch (trap) {
    case TRAP_SYSCALL:
        note_call(task, info);
        syscall_dispatch(task);
        break;
    case TRAP_FAULT:
        task->usage.minor_faults++;
        task->syscall_nr = -1UL;
        fault_handle(task, info);
        break;
    case TRAP_EXCEPTION:
        task->syscall_nr = -1UL;
        exception_handle(task, info);
        break;
    case TRAP_INTERRUPT:
        task->syscall_nr = -1UL;
        task->usage.preemptions++;
        break;
    case TRAP_KILLED:
        log_warning("task %d (%s): the platform cannot run it any longer", task->tid, task->comm);
        process_group_exit(task->process, SIGKILL);
        break;
    }
}

/* It may be on its way from a rewritten call site: no call, and no step of one who steps. */
static bool may_be_undone(enum trap trap, const struct trap_info *info)
{
    return trap == TRAP_INTERRUPT || trap == TRAP_FAULT ||
           (trap == TRAP_EXCEPTION && info->vector != VECTOR_DB);
}

/* The result of an interrupted call is settled by signal_deliver() even if no signal is left. */
static bool must_settle(const struct task *task)
{
    return task->restore_blocked || task->restart_due;
}

static _Thread_local struct task *current;

struct task *task_current(void)
{
    return current;
}

void task_set_current(struct task *task)
{
    current = task;
}

/* What is nobody's but the task's, before signals change where it is. */
static void serve_own_work(struct task *task)
{
    uint32_t work = __atomic_load_n(&task->work, __ATOMIC_ACQUIRE);

    if (work & TASK_WORK_SCHED)
        task_apply_sched(task);
    if (work & TASK_WORK_KEYS)
        key_take_session(task);
    if (work & TASK_WORK_RSEQ) {
        __atomic_fetch_and(&task->work, ~(uint32_t)TASK_WORK_RSEQ, __ATOMIC_SEQ_CST);
        if (rseq_interrupt(task) < 0)
            signal_fault(task, SIGSEGV, SI_KERNEL, 0);
    }
}

void task_run(struct task *task)
{
    current = task;
    cred_use_for_files(task->cred);
    task_update_fastpath(task);
    task_start_sched(task);
    while (!task->exiting) {
        struct trap_info info;
        enum trap trap = TRAP_INTERRUPT;

        if (unlikely(task->trace.watching || task->trace.forced_tf))
            ptrace_watch(task);
        if (switch_to_guest(task, &trap, &info))
            serve_trap(task, trap, &info);
        if (unlikely(task->async_due))
            async_settle(task);
        if (task->exiting)
            break;
        if (unlikely(task_interrupted(task) || must_settle(task))) {
            if (may_be_undone(trap, &info))
                mm_call_site_undo(task->mm, &task->ctx->regs);
            serve_own_work(task);
            signal_deliver(task);
        }
        task->in_syscall = task->restart_due = false;
    }
    task_exit(task);
}
