/*
 * Mapped files of a share. All who map a file map one object, as long as anybody does; what shared
 * mappings store is written to the host at msync(2) and fsync(2), before somebody in the sandbox
 * reads those bytes, and when the last mapping goes. What write(2) writes, mappings see at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/io.h"
#include "sentry/fs/hostio.h"
#include "sentry/fs/share/internal.h"
#include "sentry/mm/mappable.h"

struct share_pages {
    struct list node;
    struct share *fs; /* borrowed: the mount outlives its mappings' files */
    uint64_t dev, ino;
    bool listed;
    struct mappable *object;  /* not owned: it owns us */
    struct host_file *reader; /* owned reference */
    struct host_file
        *writer; /* likewise; NULL until a file that can be written is mapped; atomic */
};

static ssize_t source_read(void *arg, uint64_t offset, void *buf, size_t size)
{
    struct share_pages *p = arg;

    return host_pread(p->reader->fd, buf, size, (int64_t)offset);
}

static ssize_t source_write(void *arg, uint64_t offset, const void *buf, size_t size)
{
    struct share_pages *p = arg;
    struct host_file *writer = __atomic_load_n(&p->writer, __ATOMIC_ACQUIRE);
    const struct iovec iov = {(void *)(uintptr_t)buf, size};

    return writer ? host_pwritev(writer->fd, &iov, 1, (int64_t)offset) : -EIO;
}

static uint64_t source_size(void *arg)
{
    struct share_pages *p = arg;
    struct stat st;

    return host_fstat(p->reader->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

static void source_name(void *arg, char *buf, size_t size)
{
    struct share_pages *p = arg;

    snprintf(buf, size, "%s", p->reader->name);
}

static struct lock *write_lock_of(struct share *fs, uint64_t ino)
{
    return &fs->write_locks[ino % SHARE_WRITE_LOCKS];
}

static struct lock *source_write_lock(void *arg)
{
    struct share_pages *p = arg;

    return write_lock_of(p->fs, p->ino);
}

static void source_release(void *arg)
{
    struct share_pages *p = arg;

    lock_acquire(&p->fs->pages_lock);
    if (p->listed) {
        list_del_init(&p->node);
        __atomic_sub_fetch(&p->fs->pages_count, 1, __ATOMIC_RELAXED);
    }
    lock_release(&p->fs->pages_lock);
    host_file_unref(p->reader);
    host_file_unref(p->writer);
    super_unref(&p->fs->sb);
    free(p);
}

static const struct pagecache_source source = {
    .read = source_read,
    .size_now = source_size,
    .write = source_write,
    .write_lock = source_write_lock,
    .release = source_release,
    .name = source_name,
};

static bool is_of(const struct share_pages *p, const struct inode *inode)
{
    return p->ino == inode->ino && p->dev == inode->dev;
}

/* The object of that file, referenced, made writable if `writer` is given; NULL: it is not mapped.
 */
static struct mappable *find_locked(struct share *fs, const struct inode *inode,
                                    struct host_file *writer) __must_hold(fs->pages_lock)
{
    struct share_pages *p;

    list_for_each (p, &fs->pages, node) {
        if (!is_of(p, inode) || !refcount_get_unless_zero(&p->object->refs))
            continue;
        if (writer && !p->writer)
            __atomic_store_n(&p->writer, host_file_ref(writer), __ATOMIC_RELEASE);
        return p->object;
    }
    return NULL;
}

static struct mappable *find(struct share *fs, const struct inode *inode, struct host_file *writer)
{
    struct mappable *found;

    if (__atomic_load_n(&fs->pages_count, __ATOMIC_ACQUIRE) == 0)
        return NULL;
    lock_acquire(&fs->pages_lock);
    found = find_locked(fs, inode, writer);
    lock_release(&fs->pages_lock);
    return found;
}

/* With the file's write_lock: of the objects that are about to go, too, which have to be written.
 */
static int flush_locked(struct share *fs, const struct inode *inode, uint64_t offset, uint64_t size)
    __must_hold(fs->pages_lock)
{
    struct share_pages *p;
    int err = 0;

    list_for_each (p, &fs->pages, node) {
        if (is_of(p, inode) && !err)
            err = pagecache_flush_held(p->object, offset, size);
    }
    return err;
}

/* The one that somebody else has entered meanwhile, or NULL: `p` is the file's now. */
static struct mappable *enter(struct share *fs, const struct inode *inode, struct share_pages *p,
                              int *ret_err)
{
    struct lock *write_lock = write_lock_of(fs, inode->ino);
    struct mappable *other;

    lock_acquire(write_lock);
    lock_acquire(&fs->pages_lock);
    other = find_locked(fs, inode, p->writer);
    *ret_err = other ? 0 : flush_locked(fs, inode, 0, UINT64_MAX);
    if (!other && !*ret_err) {
        list_add(&fs->pages, &p->node);
        p->listed = true;
        __atomic_add_fetch(&fs->pages_count, 1, __ATOMIC_RELEASE);
    }
    lock_release(&fs->pages_lock);
    lock_release(write_lock);
    return other;
}

int share_pages_get(struct share *fs, const struct inode *inode, struct host_file *host,
                    bool writable, struct mappable **ret)
{
    struct mappable *other, *object;
    struct share_pages *p;
    int err;

    *ret = find(fs, inode, writable ? host : NULL);
    if (*ret)
        return 0;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    list_init(&p->node);
    p->fs = share_of(super_ref(&fs->sb));
    p->dev = inode->dev;
    p->ino = inode->ino;
    p->reader = host_file_ref(host);
    p->writer = writable ? host_file_ref(host) : NULL;
    /* From here on sync(2) and who looks for memory may call the source. */
    err = pagecache_create(fs->memfile, &source, p, &p->object);
    if (err < 0) {
        source_release(p);
        return err;
    }
    object = p->object;
    other = enter(fs, inode, p, &err);
    if (!other && !err) {
        *ret = object;
        return 0;
    }
    mappable_unref(object);
    *ret = other;
    return err;
}

int share_pages_flush(struct share *fs, const struct inode *inode, uint64_t offset, uint64_t size)
{
    struct lock *write_lock = write_lock_of(fs, inode->ino);
    int err;

    if (__atomic_load_n(&fs->pages_count, __ATOMIC_ACQUIRE) == 0)
        return 0;
    lock_acquire(write_lock);
    lock_acquire(&fs->pages_lock);
    err = flush_locked(fs, inode, offset, size);
    lock_release(&fs->pages_lock);
    lock_release(write_lock);
    return err;
}

/* ---- changes on the host -------------------------------------------------------------------- */

static void take_over(struct mappable *object, const struct share_change *c)
{
    switch (c->how) {
    case SHARE_WRITTEN:
        pagecache_reread(object, c->offset, c->size);
        break;
    case SHARE_ZEROED:
        pagecache_zero_held(object, c->offset, c->size);
        break;
    case SHARE_SHIFTED:
        pagecache_forget_held(object, c->offset);
        break;
    case SHARE_CUT:
        pagecache_cut_held(object, c->old_size, c->size);
        break;
    default:
        break;
    }
}

void share_change_begin(struct share *fs, const struct inode *inode,
                        struct share_change *ret) __no_lock_analysis
{
    struct share_pages *p;

    *ret = (struct share_change){.how = SHARE_NOTHING, .old_size = UINT64_MAX};
    lock_acquire(write_lock_of(fs, inode->ino));
    if (__atomic_load_n(&fs->pages_count, __ATOMIC_ACQUIRE) == 0)
        return;
    lock_acquire(&fs->pages_lock);
    list_for_each (p, &fs->pages, node) {
        if (is_of(p, inode))
            ret->old_size = source_size(p);
    }
    lock_release(&fs->pages_lock);
}

/* Whole pages that are not the file's any more are asked for anew. */
static void invalidate(struct mappable *object, const struct share_change *c)
{
    uint64_t first = round_up(c->how == SHARE_CUT ? c->size : c->offset, PAGE_SIZE);

    if (c->how == SHARE_SHIFTED)
        mappable_invalidate(object, round_down(c->offset, PAGE_SIZE), UINT64_MAX, true);
    else if (c->how == SHARE_CUT)
        mappable_invalidate(object, first, UINT64_MAX, true);
    else if (c->how == SHARE_ZEROED && c->offset + c->size > first)
        mappable_invalidate(object, first, round_down(c->offset + c->size, PAGE_SIZE) - first,
                            false);
}

void share_change_end(struct share *fs, const struct inode *inode,
                      const struct share_change *change) __no_lock_analysis
{
    bool mapped = __atomic_load_n(&fs->pages_count, __ATOMIC_ACQUIRE) > 0;
    struct mappable *object;
    struct share_pages *p;

    if (mapped && change->how != SHARE_NOTHING) {
        lock_acquire(&fs->pages_lock);
        list_for_each (p, &fs->pages, node) {
            if (is_of(p, inode))
                take_over(p->object, change);
        }
        lock_release(&fs->pages_lock);
    }
    lock_release(write_lock_of(fs, inode->ino));
    object = mapped && change->how > SHARE_WRITTEN ? find(fs, inode, NULL) : NULL;
    if (object)
        invalidate(object, change);
    mappable_unref(object);
}
