/*
 * The KVM platform from inside: contexts that share too few vCPUs, the fast path, programs that
 * meddle with our code in the guest, page tables that change their shape.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "platform/kvm/internal.h"
#include "ring0/code.h"
#include "tests/platform/harness.h"

#define FEW      2U /* vCPUs */
#define CONTEXTS 7
#define ROUNDS   6

#define XCR0_AVX 4UL

static enum trap go(struct context *ctx, struct space *s, struct trap_info *ret_info)
{
    return ctx->ops->ctx_switch(ctx, s->as, ret_info);
}

/* ---- few vCPUs ---------------------------------------------------------------------------- */

struct limits {
    unsigned int max, soft;
};

static struct limits allow_few(struct world *w)
{
    struct kvm_platform *p = to_platform(w->p);
    struct limits old = {p->vcpu_max, p->vcpu_soft_max};

    p->vcpu_max = p->vcpu_soft_max = MAX(p->vcpu_count, FEW);
    return old;
}

static void allow_again(struct world *w, struct limits old)
{
    to_platform(w->p)->vcpu_max = old.max;
    to_platform(w->p)->vcpu_soft_max = old.soft;
}

/* Each context has its own pattern in ymm3, fs and gs; all are asked in turns. */
static bool run_shared(struct space *s, struct context **ctx)
{
    uint64_t *words = page_words(s->w, s->data);
    struct trap_info info;
    uint64_t fs, gs;

    for (unsigned int i = 0; i < CONTEXTS; i++) {
        for (unsigned int n = 0; n < 4; n++)
            words[i * 4 + n] = 0x1111111111111111UL * (i + 1) + n;
        ctx[i]->regs.rdi = DATA_ADDR + i * 32;
        CHECK(ctx[i]->ops->ctx_set_bases(ctx[i], 0x1000 * (i + 1), 0x2000 * (i + 1)) == 0, "set");
        CHECK(go(ctx[i], s, &info) == TRAP_SYSCALL, "load %u", i);
    }
    for (unsigned int round = 0; round < ROUNDS; round++) {
        for (unsigned int i = 0; i < CONTEXTS; i++) {
            ctx[i]->regs.rsi = DATA_ADDR + 2048;
            memset(words + 256, 0, 32);
            CHECK(go(ctx[i], s, &info) == TRAP_SYSCALL, "store %u", i);
            CHECK(memcmp(words + 256, words + i * 4, 32) == 0, "ymm3 of %u: %lx", i,
                  (unsigned long)words[256]);
            ctx[i]->ops->ctx_get_bases(ctx[i], &fs, &gs);
            CHECK(fs == 0x1000 * (i + 1) && gs == 0x2000 * (i + 1), "bases of %u", i);
            CHECK(go(ctx[i], s, &info) == TRAP_SYSCALL, "load %u again", i);
        }
    }
    return true;
}

static bool few_vcpus(struct world *w)
{
    struct context *ctx[CONTEXTS];
    struct limits old;
    struct space s;
    bool good;

    if (!(w->ops->fp_features(w->p) & XCR0_AVX)) {
        printf("    skipped: no AVX here\n");
        return true;
    }
    old = allow_few(w);
    space_make(w, &s);
    for (unsigned int i = 0; i < CONTEXTS; i++)
        ctx[i] = context_at(w, guest_ymm);
    good = run_shared(&s, ctx);
    CHECK(to_platform(w->p)->vcpu_count <= FEW, "%u vCPUs", to_platform(w->p)->vcpu_count);
    for (unsigned int i = 0; i < CONTEXTS; i++)
        w->ops->ctx_destroy(ctx[i]);
    space_free(&s);
    allow_again(w, old);
    return good;
}

struct sharer {
    pthread_t thread;
    struct space *s;
    uint64_t seed;
    bool good;
};

static void *sharer_main(void *arg)
{
    struct sharer *sh = arg;
    struct context *ctx = context_at(sh->s->w, guest_xmm);
    uint64_t first = 0;
    struct trap_info info;

    sh->good = true;
    for (uint64_t i = 0; i < 100 && sh->good; i++) {
        sh->good = go(ctx, sh->s, &info) == TRAP_SYSCALL;
        if (i == 0)
            first = ctx->regs.rax;
        sh->good = sh->good && ctx->regs.rax == first + i;
    }
    sh->s->w->ops->ctx_destroy(ctx);
    return NULL;
}

/* More threads at once than vCPUs: they wait for each other, and nobody's registers mix. */
static bool crowd(struct world *w)
{
    struct sharer sharers[CONTEXTS];
    struct limits old = allow_few(w);
    bool good = true;
    struct space s;

    space_make(w, &s);
    for (unsigned int i = 0; i < CONTEXTS; i++) {
        sharers[i] = (struct sharer){.s = &s};
        CHECK(pthread_create(&sharers[i].thread, NULL, sharer_main, &sharers[i]) == 0, "thread");
    }
    for (unsigned int i = 0; i < CONTEXTS; i++) {
        pthread_join(sharers[i].thread, NULL);
        good = good && sharers[i].good;
    }
    space_free(&s);
    allow_again(w, old);
    CHECK(good, "a register changed");
    return true;
}

/* ---- the fast path ------------------------------------------------------------------------ */

#define FAST_TURNS 200
#define FLAG_CF    0x1UL
#define FLAG_DF    0x400UL

static const struct {
    uint64_t number;
    uint32_t answer;
} pure_calls[] = {{39, 11}, {186, 12}, {110, 13}, {102, 14}, {107, 15}, {104, 16}, {108, 17}};

static void fill_fastpath(struct context *ctx, bool enabled)
{
    *ctx->ops->ctx_fastpath(ctx) = (struct fastpath_page){
        .enabled = enabled,
        .pid = 11,
        .tid = 12,
        .ppid = 13,
        .uid = 14,
        .euid = 15,
        .gid = 16,
        .egid = 17,
    };
}

static bool run_fastpath(struct space *s, struct context *ctx)
{
    struct trap_info info;
    enum trap trap;

    fill_fastpath(ctx, true);
    for (size_t i = 0; i < ARRAY_COUNT(pure_calls); i++) {
        struct cpu_regs *r = &ctx->regs;

        r->rip = guest_addr(guest_fast);
        r->rbx = pure_calls[i].number;
        r->r12 = FAST_TURNS;
        r->r13 = 0;
        r->r15 = 0x1515;
        trap = go(ctx, s, &info);
        CHECK(trap == TRAP_SYSCALL && r->rax == 500, "call %lu left the guest: %s, rax %lu",
              (unsigned long)r->rbx, trap_name(trap), (unsigned long)r->rax);
        CHECK(r->r13 == FAST_TURNS * (uint64_t)pure_calls[i].answer, "call %lu: sum %lu",
              (unsigned long)r->rbx, (unsigned long)r->r13);
        CHECK((r->r8 & (FLAG_CF | FLAG_DF)) == (FLAG_CF | FLAG_DF), "flags %lx",
              (unsigned long)r->r8);
        CHECK(r->r15 == 0x1515 && r->rsp == STACK_TOP, "other registers");
    }
    return true;
}

static bool run_fastpath_off(struct space *s, struct context *ctx)
{
    struct trap_info info;
    enum trap trap;

    fill_fastpath(ctx, false);
    for (size_t i = 0; i < ARRAY_COUNT(pure_calls); i++) {
        ctx->regs.rip = guest_addr(guest_syscall);
        ctx->regs.rax = pure_calls[i].number;
        trap = go(ctx, s, &info);
        CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == pure_calls[i].number, "%s, rax %lu",
              trap_name(trap), (unsigned long)ctx->regs.rax);
        CHECK(ctx->regs.rcx == ctx->regs.rip && ctx->regs.r11 == ctx->regs.rflags, "rcx, r11");
    }
    /* The upper half of rax is not ours to judge. */
    fill_fastpath(ctx, true);
    ctx->regs.rip = guest_addr(guest_syscall);
    ctx->regs.rax = 1UL << 32 | 39;
    trap = go(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == (1UL << 32 | 39), "%s", trap_name(trap));
    return true;
}

static bool with_context(struct world *w, bool (*run)(struct space *, struct context *))
{
    struct context *ctx = context_at(w, guest_syscall);
    struct space s;
    bool good;

    space_make(w, &s);
    good = run(&s, ctx);
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    return good;
}

static bool fastpath(struct world *w)
{
    return with_context(w, run_fastpath) && with_context(w, run_fastpath_off);
}

struct pest {
    pthread_t thread;
    struct context *ctx;
    bool stop;
};

static void *pest_main(void *arg)
{
    struct pest *p = arg;

    while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
        p->ctx->ops->ctx_interrupt(p->ctx);
        for (volatile int i = 0; i < 3000; i++)
            ;
    }
    return NULL;
}

static bool pest_start(struct pest *p, struct context *ctx)
{
    *p = (struct pest){.ctx = ctx};
    return pthread_create(&p->thread, NULL, pest_main, p) == 0;
}

static void pest_stop(struct pest *p)
{
    __atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
    pthread_join(p->thread, NULL);
}

#define STORM_TURNS      (1UL << 40)
#define STORM_INTERRUPTS 60

/* Interrupts that hit the trampoline turn the call into one for us: answer it and go on. */
static bool run_fastpath_storm(struct space *s, struct context *ctx)
{
    struct cpu_regs *r = &ctx->regs;
    unsigned int interrupts = 0;
    uint64_t turns = 0;
    struct trap_info info;
    struct pest pest;
    enum trap trap;

    fill_fastpath(ctx, true);
    r->rip = guest_addr(guest_fast);
    r->rbx = 186;
    r->r12 = STORM_TURNS;
    r->r13 = 0;
    CHECK(pest_start(&pest, ctx), "thread");
    do {
        trap = go(ctx, s, &info);
        if (trap == TRAP_SYSCALL && r->rax == 186)
            r->rax = 12;
        if (trap == TRAP_INTERRUPT && ++interrupts == STORM_INTERRUPTS) {
            turns = STORM_TURNS - r->r12;
            r->r12 = 2;
        }
    } while (trap == TRAP_INTERRUPT || (trap == TRAP_SYSCALL && r->rax == 12));
    pest_stop(&pest);
    CHECK(trap == TRAP_SYSCALL && r->rax == 500, "%s, rax %lu", trap_name(trap),
          (unsigned long)r->rax);
    /* The counter was cut short between any two instructions of the loop. */
    CHECK(r->r13 % 12 == 0 && r->r13 / 12 >= turns + 1 && r->r13 / 12 <= turns + 3,
          "sum %lu after %lu turns", (unsigned long)r->r13, (unsigned long)turns);
    return true;
}

static bool fastpath_storm(struct world *w)
{
    return with_context(w, run_fastpath_storm);
}

/* ---- hostile ------------------------------------------------------------------------------ */

/* A program that steps through its own system calls: the call, then a trap behind the next one. */
static bool run_stepping(struct space *s, struct context *ctx)
{
    struct cpu_regs *r = &ctx->regs;
    struct trap_info info;
    enum trap trap;

    fill_fastpath(ctx, true);
    for (uint64_t number = 38; number < 41; number++) {
        r->rip = guest_addr(guest_syscall);
        r->rax = number;
        r->rflags = RFLAGS_FIXED | RFLAGS_TF;
        trap = go(ctx, s, &info);
        if (trap == TRAP_SYSCALL) {
            CHECK(r->rax == number && r->rip == guest_addr(guest_syscall) + 2, "call %lu at %lx",
                  (unsigned long)r->rax, (unsigned long)r->rip);
            CHECK(r->rsp == STACK_TOP && (r->rflags & RFLAGS_TF), "rsp %lx rflags %lx",
                  (unsigned long)r->rsp, (unsigned long)r->rflags);
            trap = go(ctx, s, &info);
        } else {
            CHECK(number == 39 && r->rax == 11, "call %lu was lost", (unsigned long)number);
        }
        CHECK(trap == TRAP_EXCEPTION && info.vector == VECTOR_DB, "%s %u", trap_name(trap),
              info.vector);
        /* Behind the call itself where ring 0 answers it, else behind the jump after it. */
        CHECK(r->rip == guest_addr(guest_syscall) || r->rip == guest_addr(guest_syscall) + 2,
              "rip %lx", (unsigned long)r->rip);
        CHECK(r->rsp == STACK_TOP, "rsp %lx", (unsigned long)r->rsp);
    }
    r->rflags = RFLAGS_FIXED;
    return true;
}

/* Into our code at each byte, with registers that mean something else there. */
static bool run_jumps(struct space *s, struct context *ctx)
{
    static const uint64_t odd[] = {0, 39, 186, ~0UL, 0x8000000000000000, CODE_ADDR};
    struct trap_info info;
    struct pest pest;
    enum trap trap;

    fill_fastpath(ctx, true);
    CHECK(pest_start(&pest, ctx), "thread"); /* ends loops of jumps to themselves */
    for (uint64_t offset = 0; offset < PAGE_SIZE; offset += offset < 0x180 ? 1 : 13) {
        for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
            ctx->regs.rip = RING0_AREAS + offset;
            ctx->regs.rax = odd[i];
            ctx->regs.rcx = i % 2 ? RING0_AREAS + offset : guest_addr(guest_syscall);
            ctx->regs.rsp = i % 3 ? STACK_TOP : odd[i];
            trap = go(ctx, s, &info);
            CHECK(trap != TRAP_KILLED, "at offset %lx with %lx", (unsigned long)offset,
                  (unsigned long)odd[i]);
        }
    }
    pest_stop(&pest);
    ctx->regs.rsp = STACK_TOP;
    do {
        ctx->regs.rip = guest_addr(guest_syscall);
        ctx->regs.rax = 500;
        trap = go(ctx, s, &info);
    } while (trap == TRAP_INTERRUPT);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 500, "%s afterwards", trap_name(trap));
    return true;
}

static bool run_ports(struct space *s, struct context *ctx)
{
    const uint8_t *const guests_of_ports[] = {guest_out, guest_in};
    struct trap_info info;
    enum trap trap;

    for (size_t i = 0; i < ARRAY_COUNT(guests_of_ports); i++) {
        ctx->regs.rip = guest_addr(guests_of_ports[i]);
        ctx->regs.rax = 0x77;
        trap = go(ctx, s, &info);
        CHECK(trap == TRAP_EXCEPTION && info.vector == VECTOR_GP, "%s %u", trap_name(trap),
              info.vector);
        CHECK(ctx->regs.rip == guest_addr(guests_of_ports[i]), "rip %lx",
              (unsigned long)ctx->regs.rip);
        CHECK(ctx->regs.rax == 0x77, "rax %lx", (unsigned long)ctx->regs.rax);
        ctx->regs.rip = guest_addr(guest_syscall);
        trap = go(ctx, s, &info);
        CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0x77, "%s afterwards, rax %lx",
              trap_name(trap), (unsigned long)ctx->regs.rax);
    }
    return true;
}

/* Our pages in the guest are not the program's to write, nor (but for the code) to read. */
static bool run_pokes(struct space *s, struct context *ctx)
{
    static const uint64_t targets[] = {
        RING0_IDT, RING0_AREAS + RING0_AREA_CODE, RING0_AREAS + RING0_AREA_DATA,
        RING0_AREAS + RING0_AREA_TABLES, RING0_AREAS + RING0_AREA_STACK};
    struct trap_info info;
    enum trap trap;

    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        ctx->regs.rip = guest_addr(guest_store);
        ctx->regs.rdi = targets[i] + 64;
        trap = go(ctx, s, &info);
        CHECK(trap == TRAP_FAULT && info.addr == targets[i] + 64 && info.access == ACCESS_WRITE,
              "%lx can be written: %s", (unsigned long)targets[i], trap_name(trap));
    }
    return true;
}

static bool meddling(struct world *w)
{
    return with_context(w, run_stepping) && with_context(w, run_ports) &&
           with_context(w, run_pokes) && with_context(w, run_jumps);
}

/* ---- page tables that change their shape -------------------------------------------------- */

#define BIG_ADDR 0x40000000UL

static bool load_is(struct space *s, struct context *ctx, uaddr_t addr, uint64_t want)
{
    struct trap_info info;
    enum trap trap;

    ctx->regs.rip = guest_addr(guest_load);
    ctx->regs.rdi = addr;
    trap = go(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == want, "%lx: %s, %lx instead of %lx",
          (unsigned long)addr, trap_name(trap), (unsigned long)ctx->regs.rax, (unsigned long)want);
    return true;
}

static bool load_faults(struct space *s, struct context *ctx, uaddr_t addr)
{
    struct trap_info info;
    enum trap trap;

    ctx->regs.rip = guest_addr(guest_load);
    ctx->regs.rdi = addr;
    trap = go(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == addr, "%lx: %s", (unsigned long)addr, trap_name(trap));
    return true;
}

static void map_big(struct space *s, struct memfile_range r)
{
    if (s->w->ops->as_map(s->as, BIG_ADDR, PROT_READ | PROT_WRITE, r) != 0)
        abort();
}

/* Large page, hole in it, another large page in its place, small pages in its place. */
static bool run_shapes(struct space *s, struct context *ctx)
{
    struct memfile_range a, b;
    uint64_t *words_a, *words_b;
    uaddr_t last = BIG_ADDR + HUGE_PAGE_SIZE - 8;

    CHECK(memfile_alloc(s->w->mf, HUGE_PAGE_SIZE, HUGE_PAGE_SIZE, &a) == 0, "memory");
    CHECK(memfile_alloc(s->w->mf, HUGE_PAGE_SIZE, HUGE_PAGE_SIZE, &b) == 0, "memory");
    words_a = memfile_ptr(s->w->mf, a.start);
    words_b = memfile_ptr(s->w->mf, b.start);
    words_a[0] = 0xa0;
    words_a[HUGE_PAGE_SIZE / 8 - 1] = 0xa1;
    words_b[0] = 0xb0;
    words_b[HUGE_PAGE_SIZE / 8 - 1] = 0xb1;
    for (int round = 0; round < 3; round++) {
        map_big(s, a);
        CHECK(load_is(s, ctx, BIG_ADDR, 0xa0) && load_is(s, ctx, last, 0xa1), "large");
        map_big(s, b);
        CHECK(load_is(s, ctx, BIG_ADDR, 0xb0) && load_is(s, ctx, last, 0xb1), "replaced");
        CHECK(s->w->ops->as_unmap(s->as, BIG_ADDR, HUGE_PAGE_SIZE) == 0, "unmap");
        CHECK(load_faults(s, ctx, BIG_ADDR) && load_faults(s, ctx, last), "gone");
        map_big(s, a);
        CHECK(load_is(s, ctx, BIG_ADDR, 0xa0) && load_is(s, ctx, last, 0xa1), "back");
        if (round == 1) /* from now on a table stands there */
            CHECK(s->w->ops->as_unmap(s->as, BIG_ADDR, PAGE_SIZE) == 0, "part");
        if (round == 1)
            CHECK(load_faults(s, ctx, BIG_ADDR) && load_is(s, ctx, last, 0xa1), "split");
    }
    CHECK(s->w->ops->as_unmap(s->as, BIG_ADDR, HUGE_PAGE_SIZE) == 0, "unmap");
    memfile_unref(s->w->mf, a);
    memfile_unref(s->w->mf, b);
    return true;
}

/* The next address space moves into the tree of the last one and must see nothing of it. */
static bool run_reuse(struct world *w)
{
    struct context *ctx = context_at(w, guest_load);
    bool good = true;

    for (int i = 0; i < 4 && good; i++) {
        struct memfile_range page = page_alloc(w);
        struct space s;

        space_make(w, &s);
        good = load_faults(&s, ctx, BIG_ADDR);
        page_words(w, page)[0] = (uint64_t)i;
        page_map(&s, BIG_ADDR, PROT_READ, page);
        good = good && load_is(&s, ctx, BIG_ADDR, (uint64_t)i);
        space_free(&s);
        page_free(w, page);
        if (i == 2)
            shells_reclaim(to_platform(w->p));
    }
    w->ops->ctx_destroy(ctx);
    return good;
}

static bool shapes(struct world *w)
{
    return with_context(w, run_shapes) && run_reuse(w);
}

const struct test kvm_tests[] = {
    {"few_vcpus", few_vcpus},
    {"crowd", crowd},
    {"fastpath", fastpath},
    {"fastpath_storm", fastpath_storm},
    {"meddling", meddling},
    {"shapes", shapes},
    {NULL, NULL},
};
