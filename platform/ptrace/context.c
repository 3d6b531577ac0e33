/*
 * Contexts: a guest thread's registers, and the member stub that runs them.
 *
 *   no stub  --first switch, or after a move-->  member of the space, stopped
 *   stopped  --PTRACE_SYSEMU-->  running  --any stop-->  stopped
 *
 * While its thread is in the Sentry a context's stub is stopped and holds no state but the
 * extended state: general registers, selectors and bases are in the context and are written at
 * each resume, so calls may be injected in between without saving anything.
 *
 * Interrupts: ctx_interrupt() raises `interrupted`, then kicks if `running`; context_switch()
 * raises `running`, then looks at `interrupted`. Both sequentially consistent, so at least one
 * sees the other. A kick that comes late stops the stub once more for nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/log.h"
#include "host/thread.h"
#include "host/clock.h"
#include "host/futex.h"
#include "platform/ptrace/internal.h"
#include "platform/regs.h"

/* The context that the calling thread drives. */
static _Thread_local struct ptrace_context *current;

struct ptrace_context *context_own(struct ptrace_space *s)
{
    return current && current->space == s && current->stub.tid ? current : NULL;
}

struct stub *context_own_member(struct ptrace_space *s)
{
    struct ptrace_context *ctx = context_own(s);

    if (!ctx)
        return idle_own_member(s);
    handover_stop(ctx);
    return &ctx->stub;
}

int context_create(struct platform *p, struct context **ret)
{
    struct ptrace_context *ctx = calloc(1, sizeof(*ctx));

    if (!ctx)
        return -ENOMEM;
    ctx->base.ops = p->ops;
    ctx->p = ptrace_platform(p);
    ctx->fp_state = FP_IN_STUB;
    ctx->user.cs = STUB_CS;
    ctx->user.ss = STUB_SS;
    lock_init(&ctx->stub_lock);
    list_init(&ctx->member_node);
    list_init(&ctx->bound_node);
    placement_init(&ctx->placement);
    ctx->cpus = ctx->p->cpus;
    *ret = &ctx->base;
    return 0;
}

/* From here on nobody kicks or moves it. */
static struct stub detach_stub(struct ptrace_context *ctx)
{
    struct stub stub = ctx->stub;

    lock_acquire(&ctx->p->stubs_lock);
    if (!list_empty(&ctx->member_node)) {
        cputime_settle_locked(ctx);
        listen_left_locked(ctx);
        list_del_init(&ctx->member_node);
        __atomic_store_n(&ctx->space->context_count, ctx->space->context_count - 1,
                         __ATOMIC_SEQ_CST);
    }
    placement_forget_locked(ctx);
    lock_release(&ctx->p->stubs_lock);
    lock_acquire(&ctx->stub_lock);
    ctx->stub.tid = 0;
    lock_release(&ctx->stub_lock);
    return stub;
}

void context_lost(struct ptrace_context *ctx)
{
    __atomic_store_n(&ctx->space->dead, true, __ATOMIC_RELAXED);
    helper_end(ctx);
    detach_stub(ctx);
}

/* The stub ends, and with it the membership in its space. */
static void leave(struct ptrace_context *ctx)
{
    struct stub stub;

    if (!ctx->space)
        return;
    handover_close(ctx);
    if (orders_wait(ctx->space))
        space_carry_out(ctx->space);
    helper_release(ctx);
    stub = detach_stub(ctx);
    space_leave(ctx->space, &stub);
    ctx->space = NULL;
}

void context_destroy(struct context *base)
{
    struct ptrace_context *ctx = ptrace_context(base);

    if (ctx->tracer) {
        BUG_ON(ctx->tracer != host_gettid());
        if (current == ctx && ctx->stub.tid)
            space_drain(ctx->space);
        if (current == ctx)
            current = NULL;
    }
    leave(ctx);
    lock_destroy(&ctx->stub_lock);
    free(ctx->fp);
    free(ctx);
}

/* When the whole sandbox is about to exit, its tasks have nothing to report any more. */
static void wait_if_stopping(struct ptrace_context *ctx)
{
    static uint32_t never;

    while (__atomic_load_n(&ctx->p->stopping, __ATOMIC_ACQUIRE))
        host_futex_wait(&never, 0, HOST_NEVER);
}

static int enter(struct ptrace_context *ctx, struct ptrace_space *s)
{
    struct stub stub;
    bool used;
    int err;

    if (ctx->tracer == 0) {
        ctx->tracer = host_gettid();
        /* threads inherit the CPU to which the context of their maker is bound */
        if (ctx->p->bind)
            host_set_affinity(0, &ctx->cpus, sizeof(ctx->cpus));
    }
    if (ctx->space) {
        if (ctx->stub.tid)
            fp_detach(ctx);
        leave(ctx);
    }
    err = space_join(s, &stub, &used);
    if (err < 0)
        return err;
    if (used && ctx->fp_state == FP_IN_STUB)
        ctx->fp_state = FP_INITIAL;
    ctx->space = s;
    lock_acquire(&ctx->stub_lock);
    stub.as_read = false;
    ctx->stub = stub;
    lock_release(&ctx->stub_lock);
    if (__atomic_load_n(&ctx->p->confined, __ATOMIC_RELAXED))
        host_set_affinity(stub.tid, &ctx->cpus, sizeof(ctx->cpus));
    if (ctx->nice > 0)
        host_set_nice(stub.tid, ctx->nice);
    lock_acquire(&ctx->p->stubs_lock);
    list_add(&s->contexts, &ctx->member_node);
    __atomic_store_n(&s->context_count, s->context_count + 1, __ATOMIC_SEQ_CST);
    listen_joined_locked(ctx);
    lock_release(&ctx->p->stubs_lock);
    /* Whoever still thinks that it is alone here puts its order off before this, and not later. */
    lock_acquire(&s->map_lock);
    lock_release(&s->map_lock);
    return 0;
}

/* rax of a call that the host would make again; see arch_do_signal_or_restart(). */
static bool looks_like_restart(uint64_t rax)
{
    return rax >= -516UL && rax <= -512UL;
}

/* Of all that the stopped stub has, only rax is to change: so it is after most system calls. */
static bool only_rax_differs(const struct ptrace_context *ctx)
{
    const struct cpu_regs *r = &ctx->base.regs;
    const struct host_user_regs *u = &ctx->user;
    uint64_t differ = (u->rbx ^ r->rbx) | (u->rcx ^ r->rcx) | (u->rdx ^ r->rdx) |
                      (u->rsi ^ r->rsi) | (u->rdi ^ r->rdi) | (u->rbp ^ r->rbp) |
                      (u->rsp ^ r->rsp) | (u->r8 ^ r->r8) | (u->r9 ^ r->r9) | (u->r10 ^ r->r10) |
                      (u->r11 ^ r->r11) | (u->r12 ^ r->r12) | (u->r13 ^ r->r13) |
                      (u->r14 ^ r->r14) | (u->r15 ^ r->r15) | (u->rip ^ r->rip) |
                      ((u->eflags ^ r->rflags) & RFLAGS_USER_MASK);

    return ctx->stub.as_read && differ == 0 && !looks_like_restart(r->rax);
}

static int store_regs(struct ptrace_context *ctx)
{
    const struct cpu_regs *r = &ctx->base.regs;
    struct host_user_regs *u = &ctx->user;

    if (likely(only_rax_differs(ctx)))
        return u->rax == r->rax ? 0 : host_ptrace_set_rax(ctx->stub.tid, r->rax);
    /* Somebody sent the program elsewhere than where its 32-bit code stopped: a signal handler. */
    if (unlikely(u->cs != STUB_CS) && u->rip != r->rip)
        u->cs = STUB_CS;
    REGS_COPY(u, r);
    u->eflags = (r->rflags & RFLAGS_USER_MASK) | RFLAGS_FIXED;
    u->orig_rax = -1UL; /* no host call to restart */
    return stub_set_regs(&ctx->stub, u);
}

/* The stub was killed from outside; reaped: its end has been waited for already. */
static enum trap killed(struct ptrace_context *ctx, bool reaped)
{
    struct stub stub;
    pid_t tid;

    helper_end(ctx);
    stub = detach_stub(ctx);
    tid = stub.tid;
    __atomic_store_n(&ctx->space->dead, true, __ATOMIC_RELAXED);
    if (!reaped)
        stub_exit(&stub, false);
    wait_if_stopping(ctx);
    log_warning("ptrace: stub %d was killed", tid);
    return TRAP_KILLED;
}

static bool take_interrupt(struct ptrace_context *ctx)
{
    return unlikely(__atomic_load_n(&ctx->interrupted, __ATOMIC_SEQ_CST)) &&
           __atomic_exchange_n(&ctx->interrupted, false, __ATOMIC_SEQ_CST);
}

/*
 * 1: not, for there is an interrupt. A call that is injected into the stub, and a stop that is
 * awaited here, swallow a kick that comes meanwhile.
 */
static int resume(struct ptrace_context *ctx)
{
    if (ctx->handover.inside) {
        if (unlikely(orders_wait(ctx->space)) && !space_is_deferred(ctx->space) &&
            helper_get(ctx) && space_carry_out(ctx->space) < 0)
            return -ESRCH;
        if (likely(handover_answer(ctx)))
            return 0;
        listen_recalled(ctx);
        if (handover_stop(ctx) < 0)
            return -ESRCH;
    }
    if (unlikely(orders_wait(ctx->space)) && space_carry_out(ctx->space) < 0)
        return -ESRCH;
    listen_begin(ctx);
    placement_before_run(ctx);
    if (unlikely(__atomic_load_n(&ctx->interrupted, __ATOMIC_SEQ_CST)))
        return 1;
    if (unlikely(store_regs(ctx) < 0 || host_ptrace_sysemu(ctx->stub.tid) < 0))
        return -ESRCH;
    return 0;
}

static enum trap run(struct ptrace_context *ctx, struct trap_info *info)
{
    enum trap trap = TRAP_INTERRUPT;
    int status, err;

    while (!take_interrupt(ctx)) {
        err = resume(ctx);
        if (unlikely(err > 0))
            continue;
        if (unlikely(err < 0))
            return killed(ctx, false); /* while it stood */
        switch (listen_wait(ctx, &status)) {
        case HEARD_CALL:
            info->handed_over = true;
            __atomic_fetch_add(&ctx->p->base.calls_inside, 1, __ATOMIC_RELAXED);
            return TRAP_SYSCALL;
        case HEARD_DEATH:
            return killed(ctx, true);
        default:
            __atomic_fetch_add(&ctx->p->base.stops, 1, __ATOMIC_RELAXED);
            break;
        }
        switch (trap_decode(ctx, status, &trap, info)) {
        case STOP_TRAP:
            if (unlikely(trap == TRAP_SYSCALL && handover_was_parked(ctx)))
                break;
            handover_settle(ctx);
            return trap;
        case STOP_DEAD:
            return killed(ctx, WIFEXITED(status) || WIFSIGNALED(status));
        case STOP_SPURIOUS:
            break;
        }
    }
    if (!ctx->handover.inside)
        handover_undo_here(ctx);
    return TRAP_INTERRUPT;
}

/* Whatever is to be changed but rax needs a stub that is stopped. */
static int settle_before_run(struct ptrace_context *ctx)
{
    if (unlikely(ctx->fp_state == FP_SAVED || ctx->fp_state == FP_INITIAL) &&
        handover_stop(ctx) < 0)
        return -ESRCH;
    __atomic_store_n(&ctx->handover.away_since_ns, 0, __ATOMIC_RELAXED);
    return fp_load(ctx);
}

enum trap context_switch(struct context *base, struct address_space *as, struct trap_info *ret_info)
{
    struct ptrace_context *ctx = ptrace_context(base);
    struct ptrace_space *s = ptrace_space(as);
    uint64_t start, ns;
    enum trap trap;

    *ret_info = (struct trap_info){0};
    if (unlikely(ctx->space != s)) {
        if (enter(ctx, s) < 0) {
            wait_if_stopping(ctx);
            return TRAP_KILLED;
        }
    }
    BUG_ON(current != ctx && ctx->tracer != host_gettid());
    if (unlikely(ctx->stub.tid == 0 || settle_before_run(ctx) < 0)) {
        wait_if_stopping(ctx);
        return TRAP_KILLED;
    }
    current = ctx;
    listen_awake(ctx);
    if (unlikely(__atomic_load_n(&s->retired, __ATOMIC_ACQUIRE)) && space_sweep(s) < 0)
        return killed(ctx, false);
    gate_enter(&ctx->p->gate);
    __atomic_store_n(&ctx->running, true, __ATOMIC_SEQ_CST);
    start = host_monotonic_ns();
    __atomic_store_n(&ctx->run_start_ns, start, __ATOMIC_RELAXED);
    trap = run(ctx, ret_info);
    ns = host_monotonic_ns() - start;
    gate_leave(&ctx->p->gate);
    placement_after_run(ctx, ns);
    __atomic_store_n(&ctx->run_start_ns, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&ctx->guest_ns, ctx->guest_ns + ns, __ATOMIC_RELEASE);
    __atomic_store_n(&ctx->running, false, __ATOMIC_RELEASE);
    __atomic_store_n(&ctx->handover.away_since_ns, start + ns, __ATOMIC_RELAXED);
    return trap;
}

void context_interrupt(struct context *base)
{
    struct ptrace_context *ctx = ptrace_context(base);

    if (__atomic_exchange_n(&ctx->interrupted, true, __ATOMIC_SEQ_CST))
        return; /* whoever raised it has kicked */
    if (!__atomic_load_n(&ctx->running, __ATOMIC_SEQ_CST))
        return;
    lock_acquire(&ctx->stub_lock);
    if (ctx->stub.tid)
        host_kick_stub(ctx->stub.tgid, ctx->stub.tid, STUB_SIGNAL);
    lock_release(&ctx->stub_lock);
}

void context_get_bases(struct context *base, uint64_t *ret_fs, uint64_t *ret_gs)
{
    struct ptrace_context *ctx = ptrace_context(base);

    handover_stop(ctx);
    *ret_fs = ctx->user.fs_base;
    *ret_gs = ctx->user.gs_base;
}

int context_set_bases(struct context *base, uint64_t fs, uint64_t gs)
{
    struct ptrace_context *ctx = ptrace_context(base);

    if (fs >= STUB_BASE || gs >= STUB_BASE)
        return -EPERM; /* as arch_prctl(2) */
    handover_stop(ctx);
    if (fs != ctx->user.fs_base)
        ctx->user.fs = 0; /* a base of its own needs no selector, as do_arch_prctl_64() */
    if (gs != ctx->user.gs_base)
        ctx->user.gs = 0;
    ctx->user.fs_base = fs;
    ctx->user.gs_base = gs;
    ctx->stub.as_read = false;
    listen_fs_changed(ctx);
    return 0;
}
