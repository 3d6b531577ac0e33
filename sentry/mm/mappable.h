/*
 * What gives pages to a mapping that is not private anonymous memory: a file's page cache, shared
 * anonymous memory, the vDSO's image. Pages live in the memfile, so that all mappings and
 * read/write see the same bytes.
 */
#ifndef SENTRY_MM_MAPPABLE_H
#define SENTRY_MM_MAPPABLE_H

#include "base/refcount.h"
#include "platform/memfile.h"

struct mappable;

struct mappable_ops {
    /*
     * The page at byte `offset` (page aligned), read in or allocated when it is not there yet, with
     * a reference for the caller. ret_range may be a longer run that starts there, at most `want`
     * bytes (a multiple of the page size). -EFAULT beyond the end of the object (SIGBUS), -EIO,
     * -ENOMEM.
     */
    int (*get_pages)(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                     struct memfile_range *ret_range);
    /* The last reference is gone. */
    void (*release)(struct mappable *m);
    /* Writes "path" for /proc/self/maps; may be NULL. */
    void (*name)(struct mappable *m, char *buf, size_t size);
};

struct mappable {
    const struct mappable_ops *ops;
    refcount_t refs;
};

static inline struct mappable *mappable_ref(struct mappable *m)
{
    refcount_get(&m->refs);
    return m;
}

static inline struct mappable *mappable_unref(struct mappable *m)
{
    if (m && refcount_put(&m->refs))
        m->ops->release(m);
    return NULL;
}

/* Shared anonymous memory of `size` bytes: MAP_SHARED|MAP_ANONYMOUS, later System V and memfd. */
int shmem_create(struct memfile *mf, uint64_t size, struct mappable **ret);

/*
 * A page cache over something readable, such as a donated host descriptor. `read` fills
 * [buf, buf+size) from `offset` and returns the bytes it had (short at the end of file) or -errno;
 * `size_now` gives the current length in bytes.
 */
struct pagecache_source {
    ssize_t (*read)(void *arg, uint64_t offset, void *buf, size_t size);
    uint64_t (*size_now)(void *arg);
    void (*release)(void *arg);
    void (*name)(void *arg, char *buf, size_t size);
};
int pagecache_create(struct memfile *mf, const struct pagecache_source *source, void *arg,
                     struct mappable **ret);

#endif
