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
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/path/namei.h"

struct ov_file {
    struct file file;
    struct lock lock;               /* held while a half is opened */
    struct file *halves[OV_HALVES]; /* owned; atomic: set once */
};

static struct ov_file *ov_file_of(struct file *f)
{
    return container_of(f, struct ov_file, file);
}

static int open_half(struct ov_file *of, struct ov_inode *ov, enum ov_half which)
{
    uint32_t flags = of->file.flags;
    struct dentry *from;
    struct file *half;
    int err = 0;

    if (which == OV_LOWER) {
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

/* Borrowed. */
static int half_of(struct file *f, enum ov_half which, struct file **ret)
{
    struct ov_file *of = ov_file_of(f);
    struct file *half = __atomic_load_n(&of->halves[which], __ATOMIC_ACQUIRE);
    int err = 0;

    if (unlikely(!half)) {
        lock_acquire(&of->lock);
        if (!of->halves[which])
            err = open_half(of, ov_of(f->at.dentry), which);
        half = of->halves[which];
        lock_release(&of->lock);
    }
    if (err < 0)
        return err;
    if (which == OV_UPPER) /* F_SETFL */
        __atomic_store_n(&half->flags, f->flags, __ATOMIC_RELAXED);
    *ret = half;
    return 0;
}

/* Of a file whose bytes are partly here, partly there; NULL: they are all in one half. */
static struct ov_pieces *pieces_of(struct file *f)
{
    struct ov_inode *ov = ov_of(f->at.dentry);

    return ov_copied(ov) ? NULL : __atomic_load_n(&ov->pieces, __ATOMIC_ACQUIRE);
}

/* The half that says how long the file is now. */
static int current_half(struct file *f, struct file **ret)
{
    bool upper = ov_copied(ov_of(f->at.dentry)) || pieces_of(f);

    return half_of(f, upper ? OV_UPPER : OV_LOWER, ret);
}

/* The upper half, after `err` said whether its bytes could be taken there. */
static int writable_half(struct file *f, int err, struct file **ret)
{
    return err < 0 ? err : half_of(f, OV_UPPER, ret);
}

/* ---- in pieces ----------------------------------------------------------------------------------
 */

/* What is where at `pos`: the file that has it, and how many of *size bytes. -ENXIO: the end. */
static int find_piece(struct file *f, const struct ov_pieces *pieces, int64_t pos, uint64_t *size,
                      struct file **ret)
{
    struct linux_stat st;
    struct file *upper;
    int err = half_of(f, OV_UPPER, &upper);

    if (!err)
        err = upper->ops->stat(upper, &st);
    if (!err && pos >= st.st_size)
        err = -ENXIO;
    if (err < 0)
        return err;
    *size = MIN(*size, (uint64_t)(st.st_size - pos));
    *ret = ov_pieces_run(pieces, (uint64_t)pos, size) ? upper : pieces->lower;
    return 0;
}

static ssize_t read_piece(struct file *from, struct uio *uio, int64_t *pos, uint64_t size,
                          bool lower)
{
    uint64_t more = uio->left - size;
    ssize_t n;

    uio->left = size;
    n = from->ops->read(from, uio, pos);
    if (n == 0 && lower) { /* the host has made it shorter */
        n = uio_zero(uio, size);
        *pos += MAX(n, 0);
    }
    uio->left += more;
    return n;
}

static ssize_t read_pieces(struct file *f, const struct ov_pieces *pieces, struct uio *uio,
                           int64_t *pos)
{
    ssize_t done = 0, n = 0;

    while (uio->left > 0) {
        uint64_t size = uio->left;
        struct file *from;

        n = find_piece(f, pieces, *pos, &size, &from);
        if (n == -ENXIO)
            n = 0;
        else if (!n)
            n = read_piece(from, uio, pos, size, from == pieces->lower);
        if (n <= 0)
            break;
        done += n;
    }
    return done ? done : n;
}

/* SEEK_DATA, SEEK_HOLE: each piece is asked where it is. */
static int64_t seek_pieces(struct file *f, const struct ov_pieces *pieces, int64_t offset,
                           int whence)
{
    int64_t at = offset;

    if (offset < 0)
        return -ENXIO;
    for (;;) {
        uint64_t size = INT64_MAX - (uint64_t)at;
        struct file *from;
        int64_t found;
        int err = find_piece(f, pieces, at, &size, &from);

        if (err == -ENXIO && whence == SEEK_HOLE && at > offset)
            return at; /* the end is one */
        if (err < 0)
            return err;
        found = from->ops->llseek(from, at, whence, at);
        if (found < 0 && found != -ENXIO)
            return found;
        if (found >= 0 && (uint64_t)(found - at) < size)
            return found;
        at += (int64_t)size;
    }
}

/* ---- the calls ---------------------------------------------------------------------------------
 */

static ssize_t ov_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct ov_pieces *pieces = pieces_of(f);
    struct file *half;
    int err;

    if (unlikely(pieces))
        return read_pieces(f, pieces, uio, pos);
    err = current_half(f, &half);
    return err < 0 ? err : half->ops->read(half, uio, pos);
}

/* Where a write will begin, more or less: what lies at the end is taken in any case. */
static int take_for_write(struct file *f, const struct uio *uio, int64_t pos)
{
    struct ov_inode *ov = ov_of(f->at.dentry);

    if (ov_copied(ov) || uio->left == 0)
        return ov_take(f->at.dentry, 0, 0);
    if ((f->flags & O_APPEND) && !uio->no_append)
        pos = INT64_MAX;
    return ov_take(f->at.dentry, (uint64_t)pos, uio->left);
}

static ssize_t ov_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct file *half;
    ssize_t n = writable_half(f, take_for_write(f, uio, *pos), &half);

    if (n < 0)
        return n;
    n = half->ops->write(half, uio, pos);
    ov_bytes_written(ov_of(f->at.dentry));
    return n;
}

static int64_t ov_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct ov_pieces *pieces = pieces_of(f);
    struct file *half;
    int err;

    if (whence <= SEEK_CUR)
        return file_seek_in(offset, whence, pos, 0);
    if (pieces && (whence == SEEK_DATA || whence == SEEK_HOLE))
        return seek_pieces(f, pieces, offset, whence);
    err = current_half(f, &half);
    return err < 0 ? err : half->ops->llseek(half, offset, whence, pos);
}

static int ov_file_stat(struct file *f, struct linux_stat *ret)
{
    struct ov_inode *ov = ov_of(f->at.dentry);
    struct file *half = ov_file_of(f)->halves[OV_LOWER];
    int err;

    /* What is below is asked by its descriptor: its name may be another's by now. */
    if (ov_upper(ov) || !half)
        return ov_stat(f->at.dentry, false, ret);
    err = half->ops->stat(half, ret);
    if (!err)
        ov_complete_stat(ov, ret);
    return err;
}

/* For /proc/PID/maps; allocated. NULL: no memory. */
static char *name_of(struct file *f)
{
    struct mount *mount = f->at.mount;
    struct mount_ns *ns = mount ? __atomic_load_n(&mount->ns, __ATOMIC_ACQUIRE) : NULL;
    char *name = malloc(PATH_MAX);
    struct path top;
    bool found;

    if (!name)
        return NULL;
    if (ns) {
        top = (struct path){ns->root, ns->root->root};
        found = path_to_link(&top, &f->at, name, PATH_MAX) > 0;
    } else {
        /* Its mount has been taken out of the tree: what is left is its place in this one. */
        name[0] = '/';
        found = dentry_path(f->at.dentry, name + 1, PATH_MAX - 1) >= 0;
    }
    if (!found)
        name[0] = '\0';
    return name;
}

/* The half's own object: nobody has mapped what was below. */
static int map_upper(struct file *f, struct mappable **ret_object)
{
    struct ov_file *of = ov_file_of(f);
    struct file *half;
    int err = half_of(f, OV_UPPER, &half);

    if (!err && !half->ops->mmap)
        err = -ENODEV;
    if (err < 0)
        return err;
    lock_acquire(&of->lock);
    free(half->path);
    half->path = name_of(f);
    err = half->ops->mmap(half, ret_object);
    lock_release(&of->lock);
    return err;
}

static int ov_mmap(struct file *f, struct mappable **ret_object)
{
    struct ov_inode *ov = ov_of(f->at.dentry);
    /* What may be written through a mapping is copied up, though perhaps in pieces, none yet. */
    int err = (f->flags & O_ACCMODE) == O_RDWR ? ov_take(f->at.dentry, 0, 0) : 0;

    if (err < 0)
        return err;
    return ov_pages_wanted(ov) ? ov_pages_get(ov, name_of(f), ret_object)
                               : map_upper(f, ret_object);
}

static int ov_file_truncate(struct file *f, uint64_t size)
{
    struct file *half;
    int err = writable_half(f, ov_take_cut(f->at.dentry, size), &half);

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
    int err = writable_half(f, ov_take(f->at.dentry, offset, size), &half);

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
    struct file *half = __atomic_load_n(&ov_file_of(f)->halves[OV_UPPER], __ATOMIC_ACQUIRE);
    struct overlay *fs = ov_of(f->at.dentry)->fs;
    int err = half && half->ops->sync ? half->ops->sync(half) : 0;

    return !err && fs->journal ? ov_journal_sync(fs->journal) : err;
}

static void ov_file_release(struct file *f)
{
    struct ov_file *of = ov_file_of(f);

    file_unref(of->halves[OV_LOWER]);
    file_unref(of->halves[OV_UPPER]);
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
    err = open_half(of, ov, ov_copied(ov) ? OV_UPPER : OV_LOWER);
    if (err < 0)
        file_unref(&of->file);
    else
        *ret = &of->file;
    return err;
}
