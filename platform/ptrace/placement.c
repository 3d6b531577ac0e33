/*
 * Where tracer and stub run. A round trip hands the CPU over twice; when the two are on different
 * CPUs each hand-over wakes an idle CPU, which in a virtual machine costs some 20 times the
 * switch itself (measured: 3.2 us on one CPU, 18 to 60 us across two). The scheduler prefers the
 * idle CPU and so picks the slow way nearly always.
 *
 * So a task thread and its stub are bound to the CPU where the thread is, as soon as they trap
 * often. A bound pair cannot be balanced away from a busy CPU, and a program that computes instead
 * of trapping must be; therefore the keeper's tick sets all bound pairs loose again every few
 * milliseconds. The next run is a loose one, in which the scheduler may move both, then they are
 * bound anew wherever they came to be. Imbalance lasts one tick at most, and the price is one slow
 * round trip a tick. Without bound pairs there is no tick.
 */
#include "platform/ptrace/internal.h"

/* Resumes in a row without binding: a thread that traps rarely is left to the scheduler. */
#define LOOSE_RUNS 2

static void bind(struct ptrace_context *ctx)
{
    struct ptrace_platform *p = ctx->p;
    int cpu = host_current_cpu();
    cpu_set_t one;

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (host_set_affinity(ctx->tracer, &one) < 0)
        return;
    host_set_affinity(ctx->stub.tid, &one);
    lock_acquire(&p->stubs_lock);
    list_add_tail(&p->bound, &ctx->bound_node);
    __atomic_store_n(&ctx->bound, true, __ATOMIC_RELAXED);
    lock_release(&p->stubs_lock);
    keeper_want_tick(&p->keeper);
}

/* With stubs_lock held: the stub's tid is valid as long as the context is in the list. */
static void unbind_locked(struct ptrace_context *ctx)
{
    struct ptrace_platform *p = ctx->p;

    list_del_init(&ctx->bound_node);
    if (ctx->stub.tid)
        host_set_affinity(ctx->stub.tid, &p->cpus);
    host_set_affinity(ctx->tracer, &p->cpus);
    __atomic_store_n(&ctx->bound, false, __ATOMIC_RELAXED);
}

void placement_before_run(struct ptrace_context *ctx)
{
    if (likely(__atomic_load_n(&ctx->bound, __ATOMIC_RELAXED)) || !ctx->p->bind)
        return;
    if (ctx->loose_runs++ < LOOSE_RUNS)
        return;
    ctx->loose_runs = 0;
    bind(ctx);
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
