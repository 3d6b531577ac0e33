/*
 * Several contexts, threads and address spaces at once: what the Sentry does to a platform while
 * guests run.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/platform/harness.h"

#define THREADS     24
#define CALLS       200
#define STORM       400
#define MANY        200
#define FLIPS       200
#define LIMIT_PAGES 70000 /* vm.max_map_count is 65530 on most hosts */
#define PREPARED    0x30000000UL

struct runner {
    pthread_t thread;
    struct space *s;
    const uint8_t *entry;
    uaddr_t rdi, rsi;
    bool (*body)(struct runner *r);
    struct context *ctx; /* valid once `ready` */
    bool ready, stop, good;
    unsigned int count;
};

static void *runner_main(void *arg)
{
    struct runner *r = arg;

    r->ctx = context_at(r->s->w, r->entry);
    r->ctx->regs.rdi = r->rdi;
    r->ctx->regs.rsi = r->rsi;
    r->ctx->regs.rdx = STACK_ADDR;
    __atomic_store_n(&r->ready, true, __ATOMIC_RELEASE);
    r->good = r->body(r);
    r->s->w->ops->ctx_destroy(r->ctx);
    return NULL;
}

static void runner_start(struct runner *r)
{
    r->ready = r->stop = r->good = false;
    r->count = 0;
    if (pthread_create(&r->thread, NULL, runner_main, r) != 0)
        abort();
    while (!__atomic_load_n(&r->ready, __ATOMIC_ACQUIRE))
        sched_yield();
}

static bool runner_join(struct runner *r)
{
    pthread_join(r->thread, NULL);
    return r->good;
}

/* Not nanosleep(2), which the jail does not allow. */
static void pause_us(long us)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 < us);
}

/* Under load a guest may start late: until it has counted on. The counter is its stack's page. */
static void await_counting(struct space *s)
{
    uint64_t *counter = page_words(s->w, s->stack);
    uint64_t before = READ_ONCE(*counter);

    while (READ_ONCE(*counter) - before < 2)
        pause_us(100);
}

static enum trap go(struct runner *r, struct trap_info *info)
{
    return r->s->w->ops->ctx_switch(r->ctx, r->s->as, info);
}

/* --- Many threads, two spaces --- */

static bool count_calls(struct runner *r)
{
    struct trap_info info;

    for (uint64_t i = 0; i < CALLS; i++) {
        enum trap trap = go(r, &info);

        CHECK(trap == TRAP_SYSCALL && r->ctx->regs.rbx == i, "%s, call %lu", trap_name(trap),
              (unsigned long)i);
        r->ctx->regs.rax = i;
    }
    CHECK(r->ctx->regs.r12 == (CALLS - 1) * (CALLS - 2) / 2, "sum");
    return true;
}

static bool threads(struct world *w)
{
    struct runner runners[THREADS];
    struct space s[2];
    bool good = true;

    space_make(w, &s[0]);
    space_make(w, &s[1]);
    for (size_t i = 0; i < THREADS; i++) {
        runners[i] = (struct runner){.s = &s[i % 2], .entry = guest_count, .body = count_calls};
        runner_start(&runners[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        good = runner_join(&runners[i]) && good;
    space_free(&s[0]);
    space_free(&s[1]);
    return good;
}

/* Contexts by the hundred, in turns on one thread. */
static bool many_contexts(struct world *w)
{
    struct context *ctx[MANY];
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    for (size_t i = 0; i < MANY; i++) {
        ctx[i] = context_at(w, guest_count);
        ctx[i]->regs.r13 = i;
    }
    for (size_t n = 0; n < 4; n++) {
        for (size_t i = 0; i < MANY; i++) {
            trap = w->ops->ctx_switch(ctx[i], s.as, &info);
            CHECK(trap == TRAP_SYSCALL && ctx[i]->regs.rbx == n && ctx[i]->regs.r13 == i,
                  "%s, context %zu", trap_name(trap), i);
        }
    }
    for (size_t i = 0; i < MANY; i++)
        w->ops->ctx_destroy(ctx[i]);
    space_free(&s);
    return true;
}

/* --- Mappings that change under a running guest --- */

static bool until_fault(struct runner *r)
{
    struct trap_info info;
    enum trap trap = go(r, &info);

    CHECK(trap == TRAP_FAULT && info.addr == r->rdi, "%s", trap_name(trap));
    return true;
}

/* A guest spins on a page; another thread, which has no context there, takes it away. */
static bool unmap_running(struct world *w)
{
    struct runner r = {.entry = guest_spin_load, .rdi = DATA_ADDR, .rsi = 1, .body = until_fault};
    struct space s;

    space_make(w, &s);
    r.s = &s;
    runner_start(&r);
    await_counting(&s);
    page_unmap(&s, DATA_ADDR);
    /* forgotten means: what is written now is not seen */
    page_words(w, s.data)[0] = 1;
    if (!runner_join(&r))
        return false;
    space_free(&s);
    return true;
}

/* The same for a right that is narrowed under a writer: after as_map() nothing changes any more. */
static bool protect_running(struct world *w)
{
    struct runner r = {.entry = guest_spin_store, .rdi = DATA_ADDR, .body = until_fault};
    uint64_t value;
    struct space s;

    space_make(w, &s);
    r.s = &s;
    runner_start(&r);
    await_counting(&s);
    page_map(&s, DATA_ADDR, PROT_READ, s.data);
    value = READ_ONCE(page_words(w, s.data)[0]);
    MUST(value != 0, "the guest never wrote");
    pause_us(1000);
    MUST(value == READ_ONCE(page_words(w, s.data)[0]), "written after as_map()");
    if (!runner_join(&r))
        return false;
    space_free(&s);
    return true;
}

static bool until_call(struct runner *r)
{
    struct trap_info info;
    enum trap trap = go(r, &info);

    CHECK(trap == TRAP_SYSCALL, "%s at %lx", trap_name(trap), (unsigned long)info.addr);
    return true;
}

/* A page is replaced by another: the running guest comes to see the new one. */
static bool replace_running(struct world *w)
{
    struct runner r = {.entry = guest_spin_load, .rdi = DATA_ADDR, .rsi = 77, .body = until_call};
    struct memfile_range page = page_alloc(w);
    struct space s;

    space_make(w, &s);
    page_words(w, page)[0] = 77;
    r.s = &s;
    runner_start(&r);
    await_counting(&s);
    page_map(&s, DATA_ADDR, PROT_READ, page);
    if (!runner_join(&r))
        return false;
    space_free(&s);
    page_free(w, page);
    return true;
}

/* A page comes and goes under a reader that serves its faults by waiting for its return. */
static bool serve_flips(struct runner *r)
{
    struct trap_info info;

    while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
        enum trap trap = go(r, &info);

        CHECK(trap == TRAP_SYSCALL || (trap == TRAP_FAULT && info.addr == r->rdi), "%s",
              trap_name(trap));
        __atomic_add_fetch(&r->count, 1, __ATOMIC_RELAXED);
    }
    return true;
}

static bool flip_mappings(struct world *w)
{
    struct runner r[2];
    struct space s;
    bool good = true;

    space_make(w, &s);
    for (size_t i = 0; i < 2; i++) {
        r[i] = (struct runner){.s = &s, .entry = guest_load, .rdi = DATA_ADDR, .body = serve_flips};
        runner_start(&r[i]);
    }
    for (size_t i = 0; i < FLIPS || __atomic_load_n(&r[0].count, __ATOMIC_RELAXED) == 0 ||
                       __atomic_load_n(&r[1].count, __ATOMIC_RELAXED) == 0;
         i++) {
        page_unmap(&s, DATA_ADDR);
        page_map(&s, DATA_ADDR, PROT_READ, s.data);
    }
    for (size_t i = 0; i < 2; i++)
        __atomic_store_n(&r[i].stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < 2; i++) {
        good = runner_join(&r[i]) && good;
    }
    space_free(&s);
    return good;
}

/* --- Interrupts --- */

static bool serve_interrupts(struct runner *r)
{
    struct trap_info info;
    uint64_t rbx = 0;

    while (r->count < STORM) {
        enum trap trap = go(r, &info);

        CHECK(trap == TRAP_INTERRUPT, "%s", trap_name(trap));
        CHECK(r->ctx->regs.rbx >= rbx, "registers went back");
        CHECK(r->ctx->regs.rip - guest_addr(guest_spin) < 8, "rip %lx",
              (unsigned long)r->ctx->regs.rip);
        rbx = r->ctx->regs.rbx;
        __atomic_add_fetch(&r->count, 1, __ATOMIC_RELEASE);
    }
    return true;
}

/* Each interrupt is seen, none is lost: the next is sent only when the last was reported. */
static bool interrupt_storm(struct world *w)
{
    struct runner r = {.entry = guest_spin, .body = serve_interrupts};
    struct space s;

    space_make(w, &s);
    r.s = &s;
    runner_start(&r);
    for (unsigned int i = 0; i < STORM; i++) {
        w->ops->ctx_interrupt(r.ctx);
        if (i % 3 == 0)
            w->ops->ctx_interrupt(r.ctx); /* may count once or twice */
        while (__atomic_load_n(&r.count, __ATOMIC_ACQUIRE) <= i &&
               __atomic_load_n(&r.count, __ATOMIC_ACQUIRE) < STORM)
            sched_yield();
        if (__atomic_load_n(&r.count, __ATOMIC_ACQUIRE) >= STORM)
            break;
    }
    if (!runner_join(&r))
        return false;
    space_free(&s);
    return true;
}

static bool serve_both(struct runner *r)
{
    struct trap_info info;
    uint64_t calls = 0;

    while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
        enum trap trap = go(r, &info);

        CHECK(trap == TRAP_INTERRUPT || trap == TRAP_SYSCALL, "%s", trap_name(trap));
        if (trap == TRAP_SYSCALL) {
            CHECK(r->ctx->regs.rbx == calls, "a call was lost or repeated");
            calls++;
        } else {
            __atomic_add_fetch(&r->count, 1, __ATOMIC_RELAXED);
        }
    }
    return true;
}

/* Interrupts from several threads at a guest that makes calls: neither disturbs the other. */
static bool interrupted_calls(struct world *w)
{
    struct runner r = {.entry = guest_count, .body = serve_both};
    struct space s;

    space_make(w, &s);
    r.s = &s;
    runner_start(&r);
    for (unsigned int i = 0; i < STORM || __atomic_load_n(&r.count, __ATOMIC_RELAXED) < 10; i++) {
        w->ops->ctx_interrupt(r.ctx);
        if (i % 4 == 0)
            pause_us(100);
    }
    __atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
    if (!runner_join(&r))
        return false;
    space_free(&s);
    return true;
}

static bool interrupt_before(struct world *w)
{
    struct context *ctx = context_at(w, guest_syscall);
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    w->ops->ctx_interrupt(ctx);
    w->ops->ctx_interrupt(ctx);
    trap = w->ops->ctx_switch(ctx, s.as, &info);
    CHECK(trap == TRAP_INTERRUPT && ctx->regs.rip == guest_addr(guest_syscall), "%s",
          trap_name(trap));
    trap = w->ops->ctx_switch(ctx, s.as, &info);
    CHECK(trap == TRAP_SYSCALL, "%s", trap_name(trap));
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    return true;
}

/* --- A space of many separate mappings --- */

static bool sparse(struct world *w)
{
    struct context *ctx = context_at(w, guest_load);
    struct memfile_range page = page_alloc(w);
    struct trap_info info;
    struct space s;

    space_make(w, &s);
    page_words(w, page)[0] = 0xabcd;
    for (uaddr_t i = 0; i < 1000; i++)
        page_map(&s, PREPARED + i * 0x200000, PROT_READ, page);
    for (uaddr_t i = 0; i < 1000; i += 37) {
        enum trap trap;

        ctx->regs.rip = guest_addr(guest_load);
        ctx->regs.rdi = PREPARED + i * 0x200000;
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0xabcd, "%s", trap_name(trap));
    }
    CHECK(w->ops->as_unmap(s.as, PREPARED, 1000 * 0x200000UL) == 0, "unmap");
    ctx->regs.rip = guest_addr(guest_load);
    CHECK(w->ops->ctx_switch(ctx, s.as, &info) == TRAP_FAULT, "still mapped");
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    page_free(w, page);
    return true;
}

/* More mappings than the host may have room for: as_map() does not fail, though earlier ones may be
 * forgotten, as by a TLB. A fault on such a page asks for as_map() again. */
static bool mapping_limit(struct world *w)
{
    struct context *ctx = context_at(w, guest_load);
    struct memfile_range page = page_alloc(w);
    struct trap_info info;
    struct space s;
    enum trap trap;

    space_make(w, &s);
    page_words(w, page)[0] = 0xabcd;
    CHECK(w->ops->ctx_switch(ctx, s.as, &info) == TRAP_FAULT, "address 0 is mapped");
    for (uaddr_t i = 0; i < LIMIT_PAGES; i++)
        page_map(&s, PREPARED + i * 2 * PAGE_SIZE, PROT_READ, page);
    for (uaddr_t i = 0; i < LIMIT_PAGES; i += LIMIT_PAGES / 7) {
        uaddr_t addr = PREPARED + i * 2 * PAGE_SIZE;

        page_map(&s, CODE_ADDR, PROT_READ | PROT_EXEC, s.code);
        ctx->regs.rip = guest_addr(guest_load);
        ctx->regs.rdi = addr;
        trap = w->ops->ctx_switch(ctx, s.as, &info);
        if (trap == TRAP_FAULT) {
            CHECK(info.addr == addr, "%lx", (unsigned long)info.addr);
            page_map(&s, addr, PROT_READ, page);
            trap = w->ops->ctx_switch(ctx, s.as, &info);
        }
        CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0xabcd, "%s", trap_name(trap));
    }
    CHECK(w->ops->as_unmap(s.as, PREPARED, LIMIT_PAGES * 2 * PAGE_SIZE) == 0, "unmap");
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    page_free(w, page);
    return true;
}

const struct test thread_tests[] = {
    {"threads", threads},
    {"many_contexts", many_contexts},
    {"unmap_running", unmap_running},
    {"protect_running", protect_running},
    {"replace_running", replace_running},
    {"flip_mappings", flip_mappings},
    {"interrupt_storm", interrupt_storm},
    {"interrupted_calls", interrupted_calls},
    {"interrupt_before", interrupt_before},
    {"sparse", sparse},
    {"mapping_limit", mapping_limit},
    {NULL, NULL},
};
