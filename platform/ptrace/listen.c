/*
 * When a context's thread listens for calls (handover.c) instead of waiting for the next stop.
 *
 * Listening takes a processor beside the program's, and makes a stop dearer, since then the two are
 * apart (placement.c). So:
 *
 *   - it begins after `need` calls in a row that could have been heard (struct context: missed);
 *   - each call heard earns what it saved, each stop meanwhile costs what it took more, and hearing
 *     nothing for long costs that time and ends it. When the credit is used up, twice as many calls
 *     are needed the next time. So little more is lost than was won, whatever a program does;
 *   - a call that sleeps costs more than it would have as a stop: the program stays awake for some
 *     time, beside whoever is to wake it;
 *   - it ends, likewise, when there is always somebody else awake in the sandbox: the two would
 *     keep others from the processors, whose every stop waits for them then;
 *   - a program begins with the need that others had lately, as it is likely to do what they did;
 *   - as many listen at once as there are pairs of processors. Who is in the Sentry for long, on
 *     behalf of a call that blocks, loses its turn to the next who asks.
 *
 * FS bases tell the threads of a space apart (handover.S): a context whose FS base another one of
 * the space may have as well is not listened to.
 */
#include "platform/ptrace/internal.h"

#include <errno.h>

#include "host/clock.h"
#include "host/thread.h"

#define PAUSES       40       /* between two looks for a stop: half a microsecond to one */
#define WATCH_NS     50000U   /* hearing nothing for so long: it computes */
#define PATIENT_NS   2000000U /* the same where it does not matter what it costs */
#define PATIENT_PART 8        /* of the credit */
#define PREEMPTED_NS 300000U  /* between two looks: the processors are wanted elsewhere */
#define ASIDE_NS     60000U   /* in the Sentry for so long: its turn may be taken */

#define NEED_MIN     2U
#define NEED_MAX     4096U
#define FIRST_MAX    64U
#define WON_MANY     256
#define FORGIVEN     8    /* a call heard takes that part of the need away */
#define SAVED_NS     7000 /* by a call heard */
#define CROWDED_NS   1000000U
#define STOP_NS      15000 /* by a stop while apart */
#define VAIN_NS      60000 /* to begin, and to end it */
#define SLEEP_NS     40000 /* the program looks for its answer meanwhile, where others want to run */
#define CREDIT_MAX   4000000 /* ns */

/* ---- the habit ----------------------------------------------------------------------------- */

static void learn(uint32_t *need, uint32_t max)
{
    uint32_t old = __atomic_load_n(need, __ATOMIC_RELAXED);

    __atomic_store_n(need, MIN(2 * MAX(old, NEED_MIN), max), __ATOMIC_RELAXED);
}

/* As others in its address space, or as programs lately. */
static uint32_t first_need(const struct ptrace_context *ctx)
{
    uint32_t here = __atomic_load_n(&ctx->space->first_need, __ATOMIC_RELAXED);
    uint32_t lately = __atomic_load_n(&ctx->p->first_need, __ATOMIC_RELAXED);

    here = MAX(here, lately);
    return MAX(here, NEED_MIN);
}

/* True: it goes on, there is some credit left. Else so many `times` as many calls are needed. */
static bool lose(struct ptrace_context *ctx, uint64_t ns, int times)
{
    struct listening *l = &ctx->handover;

    l->credit_ns -= (int64_t)MIN(ns, (uint64_t)2 * CREDIT_MAX);
    if (l->credit_ns >= 0 || ctx->p->exitless == EXITLESS_ALWAYS)
        return true;
    l->credit_ns = 0;
    l->need = MIN((uint32_t)times * MAX(l->need, NEED_MIN), NEED_MAX);
    learn(&ctx->p->first_need, FIRST_MAX);
    learn(&ctx->space->first_need, NEED_MAX);
    return false;
}

static void win(struct ptrace_context *ctx)
{
    struct listening *l = &ctx->handover;

    if (++l->won % WON_MANY == 0) {
        __atomic_store_n(&ctx->p->first_need, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&ctx->space->first_need, 0, __ATOMIC_RELAXED);
    }
    l->need = MAX(l->need - l->need / FORGIVEN, NEED_MIN);
    l->credit_ns = MIN(l->credit_ns + SAVED_NS, (int64_t)CREDIT_MAX);
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
    struct listening *l = &ctx->handover;

    if (likely(ctx->base.missed == 0))
        return false;
    if (ctx->p->exitless == EXITLESS_ALWAYS)
        return true;
    if (l->need == 0)
        l->need = first_need(ctx);
    return ctx->base.missed >= l->need;
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
    if (!lose(ctx, SLEEP_NS, 8))
        end(ctx);
    else if (has_turn(ctx))
        __atomic_store_n(&ctx->handover.away_since_ns, 1, __ATOMIC_RELAXED);
}

void listen_begin(struct ptrace_context *ctx)
{
    struct listening *l = &ctx->handover;

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

/* Who has earned much may compute for some time in between: beginning anew is dear. */
static uint64_t patience(const struct ptrace_context *ctx)
{
    uint64_t credit = (uint64_t)ctx->handover.credit_ns;

    if (ctx->p->exitless == EXITLESS_ALWAYS)
        return PATIENT_NS;
    return MAX(WATCH_NS, credit / PATIENT_PART);
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
    uint64_t start = host_monotonic_ns(), before = start, now;
    uint64_t longest = patience(ctx);
    int stopped;

    if (unlikely(is_crowded(ctx, start)))
        return vain(ctx, CREDIT_MAX);
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
        now = host_monotonic_ns();
        if (now - before > PREEMPTED_NS && ctx->p->exitless != EXITLESS_ALWAYS)
            return vain(ctx, now - before);
        if (now - start > longest || !has_turn(ctx))
            return vain(ctx, VAIN_NS + (now - start) / 2);
        before = now;
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
