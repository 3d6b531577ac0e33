/*
 * The processor time of a context's stub. The host tells everybody the clock of another process,
 * but nobody that of one of its threads. So what a space's stubs have used since the last look is
 * divided among its contexts by the time from their resumes to their stops, which alone would count
 * waiting for a processor as running; with one thread it is exact.
 *
 * Dividing takes a step for each context, here and in the host. A space of many is looked at so
 * rarely that it costs next to nothing; in between, and for those that leave in between, the last
 * look's share of the time holds on.
 */
#include "host/clock.h"
#include "platform/ptrace/internal.h"

#define FEW         16    /* contexts: looked at each time */
#define NS_EACH     20000 /* of pause after a look, for each context */
#define SHARE_SHIFT 16

/* A run that goes on counts so far. Another thread may see a run that has just ended not at all. */
static uint64_t run_ns(const struct ptrace_context *ctx)
{
    for (;;) {
        uint64_t ended = __atomic_load_n(&ctx->guest_ns, __ATOMIC_ACQUIRE);
        uint64_t start = __atomic_load_n(&ctx->run_start_ns, __ATOMIC_ACQUIRE);
        uint64_t now = host_monotonic_ns();

        if (__atomic_load_n(&ctx->guest_ns, __ATOMIC_RELAXED) == ended)
            return ended + (start && now > start ? now - start : 0);
    }
}

static uint64_t part(uint64_t whole, uint64_t own, uint64_t all)
{
    return (uint64_t)((unsigned __int128)whole * own / all);
}

static void divide_locked(struct ptrace_space *s)
{
    uint64_t used = host_process_clock_ns(s->leader.tgid), share = 0;
    struct ptrace_context *ctx;

    if (used <= s->cpu_seen_ns)
        return;
    list_for_each (ctx, &s->contexts, member_node) {
        ctx->run_now_ns = MAX(run_ns(ctx), ctx->run_seen_ns);
        share += ctx->run_now_ns - ctx->run_seen_ns;
    }
    if (!share)
        return;
    used -= s->cpu_seen_ns;
    s->cpu_seen_ns += used;
    s->cpu_share = MIN(part(1UL << SHARE_SHIFT, used, share), 1UL << SHARE_SHIFT);
    list_for_each (ctx, &s->contexts, member_node) {
        ctx->cpu_ns += part(used, ctx->run_now_ns - ctx->run_seen_ns, share);
        ctx->run_seen_ns = ctx->run_now_ns;
    }
}

/* What a context has used since the last look, about. */
static uint64_t guess_locked(const struct ptrace_context *ctx)
{
    uint64_t now = run_ns(ctx);

    return now > ctx->run_seen_ns
               ? part(now - ctx->run_seen_ns, ctx->space->cpu_share, 1UL << SHARE_SHIFT)
               : 0;
}

/* False: it is not yet time for another look. */
static bool look_locked(struct ptrace_space *s)
{
    uint64_t now;

    if (s->context_count > FEW) {
        now = host_monotonic_ns();
        if (now - s->cpu_looked_ns < (uint64_t)s->context_count * NS_EACH)
            return false;
        s->cpu_looked_ns = now;
    }
    divide_locked(s);
    return true;
}

void cputime_settle_locked(struct ptrace_context *ctx)
{
    uint64_t guess;

    if (look_locked(ctx->space))
        return;
    guess = guess_locked(ctx);
    ctx->cpu_ns += guess;
    ctx->run_seen_ns = run_ns(ctx);
    ctx->space->cpu_seen_ns += guess;
}

uint64_t context_cpu_ns(struct context *base)
{
    struct ptrace_context *ctx = ptrace_context(base);
    uint64_t ns;

    lock_acquire(&ctx->p->stubs_lock);
    if (!list_empty(&ctx->member_node) && !look_locked(ctx->space))
        ns = ctx->cpu_ns + guess_locked(ctx);
    else
        ns = ctx->cpu_ns;
    lock_release(&ctx->p->stubs_lock);
    return ns;
}
