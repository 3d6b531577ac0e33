/*
 * Guest "physical" memory: one memfd, of which every page that a guest can ever see is a part.
 *
 *   memfile offset:  0 ........ chunk ........ chunk ........            (grows, never moves)
 *                    |          |
 *   Sentry mapping:  base+0     base+chunk      read and written by usercopy, uio, page cache
 *   platform:        KVM slots name another mapping of the same memfd; ptrace stubs map ranges of
 * it
 *
 * Pages are allocated in aligned runs and counted one by one, so that fork shares them and a run
 * is returned page by page. A freed page is punched out of the memfd (host memory follows guest
 * memory down) before it can be handed out again, so a new page always reads as zeroes. A few
 * single pages are kept as they are for those who overwrite them anyway, and up to 16 MiB of runs,
 * which are cleared when they are handed out, for those who will touch them at once.
 *
 * Any thread may call; the allocator has its own lock, the innermost of all.
 */
#ifndef PLATFORM_MEMFILE_H
#define PLATFORM_MEMFILE_H

#include <sys/uio.h>

#include "base/compiler.h"

/* Bytes [start, start+size) of the memfile, both page aligned. */
struct memfile_range {
    uint64_t start;
    uint64_t size;
};

struct memfile;

struct memfile_stats {
    uint64_t limit;     /* bytes that may be allocated at once */
    uint64_t allocated; /* bytes allocated now */
    uint64_t extent;    /* bytes the file has grown to */
};

/*
 * Called, with no memfile lock held, after the file has grown to `extent` bytes and before any
 * page beyond the old extent is handed out. The platform adds its memory slot here. Returns 0 or
 * -errno; an error makes the allocation that caused the growth fail with -ENOMEM.
 */
typedef int (*memfile_grow_fn)(void *arg, uint64_t old_extent, uint64_t extent);

/* `limit`: bytes, a multiple of 2 MiB. -errno of memfd_create(2) or mmap(2). */
int memfile_create(uint64_t limit, struct memfile **ret);
void memfile_destroy(struct memfile *mf);
/* At most one; set before the first allocation by the platform's create(). */
void memfile_set_grow(struct memfile *mf, memfile_grow_fn fn, void *arg);
/* The memfd, borrowed. */
int memfile_fd(const struct memfile *mf);
void memfile_get_stats(struct memfile *mf, struct memfile_stats *ret_stats);

/*
 * Allocates `size` bytes (whole pages) aligned to `align` (a power of two, at most 2 MiB). Each
 * page starts with one reference and reads as zeroes. -ENOMEM when the limit is reached.
 */
int memfile_alloc(struct memfile *mf, uint64_t size, uint64_t align, struct memfile_range *ret);
/* The same, at most 2 MiB, for a caller who will touch most of it soon. */
int memfile_alloc_soon(struct memfile *mf, uint64_t size, uint64_t align,
                       struct memfile_range *ret);
/*
 * Pages with one reference and whatever was in them, for a caller that overwrites all of them.
 * Single pages that were freed shortly before are taken, the lowest first: who frees and takes in
 * rounds, as fork does, gets the same ones each time, and mappings that remember them are right.
 */
int memfile_alloc_dirty(struct memfile *mf, uint64_t size, struct memfile_range *ret);
/* One more, or one less, reference on each page of the range. */
void memfile_ref(struct memfile *mf, struct memfile_range range);
void memfile_unref(struct memfile *mf, struct memfile_range range);
/* References on the page at this offset: 1 means that a writer need not copy. */
uint32_t memfile_page_refs(struct memfile *mf, uint64_t offset);

/*
 * Which pages of the range the host holds memory for: an allocated page has none until it is
 * touched. One byte a page, 0 or 1.
 */
void memfile_resident(struct memfile *mf, struct memfile_range range, uint8_t *ret_vec);

/*
 * How many bytes at the start of the range are alike in this: nobody ever touched them, so that the
 * host has never had memory for them, swapped out or not (*ret_untouched); or they were, or may
 * have been.
 */
uint64_t memfile_untouched(struct memfile *mf, struct memfile_range range, bool *ret_untouched);

/* Has the host give memory to the whole range now (it may not: then touching does it). */
void memfile_populate(struct memfile *mf, struct memfile_range range);
/*
 * Before storing to much of the range through memfile_ptr(): the host maps all of it in one go, not
 * page by page as it is touched, unless that was done before.
 */
void memfile_make_ready(struct memfile *mf, struct memfile_range range);
/* Has the host memory for all of the range, as far as the memfile knows? No call of the host. */
bool memfile_is_ready(const struct memfile *mf, struct memfile_range range);

/*
 * Writes bytes of the Sentry's, which may lie in the memfile, to `offset`, whose pages the caller
 * references. For pages that the host has no memory for yet this is cheaper than storing through
 * memfile_ptr(): they are neither cleared first nor mapped one by one. Bytes written, or -errno.
 */
ssize_t memfile_write(struct memfile *mf, const struct iovec *iov, int count, uint64_t offset);

/* The Sentry's own view of these bytes, valid while the pages are referenced. */
void *memfile_ptr(struct memfile *mf, uint64_t offset);

#endif
