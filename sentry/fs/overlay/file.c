/*
 * Open regular files of the overlay: a pair of files, one in each half, opened when they are
 * needed. Which one a call goes to is decided by each call anew, so one that was opened before the
 * bytes were copied up sees what is written afterwards. A file that is opened for writing and not
 * written is not copied.
 */
#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/namei.h"

struct ov_file {
    struct file file;
    struct lock lock;       /* held while a half is opened */
    struct file *halves[2]; /* owned; atomic: set once */
};

enum half { LOWER, UPPER };

static struct ov_file *ov_file_of(struct file *f)
{
    return container_of(f, struct ov_file, file);
}

static int open_half(struct ov_file *of, struct ov_inode *ov, enum half which)
{
    uint32_t flags = of->file.flags;
    struct dentry *from;
    struct file *half;
    int err = 0;

    if (which == LOWER) {
        /* What is below is only read, whatever the program may do. */
        flags = (flags & ~(uint32_t)(O_ACCMODE | O_APPEND)) | O_RDONLY;
        from = dentry_ref(ov->lower);
    } else {
        err = ov_bytes(ov, &from);
    }
    if (err < 0)
        return err;
    err = ov_open_half(from, flags, &half);
    dentry_unref(from);
    if (!err)
        __atomic_store_n(&of->halves[which], half, __ATOMIC_RELEASE);
    return err;
}

/* The half that has the bytes now; borrowed. */
static int current_half(struct file *f, struct file **ret)
{
    struct ov_file *of = ov_file_of(f);
    struct ov_inode *ov = ov_of(f->at.dentry);
    enum half which = ov_copied(ov) ? UPPER : LOWER;
    struct file *half = __atomic_load_n(&of->halves[which], __ATOMIC_ACQUIRE);
    int err = 0;

    if (unlikely(!half)) {
        lock_acquire(&of->lock);
        if (!of->halves[which])
            err = open_half(of, ov, which);
        half = of->halves[which];
        lock_release(&of->lock);
    }
    if (err < 0)
        return err;
    if (which == UPPER) /* F_SETFL */
        __atomic_store_n(&half->flags, f->flags, __ATOMIC_RELAXED);
    *ret = half;
    return 0;
}

/* The upper half, to be changed beyond the first `limit` bytes. */
static int writable_half(struct file *f, uint64_t limit, struct file **ret)
{
    int err = ov_copy_data(f->at.dentry, limit);

    return err < 0 ? err : current_half(f, ret);
}

static ssize_t ov_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct file *half;
    int err = current_half(f, &half);

    return err < 0 ? err : half->ops->read(half, uio, pos);
}

static ssize_t ov_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct file *half;
    ssize_t n = writable_half(f, UINT64_MAX, &half);

    if (n < 0)
        return n;
    n = half->ops->write(half, uio, pos);
    ov_bytes_written(ov_of(f->at.dentry));
    return n;
}

static int64_t ov_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct file *half;
    int err;

    if (whence <= SEEK_CUR)
        return file_seek_in(offset, whence, pos, 0);
    err = current_half(f, &half);
    return err < 0 ? err : half->ops->llseek(half, offset, whence, pos);
}

static int ov_file_stat(struct file *f, struct linux_stat *ret)
{
    struct ov_inode *ov = ov_of(f->at.dentry);
    struct file *half = ov_file_of(f)->halves[LOWER];
    int err;

    /* What is below is asked by its descriptor: its name may be another's by now. */
    if (ov_upper(ov) || !half)
        return ov_stat(f->at.dentry, false, ret);
    err = half->ops->stat(half, ret);
    if (!err)
        ov_complete_stat(ov, ret);
    return err;
}

static char *name_of(struct file *f)
{
    struct mount_ns *ns = __atomic_load_n(&f->at.mount->ns, __ATOMIC_ACQUIRE);
    struct path top;
    char *name;

    if (!ns) /* its mount has been taken out of the tree: it has no name there */
        return NULL;
    top = (struct path){ns->root, ns->root->root};
    name = malloc(PATH_MAX);
    if (name && path_to_link(&top, &f->at, name, PATH_MAX) > 0)
        return name;
    free(name);
    return NULL;
}

/* A mapping that may be written to the file must be of the pages that writes go to. */
static int ov_mmap(struct file *f, struct mappable **ret_object)
{
    struct file *half;
    int err = (f->flags & O_ACCMODE) == O_RDWR ? writable_half(f, UINT64_MAX, &half)
                                               : current_half(f, &half);

    if (!err && !half->ops->mmap)
        err = -ENODEV;
    if (err < 0)
        return err;
    if (half == ov_file_of(f)->halves[UPPER]) {
        char *name = name_of(f);

        lock_acquire(&ov_file_of(f)->lock);
        free(half->path);
        half->path = name;
        err = half->ops->mmap(half, ret_object);
        lock_release(&ov_file_of(f)->lock);
        return err;
    }
    return half->ops->mmap(half, ret_object);
}

static int ov_file_truncate(struct file *f, uint64_t size)
{
    struct file *half;
    int err = writable_half(f, size, &half);

    if (!err)
        err = half->ops->truncate ? half->ops->truncate(half, size) : -EINVAL;
    if (!err)
        ov_bytes_written(ov_of(f->at.dentry));
    return err;
}

/* Zeroes in place of what is there, as the host's file systems have it and upper may not. */
static int zero_range(struct file *half, int mode, uint64_t offset, uint64_t size)
{
    int err = half->ops->allocate(half, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);

    return err ? err : half->ops->allocate(half, mode & ~FALLOC_FL_ZERO_RANGE, offset, size);
}

static int ov_allocate(struct file *f, int mode, uint64_t offset, uint64_t size)
{
    struct file *half;
    int err = writable_half(f, UINT64_MAX, &half);

    if (!err && !half->ops->allocate)
        return -EOPNOTSUPP;
    if (!err)
        err = half->ops->allocate(half, mode, offset, size);
    if (err == -EOPNOTSUPP && (mode & FALLOC_FL_ZERO_RANGE))
        err = zero_range(half, mode, offset, size);
    if (!err)
        ov_bytes_written(ov_of(f->at.dentry));
    return err;
}

static int ov_sync(struct file *f)
{
    struct file *half = __atomic_load_n(&ov_file_of(f)->halves[UPPER], __ATOMIC_ACQUIRE);
    struct overlay *fs = ov_of(f->at.dentry)->fs;
    int err = half && half->ops->sync ? half->ops->sync(half) : 0;

    return !err && fs->journal ? ov_journal_sync(fs->journal) : err;
}

static void ov_file_release(struct file *f)
{
    struct ov_file *of = ov_file_of(f);

    file_unref(of->halves[LOWER]);
    file_unref(of->halves[UPPER]);
    lock_destroy(&of->lock);
    file_fini(f);
    free(of);
}

static const struct file_operations regular_operations = {
    .read = ov_read,
    .write = ov_write,
    .llseek = ov_llseek,
    .stat = ov_file_stat,
    .mmap = ov_mmap,
    .truncate = ov_file_truncate,
    .allocate = ov_allocate,
    .sync = ov_sync,
    .release = ov_file_release,
};

int ov_file_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct ov_inode *ov = ov_of(dentry);
    struct ov_file *of = calloc(1, sizeof(*of));
    int err;

    if (!of)
        return -ENOMEM;
    file_init(&of->file, &regular_operations, flags);
    lock_init(&of->lock);
    /* Now, so that what the host refuses is refused by open(2). */
    err = open_half(of, ov, ov_copied(ov) ? UPPER : LOWER);
    if (err < 0)
        file_unref(&of->file);
    else
        *ret = &of->file;
    return err;
}
