#include "platform/freemap.h"

#include <sys/mman.h>

#include "host/memory.h"

#define MAP_WORDS (FREEMAP_BLOCK_PAGES / 64)

struct freemap_block {
    uint64_t free_map[MAP_WORDS];
    uint32_t free_count;
};

static uint64_t blocks_size(const struct freemap *map)
{
    return round_up(map->limit * sizeof(struct freemap_block), PAGE_SIZE);
}

int freemap_init(struct freemap *map, uint64_t limit)
{
    void *blocks;
    int err;

    *map = (struct freemap){.limit = limit};
    /* Demand-zero memory: sized for the limit, it costs only what is touched. */
    err = host_mmap(NULL, blocks_size(map), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &blocks);
    if (!err)
        map->blocks = blocks;
    return err;
}

void freemap_fini(struct freemap *map)
{
    host_munmap(map->blocks, blocks_size(map));
}

/* `count` ones at bit `bit`; the run lies within one word. */
static uint64_t run_mask(unsigned int bit, unsigned int count)
{
    return (count == 64 ? ~0UL : (1UL << count) - 1) << bit;
}

/* The last page of the run that is in use, or -1. */
static int last_used(const struct freemap_block *b, unsigned int page, unsigned int count)
{
    unsigned int end = page + count;

    while (end > page) {
        unsigned int word = (end - 1) / 64, first = MAX(page, word * 64);
        uint64_t used = ~b->free_map[word] & run_mask(first % 64, end - first);

        if (used)
            return (int)(word * 64 + 63 - (unsigned int)__builtin_clzl(used));
        end = first;
    }
    return -1;
}

static void mark_run(struct freemap_block *b, unsigned int page, unsigned int count, bool is_free)
{
    if (is_free)
        b->free_count += count;
    else
        b->free_count -= count;
    while (count > 0) {
        unsigned int bit = page % 64, n = MIN(count, 64 - bit);
        uint64_t mask = run_mask(bit, n);

        if (is_free)
            b->free_map[page / 64] |= mask;
        else
            b->free_map[page / 64] &= ~mask;
        page += n;
        count -= n;
    }
}

/* First free run of `count` pages at a multiple of `step` pages, or -1. */
static int find_run(const struct freemap_block *b, unsigned int count, unsigned int step)
{
    if (b->free_count < count)
        return -1;
    for (unsigned int page = 0; page + count <= FREEMAP_BLOCK_PAGES;) {
        bool full = b->free_map[page / 64] == 0;
        int used = full ? (int)(page | 63) : last_used(b, page, count);

        if (used < 0)
            return (int)page;
        page = round_up((unsigned int)used + 1, step); /* no run before that is free of it */
    }
    return -1;
}

/* Smallest order whose runs, aligned to their own size, hold `count` pages at any `step`. */
static unsigned int order_of(uint64_t pages)
{
    unsigned int order = 0;

    while ((1UL << order) < pages)
        order++;
    return order;
}

/* Within one block: count <= FREEMAP_BLOCK_PAGES. Returns the first page's index or -1. */
static int64_t take_small(struct freemap *map, unsigned int count, unsigned int step)
{
    unsigned int order = order_of(MAX(count, step));
    /* The hint speaks of runs aligned to 2^order: exact only when the request is of that shape. */
    bool exact = count == step && count == 1U << order;

    for (uint64_t i = exact ? map->first_fit[order] : map->first_fit[0]; i < map->block_count;
         i++) {
        int page = find_run(&map->blocks[i], count, step);

        if (page < 0)
            continue;
        mark_run(&map->blocks[i], (unsigned int)page, count, false);
        if (exact)
            map->first_fit[order] = i;
        return (int64_t)(i * FREEMAP_BLOCK_PAGES) + page;
    }
    if (exact)
        map->first_fit[order] = map->block_count;
    return -1;
}

/* Whole empty blocks in a row; the tail of the last one stays free. */
static int64_t take_blocks(struct freemap *map, uint64_t pages)
{
    uint64_t need = (pages + FREEMAP_BLOCK_PAGES - 1) / FREEMAP_BLOCK_PAGES;
    uint64_t *hint = &map->first_fit[FREEMAP_ORDERS - 1];
    uint64_t run = 0;

    while (*hint < map->block_count && map->blocks[*hint].free_count != FREEMAP_BLOCK_PAGES)
        (*hint)++;
    for (uint64_t i = *hint; i < map->block_count; i++) {
        run = map->blocks[i].free_count == FREEMAP_BLOCK_PAGES ? run + 1 : 0;
        if (run < need)
            continue;
        for (uint64_t b = i + 1 - need; b <= i; b++) {
            unsigned int n = (unsigned int)MIN(pages, FREEMAP_BLOCK_PAGES);

            mark_run(&map->blocks[b], 0, n, false);
            pages -= n;
        }
        return (int64_t)((i + 1 - need) * FREEMAP_BLOCK_PAGES);
    }
    return -1;
}

int64_t freemap_take(struct freemap *map, uint64_t count, uint64_t step)
{
    if (count <= FREEMAP_BLOCK_PAGES && step < FREEMAP_BLOCK_PAGES)
        return take_small(map, (unsigned int)count, (unsigned int)step);
    return take_blocks(map, count);
}

static void lower_hints(struct freemap *map, uint64_t block)
{
    for (unsigned int o = 0; o < FREEMAP_ORDERS; o++)
        map->first_fit[o] = MIN(map->first_fit[o], block);
}

void freemap_give(struct freemap *map, uint64_t page, uint64_t count)
{
    uint64_t end = page + count;

    lower_hints(map, page / FREEMAP_BLOCK_PAGES);
    while (page < end) {
        uint64_t in_block = page % FREEMAP_BLOCK_PAGES;
        uint64_t n = MIN(end - page, FREEMAP_BLOCK_PAGES - in_block);

        mark_run(&map->blocks[page / FREEMAP_BLOCK_PAGES], (unsigned int)in_block, (unsigned int)n,
                 true);
        page += n;
    }
}

void freemap_extend_empty(struct freemap *map, uint64_t block_count)
{
    map->block_count = block_count;
}

void freemap_extend(struct freemap *map, uint64_t block_count)
{
    uint64_t old = map->block_count;

    freemap_extend_empty(map, block_count);
    freemap_give(map, old * FREEMAP_BLOCK_PAGES, (block_count - old) * FREEMAP_BLOCK_PAGES);
}
