/*
 * Calls without an exit. Leaving the guest and entering it again is what a call costs where KVM is
 * software, or nested. While a program makes one call after another, a runner (runner.c) therefore
 * runs its vCPU, and the task's own thread watches the exchange page: the trampoline posts the call
 * there, the task's thread serves it as ever, and answers there (ring0/exchange_ring3.S).
 *
 *              begin               post                     give-up
 *      OFF  ----------->  ON  -------------->  SERVING  --------------->  LEAVING
 *       ^                 | ^     answer          |        (runner)          |
 *       |   end, recall   | '---------------------'                          |
 *       '-----------------'<-------------------------------------------------'
 *
 *   ON        the task's thread is in ctx_switch(): the guest runs, or has just come out
 *   SERVING   ctx_switch() has returned TRAP_SYSCALL; the guest looks for the answer, some 30 us
 *             long, then it leaves, and the runner turns all this off: a call that blocks keeps
 *             neither a processor nor a runner
 *
 * Whatever is not a call leaves the guest as ever, and so does one after which more than rax is to
 * change: the guest is told to return to the trampoline's `out`.
 *
 * It takes two processors for one program: when that is worth it, worth.c says.
 *
 * The exchange page is the program's to write. What it says there is taken for its registers, no
 * matter who posted it or when; the vCPU itself is only ever set from the context.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/kvm.h"
#include "host/thread.h"
#include "platform/kvm/internal.h"
#include "platform/regs.h"
#include "ring0/code.h"

#define PAUSES    24
#define FEW_CALLS 4     /* with so few it had better not begun */
#define VAIN_NS   90000 /* lost by who has begun for nothing ... */
#define LATE_NS   40000 /* ... and by who has without a runner */

static struct exchange_page *page_of(struct kvm_context *ctx)
{
    return ctx->exitless.page;
}

static void set_state(struct kvm_context *ctx, enum exitless_state state)
{
    __atomic_store_n(&ctx->exitless.state, state, __ATOMIC_RELEASE);
}

static bool change_state(struct kvm_context *ctx, uint32_t from, enum exitless_state to)
{
    return __atomic_compare_exchange_n(&ctx->exitless.state, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* Where the guest of this vCPU finds the page, or 0. */
static void show_page(struct vcpu *v, uint64_t address)
{
    __atomic_store_n((uint64_t *)(v->data + DATA_EXCHANGE), address, __ATOMIC_RELEASE);
}

void exitless_set_mode(struct platform *p, enum exitless_mode mode)
{
    to_platform(p)->exitless_mode = mode;
}

void exitless_init(struct kvm_platform *p)
{
    host_get_affinity(p->cpu_mask, sizeof(p->cpu_mask));
    for (size_t i = 0; i < ARRAY_COUNT(p->cpu_mask); i++)
        p->cpus += (unsigned int)__builtin_popcountll(p->cpu_mask[i]);
    if (p->exitless_mode == EXITLESS_NEVER ||
        (p->exitless_mode == EXITLESS_AUTO && !host_kvm_threads_may_change()))
        return;
    p->claims_max = p->cpus / 2;
    p->runner_count = p->claims_max ? MIN(p->cpus, RUNNER_MAX) : 0;
    for (unsigned int i = 0; i < p->runner_count; i++) {
        p->runners[i].platform = p;
        p->runners[i].index = i;
    }
}

/* ---- the beginning -------------------------------------------------------------------------- */

static int open_page(struct kvm_context *ctx, struct kvm_address_space *as, const struct runner *r,
                     struct vcpu *v)
{
    if (ctx->platform->kind == KIND_RING3)
        return exchange_open(as, r->index, &ctx->exitless.page);
    ctx->exitless.page = (struct exchange_page *)(v->data + DATA_EXCHANGE_PAGE);
    memset(ctx->exitless.page, 0, sizeof(*ctx->exitless.page));
    return 0;
}

bool exitless_begin(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v)
{
    struct kvm_platform *p = ctx->platform;
    bool woken = false;
    struct runner *r;

    if (p->runner_count == 0 || !worth_trying(ctx, as))
        return false;
    r = runner_claim(p, &woken);
    if (woken)
        worth_waking(ctx, as);
    if (!r)
        return false;
    ctx->exitless.wakes = 0;
    ctx->exitless.hot = false;
    ctx->exitless.streak.calls = 0;
    if (open_page(ctx, as, r, v) < 0) {
        runner_unclaim(r);
        return false;
    }
    r->ctx = ctx;
    __atomic_store_n(&r->v, v, __ATOMIC_RELAXED);
    __atomic_store_n(&r->as, as, __ATOMIC_RELAXED);
    __atomic_store_n(&r->expelled, 0, __ATOMIC_RELAXED);
    ctx->exitless.runner = r;
    ctx->exitless.taken = false;
    ctx->exitless.calls = 0;
    set_state(ctx, EXITLESS_ON);
    show_page(v, EXCHANGE_BASE + r->index * PAGE_SIZE); /* in ring 0 as good as any but 0 */
    window_off(v);
    return true;
}

/* ---- the end of it ------------------------------------------------------------------------- */

/* With the vCPU outside, by whoever may say so. The last word on the context. */
static void turn_off(struct kvm_context *ctx)
{
    struct runner *r = ctx->exitless.runner;

    show_page(r->v, 0);
    __atomic_store_n(&r->serving, 0, __ATOMIC_RELAXED);
    set_state(ctx, EXITLESS_OFF);
    __atomic_store_n(&r->as, NULL, __ATOMIC_RELEASE);
    runner_unclaim(r);
}

/*
 * The guest has come out while its call was taken: the context has the registers, and those of the
 * vCPU do not matter. But what KVM has still to deliver must not hit what runs next.
 */
static void settle_exit(struct runner *r)
{
    struct kvm_context nobody = {.platform = r->platform};
    struct trap_info info;
    enum trap trap;

    while (kvm_trap_decode(&nobody, r->as, r->v, r->result, &trap, &info) == VERDICT_AGAIN)
        runner_run_once(r);
}

/* Did it leave as one does that has waited for too long? */
static bool left_by_itself(const struct runner *r)
{
    const struct kvm_run *run = r->v->run;

    return r->result == 0 && run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_SYSCALL &&
           ring0_gave_up(run->s.regs.regs.rip - (r->v->area + RING0_AREA_CODE));
}

/* The guest has left since it got no answer. */
static void note_few(struct kvm_context *ctx)
{
    if (ctx->exitless.calls < FEW_CALLS)
        worth_lose(ctx, VAIN_NS);
    ctx->exitless.hot = false;
}

bool exitless_abandon(struct runner *r)
{
    struct kvm_context *ctx = r->ctx;
    struct vcpu *v = r->v;

    if (!change_state(ctx, EXITLESS_SERVING, EXITLESS_LEAVING))
        return false;
    if (left_by_itself(r)) {
        v->sregs_known = v->in_user = r->platform->kind == KIND_RING3;
    } else {
        settle_exit(r);
        /* Whatever it did there for so long, it did not wait. */
        if (__atomic_exchange_n(&r->expelled, 0, __ATOMIC_RELAXED))
            worth_despair(ctx);
    }
    note_few(ctx);
    __atomic_fetch_sub(&r->platform->inside, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&r->turn, TURN_OWNER, __ATOMIC_SEQ_CST);
    show_page(v, 0);
    pool_release(r->platform, v);
    turn_off(ctx);
    return true;
}

void exitless_evict(struct kvm_platform *p, struct kvm_address_space *as)
{
    for (unsigned int i = 0; i < p->runner_count; i++) {
        struct runner *r = &p->runners[i];

        while (__atomic_load_n(&r->as, __ATOMIC_ACQUIRE) == as) {
            runner_kick(r);
            host_yield();
        }
    }
}

struct vcpu *exitless_rejoin(struct kvm_context *ctx)
{
    for (;;) {
        switch (__atomic_load_n(&ctx->exitless.state, __ATOMIC_ACQUIRE)) {
        case EXITLESS_OFF:
            return NULL;
        case EXITLESS_SERVING:
            if (!change_state(ctx, EXITLESS_SERVING, EXITLESS_ON))
                break;
            __atomic_store_n(&ctx->exitless.runner->serving, 0, __ATOMIC_RELAXED);
            return ctx->exitless.runner->v;
        default: /* the runner is a few instructions from the end */
            __builtin_ia32_pause();
            break;
        }
    }
}

static bool is_outside(struct kvm_context *ctx)
{
    return __atomic_load_n(&ctx->exitless.runner->turn, __ATOMIC_ACQUIRE) == TURN_OWNER;
}

static void give_answer(struct kvm_context *ctx, uint64_t rax)
{
    struct exchange_page *page = page_of(ctx);

    ctx->exitless.taken = false;
    WRITE_ONCE(page->rax, rax);
    __atomic_store_n(&page->state, EXCHANGE_ANSWERED, __ATOMIC_RELEASE);
}

#define PATIENCE 2000 /* pauses; then the guest is made to leave */

/* The guest comes out, whose registers do not matter. */
static void recall(struct kvm_context *ctx)
{
    uint64_t begin = host_monotonic_ns();
    struct runner *r = ctx->exitless.runner;

    if (!is_outside(ctx)) {
        WRITE_ONCE(page_of(ctx)->rip, r->v->area + RING0_AREA_CODE + CODE_GAVE_UP);
        WRITE_ONCE(page_of(ctx)->leave, 1);
        give_answer(ctx, 0);
        for (int i = 0; i < PATIENCE && !is_outside(ctx); i++)
            __builtin_ia32_pause();
        runner_call_back(r);
    }
    ctx->exitless.taken = false;
    settle_exit(r);
    worth_recalled(ctx, host_monotonic_ns() - begin);
    turn_off(ctx);
}

void exitless_leave(struct kvm_context *ctx)
{
    struct vcpu *v = exitless_rejoin(ctx);

    if (!v)
        return;
    recall(ctx);
    __atomic_fetch_sub(&ctx->platform->inside, 1, __ATOMIC_RELAXED);
    pool_release(ctx->platform, v);
}

bool exitless_end(struct kvm_context *ctx)
{
    if (!exitless_page(ctx))
        return false;
    if (ctx->exitless.taken) {
        __atomic_store_n(&ctx->exitless.runner->serving, 1, __ATOMIC_RELAXED);
        set_state(ctx, EXITLESS_SERVING);
        /* Who came out a moment ago found nobody to tell; had it waited, the runner would have. */
        if (!is_outside(ctx) || !change_state(ctx, EXITLESS_SERVING, EXITLESS_ON))
            return true;
        ctx->exitless.taken = false;
        settle_exit(ctx->exitless.runner);
        note_few(ctx);
    }
    turn_off(ctx);
    return false;
}

/* ---- the watch ----------------------------------------------------------------------------- */

static void take_call(struct kvm_context *ctx)
{
    const struct exchange_page *page = page_of(ctx);
    struct cpu_regs *r = &ctx->base.regs;

    REGS_COPY_HANDED_OVER(r, page);
    ctx->exitless.posted = *r;
    ctx->exitless.taken = true;
    ctx->exitless.calls++;
    __atomic_store_n(&ctx->exitless.runner->served, ctx->exitless.runner->served + 1,
                     __ATOMIC_RELAXED);
    __atomic_fetch_add(&ctx->platform->base.calls_inside, 1, __ATOMIC_RELAXED);
}

enum watch {
    WATCH_CALL,    /* one was posted */
    WATCH_OUTSIDE, /* the guest came out */
    WATCH_WORK,    /* there is an interrupt for it */
    WATCH_NOTHING, /* so far */
};

static enum watch look(struct kvm_context *ctx, const struct exchange_page *page)
{
    if (__atomic_load_n(&page->state, __ATOMIC_ACQUIRE) == EXCHANGE_POSTED)
        return WATCH_CALL;
    if (is_outside(ctx))
        return WATCH_OUTSIDE;
    if (__atomic_load_n(&ctx->interrupted, __ATOMIC_RELAXED))
        return WATCH_WORK;
    return WATCH_NOTHING;
}

/* It computes, or others want the processors. */
static void fetch_out(struct kvm_context *ctx, uint64_t lost)
{
    uint64_t begin = host_monotonic_ns();

    runner_call_back(ctx->exitless.runner);
    worth_lose(ctx, lost + (host_monotonic_ns() - begin));
}

static enum watch watch(struct kvm_context *ctx)
{
    struct exchange_page *page = page_of(ctx);
    struct habit_watch watch;
    enum watch seen;
    uint64_t lost;

    worth_watching(ctx, &watch);
    for (;;) {
        for (int i = 0; i < PAUSES; i++) {
            seen = look(ctx, page);
            if (seen != WATCH_NOTHING)
                return seen;
            __builtin_ia32_pause();
        }
        lost = habit_watch_lost(&watch, host_monotonic_ns(), false);
        if (lost) {
            fetch_out(ctx, lost);
            return WATCH_OUTSIDE;
        }
    }
}

enum outcome {
    OUTCOME_TRAP,
    OUTCOME_INSIDE, /* it goes on inside */
    OUTCOME_OVER,   /* it had better go on in the usual way; the context has the registers */
};

static enum outcome came_out(struct kvm_context *ctx, enum trap *ret_trap,
                             struct trap_info *ret_info)
{
    struct runner *r = ctx->exitless.runner;

    switch (kvm_trap_decode(ctx, ctx->exitless.runner->as, r->v, r->result, ret_trap, ret_info)) {
    case VERDICT_TRAP:
        return OUTCOME_TRAP;
    case VERDICT_AGAIN:
        break;
    case VERDICT_INTERRUPTED:
        if (switch_take_interrupt(ctx)) {
            *ret_trap = TRAP_INTERRUPT;
            return OUTCOME_TRAP;
        }
        if (!ctx->exitless.hot || switch_enter(ctx, ctx->exitless.runner->as, r->v) < 0)
            return OUTCOME_OVER;
        break;
    }
    runner_go(r);
    return OUTCOME_INSIDE;
}

/* With the guest inside, until a trap; false when it is over. */
static bool go_on(struct kvm_context *ctx, enum trap *ret_trap, struct trap_info *ret_info)
{
    for (;;) {
        switch (watch(ctx)) {
        case WATCH_CALL:
            take_call(ctx);
            worth_win(ctx);
            *ret_trap = TRAP_SYSCALL;
            return true;
        case WATCH_WORK:
            runner_call_back(ctx->exitless.runner);
            break;
        case WATCH_OUTSIDE:
        case WATCH_NOTHING: /* that is never the end of a watch */
            break;
        }
        switch (came_out(ctx, ret_trap, ret_info)) {
        case OUTCOME_TRAP:
            return true;
        case OUTCOME_INSIDE:
            break;
        case OUTCOME_OVER:
            turn_off(ctx);
            return false;
        }
    }
}

bool exitless_run(struct kvm_context *ctx, enum trap *ret_trap, struct trap_info *ret_info)
{
    struct runner *r = ctx->exitless.runner;

    WRITE_ONCE(ctx->tid, __atomic_load_n(&r->tid, __ATOMIC_RELAXED));
    r->v->tid = ctx->tid;
    __atomic_store_n(&ctx->running, r->v->run, __ATOMIC_SEQ_CST);
    if (switch_take_interrupt(ctx)) {
        *ret_trap = TRAP_INTERRUPT;
        return true;
    }
    runner_go(r);
    if (!runner_begins(r)) {
        worth_lose(ctx, LATE_NS);
        turn_off(ctx);
        return false;
    }
    ctx->exitless.hot = true;
    return go_on(ctx, ret_trap, ret_info);
}

bool exitless_answer(struct kvm_context *ctx, struct kvm_address_space *as, enum trap *ret_trap,
                     struct trap_info *ret_info)
{
    if (as == ctx->exitless.runner->as && !ctx->bases_changed && !is_outside(ctx) &&
        regs_only_rax_differs(&ctx->base.regs, &ctx->exitless.posted) && worth_going_on(ctx)) {
        __atomic_store_n(&ctx->running, ctx->exitless.runner->v->run, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&ctx->interrupted, __ATOMIC_SEQ_CST) == 0) {
            give_answer(ctx, ctx->base.regs.rax);
            return go_on(ctx, ret_trap, ret_info);
        }
    }
    recall(ctx);
    return false;
}
