/*
 * Four levels; level 0 holds 4 KiB leaves, level 1 may hold 2 MiB leaves, level 3 is the root.
 *
 * Accessed and dirty bits are set from the start: the VMM never looks at them, and a KVM without
 * nested paging maps neighbours ahead (and writable at once) only where they are set, which saves
 * six of seven faults.
 */
#include "ring0/pagetable.h"

#include <errno.h>
#include <string.h>

#include "base/bug.h"

#define ENTRY_COUNT 512
#define ROOT_LEVEL  3
#define USER_TOP    256 /* entries of the root that belong to the program */

/* An absent entry where a 2 MiB page was: bit 1, and the generation above it. */
#define ABSENT_MARK(generation) ((generation) << 2 | 2)
#define IS_MARK(entry)          (((entry)&3) == 2)
#define MARK_GENERATION(entry)  ((entry) >> 2)

#define RIGHTS                  (PTE_WRITE | PTE_USER)

/* A leaf of 4 KiB that was retired: not present, all else as it was. */
#define IS_RETIRED(entry) ((entry) && !((entry)&PTE_PRESENT))

static unsigned int level_shift(unsigned int level)
{
    return PAGE_SHIFT + 9 * level;
}

static uint64_t level_size(unsigned int level)
{
    return 1UL << level_shift(level);
}

static unsigned int entry_index(uint64_t va, unsigned int level)
{
    return (unsigned int)(va >> level_shift(level)) & (ENTRY_COUNT - 1);
}

static uint64_t *table_at(const struct pagetable *pt, uint64_t entry)
{
    return (uint64_t *)(pt->memory->base + (entry & PTE_ADDRESS));
}

/*
 * How many entries of the table that an entry lies in lead to a leaf: at level 0 those that are not
 * 0, above it the large leaves and the tables of which this number is not 0 either. Trees gather
 * empty tables, since those stay; this is what keeps a walk as short as the program is small.
 */
static uint16_t *used_around(const struct pagetable *pt, const uint64_t *entry)
{
    return &pt->memory->used[((const uint8_t *)entry - pt->memory->base) / PAGE_SIZE];
}

static uint16_t used_below(const struct pagetable *pt, uint64_t entry)
{
    return pt->memory->used[(entry & PTE_ADDRESS) / PAGE_SIZE];
}

static void count_use(struct pagetable *pt, const uint64_t *entry, bool before, bool after)
{
    *used_around(pt, entry) = (uint16_t)(*used_around(pt, entry) + after - before);
}

static bool is_used(uint64_t leaf, unsigned int level)
{
    return level == 0 ? leaf != 0 : leaf & PTE_PRESENT;
}

static uint64_t entry_load(const uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_RELAXED);
}

/* vCPUs set accessed and dirty bits at any time, so the old value comes from an exchange. */
static uint64_t entry_exchange(uint64_t *entry, uint64_t value)
{
    return __atomic_exchange_n(entry, value, __ATOMIC_ACQ_REL);
}

static void drop(struct pagetable_drops *drops, uint64_t gpa, uint64_t size)
{
    unsigned int last = drops->count - 1;

    if (drops->all)
        return;
    if (drops->count > 0 && drops->runs[last].gpa + drops->runs[last].size == gpa) {
        drops->runs[last].size += size;
        return;
    }
    if (drops->count > 0 && gpa + size == drops->runs[last].gpa) {
        drops->runs[last].gpa = gpa;
        drops->runs[last].size += size;
        return;
    }
    if (drops->count == PAGETABLE_DROPS) {
        drops->all = true;
        return;
    }
    drops->runs[drops->count].gpa = gpa;
    drops->runs[drops->count].size = size;
    drops->count++;
}

/* Is there anything that the old leaf allowed and the new entry does not? */
static bool loses_rights(uint64_t old, uint64_t new)
{
    if (!(old & PTE_PRESENT))
        return false;
    if (!(new &PTE_PRESENT) || (old & PTE_ADDRESS) != (new &PTE_ADDRESS))
        return true;
    return (old & ~new &RIGHTS) || (new & ~old &PTE_NX);
}

/* Puts a new leaf, or 0, where a leaf or nothing is. */
static void set_leaf(struct pagetable *pt, uint64_t *entry, uint64_t value, unsigned int level,
                     struct pagetable_drops *drops)
{
    uint64_t old = entry_exchange(entry, value);

    count_use(pt, entry, is_used(old, level), is_used(value, level));
    if (level == 0 && IS_RETIRED(old)) {
        pt->retired_count--;
        old |= PTE_PRESENT;
    }
    if (!(old & PTE_PRESENT) || (old & PTE_ADDRESS) != (value & PTE_ADDRESS))
        drops->fresh = true;
    if (loses_rights(old, value))
        drop(drops, old & PTE_ADDRESS, level_size(level));
}

static int new_table(struct pagetable *pt, uint64_t *ret_gpa)
{
    int err = pt->memory->alloc(pt->memory->arg, ret_gpa);

    if (!err)
        pt->table_count++;
    return err;
}

/* The entry has been absent for long enough that something of another kind may stand there. */
static void settle_mark(struct pagetable *pt, uint64_t entry)
{
    if (IS_MARK(entry) && MARK_GENERATION(entry) == pt->memory->generation(pt->memory->arg))
        pt->memory->settle(pt->memory->arg);
}

/* Replaces a 2 MiB leaf by a table of the same 512 pages. */
static int split(struct pagetable *pt, uint64_t *entry)
{
    uint64_t table, old, *leaves;
    int err = new_table(pt, &table);

    if (err)
        return err;
    old = entry_exchange(entry, 0);
    pt->memory->settle(pt->memory->arg);
    leaves = table_at(pt, table);
    for (unsigned int i = 0; i < ENTRY_COUNT; i++)
        leaves[i] = (old & ~PTE_LARGE) + i * PAGE_SIZE;
    *used_around(pt, leaves) = ENTRY_COUNT; /* for its own table it is what the leaf was */
    entry_exchange(entry, table | PTE_PRESENT | PTE_WRITE | PTE_USER);
    return 0;
}

/* Makes sure that a table hangs at this entry of a table of `level`. */
static int need_table(struct pagetable *pt, uint64_t *entry, unsigned int level)
{
    uint64_t old = entry_load(entry), table;
    int err;

    if ((old & PTE_PRESENT) && !(old & PTE_LARGE))
        return 0;
    if (old & PTE_PRESENT)
        return split(pt, entry);
    err = new_table(pt, &table);
    if (err)
        return err;
    settle_mark(pt, old);
    entry_exchange(entry, table | PTE_PRESENT | PTE_WRITE | PTE_USER);
    return 0;
}

int pagetable_init(struct pagetable *pt, const struct pagetable_memory *memory)
{
    *pt = (struct pagetable){.memory = memory};
    return new_table(pt, &pt->root);
}

void pagetable_set_top(struct pagetable *pt, unsigned int index, uint64_t entry)
{
    BUG_ON(index < USER_TOP || index >= ENTRY_COUNT);
    entry_exchange(&table_at(pt, pt->root)[index], entry);
}

static void check_range(uint64_t va, uint64_t size)
{
    BUG_ON(!is_aligned(va | size, PAGE_SIZE));
    BUG_ON(size > PAGETABLE_USER_END || va > PAGETABLE_USER_END - size);
}

struct map_job {
    struct pagetable *pt;
    uint64_t va, end; /* still to do */
    uint64_t gpa, flags;
    struct pagetable_drops *drops;
};

static bool fits_large(const struct map_job *job, uint64_t entry)
{
    bool table = (entry & PTE_PRESENT) && !(entry & PTE_LARGE);

    return job->pt->memory->large && !table && is_aligned(job->va | job->gpa, HUGE_PAGE_SIZE) &&
           job->end - job->va >= HUGE_PAGE_SIZE;
}

static void map_large(struct map_job *job, uint64_t *entry)
{
    uint64_t old = entry_load(entry), value = job->gpa | job->flags | PTE_LARGE;

    if ((old & PTE_PRESENT) && (old & PTE_ADDRESS) != job->gpa) {
        entry_exchange(entry, 0);
        count_use(job->pt, entry, true, false);
        job->pt->memory->settle(job->pt->memory->arg);
    } else {
        settle_mark(job->pt, old);
    }
    set_leaf(job->pt, entry, value, 1, job->drops);
    job->va += HUGE_PAGE_SIZE;
    job->gpa += HUGE_PAGE_SIZE;
}

static int map_level(struct map_job *job, uint64_t *table, unsigned int level);

/* The same for the table that hangs at this entry of one of `level`. */
static int map_below(struct map_job *job, uint64_t *entry, unsigned int level)
{
    uint64_t table = entry_load(entry);
    bool before = used_below(job->pt, table);
    int err = map_level(job, table_at(job->pt, table), level - 1);

    count_use(job->pt, entry, before, used_below(job->pt, table));
    return err;
}

/* Maps what lies under one table; advances the job. */
static int map_level(struct map_job *job, uint64_t *table, unsigned int level)
{
    uint64_t last = round_down(job->va, level_size(level + 1)) + level_size(level + 1);
    int err;

    while (job->va < job->end && job->va < last) {
        uint64_t *entry = &table[entry_index(job->va, level)];

        if (level == 0) {
            set_leaf(job->pt, entry, job->gpa | job->flags, 0, job->drops);
            job->va += PAGE_SIZE;
            job->gpa += PAGE_SIZE;
            continue;
        }
        if (level == 1 && fits_large(job, entry_load(entry))) {
            map_large(job, entry);
            continue;
        }
        err = need_table(job->pt, entry, level);
        if (err)
            return err;
        err = map_below(job, entry, level);
        if (err)
            return err;
    }
    return 0;
}

int pagetable_map(struct pagetable *pt, uint64_t va, uint64_t size, uint64_t gpa, uint64_t flags,
                  struct pagetable_drops *drops)
{
    struct map_job job = {pt, va, va + size, gpa, flags, drops};

    check_range(va, size);
    BUG_ON(!is_aligned(gpa, PAGE_SIZE) || (flags & ~(PTE_USER | PTE_WRITE | PTE_NX)));
    job.flags |= PTE_PRESENT | PTE_ACCESSED | (flags & PTE_WRITE ? PTE_DIRTY : 0);
    return map_level(&job, table_at(pt, pt->root), ROOT_LEVEL);
}

static int unmap_level(struct pagetable *pt, uint64_t *table, unsigned int level, uint64_t va,
                       uint64_t end, struct pagetable_drops *drops)
{
    uint64_t size = level_size(level), next;
    bool before;
    int err;

    for (; va < end; va = next) {
        uint64_t *entry = &table[entry_index(va, level)], old = entry_load(entry);

        next = MIN(round_down(va, size) + size, end);
        if (!(old & PTE_PRESENT))
            continue;
        if (level == 0) {
            set_leaf(pt, entry, 0, 0, drops);
            continue;
        }
        if (old & PTE_LARGE) {
            if (next - va == size) {
                set_leaf(pt, entry, ABSENT_MARK(pt->memory->generation(pt->memory->arg)), 1, drops);
                continue;
            }
            err = split(pt, entry);
            if (err)
                return err;
        }
        old = entry_load(entry);
        before = used_below(pt, old);
        err = unmap_level(pt, table_at(pt, old), level - 1, va, next, drops);
        count_use(pt, entry, before, used_below(pt, old));
        if (err)
            return err;
    }
    return 0;
}

int pagetable_unmap(struct pagetable *pt, uint64_t va, uint64_t size, struct pagetable_drops *drops)
{
    check_range(va, size);
    return unmap_level(pt, table_at(pt, pt->root), ROOT_LEVEL, va, va + size, drops);
}

typedef void (*leaf_fn)(struct pagetable *pt, uint64_t *entry, unsigned int level,
                        struct pagetable_drops *drops);

/* Calls fn for each leaf below a table, retired ones too. */
static void each_leaf(struct pagetable *pt, uint64_t *table, unsigned int level, unsigned int count,
                      leaf_fn fn, struct pagetable_drops *drops)
{
    unsigned int left = *used_around(pt, table);

    for (unsigned int i = 0; i < count && left > 0; i++) {
        uint64_t old = entry_load(&table[i]);
        bool is_table = level > 0 && (old & PTE_PRESENT) && !(old & PTE_LARGE);

        if (is_table ? !used_below(pt, old) : !is_used(old, level))
            continue;
        left--;
        if (is_table) {
            each_leaf(pt, table_at(pt, old), level - 1, ENTRY_COUNT, fn, drops);
            count_use(pt, &table[i], true, used_below(pt, old));
        } else {
            fn(pt, &table[i], level, drops);
        }
    }
}

static void retire_leaf(struct pagetable *pt, uint64_t *entry, unsigned int level,
                        struct pagetable_drops *drops)
{
    if (!(entry_load(entry) & PTE_PRESENT))
        return;
    if (level > 0) {
        set_leaf(pt, entry, ABSENT_MARK(pt->memory->generation(pt->memory->arg)), level, drops);
        return;
    }
    __atomic_fetch_and(entry, ~PTE_PRESENT, __ATOMIC_ACQ_REL);
    pt->retired_count++;
}

static void sweep_leaf(struct pagetable *pt, uint64_t *entry, unsigned int level,
                       struct pagetable_drops *drops)
{
    if (level == 0 && IS_RETIRED(entry_load(entry)))
        set_leaf(pt, entry, 0, 0, drops);
}

void pagetable_retire(struct pagetable *pt, struct pagetable_drops *drops)
{
    each_leaf(pt, table_at(pt, pt->root), ROOT_LEVEL, USER_TOP, retire_leaf, drops);
}

void pagetable_sweep(struct pagetable *pt, struct pagetable_drops *drops)
{
    if (pt->retired_count)
        each_leaf(pt, table_at(pt, pt->root), ROOT_LEVEL, USER_TOP, sweep_leaf, drops);
    BUG_ON(pt->retired_count != 0);
}

uint64_t pagetable_lookup(const struct pagetable *pt, uint64_t va, uint64_t *ret_gpa)
{
    uint64_t *table = table_at(pt, pt->root);

    if (va >= PAGETABLE_USER_END)
        return 0;
    for (unsigned int level = ROOT_LEVEL;; level--) {
        uint64_t entry = entry_load(&table[entry_index(va, level)]);

        if (!(entry & PTE_PRESENT))
            return 0;
        if (level == 0 || (entry & PTE_LARGE)) {
            *ret_gpa = (entry & PTE_ADDRESS) + (va & (level_size(level) - 1));
            return entry;
        }
        table = table_at(pt, entry);
    }
}

static bool table_is_empty(const uint64_t *table, unsigned int level)
{
    for (unsigned int i = 0; i < ENTRY_COUNT; i++) {
        uint64_t entry = entry_load(&table[i]);

        if ((entry & PTE_PRESENT) || (level == 0 && IS_RETIRED(entry)))
            return false;
    }
    return true;
}

/* Unhooks empty tables below this one; they form a chain through their first entries. */
static void unhook_empty(struct pagetable *pt, uint64_t *table, unsigned int level,
                         unsigned int count, uint64_t *chain)
{
    for (unsigned int i = 0; i < count; i++) {
        uint64_t entry = entry_load(&table[i]), *below;

        if (!(entry & PTE_PRESENT) || (entry & PTE_LARGE))
            continue;
        below = table_at(pt, entry);
        if (level > 1)
            unhook_empty(pt, below, level - 1, ENTRY_COUNT, chain);
        if (!table_is_empty(below, level - 1))
            continue;
        entry_exchange(&table[i], 0);
        entry_exchange(&below[0], *chain); /* page aligned: absent to a vCPU that still walks it */
        *chain = entry & PTE_ADDRESS;
    }
}

uint64_t pagetable_prune(struct pagetable *pt)
{
    uint64_t chain = 0, next, count = 0;

    unhook_empty(pt, table_at(pt, pt->root), ROOT_LEVEL, USER_TOP, &chain);
    if (!chain)
        return 0;
    pt->memory->settle(pt->memory->arg);
    for (; chain; chain = next, count++) {
        next = table_at(pt, chain)[0];
        memset(table_at(pt, chain), 0, PAGE_SIZE);
        pt->memory->free(pt->memory->arg, chain);
    }
    pt->table_count -= count;
    return count;
}

static void free_level(struct pagetable *pt, uint64_t gpa, unsigned int level, unsigned int count)
{
    uint64_t *table = table_at(pt, gpa);

    for (unsigned int i = 0; level > 0 && i < count; i++) {
        uint64_t entry = entry_load(&table[i]);

        if ((entry & PTE_PRESENT) && !(entry & PTE_LARGE))
            free_level(pt, entry & PTE_ADDRESS, level - 1, ENTRY_COUNT);
    }
    memset(table, 0, PAGE_SIZE);
    *used_around(pt, table) = 0;
    pt->memory->free(pt->memory->arg, gpa);
}

void pagetable_free(struct pagetable *pt)
{
    free_level(pt, pt->root, ROOT_LEVEL, USER_TOP);
    pt->table_count = 0;
    pt->retired_count = 0;
}
