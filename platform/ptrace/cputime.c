/*
 * The processor time of a context's stub. The host tells everybody the clock of another process,
 * but nobody that of one of its threads. So what a space's stubs have used since the last look is
 * divided among its contexts by the time from their resumes to their stops, which alone would count
 * waiting for a processor as running; with one thread it is exact.
 */
#include "host/clock.h"
#include "platform/ptrace/internal.h"

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

void cputime_settle_locked(struct ptrace_space *s)
{
    uint64_t used = host_process_clock_ns(s->leader.tgid), share = 0;
    struct ptrace_context *ctx;

    if (used <= s->cpu_seen_ns)
        return;
    list_for_each (ctx, &s->p->members, member_node) {
        if (ctx->space == s) {
            ctx->run_now_ns = MAX(run_ns(ctx), ctx->run_seen_ns);
            share += ctx->run_now_ns - ctx->run_seen_ns;
        }
    }
    if (!share)
        return;
    used -= s->cpu_seen_ns;
    s->cpu_seen_ns += used;
    list_for_each (ctx, &s->p->members, member_node) {
        if (ctx->space == s) {
            uint64_t own = ctx->run_now_ns - ctx->run_seen_ns;

            ctx->cpu_ns += (uint64_t)((unsigned __int128)used * own / share);
            ctx->run_seen_ns = ctx->run_now_ns;
        }
    }
}

uint64_t context_cpu_ns(struct context *base)
{
    struct ptrace_context *ctx = ptrace_context(base);
    uint64_t ns;

    lock_acquire(&ctx->p->stubs_lock);
    if (!list_empty(&ctx->member_node))
        cputime_settle_locked(ctx->space);
    ns = ctx->cpu_ns;
    lock_release(&ctx->p->stubs_lock);
    return ns;
}
