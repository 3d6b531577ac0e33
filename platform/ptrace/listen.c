/*
 * When a context's thread listens for calls (handover.c) instead of waiting for the next stop.
 *
 * Listening takes a processor beside the program's, and makes a stop dearer, since then the two are
 * apart (placement.c). When that pays is a habit (platform/habit.h), in which count the calls that
 * could have been heard (struct context: missed), and
 *
 *   - each stop meanwhile costs what it took more;
 *   - a call that sleeps costs more than it would have as a stop: the program stays awake for some
 *     time, beside whoever is to wake it;
 *   - all is lost when there is always somebody else awake in the sandbox: the two would keep
 *     others from the processors, whose every stop waits for them then.
 *
 * As many listen at once as there are pairs of processors. Who is in the Sentry for long, on behalf
 * of a call that blocks, loses its turn to the next who asks.
 *
 * FS bases tell the threads of a space apart (handover.S): a context whose FS base another one of
 * the space may have as well is not listened to.
 */
#include "platform/ptrace/internal.h"

#include <errno.h>

#include "host/clock.h"
#include "host/thread.h"

#define PAUSES     40     /* between two looks for a stop: half a microsecond to one */
#define ASIDE_NS   60000U /* in the Sentry for so long: its turn may be taken */
#define CROWDED_NS 1000000U
#define STOP_NS    15000 /* by a stop while apart */
#define SLEEP_NS   40000 /* the program looks for its answer meanwhile, where others want to run */

/* ---- the habit ----------------------------------------------------------------------------- */

static const struct habit_rates rates = {
    .need_min = 2,
    .need_max = 4096,
    .first_max = 4,
    .saved_ns = 7000,
    .credit_max_ns = 4000000,
    .trial_ns = 100000,
    .vain_ns = 60000,
    .watch_ns = 200000,
    .patience_part = 4,
};

static struct habit_place place_of(const struct ptrace_context *ctx)
{
    return (struct habit_place){.rates = &rates,
                                .here = &ctx->space->first_need,
                                .lately = &ctx->p->first_need,
                                .always = ctx->p->exitless == EXITLESS_ALWAYS};
}

/* True: it goes on, there is some credit left. */
static bool lose(struct ptrace_context *ctx, uint64_t ns, uint32_t times)
{
    struct habit_place place = place_of(ctx);

    return habit_lose(&ctx->handover.habit, &place, ns, times);
}

static void win(struct ptrace_context *ctx)
{
    struct habit_place place = place_of(ctx);

    habit_win(&ctx->handover.habit, &place);
}

/* ---- whose turn it is ---------------------------------------------------------------------- */

static bool has_turn(const struct ptrace_context *ctx)
{
    return __atomic_load_n(&ctx->handover.has_turn, __ATOMIC_SEQ_CST);
}

static void set_turn(struct ptrace_context *ctx, bool has_turn)
{
    __atomic_store_n(&ctx->handover.has_turn, has_turn, __ATOMIC_SEQ_CST);
}

static void set_awake(struct ptrace_context *ctx, bool awake)
{
    if (likely(ctx->handover.awake == awake))
        return;
    ctx->handover.awake = awake;
    __atomic_fetch_add(&ctx->p->awake, awake ? 1 : -1U, __ATOMIC_RELAXED);
}

static bool is_aside(const struct ptrace_context *ctx, uint64_t now)
{
    uint64_t since = __atomic_load_n(&ctx->handover.away_since_ns, __ATOMIC_RELAXED);

    return since && now - since > ASIDE_NS;
}

static bool take_turn(struct ptrace_context *ctx)
{
    struct ptrace_platform *p = ctx->p;
    uint64_t now = host_monotonic_ns();

    if (has_turn(ctx))
        return true;
    lock_acquire(&p->stubs_lock);
    for (unsigned int i = 0; i < p->turn_count && !listen_is_doubled(ctx); i++) {
        struct ptrace_context *other = p->turns[i];

        if (other && !is_aside(other, now))
            continue;
        if (other)
            set_turn(other, false);
        p->turns[i] = ctx;
        set_turn(ctx, true);
        break;
    }
    lock_release(&p->stubs_lock);
    return has_turn(ctx);
}

/* With stubs_lock held. It has a turn if and only if it is in platform.turns. */
static void lose_turn_locked(struct ptrace_context *ctx)
{
    struct ptrace_platform *p = ctx->p;

    for (unsigned int i = 0; i < p->turn_count; i++) {
        if (p->turns[i] == ctx)
            p->turns[i] = NULL;
    }
    set_turn(ctx, false);
}

void listen_release(struct ptrace_context *ctx)
{
    struct ptrace_platform *p = ctx->p;

    ctx->handover.listening = false;
    ctx->stub.apart = false;
    if (!has_turn(ctx))
        return;
    lock_acquire(&p->stubs_lock);
    lose_turn_locked(ctx);
    lock_release(&p->stubs_lock);
}

void listen_awake(struct ptrace_context *ctx)
{
    set_awake(ctx, true);
}

bool listen_resume(struct ptrace_context *ctx)
{
    return has_turn(ctx) || (ctx->handover.listening && take_turn(ctx));
}

bool listen_may_go_on(const struct ptrace_context *ctx)
{
    return has_turn(ctx);
}

/* ---- FS bases of a space ------------------------------------------------------------------- */

static uint16_t *bucket_of(struct ptrace_space *s, uint64_t fs)
{
    return &s->fs_buckets[(fs * 0x9e3779b97f4a7c15UL) >> 56];
}

static_assert(ARRAY_COUNT(((struct ptrace_space *)0)->fs_buckets) == 256, "eight bits");

static void count_fs_locked(struct ptrace_context *ctx, uint64_t fs)
{
    struct ptrace_space *s = ctx->space;
    uint16_t *bucket = bucket_of(s, fs);

    ctx->handover.counted_fs = fs;
    if (*bucket < UINT16_MAX)
        ++*bucket;
    if (*bucket == 1)
        return;
    for (int i = 0; i < HANDOVER_SLOTS; i++) {
        struct ptrace_context *other = s->listeners[i];

        if (!other || other == ctx || bucket_of(s, other->handover.key) != bucket)
            continue;
        lose_turn_locked(other);
        __atomic_store_n(&s->handover[i].key, HANDOVER_NOBODY, __ATOMIC_SEQ_CST);
    }
}

static void uncount_fs_locked(struct ptrace_context *ctx)
{
    uint16_t *bucket = bucket_of(ctx->space, ctx->handover.counted_fs);

    if (*bucket < UINT16_MAX) /* there, it has lost count for good */
        --*bucket;
}

void listen_joined_locked(struct ptrace_context *ctx)
{
    ctx->handover.habit = (struct habit){0}; /* another program, or new: as others here */
    count_fs_locked(ctx, ctx->user.fs_base);
}

void listen_left_locked(struct ptrace_context *ctx)
{
    set_awake(ctx, false);
    uncount_fs_locked(ctx);
}

bool listen_is_doubled(const struct ptrace_context *ctx)
{
    return *bucket_of(ctx->space, ctx->handover.counted_fs) > 1;
}

void listen_fs_changed(struct ptrace_context *ctx)
{
    if (likely(!ctx->space || ctx->handover.counted_fs == ctx->user.fs_base))
        return;
    lock_acquire(&ctx->p->stubs_lock);
    uncount_fs_locked(ctx);
    count_fs_locked(ctx, ctx->user.fs_base);
    lock_release(&ctx->p->stubs_lock);
}

/* ---- listening ----------------------------------------------------------------------------- */

static bool is_barred(const struct ptrace_context *ctx)
{
    return ctx->p->turn_count == 0 || CPU_COUNT(&ctx->cpus) < 2 || ctx->nice > 0 ||
           (ctx->base.regs.rflags & RFLAGS_TF);
}

static bool is_wanted(struct ptrace_context *ctx)
{
    struct habit_place place;

    if (likely(ctx->base.missed == 0))
        return false;
    place = place_of(ctx);
    return place.always || habit_wants(&ctx->handover.habit, &place, ctx->base.missed);
}

/* Listening goes on as it is. */
static bool is_heard(const struct ptrace_context *ctx)
{
    return ctx->handover.shown && ctx->handover.key == ctx->user.fs_base && has_turn(ctx) &&
           !(ctx->base.regs.rflags & RFLAGS_TF);
}

/* The stub is stopped, and shall run where its tracer is. */
static void end(struct ptrace_context *ctx)
{
    bool apart = ctx->handover.listening;

    if (ctx->handover.slot)
        handover_hush(ctx);
    listen_release(ctx);
    ctx->base.missed = 0;
    if (apart)
        ctx->placement.wanted_cpu = host_current_cpu();
}

void listen_recalled(struct ptrace_context *ctx)
{
    if (ctx->handover.listening && !lose(ctx, STOP_NS, 2))
        end(ctx);
}

void context_sleeps(struct context *base)
{
    struct ptrace_context *ctx = ptrace_context(base);

    set_awake(ctx, false);
    if (!ctx->handover.inside)
        return;
    handover_sleeps(ctx);
    if (!lose(ctx, SLEEP_NS, 8))
        end(ctx);
    else if (has_turn(ctx))
        __atomic_store_n(&ctx->handover.away_since_ns, 1, __ATOMIC_RELAXED);
}

void listen_begin(struct ptrace_context *ctx)
{
    struct listening *l = &ctx->handover;
    struct habit_place place;

    if (likely(l->listening ? is_heard(ctx) : !is_wanted(ctx)))
        return;
    listen_fs_changed(ctx);
    if (is_barred(ctx) || (l->listening && !has_turn(ctx)) || !take_turn(ctx) ||
        handover_open(ctx) < 0) {
        end(ctx);
        return;
    }
    if (l->listening)
        return;
    l->listening = true;
    place = place_of(ctx);
    habit_begin(&l->habit, &place);
    l->alone_ns = host_monotonic_ns();
    ctx->stub.apart = true;
    ctx->base.missed = 0;
    placement_part(ctx);
}

static enum heard vain(struct ptrace_context *ctx, uint64_t ns)
{
    lose(ctx, ns, 2);
    handover_hush(ctx);
    if (handover_take(ctx))
        return HEARD_CALL;
    placement_join(ctx);
    return HEARD_NOTHING;
}

/* Not for a moment in the last time was there a pair of processors for each who is awake. */
static bool is_crowded(struct ptrace_context *ctx, uint64_t now)
{
    struct listening *l = &ctx->handover;

    if (__atomic_load_n(&ctx->p->awake, __ATOMIC_RELAXED) <= ctx->p->turn_count)
        l->alone_ns = now;
    return now - l->alone_ns > CROWDED_NS && ctx->p->exitless != EXITLESS_ALWAYS;
}

static enum heard listen(struct ptrace_context *ctx, int *ret_status)
{
    uint64_t now = host_monotonic_ns(), lost;
    struct habit_place place = place_of(ctx);
    struct habit_watch watch;
    int stopped;

    if (unlikely(is_crowded(ctx, now)))
        return vain(ctx, (uint64_t)rates.credit_max_ns);
    habit_watch_begin(&watch, &ctx->handover.habit, &place, now);
    for (;;) {
        for (int i = 0; i < PAUSES; i++) {
            if (handover_take(ctx)) {
                win(ctx);
                return HEARD_CALL;
            }
            __builtin_ia32_pause();
        }
        stopped = host_poll_stub(ctx->stub.tid, ret_status);
        if (stopped) {
            if (!lose(ctx, STOP_NS, 2))
                end(ctx);
            return stopped > 0 ? HEARD_STOP : HEARD_DEATH;
        }
        lost = habit_watch_lost(&watch, host_monotonic_ns(), !has_turn(ctx));
        if (lost)
            return vain(ctx, lost);
    }
}

enum heard listen_wait(struct ptrace_context *ctx, int *ret_status)
{
    if (ctx->handover.listening) {
        enum heard heard = listen(ctx, ret_status);

        if (heard != HEARD_NOTHING)
            return heard;
    }
    return host_wait_stub(ctx->stub.tid, ret_status) < 0 ? HEARD_DEATH : HEARD_STOP;
}
