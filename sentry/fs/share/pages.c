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

static void source_release(void *arg)
{
    struct share_pages *p = arg;

    lock_acquire(&p->fs->pages_lock);
    list_del_init(&p->node);
    __atomic_sub_fetch(&p->fs->pages_count, 1, __ATOMIC_RELAXED);
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
    .release = source_release,
    .name = source_name,
};

/* The object of that file, referenced, made writable if `writer` is given; NULL: it is not mapped.
 */
static struct mappable *find(struct share *fs, const struct inode *inode, struct host_file *writer)
{
    struct mappable *found = NULL;
    struct share_pages *p;

    if (__atomic_load_n(&fs->pages_count, __ATOMIC_ACQUIRE) == 0)
        return NULL;
    lock_acquire(&fs->pages_lock);
    list_for_each (p, &fs->pages, node) {
        if (p->ino != inode->ino || p->dev != inode->dev ||
            !refcount_get_unless_zero(&p->object->refs))
            continue;
        if (writer && !p->writer)
            __atomic_store_n(&p->writer, host_file_ref(writer), __ATOMIC_RELEASE);
        found = p->object;
        break;
    }
    lock_release(&fs->pages_lock);
    return found;
}

int share_pages_get(struct share *fs, const struct inode *inode, struct host_file *host,
                    bool writable, struct mappable **ret)
{
    struct share_pages *p;
    int err;

    *ret = find(fs, inode, writable ? host : NULL);
    if (*ret)
        return 0;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    err = pagecache_create(fs->memfile, &source, p, &p->object);
    if (err < 0) {
        free(p);
        return err;
    }
    super_ref(&fs->sb);
    p->fs = fs;
    p->dev = inode->dev;
    p->ino = inode->ino;
    p->reader = host_file_ref(host);
    p->writer = writable ? host_file_ref(host) : NULL;
    lock_acquire(&fs->pages_lock);
    list_add(&fs->pages, &p->node);
    __atomic_add_fetch(&fs->pages_count, 1, __ATOMIC_RELEASE);
    lock_release(&fs->pages_lock);
    *ret = p->object;
    return 0;
}

int share_pages_flush(struct share *fs, const struct inode *inode, uint64_t offset, uint64_t size)
{
    struct mappable *object = find(fs, inode, NULL);
    int err = object ? pagecache_flush(object, offset, size) : 0;

    mappable_unref(object);
    return err;
}

void share_pages_written(struct share *fs, const struct inode *inode, uint64_t offset,
                         uint64_t size)
{
    struct mappable *object = find(fs, inode, NULL);

    if (object)
        pagecache_reread(object, offset, size);
    mappable_unref(object);
}

void share_pages_changed(struct share *fs, const struct inode *inode, uint64_t offset,
                         uint64_t size, bool private_too)
{
    struct mappable *object = find(fs, inode, NULL);

    if (object)
        pagecache_invalidate(object, offset, size, private_too);
    mappable_unref(object);
}

void share_pages_cut(struct share *fs, const struct inode *inode, uint64_t size)
{
    struct mappable *object = find(fs, inode, NULL);

    if (object) {
        /* The page that the end is in is read anew: what lies behind the end is zero there. */
        if (size % PAGE_SIZE)
            pagecache_invalidate(object, size, 1, false);
        pagecache_invalidate(object, round_up(size, PAGE_SIZE), UINT64_MAX, true);
    }
    mappable_unref(object);
}
