/* The scripted platform itself: other tests believe what it records. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "platform/fake/fake.h"

#define AT(page)   ((uaddr_t)(page)*PAGE_SIZE)
#define FILE_AT(p) ((uint64_t)(p)*PAGE_SIZE)

static struct platform *p;
static struct address_space *as;

static void set_up(void)
{
    cr_assert_eq(fake_platform_ops.create(NULL, &p), 0);
    cr_assert_eq(p->ops->as_create(p, NULL, &as), 0);
}

static void tear_down(void)
{
    p->ops->as_destroy(as);
    p->ops->destroy(p);
}

TestSuite(fake_platform, .init = set_up, .fini = tear_down);

static void map(unsigned int page, unsigned int count, int prot, unsigned int file_page)
{
    struct memfile_range range = {FILE_AT(file_page), FILE_AT(count)};

    cr_assert_eq(p->ops->as_map(as, AT(page), prot, range), 0);
}

static void expect(size_t n, unsigned int page, unsigned int count, int prot,
                   unsigned int file_page)
{
    const struct fake_mapping *m = fake_mapping_at(as, n);

    cr_expect_eq(m->addr, AT(page), "mapping %zu is at %lx", n, (unsigned long)m->addr);
    cr_expect_eq(m->range.size, FILE_AT(count), "mapping %zu", n);
    cr_expect_eq(m->range.start, FILE_AT(file_page), "mapping %zu", n);
    cr_expect_eq(m->prot, prot, "mapping %zu", n);
}

Test(fake_platform, maps_replace_and_split)
{
    map(10, 10, PROT_READ, 100);
    map(13, 2, PROT_READ | PROT_WRITE, 50);
    cr_assert_eq(fake_mapping_count(as), 3);
    expect(0, 10, 3, PROT_READ, 100);
    expect(1, 13, 2, PROT_READ | PROT_WRITE, 50);
    expect(2, 15, 5, PROT_READ, 105);
    map(5, 100, PROT_READ, 0);
    cr_assert_eq(fake_mapping_count(as), 1);
    expect(0, 5, 100, PROT_READ, 0);
}

Test(fake_platform, adjacent_runs_merge)
{
    map(10, 1, PROT_READ, 1);
    map(12, 1, PROT_READ, 3);
    map(11, 1, PROT_READ, 2);
    cr_assert_eq(fake_mapping_count(as), 1);
    expect(0, 10, 3, PROT_READ, 1);
    map(13, 1, PROT_READ, 9); /* next to it, from elsewhere */
    map(14, 1, PROT_WRITE, 10);
    cr_assert_eq(fake_mapping_count(as), 3);
}

Test(fake_platform, unmap_carves)
{
    map(10, 10, PROT_READ, 0);
    map(30, 2, PROT_READ, 40);
    cr_assert_eq(p->ops->as_unmap(as, AT(15), AT(16)), 0);
    cr_assert_eq(fake_mapping_count(as), 2);
    expect(0, 10, 5, PROT_READ, 0);
    expect(1, 31, 1, PROT_READ, 41);
    cr_assert_null(fake_mapping_find(as, AT(15)));
    cr_assert_eq(fake_mapping_find(as, AT(14) + 5), fake_mapping_at(as, 0));
    cr_assert_eq(p->ops->as_unmap(as, AT(12), AT(1)), 0);
    cr_assert_eq(fake_mapping_count(as), 3);
    cr_assert_eq(fake_unmap_calls(as), 2);
}

Test(fake_platform, failures_come_when_ordered)
{
    struct memfile_range range = {0, PAGE_SIZE};

    fake_fail_map(as, 1, -ENOMEM);
    cr_assert_eq(p->ops->as_map(as, AT(1), PROT_READ, range), 0);
    cr_assert_eq(p->ops->as_map(as, AT(2), PROT_READ, range), -ENOMEM);
    cr_assert_eq(p->ops->as_map(as, AT(3), PROT_READ, range), 0);
    cr_assert_null(fake_mapping_find(as, AT(2)));
    cr_assert_eq(fake_map_calls(as), 3);
}

static void interrupt(struct context *ctx, void *arg)
{
    ctx->ops->ctx_interrupt(ctx);
}

Test(fake_platform, script_is_played)
{
    static const struct fake_step steps[] = {
        {.trap = TRAP_SYSCALL, .number = 39, .args = {1, 2, 3, 4, 5, 6}},
        {.trap = TRAP_FAULT, .info = {.addr = 0x1234, .access = ACCESS_WRITE}, .act = interrupt},
    };
    struct trap_info info;
    struct context *ctx;

    fake_leave_script(p, steps, ARRAY_COUNT(steps));
    cr_assert_eq(p->ops->ctx_create(p, &ctx), 0);
    ctx->regs.rip = 0x400000;
    cr_assert_eq(p->ops->ctx_switch(ctx, as, &info), TRAP_SYSCALL);
    cr_assert_eq(ctx->regs.rax, 39);
    cr_assert_eq(ctx->regs.r9, 6);
    cr_assert_eq(ctx->regs.rip, 0x400002);
    ctx->regs.rax = 77;
    cr_assert_eq(p->ops->ctx_switch(ctx, as, &info), TRAP_FAULT);
    cr_assert_eq(info.addr, 0x1234);
    cr_assert_eq(p->ops->ctx_switch(ctx, as, &info), TRAP_INTERRUPT);
    cr_assert_eq(p->ops->ctx_switch(ctx, as, &info), TRAP_KILLED);
    cr_assert_eq(fake_switch_count(ctx), 4);
    cr_assert_eq(fake_switch_at(ctx, 1)->regs.rax, 77);
    cr_assert_eq(fake_switch_at(ctx, 2)->trap, TRAP_INTERRUPT);
    cr_assert_eq(fake_steps_left(ctx), 0);
    p->ops->ctx_destroy(ctx);
}

Test(fake_platform, extended_state_is_checked)
{
    uint32_t size = p->ops->fp_size(p);
    uint8_t area[4096], back[4096];
    struct context *ctx;

    cr_assert_eq(p->ops->ctx_create(p, &ctx), 0);
    cr_assert_eq(p->ops->ctx_get_fp(ctx, area, size), 0);
    area[100] = 5;
    memset(area + 24, 0xff, 4);
    cr_assert_eq(p->ops->ctx_set_fp(ctx, area, size), 0);
    cr_assert_eq(p->ops->ctx_get_fp(ctx, back, size), 0);
    cr_assert_eq(back[100], 5);
    cr_assert_eq(back[27], 0, "reserved MXCSR bits");
    area[520] = 1;
    cr_assert_eq(p->ops->ctx_set_fp(ctx, area, size), -EINVAL);
    cr_assert_eq(p->ops->ctx_set_fp(ctx, area, size - 1), -EINVAL);
    p->ops->ctx_destroy(ctx);
}
