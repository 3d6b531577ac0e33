/*
 * Files of the host's tree that are open: the gofer donated a descriptor, and reads go straight to
 * it. Directories are listed with getdents64(2) on theirs; positions are the host's cookies.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "host/news.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/fs/hostio.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/dirent.h"
#include "sentry/vfs/file.h"

struct donated {
    struct file file;
    struct host_file *host;
    struct gofer_inode *about; /* the same object; owned reference; NULL: the host had another */
    struct memfile *memfile;   /* borrowed */
};

static struct donated *donated_of(struct file *f)
{
    return container_of(f, struct donated, file);
}

static ssize_t donated_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct donated *d = donated_of(f);
    ssize_t n;

    if (!d->about || d->about->fs->exclusive)
        return hostio_read(d->host->fd, uio, pos, UINT64_MAX);
    n = hostio_read_quietly(d->host->fd, uio, pos, UINT64_MAX);
    reading_note(&d->about->fs->readings, d->about);
    return n;
}

static int64_t donated_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return hostio_llseek(donated_of(f)->host->fd, offset, whence, pos);
}

static int donated_stat(struct file *f, struct linux_stat *ret)
{
    struct donated *d = donated_of(f);
    int err;

    if (d->about && gofer_inode_look(d->about, ret))
        return 0;
    err = hostio_stat(d->host->fd, ret);
    host_news_note(); /* it may have told of something */
    return err;
}

static int donated_statfs(struct file *f, struct linux_statfs *ret)
{
    return hostio_statfs(donated_of(f)->host->fd, ret);
}

static int donated_mmap(struct file *f, struct mappable **ret_object)
{
    struct donated *d = donated_of(f);

    return hostio_mmap(d->host, d->memfile, ret_object);
}

static int donated_sync(struct file *f)
{
    return 0; /* nothing was written through us */
}

static int64_t dir_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return hostio_dir_llseek(donated_of(f)->host->fd, offset, whence, pos);
}

/* Passes names on, and notes them. */
struct noting_sink {
    struct dirent_sink sink, *to;
    struct gofer_inode *dir; /* NULL: no more are noted */
    int64_t pos;
};

static bool emit_noting(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                        int64_t next, uint8_t type)
{
    struct noting_sink *s = container_of(sink, struct noting_sink, sink);

    if (!s->to->emit(s->to, name, size, ino, next, type))
        return false;
    if (s->dir &&
        !listing_note(&s->dir->fs->listings, s->dir, s->pos, (struct name){name, size}, type, next))
        s->dir = NULL;
    s->pos = next;
    return true;
}

static int dir_getdents(struct file *f, struct dirent_sink *sink, int64_t *pos)
{
    struct noting_sink noting = {.sink.emit = emit_noting, .to = sink, .pos = *pos};

    if (f->at.dentry && !goferfs_of(f->at.dentry)->exclusive)
        noting.dir = gofer_inode_of(f->at.dentry->inode);
    if (noting.dir && *pos == 0)
        listing_begin(&noting.dir->fs->listings, f->at.dentry);
    return hostio_getdents(donated_of(f)->host->fd, &noting.sink, pos);
}

static void donated_release(struct file *f)
{
    struct donated *d = donated_of(f);

    host_file_unref(d->host);
    if (d->about)
        inode_unref(&d->about->inode);
    file_fini(f);
    free(d);
}

static const struct file_operations regular_operations = {
    .read = donated_read,
    .llseek = donated_llseek,
    .stat = donated_stat,
    .statfs = donated_statfs,
    .mmap = donated_mmap,
    .sync = donated_sync,
    .release = donated_release,
};

static const struct file_operations dir_operations = {
    .llseek = dir_llseek,
    .stat = donated_stat,
    .statfs = donated_statfs,
    .getdents = dir_getdents,
    .sync = donated_sync,
    .release = donated_release,
};

int gofer_file_create(struct dentry *dentry, struct host_file *host, uint32_t flags,
                      struct file **ret)
{
    bool dir = inode_type(dentry->inode) == S_IFDIR;
    struct donated *d = calloc(1, sizeof(*d));

    if (!d) {
        host_file_unref(host);
        return -ENOMEM;
    }
    d->host = host;
    if (handle_is(gofer_inode_of(dentry->inode), host))
        d->about = gofer_inode_of(inode_ref(dentry->inode));
    file_init(&d->file, dir ? &dir_operations : &regular_operations, flags);
    d->memfile = goferfs_of(dentry)->memfile;
    *ret = &d->file;
    return 0;
}
