/*
 * What gives pages to a mapping that is not private anonymous memory: a file's page cache, shared
 * anonymous memory, the vDSO's image. Pages live in the memfile, so that all mappings and
 * read/write see the same bytes.
 */
#ifndef SENTRY_MM_MAPPABLE_H
#define SENTRY_MM_MAPPABLE_H

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "platform/memfile.h"

struct mappable;

/*
 * All operations are called without mm->lock and may sleep on the host, except `name`, which is
 * called under it. None may be called with a lock held under which user memory is copied.
 */
struct mappable_ops {
    /*
     * The page at byte `offset` (page aligned), read in or allocated when it is not there yet, with
     * a reference for the caller. ret_range may be a longer run that starts there, at most `want`
     * bytes (a multiple of the page size). -EFAULT beyond the end of the object (SIGBUS), -EIO,
     * -ENOMEM. `write`: the caller is about to make these pages writable.
     */
    int (*get_pages)(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                     struct memfile_range *ret_range);
    /* The last reference is gone. mappable_fini(), then free. */
    void (*release)(struct mappable *m);
    /* Writes "path" for /proc/self/maps; may be NULL. */
    void (*name)(struct mappable *m, char *buf, size_t size);
    /* msync(MS_SYNC) of a shared mapping; may be NULL. */
    int (*sync)(struct mappable *m, uint64_t offset, uint64_t size);
    /* madvise(MADV_REMOVE): the range reads as zeroes from now on; NULL: -EOPNOTSUPP. */
    int (*punch)(struct mappable *m, uint64_t offset, uint64_t size);
    /* mincore(2) of pages that are not mapped: is the page at `offset` in memory? NULL: no. */
    bool (*resident)(struct mappable *m, uint64_t offset);
    /*
     * cachestat(2): is the page in memory, be it memory of the host? NULL: what `resident` says.
     */
    bool (*cached)(struct mappable *m, uint64_t offset);
    /*
     * One more, or one less, VMA maps the object. Called under mm->lock, so they may take innermost
     * locks only, and never drop the last reference. VMAs of an object with these do not merge.
     */
    void (*opened)(struct mappable *m);
    /* Would it be gone with its last mapping, and is there but one? NULL: no. */
    bool (*ends_with_mapping)(struct mappable *m);
    void (*closed)(struct mappable *m);
    /* get_pages(write) is wanted before the first write of each mapping, to know what is dirty. */
    bool wants_write_notice;
    /*
     * Are its bytes what they will be as long as nobody calls mappable_invalidate()? Then calls in
     * it may be rewritten (callsite.h). NULL: no.
     */
    bool (*text_is_stable)(struct mappable *m);
    bool is_memory; /* shared memory (RssShmem of /proc), not the pages of a file */
};

/* What a mapping of it is like. */
enum mappable_kind {
    MAPPABLE_PLAIN,
    MAPPABLE_SECRET, /* memfd_secret(2): locked, and not for others' hands */
    MAPPABLE_HUGE,   /* of huge pages, of which there are none */
};

struct mappable {
    const struct mappable_ops *ops;
    enum mappable_kind kind; /* set before it is mapped */
    refcount_t refs;
    uint64_t id; /* never used twice: futex keys */
    /* Atomic: the file whose it is, as /proc/PID/maps tells it; 0: none. See mappable_label(). */
    uint64_t label_dev, label_ino;

    /* Atomic: somebody waits for missing pages to be asked for, so that none comes unasked. */
    bool exact;

    struct lock invalidate_lock; /* one invalidation at a time; taken before any mm->lock */
    struct lock mappings_lock;   /* innermost but for the memfile's */
    struct list mappings;        /* every VMA of every mm that maps this */
    struct list views;           /* of struct mappable_view: who shows these pages as its own */
    uint64_t invalidations;      /* atomic: counts mappable_invalidate() */

    struct callsites *callsites; /* owned; atomic: set once (callsite.h), or NULL */
};

/* An object shows another one's pages as its own, at the same offsets: what that one invalidates is
 * invalid in this one too. */
struct mappable_view {
    struct list node;       /* in the other one's list, guarded by its mappings_lock */
    struct mappable *front; /* not owned: it owns the other one */
    uint64_t served;
};
void mappable_view_add(struct mappable *m, struct mappable_view *view, struct mappable *front);
void mappable_view_remove(struct mappable *m, struct mappable_view *view);

/* The head of a new object: one reference, the caller's. */
void mappable_init(struct mappable *m, const struct mappable_ops *ops);
/* Called by release(). */
void mappable_fini(struct mappable *m);
/*
 * Makes every mapping forget the object's pages in [offset, offset+size), so that the next access
 * asks get_pages() again: truncation, punched holes. `private_too`: also private copies made from
 * them (truncate does, a hole does not). The object changes first, then calls this, without locks.
 */
void mappable_invalidate(struct mappable *m, uint64_t offset, uint64_t size, bool private_too);
/* Every mapping forgets the object's pages, which have not changed, so that they can be freed. */
void mappable_drop(struct mappable *m);
/* Is there a shared mapping that may write, now or after mprotect()? */
bool mappable_has_writers(struct mappable *m);
/* A number that neither an mm nor a mappable ever had. */
uint64_t mappable_new_id(void);

static inline struct mappable *mappable_ref(struct mappable *m)
{
    refcount_get(&m->refs);
    return m;
}

/* Whoever maps a file says which one it is: st_dev and st_ino. The last word stands. */
static inline void mappable_label(struct mappable *m, uint64_t dev, uint64_t ino)
{
    if (__atomic_load_n(&m->label_ino, __ATOMIC_RELAXED) == ino &&
        __atomic_load_n(&m->label_dev, __ATOMIC_RELAXED) == dev)
        return;
    __atomic_store_n(&m->label_dev, dev, __ATOMIC_RELAXED);
    __atomic_store_n(&m->label_ino, ino, __ATOMIC_RELAXED);
}

static inline struct mappable *mappable_unref(struct mappable *m)
{
    if (m && refcount_put(&m->refs))
        m->ops->release(m);
    return NULL;
}

/* Shared anonymous memory of `size` bytes: MAP_SHARED|MAP_ANONYMOUS. Files: shmem.h. */
int shmem_create(struct memfile *mf, uint64_t size, struct mappable **ret);
/* Bytes that such an object has pages for. */
uint64_t shmem_resident_size(struct mappable *m);
/* Of all such objects, files in memory included; and of all page caches. */
uint64_t shmem_total(void);
uint64_t pagecache_total(void);
/* Bytes that all caches have taken from the memfile and hold nothing in: as good as free. */
uint64_t pagecache_reserved(void);

/*
 * A page cache over something readable, such as a donated host descriptor. `read` fills
 * [buf, buf+size) from `offset` and returns the bytes it had (short at the end of file) or -errno;
 * `size_now` gives the current length in bytes.
 */
struct pagecache_source {
    ssize_t (*read)(void *arg, uint64_t offset, void *buf, size_t size);
    uint64_t (*size_now)(void *arg);
    /*
     * The other way round, for a cache that shared mappings may change: what they did is written at
     * msync(2), by pagecache_flush(), and when the cache goes. NULL: no mapping may write.
     */
    ssize_t (*write)(void *arg, uint64_t offset, const void *buf, size_t size);
    /*
     * Held while bytes are written there, by the cache or by anybody else; never while user memory
     * is touched. NULL where `write` is.
     */
    struct lock *(*write_lock)(void *arg);
    void (*release)(void *arg);
    void (*name)(void *arg, char *buf, size_t size);
    /* Could it be read without waiting? NULL: that is not known. */
    bool (*cached)(void *arg, uint64_t offset);
    bool is_stable; /* nobody in the sandbox can change what it reads */
};
/* What mappings changed in the range is written. -EIO, -ENOSPC... */
int pagecache_flush(struct mappable *m, uint64_t offset, uint64_t size);
/* The same for all files: sync(2). The first error. */
int pagecache_flush_all(void);
/*
 * For those who hold the source's write_lock, in one go with what they do there. The same; the
 * range was written, and cached pages of it take the new bytes over; the file has another end; a
 * range reads as zeroes; all from there on has become something else. After the last three whoever
 * called lets the lock go and then invalidates the whole pages among them.
 */
int pagecache_flush_held(struct mappable *m, uint64_t offset, uint64_t size);
void pagecache_cut_held(struct mappable *m, uint64_t old_size, uint64_t size);
void pagecache_zero_held(struct mappable *m, uint64_t offset, uint64_t size);
void pagecache_forget_held(struct mappable *m, uint64_t offset);
void pagecache_reread(struct mappable *m, uint64_t offset, uint64_t size);
/*
 * Guest memory has run out: lets all cached pages go, mapped ones too, and returns the bytes.
 * Called without locks.
 */
uint64_t pagecache_reclaim(void);
/* Bytes of guest memory that this cache holds. */
uint64_t pagecache_bytes(struct mappable *m);
int pagecache_create(struct memfile *mf, const struct pagecache_source *source, void *arg,
                     struct mappable **ret);

#endif
