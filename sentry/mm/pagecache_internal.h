/*
 * Between the two files of the page cache: pagecache.c, which brings pages in, and
 * pagecache_write.c, which writes back what mappings made of them and lets them go.
 */
#ifndef SENTRY_MM_PAGECACHE_INTERNAL_H
#define SENTRY_MM_PAGECACHE_INTERNAL_H

#include "base/lock.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/pmap.h"

struct pagecache {
    struct mappable base;
    struct memfile *memfile; /* borrowed: outlives every address space */
    struct pagecache_source source;
    void *arg;
    struct list all_node; /* in all_caches */

    struct lock lock; /* guards what follows */
    struct pmap pages;
    struct pmap dirty;    /* its entries only say where: PMAP_PRESENT */
    struct pmap reserved; /* pages of the memfile for offsets that are not cached yet */
};

static inline struct pagecache *to_pagecache(struct mappable *m)
{
    return container_of(m, struct pagecache, base);
}

/* As many as the file has: that is what *ret_done says. */
int pagecache_read_bytes(struct pagecache *pc, uint64_t offset, uint8_t *buf, uint64_t size,
                         uint64_t *ret_done);
void pagecache_unreserve(struct pagecache *pc, uint64_t start, uint64_t end) __must_hold(pc->lock);

/* pagecache_write.c */
int pagecache_mark_dirty(struct pagecache *pc, uint64_t offset, uint64_t size)
    __must_hold(pc->lock);
/* All of it goes, mapped pages too: bytes. Of one that nobody writes. */
uint64_t pagecache_drop_all(struct pagecache *pc);
/* What nobody uses once mappings have forgotten it is written and goes: bytes. */
uint64_t pagecache_drop_unused(struct pagecache *pc);
/* The last user has gone: all is written, and goes. */
void pagecache_write_out(struct pagecache *pc);

#endif
