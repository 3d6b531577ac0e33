#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ring0/pagetable.h"

#define KIB(n)      ((uint64_t)(n) << 10)
#define MIB(n)      ((uint64_t)(n) << 20)
#define GIB(n)      ((uint64_t)(n) << 30)
#define TABLE_PAGES 64

/* Table memory of a few pages, which counts what it is asked. */
struct bed {
    struct pagetable_memory memory;
    struct pagetable pt;
    struct pagetable_drops drops;
    uint64_t used, room, settled, freed;
};

static int bed_alloc(void *arg, uint64_t *ret_gpa)
{
    struct bed *b = arg;

    if (b->used == b->room)
        return -ENOMEM;
    *ret_gpa = ++b->used * PAGE_SIZE;
    return 0;
}

static void bed_free(void *arg, uint64_t gpa)
{
    struct bed *b = arg;

    cr_assert(gpa > 0 && is_aligned(gpa, PAGE_SIZE));
    b->freed++;
}

static void bed_settle(void *arg)
{
    ((struct bed *)arg)->settled++;
}

static uint64_t bed_generation(void *arg)
{
    return ((struct bed *)arg)->settled + 1;
}

static struct bed *bed_make(void)
{
    struct bed *b = calloc(1, sizeof(*b));

    b->room = TABLE_PAGES;
    b->memory = (struct pagetable_memory){
        .base = aligned_alloc(PAGE_SIZE, (TABLE_PAGES + 1) * PAGE_SIZE),
        .used = calloc(TABLE_PAGES + 1, sizeof(uint16_t)),
        .arg = b,
        .large = true,
        .alloc = bed_alloc,
        .free = bed_free,
        .settle = bed_settle,
        .generation = bed_generation,
    };
    memset(b->memory.base, 0, (TABLE_PAGES + 1) * PAGE_SIZE);
    cr_assert_eq(pagetable_init(&b->pt, &b->memory), 0);
    return b;
}

/* Counts what leads to a leaf anew, in all tables, and compares. */
static uint64_t check_used(struct bed *b, uint64_t gpa, int level)
{
    const uint64_t *table = (const uint64_t *)(b->memory.base + gpa);
    uint64_t used = 0;

    for (int i = 0; i < 512; i++) {
        uint64_t entry = table[i];

        if (level == 0)
            used += entry != 0;
        else if ((entry & PTE_PRESENT) && (entry & PTE_LARGE))
            used++;
        else if (entry & PTE_PRESENT)
            used += check_used(b, entry & PTE_ADDRESS, level - 1) != 0;
    }
    cr_assert_eq(b->memory.used[gpa / PAGE_SIZE], used, "level %d", level);
    return used;
}

static void map(struct bed *b, uint64_t va, uint64_t size, uint64_t gpa, uint64_t flags)
{
    b->drops = (struct pagetable_drops){0};
    cr_assert_eq(pagetable_map(&b->pt, va, size, gpa, flags, &b->drops), 0);
    check_used(b, b->pt.root, 3);
}

static void unmap(struct bed *b, uint64_t va, uint64_t size)
{
    b->drops = (struct pagetable_drops){0};
    cr_assert_eq(pagetable_unmap(&b->pt, va, size, &b->drops), 0);
    check_used(b, b->pt.root, 3);
}

static uint64_t at(struct bed *b, uint64_t va)
{
    uint64_t gpa = 0;

    return pagetable_lookup(&b->pt, va, &gpa) ? gpa : 0;
}

static uint64_t flags_at(struct bed *b, uint64_t va)
{
    uint64_t gpa;

    return pagetable_lookup(&b->pt, va, &gpa) & ~PTE_ADDRESS;
}

Test(pagetable, small_pages_carry_address_and_rights)
{
    struct bed *b = bed_make();

    map(b, 0x400000, KIB(8), GIB(4), PTE_USER | PTE_WRITE);
    map(b, 0x402000, KIB(4), GIB(5), PTE_USER | PTE_NX);
    cr_assert_eq(at(b, 0x401234), GIB(4) + 0x1234);
    cr_assert_eq(at(b, 0x402fff), GIB(5) + 0xfff);
    cr_assert_eq(at(b, 0x403000), 0);
    cr_assert_eq(at(b, 0x3ff000), 0);
    cr_assert_eq(flags_at(b, 0x400000),
                 PTE_PRESENT | PTE_USER | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY);
    cr_assert_eq(flags_at(b, 0x402000), PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_NX);
    cr_assert_eq(b->drops.count, 0, "adding drops nothing");
}

Test(pagetable, the_whole_user_half_can_be_mapped_and_no_more)
{
    struct bed *b = bed_make();

    map(b, PAGE_SIZE, PAGE_SIZE, GIB(4), PTE_USER);
    map(b, 0x7fffffffe000, PAGE_SIZE, GIB(4) + PAGE_SIZE, PTE_USER);
    cr_assert_eq(at(b, 0x7fffffffefff), GIB(4) + PAGE_SIZE + 0xfff);
    cr_assert_eq(at(b, PAGETABLE_USER_END), 0);
    cr_assert_eq(at(b, 0xffffff0000000000), 0);
}

Test(pagetable, aligned_ranges_get_large_pages)
{
    struct bed *b = bed_make();
    uint64_t tables;

    map(b, MIB(2) - KIB(4), MIB(4) + KIB(8), GIB(4) + MIB(2) - KIB(4), PTE_USER | PTE_WRITE);
    tables = b->pt.table_count;
    cr_assert(flags_at(b, MIB(2)) & PTE_LARGE);
    cr_assert(flags_at(b, MIB(4)) & PTE_LARGE);
    cr_assert(!(flags_at(b, MIB(2) - 1) & PTE_LARGE));
    cr_assert(!(flags_at(b, MIB(6)) & PTE_LARGE));
    cr_assert_eq(at(b, MIB(5) + 5), GIB(4) + MIB(5) + 5);
    cr_assert_eq(tables, 5, "root, two above, one for each ragged end");
    map(b, GIB(1), MIB(2), GIB(4) + KIB(4), PTE_USER);
    cr_assert(!(flags_at(b, GIB(1)) & PTE_LARGE), "the guest-physical side is not aligned");
}

Test(pagetable, rights_that_go_are_dropped_and_rights_that_come_are_not)
{
    struct bed *b = bed_make();

    map(b, MIB(1), KIB(16), GIB(4), PTE_USER);
    map(b, MIB(1), KIB(16), GIB(4), PTE_USER | PTE_WRITE);
    cr_assert_eq(b->drops.count, 0, "wider");
    map(b, MIB(1), KIB(16), GIB(4), PTE_USER);
    cr_assert_eq(b->drops.count, 1, "read-only now; neighbours make one run");
    cr_assert_eq(b->drops.runs[0].gpa, GIB(4));
    cr_assert_eq(b->drops.runs[0].size, KIB(16));
    map(b, MIB(1), KIB(4), GIB(4), PTE_USER | PTE_NX);
    cr_assert_eq(b->drops.count, 1, "not executable now");
    map(b, MIB(1), KIB(4), GIB(6), PTE_USER | PTE_NX);
    cr_assert_eq(b->drops.count, 1, "another page");
    cr_assert_eq(b->drops.runs[0].gpa, GIB(4), "the old one is dropped");
    unmap(b, MIB(1), KIB(16));
    cr_assert_eq(b->drops.count, 2);
    cr_assert_eq(at(b, MIB(1)), 0);
    unmap(b, MIB(1), KIB(16));
    cr_assert_eq(b->drops.count, 0, "nothing left");
}

Test(pagetable, too_many_runs_become_all)
{
    struct bed *b = bed_make();

    for (uint64_t i = 0; i <= PAGETABLE_DROPS; i++)
        map(b, MIB(1) + i * PAGE_SIZE, PAGE_SIZE, GIB(4) + i * 2 * PAGE_SIZE, PTE_USER);
    unmap(b, MIB(1), PAGETABLE_DROPS * PAGE_SIZE);
    cr_assert_eq(b->drops.count, PAGETABLE_DROPS);
    cr_assert(!b->drops.all);
    for (uint64_t i = 0; i < PAGETABLE_DROPS; i++)
        map(b, MIB(1) + i * PAGE_SIZE, PAGE_SIZE, GIB(4) + i * 2 * PAGE_SIZE, PTE_USER);
    unmap(b, 0, PAGETABLE_USER_END);
    cr_assert(b->drops.all);
}

Test(pagetable, shadowed_tables_have_no_large_pages)
{
    struct bed *b = bed_make();

    b->memory.large = false;
    map(b, MIB(2), MIB(4), GIB(4), PTE_USER);
    cr_assert(!(flags_at(b, MIB(2)) & PTE_LARGE));
    cr_assert_eq(at(b, MIB(6) - 1), GIB(4) + MIB(4) - 1);
    unmap(b, MIB(2), MIB(4));
    cr_assert_eq(b->drops.count, 1);
    cr_assert_eq(b->drops.runs[0].size, MIB(4));
    cr_assert_eq(b->settled, 0);
}

Test(pagetable, a_large_page_is_split_when_a_part_goes)
{
    struct bed *b = bed_make();

    map(b, MIB(2), MIB(2), GIB(4), PTE_USER | PTE_WRITE);
    unmap(b, MIB(3), KIB(4));
    cr_assert_eq(b->settled, 1, "leaf and table may never be known at once");
    cr_assert_eq(at(b, MIB(3)), 0);
    cr_assert_eq(at(b, MIB(3) - 1), GIB(4) + MIB(1) - 1);
    cr_assert_eq(at(b, MIB(3) + KIB(4)), GIB(4) + MIB(1) + KIB(4));
    cr_assert_eq(flags_at(b, MIB(2)),
                 PTE_PRESENT | PTE_USER | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY);
    cr_assert_eq(b->drops.count, 1);
    cr_assert_eq(b->drops.runs[0].gpa, GIB(4) + MIB(1));
    cr_assert_eq(b->drops.runs[0].size, KIB(4));
}

Test(pagetable, nothing_takes_the_place_of_a_large_page_before_settling)
{
    struct bed *b = bed_make();

    map(b, MIB(2), MIB(2), GIB(4), PTE_USER);
    unmap(b, MIB(2), MIB(2));
    cr_assert_eq(b->drops.runs[0].size, MIB(2));
    cr_assert_eq(b->settled, 0, "going away is free");
    map(b, MIB(2), MIB(2), GIB(6), PTE_USER);
    cr_assert_eq(b->settled, 1);
    map(b, MIB(2), MIB(2), GIB(8), PTE_USER);
    cr_assert_eq(b->settled, 2, "replaced in one go");
    unmap(b, MIB(2), MIB(2));
    bed_settle(b);
    map(b, MIB(2), KIB(4), GIB(4), PTE_USER);
    cr_assert_eq(b->settled, 3, "settled by somebody else in between");
    unmap(b, MIB(2), MIB(2));
    map(b, MIB(2), MIB(2), GIB(4), PTE_USER);
    cr_assert(!(flags_at(b, MIB(2)) & PTE_LARGE), "a table keeps its place");
}

Test(pagetable, pruning_gives_empty_tables_back_and_keeps_the_rest)
{
    struct bed *b = bed_make();
    uint64_t before = b->pt.table_count;

    map(b, GIB(1), KIB(4), GIB(4), PTE_USER);
    map(b, GIB(1025), KIB(4), GIB(4), PTE_USER);
    map(b, GIB(1025) + MIB(2), KIB(4), GIB(4), PTE_USER);
    unmap(b, GIB(1), KIB(4));
    unmap(b, GIB(1025) + MIB(2), KIB(4));
    cr_assert_eq(pagetable_prune(&b->pt), 4);
    check_used(b, b->pt.root, 3);
    cr_assert_eq(b->freed, 4);
    cr_assert_eq(b->settled, 1);
    cr_assert_eq(at(b, GIB(1025)), GIB(4));
    cr_assert_eq(b->pt.table_count, before + 3);
    pagetable_free(&b->pt);
    cr_assert_eq(b->freed, b->used);
}

Test(pagetable, running_out_of_tables_is_enomem)
{
    struct bed *b = bed_make();

    b->room = 3;
    cr_assert_eq(pagetable_map(&b->pt, MIB(1), KIB(4), GIB(4), PTE_USER, &b->drops), -ENOMEM);
    cr_assert_eq(at(b, MIB(1)), 0);
    b->room = 4;
    map(b, MIB(1), KIB(4), GIB(4), PTE_USER);
    cr_assert_eq(at(b, MIB(1)), GIB(4));
}

static void retire(struct bed *b)
{
    b->drops = (struct pagetable_drops){0};
    pagetable_retire(&b->pt, &b->drops);
    check_used(b, b->pt.root, 3);
}

static void sweep(struct bed *b)
{
    b->drops = (struct pagetable_drops){0};
    pagetable_sweep(&b->pt, &b->drops);
    check_used(b, b->pt.root, 3);
}

Test(pagetable, what_is_retired_and_mapped_again_alike_costs_nothing)
{
    struct bed *b = bed_make();

    map(b, 0x400000, KIB(8), GIB(4), PTE_USER | PTE_WRITE);
    map(b, 0x500000, KIB(4), GIB(5), PTE_USER | PTE_WRITE);
    map(b, 0x600000, KIB(4), GIB(6), PTE_USER);
    map(b, 0x700000, KIB(4), GIB(7), PTE_USER);
    cr_assert(b->drops.fresh);
    retire(b);
    cr_assert_eq(b->drops.count, 0);
    cr_assert_eq(at(b, 0x400000), 0, "nobody finds it any more");
    map(b, 0x400000, KIB(8), GIB(4), PTE_USER | PTE_WRITE);
    cr_assert_eq(b->drops.count, 0);
    cr_assert(!b->drops.fresh);
    map(b, 0x500000, KIB(4), GIB(5), PTE_USER);
    cr_assert_eq(b->drops.count, 1, "fewer rights");
    cr_assert_eq(b->drops.runs[0].gpa, GIB(5));
    map(b, 0x600000, KIB(4), GIB(8), PTE_USER);
    cr_assert_eq(b->drops.count, 1, "another page");
    cr_assert_eq(b->drops.runs[0].gpa, GIB(6));
    cr_assert(b->drops.fresh);
    sweep(b);
    cr_assert_eq(b->drops.count, 1, "what nobody mapped again");
    cr_assert_eq(b->drops.runs[0].gpa, GIB(7));
    cr_assert_eq(at(b, 0x401000), GIB(4) + PAGE_SIZE);
    cr_assert_eq(at(b, 0x700000), 0);
    sweep(b);
    cr_assert_eq(b->drops.count, 0);
}

Test(pagetable, unmapping_leaves_to_the_sweep_what_is_retired)
{
    struct bed *b = bed_make();

    map(b, 0x400000, KIB(4), GIB(4), PTE_USER);
    retire(b);
    unmap(b, 0x400000, KIB(4));
    cr_assert_eq(b->drops.count, 0);
    cr_assert_eq(pagetable_prune(&b->pt), 0, "it holds its table");
    sweep(b);
    cr_assert_eq(b->drops.count, 1);
}

Test(pagetable, large_pages_go_at_once_and_are_not_swept)
{
    struct bed *b = bed_make();

    map(b, MIB(2), MIB(2), GIB(4), PTE_USER);
    retire(b);
    cr_assert_eq(b->drops.count, 1);
    cr_assert_eq(b->drops.runs[0].size, MIB(2));
    map(b, MIB(2), MIB(2), GIB(5), PTE_USER);
    sweep(b);
    cr_assert_eq(b->drops.count, 0);
    cr_assert_eq(at(b, MIB(2)), GIB(5));
}

/* What map(), unmap(), retire() and sweep() check each time is the point: which tables are in use.
 */
Test(pagetable, walks_know_what_is_in_use_whatever_happened)
{
    struct bed *b = bed_make();
    uint64_t seed = 1;

    for (int i = 0; i < 400; i++) {
        uint64_t where, size;

        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        where = GIB(1) * (seed >> 60 & 3) + MIB(2) * (seed >> 56 & 3);
        size = seed >> 40 & 1 ? MIB(2) : KIB(4) * (1 + (seed >> 32 & 7));
        if (size < MIB(2))
            where += KIB(4) * (seed >> 48 & 63);
        switch (seed >> 36 & 7) {
        case 0:
            retire(b);
            break;
        case 1:
            sweep(b);
            break;
        case 2:
        case 3:
            unmap(b, where, size);
            break;
        default:
            map(b, where, size, GIB(4) + MIB(2) * (seed >> 50 & 7), PTE_USER | PTE_WRITE);
            break;
        }
    }
    retire(b);
    sweep(b);
    cr_assert_eq(b->memory.used[b->pt.root / PAGE_SIZE], 0);
    cr_assert_eq(at(b, GIB(1)), 0);
}
