#include "sentry/kernel/signal/sigframe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/signal.h"
#include "platform/regs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

#define RED_ZONE    128
#define FP_ALIGN    64
#define FRAME_ALIGN 16
#define MAGIC2_SIZE 4

/* What rt_sigreturn may change (Linux FIX_EFLAGS): AC OF DF TF SF ZF AF PF CF RF. */
#define RFLAGS_RETURN 0x50dd5UL
#define RFLAGS_RF     0x10000UL
#define RFLAGS_DF     0x400UL

#define XSTATE_BV     512 /* offset of the feature bitmap in the XSAVE area */
#define XFEATURES_FX  3UL /* x87 and SSE */

uint32_t sigframe_max_size(uint32_t fp_size)
{
    uint32_t size = RED_ZONE + sizeof(struct linux_rt_sigframe) + FRAME_ALIGN + 8;

    return round_up(size + FP_ALIGN + fp_size + MAGIC2_SIZE, FRAME_ALIGN);
}

static bool in_sigstack(const struct linux_stack *ss, uaddr_t sp)
{
    return sp > ss->sp && sp - ss->sp <= ss->size;
}

/* With SS_AUTODISARM the stack pointer says nothing: the setting is gone while a handler runs. */
static bool on_sigstack(const struct task *task, uaddr_t sp)
{
    return !((uint32_t)task->altstack.flags & LINUX_SS_AUTODISARM) &&
           in_sigstack(&task->altstack, sp);
}

struct linux_stack sigstack_get(const struct task *task, uaddr_t sp)
{
    struct linux_stack ss = task->altstack;

    if (ss.size == 0)
        ss.flags = SS_DISABLE;
    else
        ss.flags = (int32_t)((uint32_t)ss.flags & LINUX_SS_AUTODISARM);
    if (on_sigstack(task, sp))
        ss.flags |= SS_ONSTACK;
    return ss;
}

int sigstack_set(struct task *task, const struct linux_stack *ss, uaddr_t sp)
{
    uint32_t mode = (uint32_t)ss->flags & ~LINUX_SS_AUTODISARM;

    if (on_sigstack(task, sp))
        return -EPERM;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
        return -EINVAL;
    if (mode == SS_DISABLE) {
        task->altstack = (struct linux_stack){.flags = ss->flags};
        return 0;
    }
    if (ss->size < LINUX_MINSIGSTKSZ)
        return -ENOMEM;
    task->altstack = (struct linux_stack){.sp = ss->sp, .flags = ss->flags, .size = ss->size};
    return 0;
}

/* Where frame and XSAVE area go; -EFAULT when they leave the alternate stack. */
static int place_frame(const struct task *task, const struct linux_sigaction *action,
                       uaddr_t *ret_frame, uaddr_t *ret_fp)
{
    uaddr_t sp = task->ctx->regs.rsp;
    bool on_altstack = on_sigstack(task, sp);

    sp -= RED_ZONE;
    if ((action->flags & SA_ONSTACK) && task->altstack.size > 0 && !on_sigstack(task, sp)) {
        sp = task->altstack.sp + task->altstack.size;
        on_altstack = true;
    }
    sp = round_down(sp - (task->kernel->fp_size + MAGIC2_SIZE), FP_ALIGN);
    *ret_fp = sp;
    sp = round_down(sp - sizeof(struct linux_rt_sigframe), FRAME_ALIGN) - 8;
    *ret_frame = sp;
    return on_altstack && !in_sigstack(&task->altstack, sp) ? -EFAULT : 0;
}

static int push_fp(struct task *task, uaddr_t fp)
{
    struct kernel *kernel = task->kernel;
    uint32_t size = kernel->fp_size;
    uint8_t *area = malloc(size + MAGIC2_SIZE);
    struct linux_fpx_sw_bytes sw = {
        .magic1 = LINUX_FP_XSTATE_MAGIC1,
        .extended_size = size + MAGIC2_SIZE,
        .xfeatures = kernel->platform->ops->fp_features(kernel->platform),
        .xstate_size = size,
    };
    const uint32_t magic2 = LINUX_FP_XSTATE_MAGIC2;
    int error;

    if (!area)
        return -EFAULT;
    error = task->ctx->ops->ctx_get_fp(task->ctx, area, size);
    if (error == 0) {
        memcpy(area + LINUX_FXSAVE_SW_OFFSET, &sw, sizeof(sw));
        memcpy(area + size, &magic2, sizeof(magic2));
        error = copy_to_user(task->mm, fp, area, size + MAGIC2_SIZE);
    }
    free(area);
    return error < 0 ? -EFAULT : 0;
}

static void save_regs(const struct task *task, struct linux_sigcontext *ret)
{
    const struct cpu_regs *r = &task->ctx->regs;

    *ret = (struct linux_sigcontext){
        .rflags = r->rflags,
        .cs = LINUX_USER_CS,
        .ss = LINUX_USER_DS,
        .err = task->fault_error,
        .trapno = task->fault_vector,
        .cr2 = task->fault_addr,
    };
    REGS_COPY(ret, r);
}

int sigframe_push(struct task *task, const struct delivery *d, uint64_t old_blocked)
{
    struct cpu_regs *regs = &task->ctx->regs;
    struct linux_rt_sigframe frame = {.pretcode = d->action.restorer};
    size_t size = sizeof(frame);
    uaddr_t at, fp;

    if (!(d->action.flags & LINUX_SA_RESTORER) || place_frame(task, &d->action, &at, &fp) < 0 ||
        push_fp(task, fp) < 0)
        return -EFAULT;
    frame.uc.flags = LINUX_UC_FP_XSTATE | LINUX_UC_SIGCONTEXT_SS | LINUX_UC_STRICT_RESTORE_SS;
    memcpy(&frame.uc.stack, &task->altstack, sizeof(frame.uc.stack));
    save_regs(task, &frame.uc.mcontext);
    frame.uc.mcontext.oldmask = old_blocked;
    frame.uc.mcontext.fpstate = fp;
    frame.uc.sigmask = old_blocked;
    if (d->action.flags & SA_SIGINFO)
        memcpy(frame.info, &d->info, sizeof(frame.info));
    else
        size = offsetof(struct linux_rt_sigframe, info);
    if (copy_to_user(task->mm, at, &frame, size) < 0)
        return -EFAULT;
    if ((uint32_t)task->altstack.flags & LINUX_SS_AUTODISARM)
        task->altstack = (struct linux_stack){.flags = SS_DISABLE};
    regs->rdi = (uint64_t)d->info.si_signo;
    regs->rsi = at + offsetof(struct linux_rt_sigframe, info);
    regs->rdx = at + offsetof(struct linux_rt_sigframe, uc);
    regs->rax = 0; /* the number of vector registers, should the handler have "..." arguments */
    regs->rip = d->action.handler;
    regs->rsp = at;
    regs->rflags &= ~(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
    task->ctx->ops->ctx_reset_fp(task->ctx);
    return 0;
}

static void load_regs(struct task *task, const struct linux_sigcontext *sc)
{
    struct cpu_regs *r = &task->ctx->regs;

    REGS_COPY(r, sc);
    r->rflags = (r->rflags & ~RFLAGS_RETURN) | (sc->rflags & RFLAGS_RETURN);
}

/*
 * How much of the XSAVE area at `fp` is to be believed: all that sw_reserved announces when both
 * magic words are in place, else x87 and SSE alone (Linux check_xstate_in_sigframe).
 */
static uint32_t trusted_fp_size(struct task *task, const uint8_t *fxsave, uaddr_t fp,
                                uint64_t *ret_features)
{
    struct linux_fpx_sw_bytes sw;
    uint32_t magic2;

    *ret_features = XFEATURES_FX;
    memcpy(&sw, fxsave + LINUX_FXSAVE_SW_OFFSET, sizeof(sw));
    if (sw.magic1 != LINUX_FP_XSTATE_MAGIC1 || sw.xstate_size < LINUX_XSAVE_MIN ||
        sw.xstate_size > task->kernel->fp_size || sw.xstate_size > sw.extended_size ||
        copy_struct_from_user(task->mm, &magic2, fp + sw.xstate_size) < 0 ||
        magic2 != LINUX_FP_XSTATE_MAGIC2)
        return LINUX_FXSAVE_SIZE;
    *ret_features = sw.xfeatures;
    return sw.xstate_size;
}

static int pop_fp(struct task *task, uaddr_t fp)
{
    uint32_t size = task->kernel->fp_size, trusted;
    uint64_t features, present = XFEATURES_FX;
    uint8_t *area;
    int error;

    if (fp == 0) {
        task->ctx->ops->ctx_reset_fp(task->ctx);
        return 0;
    }
    area = calloc(1, size);
    if (!area)
        return -EFAULT;
    error = copy_from_user(task->mm, area, fp, LINUX_FXSAVE_SIZE);
    if (error == 0) {
        trusted = trusted_fp_size(task, area, fp, &features);
        if (trusted > LINUX_FXSAVE_SIZE)
            error = copy_from_user(task->mm, area + LINUX_FXSAVE_SIZE, fp + LINUX_FXSAVE_SIZE,
                                   trusted - LINUX_FXSAVE_SIZE);
        if (trusted > LINUX_FXSAVE_SIZE)
            memcpy(&present, area + XSTATE_BV, sizeof(present));
        present &= features;
        memcpy(area + XSTATE_BV, &present, sizeof(present));
        memset(area + LINUX_FXSAVE_SW_OFFSET, 0, sizeof(struct linux_fpx_sw_bytes));
    }
    if (error == 0)
        error = task->ctx->ops->ctx_set_fp(task->ctx, area, size);
    free(area);
    return error < 0 ? -EFAULT : 0;
}

int sigframe_pop(struct task *task)
{
    /* The handler's `ret` has taken pretcode off the stack. */
    uaddr_t at = task->ctx->regs.rsp - sizeof(uint64_t);
    struct linux_rt_sigframe frame;
    struct linux_stack ss;

    if (copy_from_user(task->mm, &frame, at, offsetof(struct linux_rt_sigframe, info)) < 0)
        return -EFAULT;
    signal_set_blocked(task, frame.uc.sigmask);
    load_regs(task, &frame.uc.mcontext);
    if (pop_fp(task, frame.uc.mcontext.fpstate) < 0)
        return -EFAULT;
    memcpy(&ss, &frame.uc.stack, sizeof(ss));
    /* What does not fit any more stays as it is, as on Linux (restore_altstack). */
    sigstack_set(task, &ss, task->ctx->regs.rsp);
    return 0;
}
