/*
 * Page tables of the guest (SDM vol. 3, 4.5), written by the VMM while vCPUs may be walking them.
 *
 * What is added is seen by itself. What is taken away is not: the entries that lose rights are
 * reported in a `pagetable_drops` list, and the caller must make every vCPU forget those pages
 * before it relies on the change. Two more rules hold because a KVM without nested paging keeps
 * shadows of the tables themselves, and CPUs keep paging-structure caches:
 *
 *   - a table page stays at its place in the tree for ever, also when it is empty, unless
 *     pagetable_prune() takes the empty ones out;
 *   - where a 2 MiB page was, nothing else is put before settle() has run: the absent entry keeps
 *     the generation in which the page was taken away (ABSENT_MARK).
 *
 * Where KVM keeps shadows, there are no 2 MiB pages at all (`large` below): it represents one by a
 * table of its own for that piece of memory, shared by all who map it, and the link to that table
 * outlives our entry. Once the piece belongs to somebody else, the old place would show it.
 *
 * settle() makes all vCPUs forget everything about all tables. It is slow, so both are rare.
 * Calls for one pagetable are serialised by the caller.
 */
#ifndef RING0_PAGETABLE_H
#define RING0_PAGETABLE_H

#include "base/compiler.h"

#define PTE_PRESENT        0x1UL
#define PTE_WRITE          0x2UL
#define PTE_USER           0x4UL
#define PTE_ACCESSED       0x20UL
#define PTE_DIRTY          0x40UL
#define PTE_LARGE          0x80UL
#define PTE_NX             (1UL << 63)
#define PTE_ADDRESS        0x000ffffffffff000UL

#define PAGETABLE_USER_END 0x800000000000UL /* the half that programs have */

/* Where tables come from: guest address `gpa` is at base + gpa in the VMM. */
struct pagetable_memory {
    uint8_t *base;
    uint16_t *used; /* of the VMM's alone, for each page: what a walk over all leaves can skip */
    void *arg;
    bool large;                                 /* 2 MiB pages may be used */
    int (*alloc)(void *arg, uint64_t *ret_gpa); /* a zeroed page; -ENOMEM */
    void (*free)(void *arg, uint64_t gpa);
    void (*settle)(void *arg);
    uint64_t (*generation)(void *arg); /* how often settle() has completed, from 1 */
};

struct pagetable {
    const struct pagetable_memory *memory; /* borrowed from the platform, which outlives us */
    uint64_t root;                         /* what CR3 gets */
    uint64_t table_count;                  /* table pages, the root among them */
    uint64_t retired_count;                /* leaves that pagetable_retire() has left */
};

#define PAGETABLE_DROPS 64

/* Guest-physical runs that lost rights; beyond the room of the list, `all`. */
struct pagetable_drops {
    unsigned int count;
    bool all;
    bool fresh; /* a page appeared where it was not before, be it retired */
    struct {
        uint64_t gpa, size;
    } runs[PAGETABLE_DROPS];
};

/* -ENOMEM. */
int pagetable_init(struct pagetable *pt, const struct pagetable_memory *memory);
/* Gives all table pages back; no vCPU may know any of them (settle() after the last use). */
void pagetable_free(struct pagetable *pt);

/*
 * Maps [va, va+size) to [gpa, gpa+size), page aligned, below PAGETABLE_USER_END, with the leaf bits
 * PTE_USER, PTE_WRITE, PTE_NX of `flags`. 2 MiB pages are used where all sides allow. -ENOMEM: a
 * part may be mapped.
 */
int pagetable_map(struct pagetable *pt, uint64_t va, uint64_t size, uint64_t gpa, uint64_t flags,
                  struct pagetable_drops *drops);
/* -ENOMEM only where a 2 MiB page had to be split. */
int pagetable_unmap(struct pagetable *pt, uint64_t va, uint64_t size,
                    struct pagetable_drops *drops);
/* The leaf entry for `va`, 0 when absent, and the guest-physical address of the byte at `va`. */
uint64_t pagetable_lookup(const struct pagetable *pt, uint64_t va, uint64_t *ret_gpa);
/* Takes empty table pages out of the tree; calls settle(). Returns how many. */
uint64_t pagetable_prune(struct pagetable *pt);

/*
 * For a tree that will be used again, by somebody whose pages are likely to be the same: the 4 KiB
 * leaves are gone for pagetable_lookup(), but what is mapped once more exactly as it was costs no
 * drop. No vCPU may run on this tree before pagetable_sweep() has dropped what was not.
 */
void pagetable_retire(struct pagetable *pt, struct pagetable_drops *drops);
void pagetable_sweep(struct pagetable *pt, struct pagetable_drops *drops);

/*
 * Sets the entry of the top table, for the half that is the same everywhere; at the very start
 * only, nothing is dropped.
 */
void pagetable_set_top(struct pagetable *pt, unsigned int index, uint64_t entry);

#endif
