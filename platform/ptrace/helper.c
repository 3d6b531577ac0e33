/*
 * A context's helper: a second member of its space, traced by the same thread, that never runs
 * guest code. While its thread listens (listen.c) the program's own member is on another processor,
 * and to stop it there, have it make a host call and send it on takes some 50 us. The helper waits
 * on the thread's own processor, where that call takes 14 to 25 us; and the program,
 * which waits for its answer in the stub's page, need not be stopped at all.
 *
 * Made at the first need, and kept as members are (shell.c).
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

    if (!h->failed && space_helper(ctx->space, &stub) == 0)
        *h = (struct helper){.stub = stub, .cpu = -1};
    else
        h->failed = true;
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
