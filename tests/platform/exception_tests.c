/* What a CPU raises for what a guest does, from the ordinary to the hostile. */
#include <setjmp.h>
#include <signal.h>

#include "tests/platform/harness.h"

struct exception_case {
    const char *name;
    const uint8_t *entry, *at; /* at: rip that is reported */
    unsigned int behind;       /* bytes that rip is past `at`: traps, not faults */
    uint32_t vector;
    int signo, si_code; /* as ptrace tells; 0 elsewhere */
};

static const struct exception_case cases[] = {
    {"divide", guest_div, guest_div, 0, VECTOR_DE, SIGFPE, FPE_INTDIV},
    {"ud2", guest_ud2, guest_ud2, 0, VECTOR_UD, SIGILL, ILL_ILLOPN},
    {"int3", guest_int3, guest_int3, 1, VECTOR_BP, SIGTRAP, SI_KERNEL},
    {"hlt", guest_hlt, guest_hlt, 0, VECTOR_GP, SIGSEGV, SI_KERNEL},
    {"step", guest_step, guest_step_at, 0, VECTOR_DB, SIGTRAP, TRAP_TRACE},
    {"sse", guest_sse, guest_sse_at, 0, VECTOR_XM, SIGFPE, FPE_FLTDIV},
    {"x87", guest_x87, guest_x87_at, 0, VECTOR_MF, SIGFPE, FPE_FLTDIV},
    {"alignment", guest_align, guest_align_at, 0, VECTOR_AC, SIGBUS, BUS_ADRALN},
    {"int80", guest_int80, guest_int80_at, 0, VECTOR_GP, SIGSEGV, SI_KERNEL},
};

static struct context *context_for(struct world *w, const uint8_t *entry)
{
    struct context *ctx = context_at(w, entry);

    ctx->regs.rax = 1;
    ctx->regs.rdi = DATA_ADDR;
    return ctx;
}

static bool run_case(struct space *s, struct context *ctx, const struct exception_case *c)
{
    struct trap_info info;
    enum trap trap = ctx->ops->ctx_switch(ctx, s->as, &info);

    CHECK(trap == TRAP_EXCEPTION, "%s: %s at %lx", c->name, trap_name(trap),
          (unsigned long)ctx->regs.rip);
    CHECK(info.vector == c->vector, "%s: vector %u", c->name, info.vector);
    CHECK(ctx->regs.rip == guest_addr(c->at) + c->behind, "%s: rip %lx", c->name,
          (unsigned long)ctx->regs.rip);
    if (info.signo)
        CHECK(info.signo == c->signo && info.si_code == c->si_code, "%s: signal %d code %d",
              c->name, info.signo, info.si_code);
    /* and the context goes on as if nothing had been */
    ctx->regs.rip = guest_addr(guest_syscall);
    ctx->regs.rflags = RFLAGS_FIXED;
    trap = ctx->ops->ctx_switch(ctx, s->as, &info);
    CHECK(trap == TRAP_SYSCALL, "after %s: %s", c->name, trap_name(trap));
    return true;
}

static sigjmp_buf sse_jump;

static void on_sse_exception(int signo)
{
    siglongjmp(sse_jump, signo);
}

/* QEMU's TCG knows neither SSE exceptions nor alignment checks: without a guest, nothing comes. */
static bool cpu_is_whole(void)
{
    struct sigaction action = {.sa_handler = on_sse_exception}, before;
    const uint32_t unmasked = 0x1f80 & ~0x200, masked = 0x1f80;
    volatile bool raised = false;

    sigaction(SIGFPE, &action, &before);
    if (sigsetjmp(sse_jump, 1) == 0)
        __asm__ volatile("ldmxcsr %0\n cvtsi2sd %1, %%xmm0\n xorpd %%xmm1, %%xmm1\n"
                         "divsd %%xmm1, %%xmm0"
                         :
                         : "m"(unmasked), "r"(1)
                         : "xmm0", "xmm1");
    else
        raised = true;
    __asm__ volatile("ldmxcsr %0" : : "m"(masked));
    sigaction(SIGFPE, &before, NULL);
    return raised;
}

static bool exceptions(struct world *w)
{
    const bool whole = cpu_is_whole();
    bool good = true;
    struct space s;

    space_make(w, &s);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct context *ctx;

        if (!whole && (cases[i].vector == VECTOR_XM || cases[i].vector == VECTOR_AC))
            continue;
        ctx = context_for(w, cases[i].entry);
        good = run_case(&s, ctx, &cases[i]) && good;
        w->ops->ctx_destroy(ctx);
    }
    space_free(&s);
    return good;
}

/* Non-canonical addresses: #GP, whether read, jumped to, or set as rip by a forged frame. */
static bool non_canonical(struct world *w)
{
    static const uint8_t *const entries[] = {guest_load, guest_jump};
    struct context *ctx;
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    for (size_t i = 0; i <= ARRAY_COUNT(entries); i++) {
        ctx = context_for(w, i < ARRAY_COUNT(entries) ? entries[i] : guest_load);
        ctx->regs.rdi = 0x8000000000000000;
        if (i == ARRAY_COUNT(entries))
            ctx->regs.rip = 0x8000000000000000;
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        CHECK(trap == TRAP_EXCEPTION && info.vector == VECTOR_GP, "%zu: %s %u", i, trap_name(trap),
              info.vector);
        ctx->regs.rip = guest_addr(guest_syscall);
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        CHECK(trap == TRAP_SYSCALL, "%s", trap_name(trap));
        w->ops->ctx_destroy(ctx);
    }
    space_free(&s);
    return true;
}

/* 32-bit code and odd selectors may be refused or work, but may not confuse: no 64-bit call. */
static bool compat_mode(struct world *w)
{
    struct context *ctx = context_for(w, guest_compat);
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    trap = w->ops->ctx_switch(ctx, s.as, &info);
    CHECK(trap == TRAP_EXCEPTION && (info.vector == VECTOR_GP || info.vector == VECTOR_UD), "%s %u",
          trap_name(trap), info.vector);
    ctx->regs.rip = guest_addr(guest_syscall);
    trap = w->ops->ctx_switch(ctx, s.as, &info);
    CHECK(trap == TRAP_SYSCALL, "%s %u at %lx", trap_name(trap), info.vector,
          (unsigned long)ctx->regs.rip);
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    return true;
}

static bool segments(struct world *w)
{
    struct context *ctx = context_for(w, guest_segments);
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    trap = w->ops->ctx_switch(ctx, s.as, &info);
    CHECK(trap == TRAP_SYSCALL || (trap == TRAP_EXCEPTION && info.vector == VECTOR_GP), "%s %u",
          trap_name(trap), info.vector);
    ctx->regs.rip = guest_addr(guest_syscall);
    for (int i = 0; i < 3; i++) {
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        CHECK(trap == TRAP_SYSCALL, "%s", trap_name(trap));
    }
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    return true;
}

/* A fetch from a page that is not there, for the Sentry to emulate, whatever the host has there. */
static bool vsyscall(struct world *w)
{
    struct context *ctx = context_for(w, guest_vsyscall);
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    trap = w->ops->ctx_switch(ctx, s.as, &info);
    CHECK(trap == TRAP_FAULT && info.addr == 0xffffffffff600400 && info.access == ACCESS_EXEC,
          "%s at %lx", trap_name(trap), (unsigned long)info.addr);
    CHECK(ctx->regs.rip == info.addr && ctx->regs.rsp == STACK_TOP - 8, "%lx %lx",
          (unsigned long)ctx->regs.rip, (unsigned long)ctx->regs.rsp);
    CHECK(page_words(w, s.stack)[PAGE_SIZE / 8 - 1] == guest_addr(guest_vsyscall_back), "caller");
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    return true;
}

/*
 * What is above the guest's range is not the guest's: running there must end in some trap of the
 * guest's own, and leave the context sound.
 */
static bool beyond_range(struct world *w)
{
    struct platform_limits limits;
    struct trap_info info;
    struct space s;

    w->ops->limits(w->p, &limits);
    space_make(w, &s);
    for (uaddr_t offset = 0; offset < 0x400; offset += offset < 0x140 ? 1 : 0x40) {
        struct context *ctx = context_for(w, guest_jump);
        enum trap trap;

        ctx->regs.rdi = limits.user_max + offset;
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        CHECK(trap != TRAP_KILLED && trap != TRAP_INTERRUPT, "%s at +%lx", trap_name(trap),
              (unsigned long)offset);
        ctx->regs.rip = guest_addr(guest_syscall);
        ctx->regs.rsp = STACK_TOP;
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        CHECK(trap == TRAP_SYSCALL && ctx->regs.rip == guest_addr(guest_syscall) + 2, "%s",
              trap_name(trap));
        w->ops->ctx_destroy(ctx);
    }
    space_free(&s);
    return true;
}

const struct test exception_tests[] = {
    {"exceptions", exceptions},
    {"non_canonical", non_canonical},
    {"compat_mode", compat_mode},
    {"segments", segments},
    {"vsyscall", vsyscall},
    {"beyond_range", beyond_range},
    {NULL, NULL},
};
