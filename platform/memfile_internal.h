/*
 * The memfile's object, for the files that make it: memfile.c (the allocator) and memfile_warm.c
 * (what was freed and is kept for a while).
 */
#ifndef PLATFORM_MEMFILE_INTERNAL_H
#define PLATFORM_MEMFILE_INTERNAL_H

#include "base/lock.h"
#include "platform/freemap.h"
#include "platform/memfile.h"

#define BLOCK_SIZE   HUGE_PAGE_SIZE
#define DIRTY_MAX    64            /* pages for memfile_alloc_dirty() */
#define WARM_RUN_MAX (256UL << 10) /* so much of what is warm is cleared at once */

struct memfile {
    int fd;
    uint64_t limit;
    uint8_t *base;
    uint32_t *refs; /* one per page, touched atomically; demand-zero memory */
    /* A bit per page, atomic, demand-zero: the Sentry's mapping has it, for writing, most likely.
     */
    uint64_t *mapped;

    struct lock grow_lock; /* serialises growth; taken before `lock` */
    memfile_grow_fn grow_fn;
    void *grow_arg;

    struct lock lock; /* guards what follows */
    struct freemap map;
    struct freemap warm; /* pages that the host has memory for, with old bytes */
    uint64_t warm_bytes;
    uint64_t extent;
    uint64_t allocated;
    uint64_t dirty[DIRTY_MAX]; /* offsets of pages that are neither counted nor punched */
    uint32_t dirty_count;
};

/* Nobody knows these pages any more: empties them, then lets the allocator have them. */
void memfile_punch(struct memfile *mf, struct memfile_range r);

/* The lowest dirty page, or -1. */
int64_t memfile_take_dirty(struct memfile *mf);
/* A run of what is kept warm, with its old bytes; false: there is none like that. */
bool memfile_take_warm(struct memfile *mf, uint64_t size, uint64_t align,
                       struct memfile_range *ret);
/* What is kept is let go. False: there was nothing. */
bool memfile_let_all_go(struct memfile *mf);
/* The run's last reference went: keeps some of it, punches the rest. */
void memfile_release(struct memfile *mf, struct memfile_range r);

#endif
