/*
 * A context's helper: a second member of its space, traced by the same thread, that never runs
 * guest code. While its thread listens (listen.c) the program's own member is on another processor,
 * and to stop it there, have it make a host call and send it on takes some 50 us. The helper waits
 * on the thread's own processor, where that call takes 14 to 25 us; and the program, which waits
 * for its answer in the stub's page, need not be stopped at all.
 *
 * Made at the first need, and kept as members are (shell.c). The host ends no process before all of
 * its threads are reaped: so when the sandbox ends, the keeper reaps the helpers of all contexts
 * that are in a space, and who leaves one otherwise than by leave() ends its helper first.
 */
#include "host/thread.h"
#include "platform/ptrace/internal.h"

/* Where its thread is, which had better stay there: else the host wakes it elsewhere. */
static void settle(struct ptrace_context *ctx)
{
    int cpu = placement_stay(ctx);

    if (ctx->helper.cpu != cpu && placement_set(ctx->helper.stub.tid, cpu) == 0)
        ctx->helper.cpu = cpu;
}

static bool make(struct ptrace_context *ctx)
{
    struct helper *h = &ctx->helper;
    struct stub stub = {0};

    if (h->failed || space_helper(ctx->space, &stub) < 0) {
        h->failed = true;
        return false;
    }
    lock_acquire(&ctx->p->stubs_lock);
    h->failed = ctx->p->stopping; /* else the keeper knows of it from here on */
    if (!h->failed) {
        h->stub = stub;
        h->cpu = -1;
    }
    lock_release(&ctx->p->stubs_lock);
    if (h->failed)
        stub_exit(&stub, false);
    return !h->failed;
}

struct stub *helper_get(struct ptrace_context *ctx)
{
    struct helper *h = &ctx->helper;

    if (!ctx->handover.listening || (unlikely(!h->stub.tid) && !make(ctx)))
        return NULL;
    settle(ctx);
    return &h->stub;
}

void helper_release(struct ptrace_context *ctx)
{
    struct helper *h = &ctx->helper;

    if (h->stub.tid && h->cpu >= 0) /* it may be a program's member next */
        host_set_affinity(h->stub.tid, &ctx->cpus, sizeof(ctx->cpus));
    if (h->stub.tid && !idle_keep(ctx->space, &h->stub))
        stub_exit(&h->stub, false);
    *h = (struct helper){0};
}

void helper_end(struct ptrace_context *ctx)
{
    stub_exit(&ctx->helper.stub, false);
    ctx->helper.failed = true;
}
