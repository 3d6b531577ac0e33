/*
 * The page map: a sparse radix tree from page addresses to 64-bit entries. An address space uses
 * it for "which memfile page is here", a page cache for "which memfile page holds this offset".
 *
 *   address bits  46..40   39..33   32..26   25..19   18..12
 *                 root     node     node     node     leaf (128 entries, 512 KiB of addresses)
 *
 * Small nodes, because a process has few pages in many places: text, heap, mappings, stack.
 *
 * Entry: memfile offset (page aligned) | flags; 0 is "nothing here". So the entry of the next page
 * of a memfile run with the same flags is entry + PAGE_SIZE.
 *
 * Each leaf has an epoch, a number never used before, taken anew whenever an entry of the leaf
 * loses a right or changes its page. fault.c tells by it whether a page has had its rights all the
 * time between two faults.
 *
 * Not locked: the owner's lock guards it.
 */
#ifndef SENTRY_MM_PMAP_H
#define SENTRY_MM_PMAP_H

#include "base/compiler.h"
#include "platform/memfile.h"

/* Bits 0-2 are the PROT_* rights that the platform has mapped now. */
#define PMAP_RIGHTS  0x007UL
#define PMAP_PRESENT 0x008UL
#define PMAP_ANON    0x010UL /* a private page of this address space, not its object's */
#define PMAP_COW     0x020UL /* fork has shared it: look at the references before writing */
#define PMAP_GUARD   0x040UL /* MADV_GUARD_INSTALL: no page, and none may come */
#define PMAP_DIRTY   0x080UL /* the object knows that this page is written through this mapping */
#define PMAP_UFFD_WP 0x100UL /* a write goes to the VMA's userfaultfd first */
#define PMAP_POISON  0x200UL /* with PMAP_GUARD: the memory is said to be broken (UFFDIO_POISON) */
#define PMAP_MARKER  (PMAP_GUARD | PMAP_UFFD_WP) /* no page; the one that comes is PMAP_UFFD_WP */
#define PMAP_FLAGS   (PAGE_SIZE - 1)

#define PMAP_SPAN    (1UL << 47) /* addresses below this have entries */

static inline bool pmap_is_marker(uint64_t entry)
{
    return (entry & PMAP_MARKER) == PMAP_MARKER;
}

struct pmap_node;
struct pmap_leaf;

struct pmap {
    struct pmap_node *root;
    struct pmap_leaf *last; /* where the last lookup ended */
    uint64_t last_base;
    uint64_t present; /* entries with PMAP_PRESENT */
    uint64_t guards;  /* entries with PMAP_GUARD */
};

void pmap_init(struct pmap *map);
/* Frees the tree, whatever it holds. */
void pmap_destroy(struct pmap *map);

uint64_t pmap_get(struct pmap *map, uint64_t addr);
/* The epoch of the leaf at addr; 0 when there is none. */
uint64_t pmap_epoch(struct pmap *map, uint64_t addr);
/*
 * Sets the entries of [addr, addr+size) to entry, entry + PAGE_SIZE, ... (guards: all to entry).
 * -ENOMEM: nothing was changed.
 */
int pmap_set_run(struct pmap *map, uint64_t addr, uint64_t size, uint64_t entry);

/* Makes the nodes for the entry at addr, so that setting it cannot fail before the next trim. */
int pmap_reserve(struct pmap *map, uint64_t addr);

/*
 * Walks the entries that are not 0, in address order:
 *     for (pmap_iter_init(&it, map, start, end); pmap_iter_next(&it);) ... it.addr, it.entry
 * pmap_iter_set() replaces the current entry, also by 0; no other change while walking.
 */
struct pmap_iter {
    struct pmap *map;
    uint64_t next, end;
    struct pmap_leaf *leaf;
    uint64_t addr, entry;
};
void pmap_iter_init(struct pmap_iter *it, struct pmap *map, uint64_t start, uint64_t end);
bool pmap_iter_next(struct pmap_iter *it);
void pmap_iter_set(struct pmap_iter *it, uint64_t entry);
/* The walk goes on at addr, which lies ahead. */
void pmap_iter_skip(struct pmap_iter *it, uint64_t addr);

/* The memfile run that begins at addr, where an entry is, as far as it goes; at most `want` bytes.
 */
struct memfile_range pmap_run_at(struct pmap *map, uint64_t addr, uint64_t want);
/* The same, but only entries with one of `flags` after the first go on with it. */
struct memfile_range pmap_run_with(struct pmap *map, uint64_t addr, uint64_t want, uint64_t flags);
/* Clears [start, end) and gives the references of its pages back. */
void pmap_unref_range(struct pmap *map, struct memfile *mf, uint64_t start, uint64_t end);

/* Frees the nodes in [start, end) that hold nothing any more. */
void pmap_trim(struct pmap *map, uint64_t start, uint64_t end);

/* `addr` itself, or the first address above it, below `end`, that has an entry; else `end`. */
uint64_t pmap_next_used(struct pmap *map, uint64_t addr, uint64_t end);
/* The end of the used entries that lie directly below `addr`, not below `start`. */
uint64_t pmap_free_below(struct pmap *map, uint64_t addr, uint64_t start);

#endif
