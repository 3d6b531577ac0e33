/*
 * What others on the host do to stubs: signals are nothing to the guest, and a SIGKILL ends one
 * guest process, never the sandbox.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "platform/ptrace/internal.h"
#include "platform/ptrace/ptrace.h"
#include "tests/platform/harness.h"

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

struct runner {
    struct space *s;
    struct context *ctx;
    bool ready, stop;
    unsigned int calls;
    enum trap last, again;
};

static void *run_calls(void *arg)
{
    struct runner *r = arg;
    struct trap_info info;

    r->ctx = context_at(r->s->w, guest_count);
    do {
        r->last = context_switch(r->ctx, r->s->as, &info);
        __atomic_add_fetch(&r->calls, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&r->ready, true, __ATOMIC_RELEASE);
    } while (r->last == TRAP_SYSCALL && !__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE));
    r->again = context_switch(r->ctx, r->s->as, &info);
    context_destroy(r->ctx);
    return NULL;
}

static pthread_t start(struct runner *r, struct space *s)
{
    pthread_t thread;

    *r = (struct runner){.s = s};
    if (pthread_create(&thread, NULL, run_calls, r) != 0)
        BUG("no thread");
    while (!__atomic_load_n(&r->ready, __ATOMIC_ACQUIRE))
        pause_ms(1);
    return thread;
}

static bool signals_from_outside(struct world *w)
{
    static const int signals[] = {SIGTERM, SIGINT,  SIGSEGV, SIGTRAP, SIGSYS, SIGSTOP,
                                  SIGTSTP, SIGCONT, SIGURG,  SIGUSR1, SIGBUS};
    struct runner r;
    struct space s;
    pthread_t thread;
    unsigned int before;
    pid_t stub;

    space_make(w, &s);
    thread = start(&r, &s);
    stub = ptrace_context(r.ctx)->stub.tgid;
    for (size_t i = 0; i < 20 * ARRAY_COUNT(signals); i++) {
        CHECK(kill(stub, signals[i % ARRAY_COUNT(signals)]) == 0, "kill");
        if (i % 8 == 0)
            pause_ms(1);
        /* calls injected into a signalled leader, too */
        page_map(&s, DATA_ADDR, PROT_READ, s.data);
    }
    before = __atomic_load_n(&r.calls, __ATOMIC_RELAXED);
    pause_ms(20);
    CHECK(__atomic_load_n(&r.calls, __ATOMIC_RELAXED) > before, "the guest stands still");
    __atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    CHECK(r.last == TRAP_SYSCALL && r.again == TRAP_SYSCALL, "%s", trap_name(r.last));
    space_free(&s);
    return true;
}

static bool killed_running(struct world *w)
{
    struct runner killed, other;
    struct space s[2];
    pthread_t thread[2];

    space_make(w, &s[0]);
    space_make(w, &s[1]);
    thread[0] = start(&killed, &s[0]);
    thread[1] = start(&other, &s[1]);
    CHECK(kill(ptrace_context(killed.ctx)->stub.tgid, SIGKILL) == 0, "kill");
    pthread_join(thread[0], NULL);
    CHECK(killed.last == TRAP_KILLED && killed.again == TRAP_KILLED, "%s", trap_name(killed.last));
    page_map(&s[0], DATA_ADDR, PROT_READ, s[0].data);
    page_unmap(&s[0], DATA_ADDR);
    pause_ms(5);
    __atomic_store_n(&other.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread[1], NULL);
    CHECK(other.last == TRAP_SYSCALL, "%s", trap_name(other.last));
    space_free(&s[0]);
    space_free(&s[1]);
    return true;
}

/* While its thread is in the Sentry; and then the program is replaced, as by execve. */
static bool killed_standing(struct world *w)
{
    struct context *ctx = context_at(w, guest_count);
    struct trap_info info;
    struct space s[2];
    enum trap trap;

    space_make(w, &s[0]);
    space_make(w, &s[1]);
    CHECK(context_switch(ctx, s[0].as, &info) == TRAP_SYSCALL, "run");
    CHECK(kill(ptrace_context(ctx)->stub.tgid, SIGKILL) == 0, "kill");
    pause_ms(5);
    page_map(&s[0], DATA_ADDR, PROT_READ, s[0].data);
    trap = context_switch(ctx, s[0].as, &info);
    CHECK(trap == TRAP_KILLED, "%s", trap_name(trap));
    trap = context_switch(ctx, s[1].as, &info);
    CHECK(trap == TRAP_SYSCALL, "%s", trap_name(trap));
    CHECK(kill(ptrace_context(ctx)->stub.tgid, SIGKILL) == 0, "kill");
    pause_ms(5); /* or the next test might be given the space while it dies */
    context_destroy(ctx);
    space_free(&s[0]);
    space_free(&s[1]);
    return true;
}

/* A context whose call was handed over, and has no answer yet. NULL: none ever was. */
static struct context *handing_over(struct world *w, struct space *s)
{
    struct context *ctx = context_at(w, guest_handover);
    struct platform_limits limits;
    struct trap_info info = {0};

    w->ops->limits(w->p, &limits);
    ctx->regs.r15 = limits.call_entry;
    for (int i = 0; i < 200000 && !info.handed_over; i++) {
        MUST(context_switch(ctx, s->as, &info) == TRAP_SYSCALL && ctx->regs.rax == 500, "call");
        ctx->missed++;
    }
    return info.handed_over ? ctx : NULL;
}

/* While the program waits for an answer, and then the Sentry does this or that. */
static bool killed_inside(struct world *w)
{
    static uint8_t fp[16384];
    struct trap_info info;
    uint64_t fs, gs;

    for (int i = 0; i < 20; i++) {
        struct context *ctx;
        struct space s;
        enum trap trap;

        space_make(w, &s);
        ctx = handing_over(w, &s);
        CHECK(ctx, "no call was handed over");
        CHECK(kill(ptrace_context(ctx)->stub.tgid, SIGKILL) == 0, "kill");
        if (i & 1)
            pause_ms(2);
        switch (i / 2 % 5) {
        case 0:
            break;
        case 1:
            page_unmap(&s, DATA_ADDR);
            break;
        case 2:
            context_get_fp(ctx, fp, fp_area_size(w->p));
            break;
        case 3:
            context_get_bases(ctx, &fs, &gs);
            break;
        default:
            ctx->regs.rdi++;
            break;
        }
        trap = context_switch(ctx, s.as, &info);
        CHECK(trap == TRAP_KILLED, "%d: %s", i, trap_name(trap));
        context_destroy(ctx);
        space_free(&s);
    }
    return true;
}

static bool signalled_inside(struct world *w)
{
    static const int signals[] = {SIGTERM, SIGSEGV, SIGTRAP, SIGSTOP, SIGCONT, SIGURG, SIGSYS};
    struct trap_info info;
    struct context *ctx;
    struct space s;

    space_make(w, &s);
    ctx = handing_over(w, &s);
    CHECK(ctx, "no call was handed over");
    for (size_t i = 0; i < 5000; i++) {
        if (i % 4 == 0)
            kill(ptrace_context(ctx)->stub.tgid, signals[i / 4 % ARRAY_COUNT(signals)]);
        CHECK(context_switch(ctx, s.as, &info) == TRAP_SYSCALL && ctx->regs.rax == 500, "call");
        ctx->missed += !info.handed_over;
    }
    context_destroy(ctx);
    space_free(&s);
    return true;
}

/*
 * The sandbox ends while a program waits for an answer, with a helper beside it. The last test:
 * nothing runs after it.
 */
static bool stopped_inside(struct world *w)
{
    struct context *ctx;
    struct space s;

    space_make(w, &s);
    ctx = handing_over(w, &s);
    CHECK(ctx, "no call was handed over");
    page_unmap(&s, DATA_ADDR);
    CHECK(ptrace_context(ctx)->helper.stub.tid, "it has no helper");
    w->ops->stop(w->p);
    return true;
}

int main(void)
{
    static const struct test tests[] = {
        {"signals_from_outside", signals_from_outside}, {"killed_running", killed_running},
        {"killed_standing", killed_standing},           {"killed_inside", killed_inside},
        {"signalled_inside", signalled_inside},         {"stopped_inside", stopped_inside},
    };
    struct platform_report report;
    struct world w;
    int failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    ptrace_probe(&report);
    if (!report.usable) {
        printf("skipped: %s\n", report.why_not);
        return 77;
    }
    world_create(&w, &ptrace_platform_ops);
    for (size_t i = 0; i < ARRAY_COUNT(tests); i++) {
        bool good = tests[i].run(&w);

        printf("%s %s\n", good ? "ok" : "FAILED", tests[i].name);
        failed += !good;
    }
    return failed != 0;
}
