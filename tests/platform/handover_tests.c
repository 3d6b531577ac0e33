/*
 * Calls that are handed over without a trap, by a guest that checks its registers and flags behind
 * each. The tests do what the Sentry does: they count the calls that could have been handed over.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/platform/harness.h"

#define CALLS    4000
#define PATIENCE 200000 /* calls until one must have been handed over */
#define BASE     0x123000UL

struct guest {
    struct space *s;
    struct context *ctx;
    uint64_t calls, sum, handed_over, interrupts;
    pthread_t thread;
    pthread_barrier_t *all; /* they start together */
    bool stop, good;        /* atomic */
};

static uaddr_t call_entry(struct world *w)
{
    struct platform_limits limits;

    w->ops->limits(w->p, &limits);
    return limits.call_entry;
}

static void guest_make(struct guest *g, struct space *s, uint64_t base)
{
    *g = (struct guest){.s = s, .ctx = context_at(s->w, guest_handover)};
    g->ctx->regs.r15 = call_entry(s->w);
    MUST(s->w->ops->ctx_set_bases(g->ctx, base, 0) == 0, "no FS base");
}

static enum trap go(struct guest *g, struct trap_info *info)
{
    return g->s->w->ops->ctx_switch(g->ctx, g->s->as, info);
}

static bool is_guests(uaddr_t rip)
{
    return rip - CODE_ADDR < PAGE_SIZE;
}

/* One call of it, and its answer. */
static bool serve(struct guest *g)
{
    struct cpu_regs *r = &g->ctx->regs;
    struct trap_info info;
    enum trap trap;

    while ((trap = go(g, &info)) == TRAP_INTERRUPT && ++g->interrupts)
        CHECK(is_guests(r->rip), "interrupted at %#lx", (unsigned long)r->rip);
    CHECK(trap == TRAP_SYSCALL, "%s, vector %u at %#lx", trap_name(trap), info.vector,
          (unsigned long)r->rip);
    CHECK(r->rax == 500, "call %lu", (unsigned long)r->rax);
    CHECK(r->r14 == g->calls && r->r13 == g->sum, "call %lu for %lu, sum %lu for %lu",
          (unsigned long)r->r14, (unsigned long)g->calls, (unsigned long)r->r13,
          (unsigned long)g->sum);
    CHECK(is_guests(r->rip) && r->rcx == r->rip && r->r11 == r->rflags, "rip, rcx or r11");
    g->ctx->missed = info.handed_over ? 0 : g->ctx->missed + 1;
    g->handed_over += info.handed_over;
    r->rax = g->calls ^ 0x5555;
    g->sum += r->rax;
    g->calls++;
    return true;
}

static bool serve_many(struct guest *g, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (!serve(g))
            return false;
    }
    return true;
}

/* Until it has happened at all: the other processor may be busy for long. */
static bool serve_until_handed_over(struct guest *g)
{
    uint64_t before = g->handed_over;

    for (int i = 0; i < PATIENCE && g->handed_over == before; i++) {
        if (!serve(g))
            return false;
    }
    CHECK(g->handed_over > before, "none of %d calls was handed over", PATIENCE);
    return true;
}

static bool in_a_row(struct world *w)
{
    struct space s;
    struct guest g;
    bool good;

    space_make(w, &s);
    guest_make(&g, &s, BASE);
    good = serve_until_handed_over(&g) && serve_many(&g, CALLS);
    w->ops->ctx_destroy(g.ctx);
    space_free(&s);
    return good;
}

/* The guest waits longer than it looks for the answer. */
static bool late_answers(struct world *w)
{
    struct timespec start, now;
    struct space s;
    struct guest g;
    bool good = true;

    space_make(w, &s);
    guest_make(&g, &s, BASE);
    for (int i = 0; i < 20 && good; i++) {
        good = serve_until_handed_over(&g);
        clock_gettime(CLOCK_MONOTONIC, &start);
        do
            clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - start.tv_sec) * 1000000000 + (now.tv_nsec - start.tv_nsec) < 500000);
    }
    w->ops->ctx_destroy(g.ctx);
    space_free(&s);
    return good;
}

/* More is to change than rax: other registers, the bases, what is mapped, the extended state. */
static bool change_more(struct guest *g, int what)
{
    static uint8_t fp[16384];
    struct world *w = g->s->w;
    uint32_t size = w->ops->fp_size(w->p);
    uint64_t fs, gs;

    switch (what % 5) {
    case 0:
        g->ctx->regs.rdi = g->calls;
        break;
    case 1:
        w->ops->ctx_get_bases(g->ctx, &fs, &gs);
        CHECK(fs == BASE + (uint64_t)what / 5, "FS base %#lx", (unsigned long)fs);
        CHECK(w->ops->ctx_set_bases(g->ctx, fs + 1, gs) == 0, "FS base");
        break;
    case 2:
        page_unmap(g->s, DATA_ADDR);
        page_map(g->s, DATA_ADDR, PROT_READ, g->s->data);
        break;
    case 3:
        CHECK(w->ops->ctx_get_fp(g->ctx, fp, size) == 0 &&
                  w->ops->ctx_set_fp(g->ctx, fp, size) == 0,
              "extended state");
        break;
    default:
        w->ops->ctx_interrupt(g->ctx);
        break;
    }
    return true;
}

static bool changes(struct world *w)
{
    struct space s;
    struct guest g;
    bool good = true;

    space_make(w, &s);
    guest_make(&g, &s, BASE);
    for (int i = 0; i < 100 && good; i++)
        good = serve_until_handed_over(&g) && change_more(&g, i);
    w->ops->ctx_destroy(g.ctx);
    space_free(&s);
    return good;
}

/* What a call of the program does to its memory, by one change or by several. */
static void change_memory(struct guest *g, bool together)
{
    const struct platform_ops *ops = g->s->w->ops;

    together = together && ops->as_gather;
    if (together)
        ops->as_gather(g->s->as, true);
    page_unmap(g->s, DATA_ADDR);
    page_map(g->s, DATA_ADDR, PROT_READ | PROT_WRITE, g->s->data);
    page_map(g->s, DATA_ADDR, PROT_READ, g->s->data);
    if (together)
        ops->as_gather(g->s->as, false);
}

/* The program, which waits for an answer, goes on there instead. */
static enum trap load(struct guest *g, struct trap_info *info)
{
    g->ctx->regs.rip = guest_addr(guest_load);
    g->ctx->regs.rdi = DATA_ADDR;
    return go(g, info);
}

static bool memory(struct world *w)
{
    struct trap_info info;
    struct space s;
    struct guest g;
    uint64_t stops;

    space_make(w, &s);
    guest_make(&g, &s, BASE);
    page_words(w, s.data)[0] = 77;
    CHECK(serve_until_handed_over(&g), "never");
    stops = __atomic_load_n(&w->p->stops, __ATOMIC_RELAXED);
    for (int i = 0; i < 1000; i++) {
        change_memory(&g, i % 2);
        if (!serve(&g))
            return false;
    }
    stops = __atomic_load_n(&w->p->stops, __ATOMIC_RELAXED) - stops;
    CHECK(stops < 1000, "stopped %lu times", (unsigned long)stops);

    CHECK(serve_until_handed_over(&g), "never");
    page_unmap(&s, DATA_ADDR);
    CHECK(load(&g, &info) == TRAP_FAULT && info.addr == DATA_ADDR, "what was unmapped is there");
    page_map(&s, DATA_ADDR, PROT_READ, s.data);
    CHECK(load(&g, &info) == TRAP_SYSCALL && g.ctx->regs.rax == 77, "what was mapped is not there");
    w->ops->ctx_destroy(g.ctx);
    space_free(&s);
    return true;
}

static void *interrupt_main(void *arg)
{
    struct guest *g = arg;

    while (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED)) {
        g->s->w->ops->ctx_interrupt(g->ctx);
        sched_yield();
    }
    return NULL;
}

static bool interrupts(struct world *w)
{
    struct space s;
    struct guest g;
    bool good;

    space_make(w, &s);
    guest_make(&g, &s, BASE);
    if (pthread_create(&g.thread, NULL, interrupt_main, &g) != 0)
        abort();
    do
        good = serve(&g);
    while (good && (g.calls < 2000000) && g.interrupts < 20000);
    __atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
    pthread_join(g.thread, NULL);
    good = good && serve_until_handed_over(&g);
    w->ops->ctx_destroy(g.ctx);
    space_free(&s);
    return good;
}

static void *serve_main(void *arg)
{
    struct guest *g = arg;

    g->good = serve(g);
    pthread_barrier_wait(g->all);
    g->good = g->good && serve_many(g, CALLS);
    g->s->w->ops->ctx_destroy(g->ctx);
    return NULL;
}

/* `apart`: each with an FS base of its own. */
static bool side_by_side(struct world *w, bool apart)
{
    struct guest all[20];
    pthread_barrier_t barrier;
    struct space s;
    bool good = true;

    pthread_barrier_init(&barrier, NULL, ARRAY_COUNT(all));
    space_make(w, &s);
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        guest_make(&all[i], &s, BASE + (apart ? i * 0x1000 : 0));
        all[i].all = &barrier;
        /* They share the page of the stack. */
        all[i].ctx->regs.rsp -= 64 * i;
        if (pthread_create(&all[i].thread, NULL, serve_main, &all[i]) != 0)
            abort();
    }
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        pthread_join(all[i].thread, NULL);
        good = good && all[i].good;
    }
    pthread_barrier_destroy(&barrier);
    space_free(&s);
    return good;
}

static bool threads(struct world *w)
{
    return side_by_side(w, true);
}

static bool same_base(struct world *w)
{
    return side_by_side(w, false);
}

/* Another thread of the guest writes to the page all the time: anything may come of it but harm. */
static void *scribble_main(void *arg)
{
    struct guest *g = arg;
    struct trap_info info;

    while (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED))
        go(g, &info);
    g->s->w->ops->ctx_destroy(g->ctx);
    return NULL;
}

static bool hostile(struct world *w)
{
    struct guest g, other;
    struct trap_info info;
    struct space s;

    space_make(w, &s);
    guest_make(&g, &s, BASE);
    CHECK(serve_until_handed_over(&g), "never");
    other = (struct guest){.s = &s, .ctx = context_at(w, guest_scribble)};
    other.ctx->regs.rdi = round_down(call_entry(w), PAGE_SIZE) - PAGE_SIZE;
    if (pthread_create(&other.thread, NULL, scribble_main, &other) != 0)
        abort();
    for (int i = 0; i < CALLS; i++) {
        enum trap trap = go(&g, &info);

        if (trap != TRAP_SYSCALL && trap != TRAP_INTERRUPT)
            g.ctx->regs.rip = guest_addr(guest_handover);
        g.ctx->regs.rsp = STACK_TOP;
        g.ctx->missed = 8;
        if (i % 7 == 0)
            w->ops->ctx_interrupt(
                g.ctx); /* it may have been led astray, to where it makes no call */
    }
    __atomic_store_n(&other.stop, true, __ATOMIC_RELAXED);
    w->ops->ctx_interrupt(other.ctx);
    pthread_join(other.thread, NULL);
    w->ops->ctx_destroy(g.ctx);
    space_free(&s);
    return true;
}

/* What a program wrote there must not be seen by the next one. */
static bool no_leftovers(struct world *w)
{
    uaddr_t page = round_down(call_entry(w), PAGE_SIZE) - PAGE_SIZE;

    for (int i = 0; i < 12; i++) {
        struct context *ctx;
        struct trap_info info;
        struct space s;
        struct guest g;

        space_make(w, &s);
        ctx = context_at(w, guest_load);
        for (uaddr_t at = 0; at < PAGE_SIZE; at += 8) {
            ctx->regs.rdi = page + at;
            CHECK(w->ops->ctx_switch(ctx, s.as, &info) == TRAP_SYSCALL, "load");
            CHECK(ctx->regs.rax == 0 || ctx->regs.rax == UINT64_MAX, "%#lx at %#lx",
                  (unsigned long)ctx->regs.rax, (unsigned long)at);
        }
        w->ops->ctx_destroy(ctx);
        guest_make(&g, &s, BASE);
        CHECK(serve_until_handed_over(&g), "never");
        w->ops->ctx_destroy(g.ctx);
        space_free(&s);
    }
    return true;
}

const struct test handover_tests[] = {
    {"handover_in_a_row", in_a_row},         {"handover_late_answers", late_answers},
    {"handover_changes", changes},           {"handover_memory", memory},
    {"handover_interrupts", interrupts},     {"handover_threads", threads},
    {"handover_same_base", same_base},       {"handover_hostile", hostile},
    {"handover_no_leftovers", no_leftovers}, {0},
};
