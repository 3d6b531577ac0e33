/*
 * General registers between the task's own form and struct linux_user_regs.
 *
 * orig_rax is the number of the call that the task is in, or -1. A debugger that sends a program
 * elsewhere writes -1, so that no call is restarted there; one that puts the registers of an
 * interrupted call back writes the number, and the call is.
 */
#include <errno.h>

#include "abi/ptrace.h"
#include "abi/signal.h"
#include "platform/regs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace/ptrace.h"

/* What a tracer may change (Linux FLAG_MASK): CF PF AF ZF SF TF DF OF NT RF AC. */
#define FLAGS_TRACER 0x54dd5UL

void ptrace_get_regs_locked(struct task *task, struct linux_user_regs *ret)
{
    const struct cpu_regs *r = &task->ctx->regs;

    *ret = (struct linux_user_regs){
        .orig_rax = task->syscall_nr,
        .cs = LINUX_USER_CS,
        .eflags = task->trace.forced_tf ? r->rflags & ~RFLAGS_TF : r->rflags,
        .ss = LINUX_USER_DS,
        .fs_base = task->trace.fs_base,
        .gs_base = task->trace.gs_base,
    };
    REGS_COPY(ret, r);
}

/* 64-bit code and flat segments: there are no others to load. */
static bool segments_ok(const struct task *task, const struct linux_user_regs *regs)
{
    uaddr_t max = task->kernel->mm_env->limits.user_max;

    return regs->cs == LINUX_USER_CS && regs->ss == LINUX_USER_DS && regs->ds == 0 &&
           regs->es == 0 && regs->fs == 0 && regs->gs == 0 && regs->fs_base < max &&
           regs->gs_base < max;
}

static void set_flags(struct task *task, uint64_t flags)
{
    uint64_t *own = &task->ctx->regs.rflags;

    if (flags & RFLAGS_TF)
        task->trace.forced_tf = false;
    else if (task->trace.forced_tf)
        flags |= RFLAGS_TF;
    *own = (*own & ~FLAGS_TRACER) | (flags & FLAGS_TRACER);
}

int ptrace_set_regs_locked(struct task *task, const struct linux_user_regs *regs)
{
    struct cpu_regs *r = &task->ctx->regs;
    struct trace *trace = &task->trace;

    if (!segments_ok(task, regs))
        return -EIO;
    REGS_COPY(r, regs);
    set_flags(task, regs->eflags);
    task->syscall_nr = regs->orig_rax;
    task->in_syscall = (int)regs->orig_rax != -1;
    if (trace->fs_base != regs->fs_base || trace->gs_base != regs->gs_base) {
        trace->fs_base = regs->fs_base;
        trace->gs_base = regs->gs_base;
        trace->bases_changed = true;
    }
    return 0;
}
