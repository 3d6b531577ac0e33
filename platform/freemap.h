/*
 * Which pages of the memfile can be handed out.
 *
 * The file is cut into blocks of 2 MiB. For each page there is a bit in its block's free map; a
 * block also counts its free bits, so that full and empty blocks are recognised at a glance. Runs
 * never cross a block, unless they are made of whole empty blocks. Search is first fit, from the
 * lowest block that can hold a run of that size (`first_fit`, one hint per power of two): low
 * memory fills up first, the file stays short.
 *
 * Pages are said by their indices. The caller has a lock around all of it.
 */
#ifndef PLATFORM_FREEMAP_H
#define PLATFORM_FREEMAP_H

#include "base/compiler.h"

#define FREEMAP_BLOCK_PAGES (HUGE_PAGE_SIZE / PAGE_SIZE)
#define FREEMAP_ORDERS      10 /* runs of 2^0 .. 2^9 pages */

struct freemap_block;

struct freemap {
    struct freemap_block *blocks; /* owned: room for `limit` of them */
    uint64_t block_count, limit;
    /* No block below holds an aligned free run of 2^order pages. */
    uint64_t first_fit[FREEMAP_ORDERS];
};

/* For at most `limit` blocks; none yet. -errno of mmap(2). */
int freemap_init(struct freemap *map, uint64_t limit);
void freemap_fini(struct freemap *map);
/* From now on there are `block_count` blocks, the new ones free. */
void freemap_extend(struct freemap *map, uint64_t block_count);
/* The same, but of the new ones no page can be handed out yet: they are given one by one. */
void freemap_extend_empty(struct freemap *map, uint64_t block_count);
/*
 * `count` pages at a multiple of `step` (a power of two, at most a block). The first page, or -1:
 * there is no such run.
 */
int64_t freemap_take(struct freemap *map, uint64_t count, uint64_t step);
void freemap_give(struct freemap *map, uint64_t page, uint64_t count);

#endif
