/*
 * Files of the host's tree that are open: the gofer donated a descriptor, and reads go straight to
 * it. Directories are listed with getdents64(2) on theirs; positions are the host's cookies.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/io.h"
#include "host/path.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/fs/hostio.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/dirent.h"
#include "sentry/vfs/file.h"

#define GETDENTS_BYTES 16384

struct donated {
    struct file file;
    struct host_file *host;
    struct memfile *memfile; /* borrowed */
};

/* What getdents64(2) fills in. */
struct dirent64_abi {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

static struct donated *donated_of(struct file *f)
{
    return container_of(f, struct donated, file);
}

static ssize_t donated_read(struct file *f, struct uio *uio, int64_t *pos)
{
    return hostio_read(donated_of(f)->host->fd, uio, pos, UINT64_MAX);
}

static int64_t donated_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    /* The host's own position is not used, and SEEK_CUR is about ours. */
    if (whence == SEEK_CUR)
        return file_seek_in(offset, whence, pos, 0);
    return host_lseek(donated_of(f)->host->fd, offset, whence);
}

static int donated_stat(struct file *f, struct linux_stat *ret)
{
    return hostio_stat(donated_of(f)->host->fd, ret);
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
    if (whence == SEEK_CUR && offset == 0)
        return pos;
    return host_lseek(donated_of(f)->host->fd, offset, whence);
}

/* Passes on what one getdents64(2) returned; false when the sink is full. */
static bool emit_all(struct dirent_sink *sink, const char *buf, size_t size, int64_t *pos)
{
    size_t at = 0;

    while (at < size) {
        const struct dirent64_abi *d = (const struct dirent64_abi *)(buf + at);
        size_t length = strnlen(d->name, d->reclen - offsetof(struct dirent64_abi, name));

        if (!sink->emit(sink, d->name, length, d->ino, d->off, d->type))
            return false;
        *pos = d->off;
        at += d->reclen;
    }
    return true;
}

static int dir_getdents(struct file *f, struct dirent_sink *sink, int64_t *pos)
{
    int fd = donated_of(f)->host->fd;
    char *buf = malloc(GETDENTS_BYTES);
    ssize_t n;

    if (!buf)
        return -ENOMEM;
    /* What the last call fetched and could not pass on is fetched again. */
    n = host_lseek(fd, *pos, SEEK_SET);
    if (n >= 0) {
        do {
            n = host_getdents(fd, buf, GETDENTS_BYTES);
        } while (n > 0 && emit_all(sink, buf, (size_t)n, pos));
    }
    free(buf);
    return n < 0 ? (int)n : 0;
}

static void donated_release(struct file *f)
{
    struct donated *d = donated_of(f);

    host_file_unref(d->host);
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
    file_init(&d->file, dir ? &dir_operations : &regular_operations, flags);
    d->memfile = goferfs_of(dentry)->memfile;
    *ret = &d->file;
    return 0;
}
