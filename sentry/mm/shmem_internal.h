/* Between shmem.c and shmem_file.c. */
#ifndef SENTRY_MM_SHMEM_INTERNAL_H
#define SENTRY_MM_SHMEM_INTERNAL_H

#include "base/lock.h"
#include "sentry/mm/pmap.h"
#include "sentry/mm/shmem.h"

struct shmem {
    struct mappable base;
    struct memfile *memfile;     /* borrowed: outlives every address space */
    struct shmem_budget *budget; /* owned reference; NULL: shared anonymous memory */

    struct lock lock; /* guards what follows */
    uint64_t size;
    struct pmap pages;
    char *name; /* owned; NULL: anonymous */
};

static inline struct shmem *to_shmem(struct mappable *m)
{
    return container_of(m, struct shmem, base);
}

/*
 * Allocates pages for [offset, end), page aligned, of which nothing may be there; one page at
 * least, as many as there are otherwise: *ret_end tells. -ENOMEM, -ENOSPC.
 */
int shmem_fill(struct shmem *s, uint64_t offset, uint64_t end, uint64_t *ret_end)
    __must_hold(s->lock);
/* Gives the pages of [start, end) back. */
void shmem_drop(struct shmem *s, uint64_t start, uint64_t end) __must_hold(s->lock);

#endif
