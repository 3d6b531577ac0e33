/*
 * Mappings of host files. All who map one file share its page cache, however often it is opened:
 * mappings see the same memory, a program that starts again finds its pages where the last run
 * left them, and nobody reads a library twice.
 *
 * What is kept: the caches of the files mapped last, also when nobody maps them any more, as far as
 * KEEP_FILES and KEEP_BYTES go. A file is what its device and inode number say, as long as size,
 * mtime and ctime stand; one that the host changed meanwhile gets a new cache, and the mappings
 * that exist keep the old.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "host/io.h"
#include "sentry/fs/hostio.h"
#include "sentry/mm/mappable.h"

#define KEEP_FILES 64
#define KEEP_BYTES (48UL << 20)

struct identity {
    uint64_t dev, ino;
    int64_t size;
    struct timespec mtime, ctime;
};

struct kept {
    struct list node;
    struct memfile *memfile; /* borrowed: only compared */
    struct identity identity;
    struct mappable *object; /* owned reference */
};

static struct lock kept_lock = LOCK_INIT;
static struct list kept_files = LIST_INIT(kept_files); /* the last used first */

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_file(const struct identity *a, const struct identity *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

static bool unchanged(const struct identity *a, const struct identity *b)
{
    return a->size == b->size && same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

static int identify(int fd, struct identity *ret)
{
    struct stat st;
    int err = host_fstat(fd, &st);

    if (err < 0)
        return err;
    *ret = (struct identity){
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size = st.st_size,
        .mtime = st.st_mtim,
        .ctime = st.st_ctim,
    };
    return 0;
}

static void kept_free(struct kept *kept)
{
    mappable_unref(kept->object);
    free(kept);
}

/* Moves what is to go from the list to `gone`; the caller frees it without the lock. */
static void shrink_locked(struct list *gone)
{
    struct kept *kept, *next;
    uint64_t bytes = 0;
    int count = 0;

    list_for_each_safe (kept, next, &kept_files, node) {
        bytes += pagecache_bytes(kept->object);
        if (++count <= KEEP_FILES && bytes <= KEEP_BYTES)
            continue;
        list_del_init(&kept->node);
        list_add_tail(gone, &kept->node);
    }
}

static void free_all(struct list *gone)
{
    while (!list_empty(gone)) {
        struct kept *kept = list_first(gone, struct kept, node);

        list_del_init(&kept->node);
        kept_free(kept);
    }
}

/* The cache of that file, referenced, and now the last used; NULL when there is none. */
static struct mappable *find_kept(const struct identity *identity, const struct memfile *mf)
{
    struct list gone = LIST_INIT(gone);
    struct mappable *object = NULL;
    struct kept *kept, *next;

    lock_acquire(&kept_lock);
    list_for_each_safe (kept, next, &kept_files, node) {
        if (kept->memfile != mf || !same_file(&kept->identity, identity))
            continue;
        list_del_init(&kept->node);
        if (unchanged(&kept->identity, identity)) {
            list_add(&kept_files, &kept->node);
            object = mappable_ref(kept->object);
        } else {
            list_add(&gone, &kept->node);
        }
        break;
    }
    lock_release(&kept_lock);
    free_all(&gone);
    return object;
}

/* Not keeping it, without memory, is no failure. Two threads may keep one file twice, for a while.
 */
static void keep(const struct identity *identity, struct memfile *mf, struct mappable *object)
{
    struct list gone = LIST_INIT(gone);
    struct kept *kept = malloc(sizeof(*kept));

    if (!kept)
        return;
    *kept = (struct kept){.memfile = mf, .identity = *identity, .object = mappable_ref(object)};
    lock_acquire(&kept_lock);
    list_add(&kept_files, &kept->node);
    shrink_locked(&gone);
    lock_release(&kept_lock);
    free_all(&gone);
}

static ssize_t source_read(void *arg, uint64_t offset, void *buf, size_t size)
{
    struct host_file *h = arg;
    size_t done = 0;

    while (done < size) {
        ssize_t n = host_pread(h->fd, (char *)buf + done, size - done, (int64_t)(offset + done));

        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static uint64_t source_size(void *arg)
{
    struct host_file *h = arg;
    struct stat st;

    return host_fstat(h->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

static bool source_cached(void *arg, uint64_t offset)
{
    return host_is_cached(((struct host_file *)arg)->fd, (int64_t)offset);
}

static void source_release(void *arg)
{
    host_file_unref(arg);
}

static void source_name(void *arg, char *buf, size_t size)
{
    struct host_file *h = arg;

    snprintf(buf, size, "%s", h->name);
}

void hostio_forget_maps(void)
{
    struct list gone = LIST_INIT(gone);
    struct kept *kept, *next;

    lock_acquire(&kept_lock);
    list_for_each_safe (kept, next, &kept_files, node) {
        list_del_init(&kept->node);
        list_add(&gone, &kept->node);
    }
    lock_release(&kept_lock);
    free_all(&gone);
}

int hostio_mmap(struct host_file *h, struct memfile *mf, struct mappable **ret)
{
    static const struct pagecache_source source = {
        .read = source_read,
        .size_now = source_size,
        .release = source_release,
        .name = source_name,
        .cached = source_cached,
        .is_stable = true,
    };
    struct identity identity;
    int err = identify(h->fd, &identity);

    if (err < 0)
        return err;
    *ret = find_kept(&identity, mf);
    if (*ret)
        return 0;
    err = pagecache_create(mf, &source, host_file_ref(h), ret);
    if (err < 0)
        host_file_unref(h);
    else
        keep(&identity, mf, *ret);
    return err;
}
