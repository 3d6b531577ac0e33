/*
 * When serving calls inside the guest is worth it: while there are two processors for each program
 * that has its calls served so, and while these come so fast that it pays. That is a habit
 * (platform/habit.h), in which count the calls that left the guest soon one after the other, where
 * leaving is dear (streak.c).
 */
#include "host/clock.h"
#include "platform/kvm/internal.h"

#define TURNS_NS  300000U /* since another program was inside */
#define RECALL_NS 20000U  /* lost by a call that leaves all the same, beside the time of that */
#define WAKE_NS   70000U  /* and by a runner that is awake for nothing */
#define WAKES_MAX 3       /* until it is given up */

static const struct habit_rates rates = {
    .need_min = 4,
    .need_max = 1024,
    .first_max = 64,
    .saved_ns = 20000,
    .credit_max_ns = 8000000,
    .vain_ns = 45000,
    .watch_ns = 50000,
    .patience_part = 8,
};

void worth_take_turn(struct kvm_context *ctx)
{
    struct kvm_platform *p = ctx->platform;

    ctx->exitless.turned = __atomic_load_n(&p->last_inside, __ATOMIC_RELAXED) != ctx;
    if (!ctx->exitless.turned)
        return;
    __atomic_store_n(&p->last_inside, ctx, __ATOMIC_RELAXED);
    __atomic_store_n(&p->turned_ns, host_monotonic_ns(), __ATOMIC_RELAXED);
}

/*
 * Each program inside the guest takes two processors if it is to be watched. Two that take turns
 * are two, though only one is inside at a time: the other waits for it awake, as likely as not.
 */
static bool is_crowded(const struct kvm_context *ctx, bool turning)
{
    const struct kvm_platform *p = ctx->platform;
    uint32_t inside = __atomic_load_n(&p->inside, __ATOMIC_RELAXED);

    if (p->exitless_mode != EXITLESS_AUTO)
        return false;
    return 2 * (turning ? MAX(inside, 2U) : inside) > p->cpus;
}

static bool is_turning(const struct kvm_context *ctx)
{
    return host_monotonic_ns() - __atomic_load_n(&ctx->platform->turned_ns, __ATOMIC_RELAXED) <
           TURNS_NS;
}

static bool is_barred(const struct kvm_context *ctx)
{
    return ctx->exitless.one_cpu || ctx->exitless.is_nice || ctx->exitless.special_policy ||
           (ctx->base.regs.rflags & RFLAGS_TF);
}

static struct habit_place place_in(struct kvm_context *ctx, struct kvm_address_space *as)
{
    return (struct habit_place){.rates = &rates,
                                .here = &as->first_need,
                                .lately = &ctx->platform->first_need,
                                .always = ctx->platform->exitless_mode == EXITLESS_ALWAYS};
}

bool worth_trying(struct kvm_context *ctx, struct kvm_address_space *as)
{
    struct habit_place place = place_in(ctx, as);

    return (place.always || ctx->exitless.hot ||
            habit_wants(&ctx->exitless.habit, &place, streak_calls(&ctx->exitless.streak))) &&
           !is_barred(ctx) && !is_crowded(ctx, is_turning(ctx));
}

void worth_waking(struct kvm_context *ctx, struct kvm_address_space *as)
{
    struct habit_place place = place_in(ctx, as);

    if (++ctx->exitless.wakes < WAKES_MAX)
        return;
    ctx->exitless.wakes = 0;
    ctx->exitless.hot = false;
    ctx->exitless.streak.calls = 0;
    habit_lose(&ctx->exitless.habit, &place, (uint64_t)WAKES_MAX * WAKE_NS, 2);
}

bool worth_going_on(const struct kvm_context *ctx)
{
    return !is_crowded(ctx, ctx->exitless.turned);
}

void worth_lose(struct kvm_context *ctx, uint64_t ns)
{
    struct habit_place place = place_in(ctx, ctx->exitless.runner->as);

    ctx->exitless.hot = false;
    habit_lose(&ctx->exitless.habit, &place, ns, 2);
}

void worth_win(struct kvm_context *ctx)
{
    struct habit_place place = place_in(ctx, ctx->exitless.runner->as);

    ctx->exitless.hot = true;
    habit_win(&ctx->exitless.habit, &place);
}

void worth_recalled(struct kvm_context *ctx, uint64_t ns)
{
    struct habit_place place = place_in(ctx, ctx->exitless.runner->as);

    if (!habit_lose(&ctx->exitless.habit, &place, RECALL_NS + ns, 2))
        ctx->exitless.hot = false;
}

void worth_despair(struct kvm_context *ctx)
{
    ctx->exitless.habit.need = rates.need_max;
}

void worth_watching(struct kvm_context *ctx, struct habit_watch *ret_watch)
{
    struct habit_place place = place_in(ctx, ctx->exitless.runner->as);

    habit_watch_begin(ret_watch, &ctx->exitless.habit, &place, host_monotonic_ns());
}
