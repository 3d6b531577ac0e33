/*
 * Files whose bytes are guest memory: the regular files of tmpfs, memfds. The object is a mappable
 * that can also be read, written, cut and filled; a page that was never written is a hole, takes
 * no memory and reads as zeroes.
 *
 * The caller serialises what changes a file's bytes or size through these calls (tmpfs has a lock
 * for it that lies outside all of mm's); mappings go their own way, as they do in Linux.
 */
#ifndef SENTRY_MM_SHMEM_H
#define SENTRY_MM_SHMEM_H

#include "base/refcount.h"
#include "sentry/mm/mappable.h"

struct uio;

#define SHMEM_SIZE_MAX (1UL << 47) /* bytes from here on cannot be stored */

/* What the files of one file system may take together; counted in bytes, whole pages. */
struct shmem_budget {
    refcount_t refs;
    uint64_t limit; /* atomic */
    uint64_t used;  /* atomic */
};
struct shmem_budget *shmem_budget_create(uint64_t limit);
struct shmem_budget *shmem_budget_ref(struct shmem_budget *budget);
struct shmem_budget *shmem_budget_unref(struct shmem_budget *budget);
/* -ENOSPC. */
int shmem_budget_take(struct shmem_budget *budget, uint64_t size);
void shmem_budget_give(struct shmem_budget *budget, uint64_t size);

/* An empty file; a reference on `budget` is taken. */
/* Is it one of these, of ordinary pages? */
bool shmem_is(const struct mappable *m);
/*
 * The page at `offset`, with a reference; `creates`: made when it is not there (*ret_fresh).
 * -EFAULT beyond the end, -ENOENT (not `creates`), -ENOMEM, -ENOSPC. May be called under mm->lock.
 */
int shmem_page(struct mappable *m, uint64_t offset, bool creates, struct memfile_range *ret,
               bool *ret_fresh);
/* Makes `page` the one at `offset`, and takes a reference. -EFAULT beyond the end, -EEXIST,
 * -ENOMEM. May be called under mm->lock. */
int shmem_insert(struct mappable *m, uint64_t offset, struct memfile_range page);

int shmem_file_create(struct memfile *mf, struct shmem_budget *budget, struct mappable **ret);
uint64_t shmem_file_size(struct mappable *m);
/* What /proc/PID/maps calls it; a copy is made. */
void shmem_file_set_name(struct mappable *m, const char *name);

/* Bytes moved, at most up to the end of the file (reading); -EFAULT, -ENOSPC, -ENOMEM. */
ssize_t shmem_file_read(struct mappable *m, struct uio *uio, uint64_t offset);
/* Makes the file longer as needed; offset + size is at most SHMEM_SIZE_MAX. */
ssize_t shmem_file_write(struct mappable *m, struct uio *uio, uint64_t offset, uint64_t size);
/* Cuts or extends; what is cut off is forgotten by all mappings. */
void shmem_file_truncate(struct mappable *m, uint64_t size);
/* The range reads as zeroes; whole pages of it become holes. */
void shmem_file_punch(struct mappable *m, uint64_t offset, uint64_t size);
/* Fills the holes of the range with zeroes, all or nothing as far as the budget goes. */
int shmem_file_allocate(struct mappable *m, uint64_t offset, uint64_t size);
/* SEEK_DATA, SEEK_HOLE: -ENXIO. */
int64_t shmem_file_seek(struct mappable *m, int64_t offset, int whence);

#endif
