/*
 * Open files of a share: the gofer donated a descriptor with the rights that the program asked for,
 * and bytes go straight to it. Those who have mapped the file see what is written.
 */
#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/change.h"
#include "host/io.h"
#include "host/news.h"
#include "sentry/fs/hostio.h"
#include "sentry/fs/share/internal.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"

struct share_file {
    struct file file;
    struct host_file *host;
};

static struct share_file *share_file_of(struct file *f)
{
    return container_of(f, struct share_file, file);
}

static int fd_of(struct file *f)
{
    return share_file_of(f)->host->fd;
}

static ssize_t share_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct share_inode *s = share_inode_of(f->at.dentry);
    int err = share_pages_flush(s->fs, &s->inode, (uint64_t)*pos, uio->left);

    return err < 0 ? err : hostio_read(fd_of(f), uio, pos, UINT64_MAX);
}

/* One write to the host and what mappings see of it. */
struct write_guard {
    struct hostio_guard guard;
    struct share_inode *inode;
    struct share_change change;
};

static void write_begin(struct hostio_guard *guard)
{
    struct write_guard *g = container_of(guard, struct write_guard, guard);

    share_change_begin(g->inode->fs, &g->inode->inode, &g->change);
}

static void write_end(struct hostio_guard *guard, uint64_t offset, uint64_t size)
{
    struct write_guard *g = container_of(guard, struct write_guard, guard);
    uint64_t end = offset + size;

    if (size > 0) {
        /* Behind the old end there may be what mappings stored there, which is not the file's. */
        g->change.how = SHARE_WRITTEN;
        g->change.offset = MIN(offset, g->change.old_size);
        g->change.size = end - g->change.offset;
    }
    share_change_end(g->inode->fs, &g->inode->inode, &g->change);
}

static ssize_t share_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct write_guard g = {.guard = {write_begin, write_end},
                            .inode = share_inode_of(f->at.dentry)};
    bool append = (f->flags & O_APPEND) && !uio->no_append;
    int64_t at = *pos;

    if (uio->left == 0)
        return 0;
    if (append)
        at = host_lseek(fd_of(f), 0, SEEK_END);
    if (at < 0)
        return (ssize_t)at;
    if ((uint64_t)at >= uio->size_limit)
        return -EFBIG;
    return hostio_write_guarded(fd_of(f), uio, pos, uio->size_limit - (uint64_t)at, append,
                                &g.guard);
}

/* The host finds no hole where a mapping has stored. */
static int64_t share_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct share_inode *s = share_inode_of(f->at.dentry);
    bool looks = whence == SEEK_DATA || whence == SEEK_HOLE;
    int err = looks ? share_pages_flush(s->fs, &s->inode, 0, UINT64_MAX) : 0;

    if (err < 0)
        return err;
    return hostio_llseek(fd_of(f), offset, whence, pos);
}

static int share_fstat(struct file *f, struct linux_stat *ret)
{
    int err = hostio_stat(fd_of(f), ret);

    host_news_note();
    if (!err && f->at.dentry)
        err = share_update(share_inode_of(f->at.dentry), ret);
    return err;
}

static int share_fstatfs(struct file *f, struct linux_statfs *ret)
{
    return hostio_statfs(fd_of(f), ret);
}

static int share_mmap(struct file *f, struct mappable **ret_object)
{
    struct share_inode *s = share_inode_of(f->at.dentry);

    return share_pages_get(s->fs, &s->inode, share_file_of(f)->host,
                           (f->flags & O_ACCMODE) == O_RDWR, ret_object);
}

static int share_ftruncate(struct file *f, uint64_t size)
{
    struct share_inode *s = share_inode_of(f->at.dentry);
    struct share_change change;
    int err;

    share_change_begin(s->fs, &s->inode, &change);
    err = host_truncate(fd_of(f), size);
    if (!err) {
        change.how = SHARE_CUT;
        change.size = size;
    }
    share_change_end(s->fs, &s->inode, &change);
    return err;
}

static int share_allocate(struct file *f, int mode, uint64_t offset, uint64_t size)
{
    struct share_inode *s = share_inode_of(f->at.dentry);
    bool shifts = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
    bool zeroes = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
    struct share_change change;
    int err = shifts ? share_pages_flush(s->fs, &s->inode, offset, UINT64_MAX) : 0;

    if (err < 0)
        return err;
    share_change_begin(s->fs, &s->inode, &change);
    err = host_allocate(fd_of(f), mode, offset, size);
    if (!err && shifts) {
        change.how = SHARE_SHIFTED;
        change.offset = offset;
    } else if (!err && (zeroes || change.old_size < offset + size)) {
        /* What mappings stored behind the old end is not in the file. */
        change.how = zeroes ? SHARE_ZEROED : SHARE_WRITTEN;
        change.offset = zeroes ? MIN(offset, change.old_size) : change.old_size;
        change.size = offset + size - change.offset;
    }
    share_change_end(s->fs, &s->inode, &change);
    return err;
}

static int share_sync(struct file *f)
{
    struct share_inode *s = share_inode_of(f->at.dentry);
    int err = share_pages_flush(s->fs, &s->inode, 0, UINT64_MAX);

    return err < 0 ? err : host_fsync(fd_of(f));
}

static int64_t dir_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return hostio_dir_llseek(fd_of(f), offset, whence, pos);
}

static int dir_getdents(struct file *f, struct dirent_sink *sink, int64_t *pos)
{
    return hostio_getdents(fd_of(f), sink, pos);
}

static void share_release(struct file *f)
{
    struct share_file *s = share_file_of(f);

    host_file_unref(s->host);
    file_fini(f);
    free(s);
}

static const struct file_operations regular_operations = {
    .read = share_read,
    .write = share_write,
    .llseek = share_llseek,
    .stat = share_fstat,
    .statfs = share_fstatfs,
    .mmap = share_mmap,
    .truncate = share_ftruncate,
    .allocate = share_allocate,
    .sync = share_sync,
    .release = share_release,
};

static const struct file_operations dir_operations = {
    .llseek = dir_llseek,
    .stat = share_fstat,
    .statfs = share_fstatfs,
    .getdents = dir_getdents,
    .sync = share_sync,
    .release = share_release,
};

int share_file_create(struct dentry *dentry, int fd, uint32_t flags, struct file **ret)
{
    bool dir = inode_type(dentry->inode) == S_IFDIR;
    struct share_file *s = calloc(1, sizeof(*s));
    char name[PATH_MAX] = "/";

    if (!s) {
        host_close(fd);
        return -ENOMEM;
    }
    if (dentry_path(dentry, name + 1, sizeof(name) - 1) < 0)
        name[1] = '\0';
    s->host = host_file_create(fd, name);
    if (!s->host) {
        free(s);
        return -ENOMEM;
    }
    file_init(&s->file, dir ? &dir_operations : &regular_operations, flags);
    *ret = &s->file;
    return 0;
}
