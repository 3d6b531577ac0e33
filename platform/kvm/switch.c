/*
 * Into the program and out again.
 *
 * Going in, the registers travel in kvm_run. Where the vCPU stands decides the rest:
 *   in the program (interrupted there, or SYSCALL never left ring 3)   the registers are enough
 *   in a stub of ring 0, KIND_RING0     through sysret, or iretq for what sysret cannot restore
 *   in a stub of ring 0, KIND_RING3     segments along with the registers: as cheap as anything
 *                                       there, where each instruction of ring 0 is emulated
 *   in another address space, or new    segments, too
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/kvm.h"
#include "platform/kvm/internal.h"
#include "platform/regs.h"

#define RFLAGS_RF     0x10000UL
#define RFLAGS_KERNEL 0x2UL
#define DPL_USER      3

/* From a stub in ring 0 by its own instructions. */
static void aim_ring0_exit(struct vcpu *v, const struct cpu_regs *user, uint64_t rflags)
{
    struct kvm_regs *regs = &v->run->s.regs.regs;
    uint64_t frame[5] = {user->rip, SELECTOR_USER_CS, rflags, user->rsp, SELECTOR_USER_DS};

    regs->rflags = RFLAGS_KERNEL;
    if (user->rcx == user->rip && user->r11 == rflags && !(rflags & (RFLAGS_TF | RFLAGS_RF))) {
        regs->rip = v->area + RING0_AREA_CODE + CODE_SYSRET;
        return;
    }
    memcpy(v->stack + STACK_IRET_FRAME, frame, sizeof(frame));
    regs->rsp = v->area + RING0_AREA_STACK + STACK_IRET_FRAME;
    regs->rip = v->area + RING0_AREA_CODE + CODE_IRET;
}

/* The vCPU's segments, CR3 and bases for this context in the program. */
static int load_sregs(struct kvm_context *ctx, struct vcpu *v, uint64_t root)
{
    struct kvm_sregs *s = &v->run->s.regs.sregs;
    int err = vcpu_know_sregs(v);

    if (err < 0)
        return err;
    s->cr3 = v->root = root;
    s->cs.selector = SELECTOR_USER_CS;
    s->cs.dpl = DPL_USER;
    s->ss = s->ds;
    s->ss.selector = SELECTOR_USER_DS;
    if (ctx->bases_changed) {
        s->fs.base = ctx->fs_base;
        s->gs.base = ctx->gs_base;
        ctx->bases_changed = false;
    }
    memset(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap));
    v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    v->in_user = true;
    return 0;
}

int switch_enter(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v)
{
    struct kvm_regs *regs = &v->run->s.regs.regs;
    bool ring3 = ctx->platform->kind == KIND_RING3;
    uint64_t rflags = (ctx->base.regs.rflags & RFLAGS_USER_MASK) | RFLAGS_FIXED;
    int err;

    REGS_COPY(regs, &ctx->base.regs);
    regs->rflags = rflags;
    /* Segments that an interrupt kept from reaching the vCPU are still due. */
    v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
    if (v->root != as->pt.root || ctx->bases_changed || (ring3 && !v->in_user)) {
        err = load_sregs(ctx, v, as->pt.root);
        if (err < 0)
            return err;
    }
    if (!v->in_user)
        aim_ring0_exit(v, &ctx->base.regs, rflags);
    return 0;
}

static void copy_fastpath(struct kvm_context *ctx, struct vcpu *v)
{
    struct fastpath_page *guest = (struct fastpath_page *)v->data;

    memcpy(guest, &ctx->fastpath, offsetof(struct fastpath_page, served));
    WRITE_ONCE(guest->served, 0);
}

bool switch_take_interrupt(struct kvm_context *ctx)
{
    return __atomic_load_n(&ctx->interrupted, __ATOMIC_SEQ_CST) &&
           __atomic_exchange_n(&ctx->interrupted, 0, __ATOMIC_SEQ_CST);
}

static enum trap run(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v,
                     struct trap_info *ret_info)
{
    bool midway = false; /* in a stub of ours, which is never left half done */
    enum trap trap;

    for (;;) {
        int result;

        __atomic_store_n(&ctx->running, v->run, __ATOMIC_SEQ_CST);
        if (!midway && switch_take_interrupt(ctx))
            return TRAP_INTERRUPT;
        result = host_kvm_ioctl_number(v->fd, KVM_RUN, 0);
        /* Ordered before the next look at `interrupted`: kvm_ctx_interrupt() stores both. */
        __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        v->run->kvm_dirty_regs = 0;
        switch (kvm_trap_decode(ctx, as, v, result, &trap, ret_info)) {
        case VERDICT_TRAP:
            return trap;
        case VERDICT_AGAIN:
            midway = true;
            break;
        case VERDICT_INTERRUPTED:
            midway = false;
            break;
        }
    }
}

/* From the registers to a trap, in the usual way or with a runner. */
static enum trap enter_and_run(struct kvm_context *ctx, struct kvm_address_space *as,
                               struct vcpu *v, struct trap_info *ret_info)
{
    uint64_t start;
    enum trap trap;

    if (unlikely(__atomic_load_n(&as->retired, __ATOMIC_ACQUIRE)))
        kvm_as_sweep(as);
    if (unlikely(switch_enter(ctx, as, v) < 0))
        goto fail;
    if (exitless_begin(ctx, as, v)) {
        if (exitless_run(ctx, &trap, ret_info))
            return trap;
        if (unlikely(switch_enter(ctx, as, v) < 0))
            goto fail;
    }
    WRITE_ONCE(ctx->tid, pool_thread_id());
    v->tid = ctx->tid;
    start = host_monotonic_ns();
    trap = run(ctx, as, v, ret_info);
    if (trap == TRAP_SYSCALL)
        streak_add(&ctx->exitless.streak, host_monotonic_ns() - start);
    return trap;

fail:
    log_error("kvm: the registers of vCPU %u cannot be read", v->index);
    return TRAP_KILLED;
}

enum trap kvm_ctx_switch(struct context *base, struct address_space *as, struct trap_info *ret_info)
{
    struct kvm_context *ctx = to_context(base);
    struct kvm_platform *p = ctx->platform;
    struct vcpu *v;
    enum trap trap;

    *ret_info = (struct trap_info){0};
    if (switch_take_interrupt(ctx))
        return TRAP_INTERRUPT;
    if (!trap_is_canonical(base->regs.rip)) {
        /* iretq would fault in ring 0; for the program it is as if it had jumped there. */
        ret_info->vector = VECTOR_GP;
        return TRAP_EXCEPTION;
    }
    v = exitless_rejoin(ctx);
    if (!v) {
        v = pool_acquire(ctx);
        if (!v)
            return TRAP_KILLED;
        __atomic_fetch_add(&p->inside, 1, __ATOMIC_RELAXED);
    }
    worth_take_turn(ctx);
    copy_fastpath(ctx, v);
    if (!exitless_page(ctx) || !exitless_answer(ctx, to_address_space(as), &trap, ret_info))
        trap = enter_and_run(ctx, to_address_space(as), v, ret_info);
    __atomic_store_n(&ctx->running, NULL, __ATOMIC_RELEASE);
    ctx->fastpath.served += READ_ONCE(((struct fastpath_page *)v->data)->served);
    if (!exitless_end(ctx)) {
        __atomic_fetch_sub(&p->inside, 1, __ATOMIC_RELAXED);
        pool_release(p, v);
    }
    return trap;
}
