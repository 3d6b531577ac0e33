/* Calls, faults, extended state, segment bases. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/platform/harness.h"

#define CALL_SIZE 2 /* bytes of `syscall` */

static enum trap switch_to(struct context *ctx, struct space *s, struct trap_info *ret_info)
{
    return ctx->ops->ctx_switch(ctx, s->as, ret_info);
}

static bool run_syscall_registers(struct space *s, struct context *ctx)
{
    struct cpu_regs want;
    struct trap_info info;
    enum trap trap;

    for (uint64_t i = 0; i < 100; i++) {
        uint64_t *words = (uint64_t *)&ctx->regs;

        for (size_t n = 0; n < 16; n++)
            words[n] = i << 56 | n << 32 | (~n & 0xffff);
        ctx->regs.rip = guest_addr(guest_syscall);
        ctx->regs.rflags = RFLAGS_FIXED | (i & 1 ? 0xd5 : 0);
        want = ctx->regs;
        want.rip += CALL_SIZE;
        want.rcx = want.rip;
        want.r11 = want.rflags;
        trap = switch_to(ctx, s, &info);
        CHECK(trap == TRAP_SYSCALL, "%s", trap_name(trap));
        CHECK(memcmp(&want, &ctx->regs, sizeof(want)) == 0, "round %lu: rip %lx rax %lx rflags %lx",
              (unsigned long)i, (unsigned long)ctx->regs.rip, (unsigned long)ctx->regs.rax,
              (unsigned long)ctx->regs.rflags);
    }
    return true;
}

static bool run_syscall_results(struct space *s, struct context *ctx)
{
    struct trap_info info;
    enum trap trap;

    ctx->regs.rip = guest_addr(guest_count);
    ctx->regs.rbx = ctx->regs.r12 = ctx->regs.rax = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        trap = switch_to(ctx, s, &info);
        CHECK(trap == TRAP_SYSCALL, "%s", trap_name(trap));
        CHECK(ctx->regs.rbx == i && ctx->regs.rax == i, "call %lu", (unsigned long)i);
        /* also values that the host might take for its own restart codes */
        ctx->regs.rax = i % 2 ? i : (uint64_t)-512 - i % 8;
        ctx->regs.r13 = ctx->regs.r12 + ctx->regs.rax;
        if (i > 0)
            CHECK(ctx->regs.r12 == ctx->regs.r14, "sum");
        ctx->regs.r14 = ctx->regs.r13;
    }
    return true;
}

static bool run_faults(struct space *s, struct context *ctx)
{
    uaddr_t hole = 0x12345000;
    struct memfile_range page = page_alloc(s->w);
    uint64_t *words = page_words(s->w, page);
    struct trap_info info;
    enum trap trap;

    ctx->regs.rip = guest_addr(guest_load);
    ctx->regs.rdi = hole + 8;
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == hole + 8 && info.vector == VECTOR_PF, "%s at %lx",
          trap_name(trap), (unsigned long)info.addr);
    CHECK(info.access == ACCESS_READ || info.access == ACCESS_UNKNOWN, "%d", info.access);
    CHECK(ctx->regs.rip == guest_addr(guest_load), "rip %lx", (unsigned long)ctx->regs.rip);
    words[1] = 0x1122334455667788;
    page_map(s, hole, PROT_READ, page);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == words[1], "%s", trap_name(trap));

    ctx->regs.rip = guest_addr(guest_store);
    ctx->regs.rsi = 99;
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == hole + 8, "%s", trap_name(trap));
    CHECK(info.access == ACCESS_WRITE, "%d", info.access);
    page_map(s, hole, PROT_READ | PROT_WRITE, page);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && words[1] == 99, "%s", trap_name(trap));

    page_map(s, hole, PROT_READ, page); /* narrower: the write must fault again */
    ctx->regs.rip = guest_addr(guest_store);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.access == ACCESS_WRITE, "%s", trap_name(trap));

    ctx->regs.rip = guest_addr(guest_jump);
    ctx->regs.rdi = hole;
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == hole && info.access == ACCESS_EXEC, "%s %d",
          trap_name(trap), info.access);
    CHECK(ctx->regs.rip == hole, "rip %lx", (unsigned long)ctx->regs.rip);
    page_unmap(s, hole);
    page_free(s->w, page);
    return true;
}

/* Code at the end of a page, and what it does to the page behind: no access looks like another. */
static bool run_page_border(struct space *s, struct context *ctx)
{
    static const uint8_t load[] = {0x48, 0x8b, 0x07}, store[] = {0x48, 0x89, 0x37};
    const uaddr_t border = 0x901000;
    struct memfile_range code = page_alloc(s->w), data = page_alloc(s->w);
    uint8_t *bytes = (uint8_t *)page_words(s->w, code) + PAGE_SIZE - 6;
    struct trap_info info;
    enum trap trap;

    memcpy(bytes, store, 3);
    memcpy(bytes + 3, load, 3);
    page_map(s, border - PAGE_SIZE, PROT_READ | PROT_EXEC, code);
    ctx->regs.rip = border - 3;
    ctx->regs.rdi = border;
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == border && info.access != ACCESS_EXEC, "%s %d",
          trap_name(trap), info.access);
    page_map(s, border, PROT_READ, data);
    /* the load passes, then the fetch behind it does not */
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && ctx->regs.rip == border && info.access == ACCESS_EXEC, "%s %d",
          trap_name(trap), info.access);
    ctx->regs.rip = border - 6;
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == border && info.access == ACCESS_WRITE, "%s %d",
          trap_name(trap), info.access);
    page_map(s, border, PROT_READ | PROT_WRITE, data);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && ctx->regs.rip == border && info.access == ACCESS_EXEC, "%s %d",
          trap_name(trap), info.access);
    CHECK(page_words(s->w, data)[0] == ctx->regs.rsi, "not stored");

    /* an instruction across the border: sooner or later it is told as a fetch */
    memcpy(bytes + 4, load, 2);
    ctx->regs.rip = border - 2;
    for (int i = 0; i < 8; i++) {
        trap = switch_to(ctx, s, &info);
        CHECK(trap == TRAP_FAULT && ctx->regs.rip == border - 2 && info.addr == border, "%s",
              trap_name(trap));
        if (info.access == ACCESS_EXEC)
            break;
    }
    CHECK(info.access == ACCESS_EXEC, "never told as a fetch");
    page_unmap(s, border);
    page_unmap(s, border - PAGE_SIZE);
    page_free(s->w, code);
    page_free(s->w, data);
    return true;
}

static bool run_kernel_half(struct space *s, struct context *ctx)
{
    struct trap_info info;
    enum trap trap;

    ctx->regs.rip = guest_addr(guest_load);
    ctx->regs.rdi = 0xffff888000000000;
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_FAULT && info.addr == ctx->regs.rdi, "%s at %lx", trap_name(trap),
          (unsigned long)info.addr);
    return true;
}

static bool run_fp(struct space *s, struct context *ctx)
{
    uint32_t size = s->w->ops->fp_size(s->w->p);
    uint8_t *area = calloc(1, size);
    uint64_t value, features;
    struct trap_info info;
    enum trap trap;

    CHECK(ctx->ops->ctx_get_fp(ctx, area, size) == 0, "before the first run");
    ctx->regs.rip = guest_addr(guest_xmm);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0, "%s", trap_name(trap));
    CHECK(ctx->ops->ctx_get_fp(ctx, area, size) == 0, "get");
    memcpy(&value, area + 160 + 5 * 16, sizeof(value)); /* xmm5 */
    CHECK(value == 1, "xmm5 is %lu", (unsigned long)value);
    value = 0x123456789a;
    memcpy(area + 160 + 5 * 16, &value, sizeof(value));
    memset(area + 24, 0xff, 4); /* MXCSR with bits that the CPU refuses */
    features = ~0UL;
    memcpy(area + 512, &features, sizeof(features));
    CHECK(ctx->ops->ctx_set_fp(ctx, area, size) == 0, "set");
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == value, "%s %lx", trap_name(trap),
          (unsigned long)ctx->regs.rax);
    CHECK(ctx->ops->ctx_get_fp(ctx, area, size) == 0, "get");
    memcpy(&features, area + 512, sizeof(features));
    CHECK((features & ~s->w->ops->fp_features(s->w->p)) == 0, "%lx", (unsigned long)features);
    area[520] = 0x80; /* XCOMP_BV */
    CHECK(ctx->ops->ctx_set_fp(ctx, area, size) == -22, "a compacted area is refused");
    ctx->ops->ctx_reset_fp(ctx);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0, "reset: %lx", (unsigned long)ctx->regs.rax);
    free(area);
    return true;
}

static bool run_bases(struct space *s, struct context *ctx)
{
    uint64_t *words = page_words(s->w, s->data);
    struct trap_info info;
    uint64_t fs, gs;
    enum trap trap;

    words[0] = 0xf5;
    words[1] = 0x65;
    CHECK(ctx->ops->ctx_set_bases(ctx, DATA_ADDR, DATA_ADDR) == 0, "set");
    CHECK(ctx->ops->ctx_set_bases(ctx, 0xffff888000000000, 0) < 0, "the kernel's half is refused");
    ctx->regs.rip = guest_addr(guest_fs);
    for (int i = 0; i < 3; i++) {
        trap = switch_to(ctx, s, &info);
        CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0xf5 && ctx->regs.rbx == 0x65, "%s",
              trap_name(trap));
        ctx->ops->ctx_get_bases(ctx, &fs, &gs);
        CHECK(fs == DATA_ADDR && gs == DATA_ADDR, "%lx %lx", (unsigned long)fs, (unsigned long)gs);
    }
    return true;
}

/* As execve does: another address space, everything else stays. */
static bool run_move(struct space *s, struct context *ctx)
{
    uint32_t size = s->w->ops->fp_size(s->w->p);
    uint8_t *area = calloc(1, size);
    struct trap_info info;
    struct space other;
    enum trap trap;

    space_make(s->w, &other);
    page_words(s->w, s->data)[0] = 1;
    page_words(s->w, other.data)[0] = 2;
    ctx->regs.rip = guest_addr(guest_xmm);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 0, "%s", trap_name(trap));
    CHECK(ctx->ops->ctx_set_bases(ctx, DATA_ADDR, DATA_ADDR) == 0, "set");
    ctx->regs.rip = guest_addr(guest_xmm);
    trap = switch_to(ctx, &other, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 1, "%s: extended state lost", trap_name(trap));
    ctx->regs.rip = guest_addr(guest_fs);
    trap = switch_to(ctx, &other, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 2, "%s", trap_name(trap));
    /* and back, with the space that it last ran in gone before */
    space_free(&other);
    ctx->regs.rip = guest_addr(guest_fs);
    trap = switch_to(ctx, s, &info);
    CHECK(trap == TRAP_SYSCALL && ctx->regs.rax == 1, "%s", trap_name(trap));
    free(area);
    return true;
}

static bool with_context(struct world *w, bool (*body)(struct space *, struct context *))
{
    struct space s;
    struct context *ctx;
    bool good;

    space_make(w, &s);
    ctx = context_at(w, guest_syscall);
    good = body(&s, ctx);
    w->ops->ctx_destroy(ctx);
    space_free(&s);
    return good;
}

#define TEST(name)                                                                                 \
    static bool name(struct world *w)                                                              \
    {                                                                                              \
        return with_context(w, run_##name);                                                        \
    }

TEST(syscall_registers)
TEST(syscall_results)
TEST(faults)
TEST(page_border)
TEST(kernel_half)
TEST(fp)
TEST(bases)
TEST(move)

const struct test basic_tests[] = {
    {"syscall_registers", syscall_registers},
    {"syscall_results", syscall_results},
    {"faults", faults},
    {"page_border", page_border},
    {"kernel_half", kernel_half},
    {"fp", fp},
    {"bases", bases},
    {"move", move},
    {NULL, NULL},
};
