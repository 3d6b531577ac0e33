#include "sentry/mm/pmap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"

#define BITS      7
#define FANOUT    (1U << BITS)
#define LEVELS    5 /* the root is at level 4, leaves at level 0 */
#define LEAF_SPAN (PAGE_SIZE << BITS)

struct pmap_node {
    void *child[FANOUT];
    uint32_t used;
};

struct pmap_leaf {
    uint64_t entry[FANOUT];
    uint32_t used;
    uint64_t epoch;
};

static_assert(PAGE_SIZE << (LEVELS * BITS) == PMAP_SPAN, "the levels cover the span");

/* Shared by all maps, so that no two leaves ever have the same epoch. */
static uint64_t last_epoch;

static uint64_t new_epoch(void)
{
    return __atomic_add_fetch(&last_epoch, 1, __ATOMIC_RELAXED);
}

static unsigned int level_shift(int level)
{
    return PAGE_SHIFT + BITS * (unsigned int)level;
}

static unsigned int level_index(uint64_t addr, int level)
{
    return (unsigned int)(addr >> level_shift(level)) & (FANOUT - 1);
}

void pmap_init(struct pmap *map)
{
    *map = (struct pmap){0};
}

static void free_node(void *node, int level)
{
    if (level > 0) {
        struct pmap_node *n = node;

        for (unsigned int i = 0; i < FANOUT; i++) {
            if (n->child[i])
                free_node(n->child[i], level - 1);
        }
    }
    free(node);
}

void pmap_destroy(struct pmap *map)
{
    if (map->root)
        free_node(map->root, LEVELS - 1);
    pmap_init(map);
}

/* The leaf at addr, or NULL. */
static struct pmap_leaf *find_leaf(struct pmap *map, uint64_t addr)
{
    void *node = map->root;

    if (map->last && map->last_base == round_down(addr, LEAF_SPAN))
        return map->last;
    if (addr >= PMAP_SPAN)
        return NULL;
    for (int level = LEVELS - 1; level > 0; level--) {
        if (!node)
            return NULL;
        node = ((struct pmap_node *)node)->child[level_index(addr, level)];
    }
    if (node) {
        map->last = node;
        map->last_base = round_down(addr, LEAF_SPAN);
    }
    return node;
}

static struct pmap_leaf *make_leaf(struct pmap *map, uint64_t addr)
{
    struct pmap_leaf *leaf = find_leaf(map, addr);
    struct pmap_node *node;

    if (leaf)
        return leaf;
    BUG_ON(addr >= PMAP_SPAN);
    if (!map->root)
        map->root = calloc(1, sizeof(*map->root));
    node = map->root;
    for (int level = LEVELS - 1; node && level > 0; level--) {
        void **slot = &node->child[level_index(addr, level)];

        if (!*slot) {
            *slot = calloc(1, level > 1 ? sizeof(*node) : sizeof(*leaf));
            if (!*slot)
                return NULL;
            node->used++;
            if (level == 1)
                ((struct pmap_leaf *)*slot)->epoch = new_epoch();
        }
        if (level == 1)
            leaf = *slot;
        else
            node = *slot;
    }
    return leaf;
}

/* The first leaf at or above *addr and below end; *addr moves to its first address of interest. */
static struct pmap_leaf *next_leaf(struct pmap *map, uint64_t *addr, uint64_t end)
{
    end = MIN(end, PMAP_SPAN);
    while (*addr < end) {
        void *node = map->root;
        int level = LEVELS - 1;

        while (node && level > 0) {
            node = ((struct pmap_node *)node)->child[level_index(*addr, level)];
            if (!node)
                break;
            level--;
        }
        if (!map->root)
            return NULL;
        if (node && level == 0)
            return node;
        /* Nothing below the slot at this level: go to the next slot. */
        *addr = round_down(*addr, 1UL << level_shift(level)) + (1UL << level_shift(level));
    }
    return NULL;
}

uint64_t pmap_get(struct pmap *map, uint64_t addr)
{
    struct pmap_leaf *leaf = find_leaf(map, addr);

    return leaf ? leaf->entry[level_index(addr, 0)] : 0;
}

uint64_t pmap_epoch(struct pmap *map, uint64_t addr)
{
    struct pmap_leaf *leaf = find_leaf(map, addr);

    return leaf ? leaf->epoch : 0;
}

static void set_entry(struct pmap *map, struct pmap_leaf *leaf, unsigned int i, uint64_t entry)
{
    uint64_t old = leaf->entry[i];

    if ((old & PMAP_RIGHTS & ~entry) || ((old & PMAP_RIGHTS) && ((old ^ entry) & ~PMAP_FLAGS)))
        leaf->epoch = new_epoch();
    leaf->used += (entry != 0) - (old != 0);
    map->present += ((entry & PMAP_PRESENT) != 0);
    map->present -= ((old & PMAP_PRESENT) != 0);
    map->guards += ((entry & PMAP_GUARD) != 0);
    map->guards -= ((old & PMAP_GUARD) != 0);
    leaf->entry[i] = entry;
}

int pmap_reserve(struct pmap *map, uint64_t addr)
{
    return make_leaf(map, addr) ? 0 : -ENOMEM;
}

int pmap_set_run(struct pmap *map, uint64_t addr, uint64_t size, uint64_t entry)
{
    uint64_t step = entry & PMAP_GUARD ? 0 : PAGE_SIZE;

    for (uint64_t at = round_down(addr, LEAF_SPAN); at < addr + size; at += LEAF_SPAN) {
        if (!make_leaf(map, at)) {
            pmap_trim(map, addr, addr + size);
            return -ENOMEM;
        }
    }
    for (uint64_t end = addr + size; addr < end;) {
        struct pmap_leaf *leaf = find_leaf(map, addr);
        uint64_t leaf_end = MIN(end, round_down(addr, LEAF_SPAN) + LEAF_SPAN);

        for (; addr < leaf_end; addr += PAGE_SIZE, entry += step)
            set_entry(map, leaf, level_index(addr, 0), entry);
    }
    return 0;
}

void pmap_iter_init(struct pmap_iter *it, struct pmap *map, uint64_t start, uint64_t end)
{
    *it = (struct pmap_iter){.map = map, .next = start, .end = end};
}

bool pmap_iter_next(struct pmap_iter *it)
{
    while (it->next < it->end) {
        if (!it->leaf || is_aligned(it->next, LEAF_SPAN)) {
            it->leaf = next_leaf(it->map, &it->next, it->end);
            if (!it->leaf)
                return false;
        }
        it->addr = it->next;
        it->entry = it->leaf->entry[level_index(it->addr, 0)];
        it->next += PAGE_SIZE;
        if (it->entry)
            return true;
    }
    return false;
}

void pmap_iter_set(struct pmap_iter *it, uint64_t entry)
{
    set_entry(it->map, it->leaf, level_index(it->addr, 0), entry);
    it->entry = entry;
}

void pmap_iter_skip(struct pmap_iter *it, uint64_t addr)
{
    it->next = addr;
    it->leaf = NULL;
}

/* True when the node is empty and was freed. */
static bool trim(struct pmap *map, void *node, int level, uint64_t base, uint64_t start,
                 uint64_t end)
{
    struct pmap_node *n = node;
    uint64_t span = 1UL << level_shift(level);

    if (level == 0) {
        struct pmap_leaf *leaf = node;

        if (leaf->used)
            return false;
        if (map->last == leaf)
            map->last = NULL;
        free(leaf);
        return true;
    }
    for (uint64_t i = start > base ? (start - base) / span : 0; i < FANOUT; i++) {
        uint64_t from = base + i * span;

        if (from >= end)
            break;
        if (n->child[i] && trim(map, n->child[i], level - 1, from, start, end)) {
            n->child[i] = NULL;
            n->used--;
        }
    }
    if (n->used)
        return false;
    free(n);
    return true;
}

void pmap_trim(struct pmap *map, uint64_t start, uint64_t end)
{
    if (map->root && trim(map, map->root, LEVELS - 1, 0, start, end))
        map->root = NULL;
}

uint64_t pmap_next_used(struct pmap *map, uint64_t addr, uint64_t end)
{
    struct pmap_iter it;

    pmap_iter_init(&it, map, addr, end);
    return pmap_iter_next(&it) ? it.addr : end;
}

uint64_t pmap_free_below(struct pmap *map, uint64_t addr, uint64_t start)
{
    while (addr > start && pmap_get(map, addr - PAGE_SIZE) == 0)
        addr -= PAGE_SIZE;
    return addr;
}

struct memfile_range pmap_run_with(struct pmap *map, uint64_t addr, uint64_t want, uint64_t flags)
{
    struct pmap_leaf *leaf = find_leaf(map, addr);
    unsigned int i = level_index(addr, 0);
    struct memfile_range run = {leaf ? leaf->entry[i] & ~PMAP_FLAGS : 0, PAGE_SIZE};

    while (leaf && run.size < want) {
        if (++i == FANOUT) {
            leaf = find_leaf(map, addr + run.size);
            i = 0;
        }
        if (!leaf || !(leaf->entry[i] & flags) ||
            (leaf->entry[i] & ~PMAP_FLAGS) != run.start + run.size)
            break;
        run.size += PAGE_SIZE;
    }
    return run;
}

struct memfile_range pmap_run_at(struct pmap *map, uint64_t addr, uint64_t want)
{
    return pmap_run_with(map, addr, want, PMAP_PRESENT);
}

void pmap_unref_range(struct pmap *map, struct memfile *mf, uint64_t start, uint64_t end)
{
    struct memfile_range run = {0};
    struct pmap_iter it;

    for (pmap_iter_init(&it, map, start, end); pmap_iter_next(&it);) {
        uint64_t page = it.entry & ~PMAP_FLAGS;
        bool present = it.entry & PMAP_PRESENT;

        pmap_iter_set(&it, 0);
        if (!present)
            continue;
        if (run.size && run.start + run.size != page) {
            memfile_unref(mf, run);
            run.size = 0;
        }
        if (!run.size)
            run.start = page;
        run.size += PAGE_SIZE;
    }
    if (run.size)
        memfile_unref(mf, run);
    pmap_trim(map, start, end);
}
