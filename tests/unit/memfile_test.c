#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "platform/memfile.h"

#define MIB (1UL << 20)

static struct memfile *make(uint64_t limit)
{
    struct memfile *mf;

    cr_assert_eq(memfile_create(limit, &mf), 0);
    return mf;
}

static struct memfile_range alloc(struct memfile *mf, uint64_t size, uint64_t align)
{
    struct memfile_range r = {0};

    cr_assert_eq(memfile_alloc(mf, size, align, &r), 0, "size %lu align %lu", size, align);
    cr_assert_eq(r.size, size);
    cr_assert(is_aligned(r.start, MAX(align, PAGE_SIZE)));
    return r;
}

static struct memfile_stats stats(struct memfile *mf)
{
    struct memfile_stats s;

    memfile_get_stats(mf, &s);
    return s;
}

static bool is_zero(const uint8_t *p, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

Test(memfile, a_page_is_zero_also_when_it_was_used_before)
{
    struct memfile *mf = make(2 * MIB); /* too little for any to be kept warm */
    struct memfile_range first = alloc(mf, 2 * PAGE_SIZE, PAGE_SIZE), second;
    uint8_t *p = memfile_ptr(mf, first.start);

    cr_assert(is_zero(p, 2 * PAGE_SIZE));
    memset(p, 0xaa, 2 * PAGE_SIZE);
    memfile_unref(mf, first);
    second = alloc(mf, 2 * PAGE_SIZE, PAGE_SIZE);
    cr_assert_eq(second.start, first.start, "first fit takes the freed pages again");
    cr_assert(is_zero(memfile_ptr(mf, second.start), 2 * PAGE_SIZE));
    memfile_destroy(mf);
}

Test(memfile, a_dirty_page_comes_back_to_those_who_ask_for_one)
{
    struct memfile *mf = make(2 * MIB);
    struct memfile_range one, other, dirty, all;
    uint8_t *p;

    one = alloc(mf, PAGE_SIZE, PAGE_SIZE);
    other = alloc(mf, PAGE_SIZE, PAGE_SIZE);
    p = memfile_ptr(mf, one.start);
    memset(p, 0xaa, PAGE_SIZE);
    memfile_unref(mf, other);
    memfile_unref(mf, one);
    cr_assert_eq(stats(mf).allocated, 0);
    cr_assert_eq(memfile_alloc_dirty(mf, PAGE_SIZE, &dirty), 0);
    cr_assert_eq(dirty.start, MIN(one.start, other.start), "the lowest first");
    cr_assert_eq(memfile_page_refs(mf, dirty.start), 1);
    cr_assert_eq(stats(mf).allocated, PAGE_SIZE);
    memfile_unref(mf, dirty);
    /* Nothing is lost by it, and nobody else sees it. */
    all = alloc(mf, 2 * MIB, PAGE_SIZE);
    cr_assert(is_zero(memfile_ptr(mf, all.start), 2 * MIB));
    memfile_unref(mf, all);
    memfile_destroy(mf);
}

static uint64_t resident(struct memfile *mf, struct memfile_range r)
{
    static uint8_t vec[64 * MIB / PAGE_SIZE];
    uint64_t count = 0;

    memfile_resident(mf, r, vec);
    for (uint64_t i = 0; i < r.size / PAGE_SIZE; i++)
        count += vec[i];
    return count * PAGE_SIZE;
}

Test(memfile, a_warm_run_comes_back_cleared_to_those_who_will_touch_it)
{
    struct memfile *mf = make(64 * MIB);
    struct memfile_range first = alloc(mf, 16 * PAGE_SIZE, 16 * PAGE_SIZE), cold, soon;

    memset(memfile_ptr(mf, first.start), 0xaa, first.size);
    memfile_unref(mf, first);
    cr_assert_eq(stats(mf).allocated, 0);
    cold = alloc(mf, 16 * PAGE_SIZE, 16 * PAGE_SIZE);
    cr_assert_neq(cold.start, first.start, "for others it is not there");
    cr_assert_eq(resident(mf, cold), 0);

    cr_assert_eq(memfile_alloc_soon(mf, first.size, first.size, &soon), 0);
    cr_assert_eq(soon.start, first.start);
    cr_assert_eq(resident(mf, soon), soon.size);
    cr_assert(is_zero(memfile_ptr(mf, soon.start), soon.size));
    cr_assert_eq(memfile_page_refs(mf, soon.start + PAGE_SIZE), 1);
    cr_assert_eq(stats(mf).allocated, cold.size + soon.size);
    memfile_unref(mf, cold);
    memfile_unref(mf, soon);
    memfile_destroy(mf);
}

Test(memfile, only_what_the_host_has_memory_for_is_kept_warm)
{
    struct memfile *mf = make(64 * MIB);
    struct memfile_range run = alloc(mf, 16 * PAGE_SIZE, 16 * PAGE_SIZE), soon;

    memset(memfile_ptr(mf, run.start + 4 * PAGE_SIZE), 0xaa, 4 * PAGE_SIZE);
    memfile_unref(mf, run);
    cr_assert_eq(memfile_alloc_soon(mf, 8 * PAGE_SIZE, PAGE_SIZE, &soon), 0);
    cr_assert_eq(resident(mf, soon), 0);
    cr_assert_eq(memfile_alloc_soon(mf, 4 * PAGE_SIZE, PAGE_SIZE, &soon), 0);
    cr_assert_eq(soon.start, run.start + 4 * PAGE_SIZE);
    cr_assert(is_zero(memfile_ptr(mf, soon.start), soon.size));
    memfile_destroy(mf);
}

Test(memfile, little_is_kept_warm_and_nothing_is_lost_by_it)
{
    struct memfile *mf = make(64 * MIB);
    struct memfile_range most = alloc(mf, 32 * MIB, PAGE_SIZE), all;

    memset(memfile_ptr(mf, most.start), 0xaa, most.size);
    memfile_unref(mf, most);
    cr_assert_leq(resident(mf, most), 4 * MIB);
    cr_assert_gt(resident(mf, most), 0);
    all = alloc(mf, 64 * MIB, PAGE_SIZE);
    cr_assert_eq(resident(mf, all), 0);
    cr_assert(is_zero(memfile_ptr(mf, all.start), all.size));
    memfile_unref(mf, all);
    memfile_destroy(mf);
}

Test(memfile, sizes_and_alignments)
{
    struct memfile *mf = make(64 * MIB);
    struct memfile_range page, run, huge, odd, many;

    page = alloc(mf, PAGE_SIZE, PAGE_SIZE);
    run = alloc(mf, 16 * PAGE_SIZE, 16 * PAGE_SIZE);
    huge = alloc(mf, 2 * MIB, 2 * MIB);
    odd = alloc(mf, 100 * PAGE_SIZE, PAGE_SIZE);
    many = alloc(mf, 6 * MIB + PAGE_SIZE, 2 * MIB);
    cr_assert_eq(stats(mf).allocated, page.size + run.size + huge.size + odd.size + many.size);
    memfile_unref(mf, page);
    memfile_unref(mf, run);
    memfile_unref(mf, huge);
    memfile_unref(mf, odd);
    memfile_unref(mf, many);
    cr_assert_eq(stats(mf).allocated, 0);
    memfile_destroy(mf);
}

Test(memfile, runs_do_not_overlap)
{
    enum { COUNT = 300 };
    struct memfile *mf = make(64 * MIB);
    struct memfile_range r[COUNT];

    for (unsigned int round = 0; round < 3; round++) {
        for (unsigned int i = 0; i < COUNT; i++) {
            uint64_t pages = 1 + (i * 7 + round) % 40;

            r[i] = alloc(mf, pages * PAGE_SIZE, PAGE_SIZE << (i % 4));
            for (uint64_t at = 0; at < r[i].size; at += PAGE_SIZE) {
                uint32_t *p = memfile_ptr(mf, r[i].start + at);

                cr_assert_eq(*p, 0);
                *p = i + 1;
            }
        }
        for (unsigned int i = 0; i < COUNT; i++) {
            for (uint64_t at = 0; at < r[i].size; at += PAGE_SIZE)
                cr_assert_eq(*(uint32_t *)memfile_ptr(mf, r[i].start + at), i + 1);
        }
        /* Every other one first, so that later runs must find their way through holes. */
        for (unsigned int i = 0; i < COUNT; i += 2)
            memfile_unref(mf, r[i]);
        for (unsigned int i = 1; i < COUNT; i += 2)
            memfile_unref(mf, r[i]);
    }
    memfile_destroy(mf);
}

Test(memfile, references_free_page_by_page)
{
    struct memfile *mf = make(2 * MIB); /* too little for any to be kept warm */
    struct memfile_range r = alloc(mf, 8 * PAGE_SIZE, 8 * PAGE_SIZE);
    struct memfile_range middle = {r.start + 2 * PAGE_SIZE, 2 * PAGE_SIZE};
    uint8_t *p = memfile_ptr(mf, r.start);

    memset(p, 0x55, 8 * PAGE_SIZE);
    memfile_ref(mf, middle);
    cr_assert_eq(memfile_page_refs(mf, r.start), 1);
    cr_assert_eq(memfile_page_refs(mf, middle.start), 2);
    memfile_unref(mf, r);
    cr_assert_eq(memfile_page_refs(mf, r.start), 0);
    cr_assert_eq(memfile_page_refs(mf, middle.start), 1);
    cr_assert_eq(stats(mf).allocated, middle.size);
    cr_assert_eq(p[2 * PAGE_SIZE], 0x55, "a referenced page keeps its bytes");
    cr_assert(is_zero(p, 2 * PAGE_SIZE), "freed pages are punched out at once");
    memfile_unref(mf, middle);
    cr_assert_eq(stats(mf).allocated, 0);
    memfile_destroy(mf);
}

Test(memfile, the_limit_is_kept_and_all_of_it_can_be_had)
{
    struct memfile *mf = make(128 * MIB);
    struct memfile_range r[128], none = {1, 2};

    for (unsigned int i = 0; i < ARRAY_COUNT(r); i++)
        r[i] = alloc(mf, MIB, MIB);
    cr_assert_eq(memfile_alloc(mf, PAGE_SIZE, PAGE_SIZE, &none), -ENOMEM);
    cr_assert_eq(none.start, 1, "the result is untouched on failure");
    cr_assert_eq(memfile_alloc(mf, 256 * MIB, PAGE_SIZE, &none), -ENOMEM);
    memfile_unref(mf, r[77]);
    cr_assert_eq(alloc(mf, MIB, MIB).start, r[77].start);
    memfile_destroy(mf);
}

struct growth {
    uint64_t calls, extent;
    int answer;
};

static int on_grow(void *arg, uint64_t old_extent, uint64_t extent)
{
    struct growth *g = arg;

    cr_assert_eq(old_extent, g->extent);
    cr_assert_gt(extent, old_extent);
    if (g->answer == 0)
        g->extent = extent;
    g->calls++;
    return g->answer;
}

Test(memfile, growth_is_announced_before_pages_are_handed_out)
{
    struct memfile *mf = make(1024 * MIB);
    struct growth g = {0};

    memfile_set_grow(mf, on_grow, &g);
    for (unsigned int i = 0; i < 1024; i++) {
        struct memfile_range r = alloc(mf, MIB, PAGE_SIZE);

        cr_assert_leq(r.start + r.size, g.extent);
        cr_assert_eq(stats(mf).extent, g.extent);
    }
    cr_assert_gt(g.calls, 1);
    cr_assert_lt(g.calls, 16, "growth is geometric");
    memfile_destroy(mf);
}

Test(memfile, refused_growth_is_enomem_and_can_be_tried_again)
{
    struct memfile *mf = make(64 * MIB);
    struct growth g = {.answer = -ENOSPC};
    struct memfile_range r;

    memfile_set_grow(mf, on_grow, &g);
    cr_assert_eq(memfile_alloc(mf, PAGE_SIZE, PAGE_SIZE, &r), -ENOMEM);
    g.answer = 0;
    alloc(mf, PAGE_SIZE, PAGE_SIZE);
    memfile_destroy(mf);
}
