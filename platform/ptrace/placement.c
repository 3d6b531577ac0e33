/*
 * Where tracer and stub run. A round trip hands the CPU over twice; when the two are on different
 * CPUs each hand-over wakes an idle CPU, which in a virtual machine costs some 20 times the
 * switch itself (measured: 3.2 us on one CPU, 18 to 60 us across two). A scheduler that has an idle
 * CPU prefers it, and so picks the slow way nearly always.
 *
 *   loose   both may run anywhere; a few runs are timed
 *     |       a fourth of them or more takes over twice the best bound run: they are apart
 *   bound   to the CPU where the thread is
 *     |       the keeper's tick, every few milliseconds
 *   loose
 *
 * Two tasks that wake each other in turns, each soon asleep again, are never busy at the same time:
 * there the woken one is bound at once, to the CPU of its waker. Only as long as few are bound at
 * all, for with more of them the CPUs have other things to do meanwhile. If instead they stay awake
 * for each other (sentry/wait/vigil.h), they run side by side: then the woken one is bound to where
 * its waker is not.
 *
 * A bound pair cannot be balanced away from a busy CPU; that lasts one tick at most. Where no CPU
 * is idle the scheduler keeps the two together by itself, loose runs are as quick as bound ones,
 * and the pair stays loose and balanced; likewise a program that computes instead of trapping. What
 * a bound run takes is learnt anew from time to time. Without bound pairs there is no tick.
 */
#include <errno.h>
#include <string.h>

#include "host/clock.h"
#include "host/thread.h"
#include "platform/ptrace/internal.h"

#define LOOSE_RUNS  4      /* timed before the first decision */
#define AGAIN_RUNS  32     /* and before each further one */
#define DENSE_NS    200000 /* between two wakes: it did not do much */
#define DENSE_WAKES 4      /* so often, and it belongs to its waker */
#define BOUND_FEW   1      /* other contexts that are bound */
#define LEARN_AT    16 /* decisions to stay loose until the next time bound is tried all the same */

int placement_set(pid_t tid, int cpu)
{
    cpu_set_t one;

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return -EINVAL;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    return host_set_affinity(tid, &one, sizeof(one));
}

/* Until the keeper's next tick. */
static void note_bound(struct ptrace_context *ctx, int cpu)
{
    struct ptrace_platform *p = ctx->p;

    lock_acquire(&p->stubs_lock);
    if (!ctx->bound) {
        list_add_tail(&p->bound, &ctx->bound_node);
        __atomic_store_n(&p->bound_count, p->bound_count + 1, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&ctx->bound, true, __ATOMIC_RELAXED);
    lock_release(&p->stubs_lock);
    ctx->placement.bound_cpu = cpu;
    keeper_want_tick(&p->keeper);
}

static void bind(struct ptrace_context *ctx, int cpu)
{
    if (placement_set(ctx->tracer, cpu) < 0)
        return;
    placement_set(ctx->stub.tid, cpu);
    note_bound(ctx, cpu);
}

/* With stubs_lock held: the stub's tid is valid as long as the context is in the list. */
static void unbind_locked(struct ptrace_context *ctx)
{
    list_del_init(&ctx->bound_node);
    __atomic_store_n(&ctx->p->bound_count, ctx->p->bound_count - 1, __ATOMIC_RELAXED);
    if (ctx->stub.tid)
        host_set_affinity(ctx->stub.tid, &ctx->cpus, sizeof(ctx->cpus));
    host_set_affinity(ctx->tracer, &ctx->cpus, sizeof(ctx->cpus));
    __atomic_store_n(&ctx->bound, false, __ATOMIC_RELAXED);
}

/* After `timed` loose runs. */
static bool should_bind(struct placement *pl)
{
    bool apart = pl->best_bound == 0 || 4 * pl->slow >= pl->timed;

    pl->slow = pl->timed = 0;
    if (!apart && ++pl->stayed_loose < LEARN_AT) {
        pl->loose_runs = AGAIN_RUNS;
        return false;
    }
    pl->stayed_loose = 0;
    pl->loose_runs = LOOSE_RUNS;
    pl->best_bound = UINT64_MAX;
    return true;
}

void placement_before_run(struct ptrace_context *ctx)
{
    bool bound = __atomic_load_n(&ctx->bound, __ATOMIC_RELAXED);
    int cpu;

    if (!ctx->p->bind || ctx->handover.listening)
        return;
    cpu = ctx->placement.wanted_cpu;
    if (unlikely(cpu >= 0)) {
        bind(ctx, cpu);
        ctx->placement.wanted_cpu = -1;
    } else if (!bound && ctx->placement.timed >= ctx->placement.loose_runs &&
               should_bind(&ctx->placement)) {
        bind(ctx, host_current_cpu());
    }
}

/* Another one than that, if it may run on any. */
static int other_cpu(const struct ptrace_context *ctx, int cpu)
{
    for (int i = 1; i < CPU_SETSIZE; i++) {
        int other = (cpu + i) % CPU_SETSIZE;

        if (CPU_ISSET((size_t)other, &ctx->cpus))
            return other;
    }
    return -1;
}

void placement_part(struct ptrace_context *ctx)
{
    int here = host_current_cpu(), there = other_cpu(ctx, here);

    ctx->placement.wanted_cpu = -1;
    ctx->placement.stub_cpu = there;
    if (there < 0 || !__atomic_load_n(&ctx->bound, __ATOMIC_RELAXED))
        return; /* loose, the waking of the stub finds it a processor of its own */
    placement_set(ctx->stub.tid, there);
}

int placement_stay(struct ptrace_context *ctx)
{
    int here = host_current_cpu();

    if (!__atomic_load_n(&ctx->bound, __ATOMIC_RELAXED) && placement_set(ctx->tracer, here) == 0)
        note_bound(ctx, here);
    return here;
}

void placement_join(struct ptrace_context *ctx)
{
    if (ctx->p->bind)
        bind(ctx, ctx->placement.stub_cpu);
}

/* Apart from its waker, where it is unless that is the same; and where it stays. */
static int cpu_apart(const struct ptrace_context *ctx, int waker_cpu)
{
    int here = host_current_cpu();

    if (here == waker_cpu)
        return other_cpu(ctx, waker_cpu);
    return __atomic_load_n(&ctx->bound, __ATOMIC_RELAXED) ? -1 : here;
}

/* At its waker, if it often sleeps for a short time only. */
static int cpu_together(struct ptrace_context *ctx, int waker_cpu)
{
    struct placement *pl = &ctx->placement;
    uint64_t now = host_monotonic_ns();

    pl->dense_wakes = now - pl->woken_ns < DENSE_NS ? pl->dense_wakes + 1 : 0;
    pl->woken_ns = now;
    if (pl->dense_wakes < DENSE_WAKES || !CPU_ISSET((size_t)waker_cpu, &ctx->cpus))
        return -1;
    if (__atomic_load_n(&ctx->bound, __ATOMIC_RELAXED) && pl->bound_cpu == waker_cpu)
        return -1;
    pl->dense_wakes = 0; /* once, and not at every turn if both are moved about */
    return waker_cpu;
}

void context_woken(struct context *base, int cpu, bool apart)
{
    struct ptrace_context *ctx = ptrace_context(base);
    bool bound = __atomic_load_n(&ctx->bound, __ATOMIC_RELAXED);
    unsigned int others = __atomic_load_n(&ctx->p->bound_count, __ATOMIC_RELAXED) - bound;

    if (!ctx->p->bind || cpu < 0 || others > BOUND_FEW)
        return;
    ctx->placement.wanted_cpu = apart ? cpu_apart(ctx, cpu) : cpu_together(ctx, cpu);
}

void placement_after_run(struct ptrace_context *ctx, uint64_t ns)
{
    struct placement *pl = &ctx->placement;

    if (ctx->handover.listening)
        return;
    if (likely(__atomic_load_n(&ctx->bound, __ATOMIC_RELAXED))) {
        pl->best_bound = MIN(pl->best_bound, ns);
        return;
    }
    pl->timed++;
    pl->slow += ns / 2 > pl->best_bound;
}

void placement_init(struct placement *pl)
{
    *pl = (struct placement){.loose_runs = LOOSE_RUNS, .wanted_cpu = -1, .stub_cpu = -1};
}

void placement_forget_locked(struct ptrace_context *ctx)
{
    if (ctx->bound)
        unbind_locked(ctx);
}

void placement_tick(void *arg)
{
    struct ptrace_platform *p = arg;

    lock_acquire(&p->stubs_lock);
    while (!list_empty(&p->bound))
        unbind_locked(list_first(&p->bound, struct ptrace_context, bound_node));
    lock_release(&p->stubs_lock);
}

void context_set_cpus(struct context *base, const uint64_t *mask, size_t size)
{
    struct ptrace_context *ctx = ptrace_context(base);
    struct ptrace_platform *p = ctx->p;

    __atomic_store_n(&p->confined, true, __ATOMIC_RELAXED);
    lock_acquire(&p->stubs_lock);
    memcpy(&ctx->cpus, mask, MIN(size, sizeof(ctx->cpus)));
    if (ctx->bound)
        unbind_locked(ctx);
    host_set_affinity(0, &ctx->cpus, sizeof(ctx->cpus));
    if (ctx->stub.tid)
        host_set_affinity(ctx->stub.tid, &ctx->cpus, sizeof(ctx->cpus));
    lock_release(&p->stubs_lock);
    placement_init(&ctx->placement);
}

void context_set_nice(struct context *base, int nice)
{
    struct ptrace_context *ctx = ptrace_context(base);

    ctx->nice = nice;
    host_set_nice(0, nice);
    if (ctx->stub.tid)
        host_set_nice(ctx->stub.tid, nice);
}
