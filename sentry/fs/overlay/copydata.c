/*
 * The bytes of a file on their way up. A small file is copied whole when the first of its bytes is
 * changed, and only as many as stay. A big one goes piece by piece:
 *
 *   piece taken       its bytes are upper's
 *   not taken yet     they are lower's; where upper's half has a hole
 *
 * Upper's half has the size from the beginning on. What lies behind the end that lower had, and
 * what was cut off once, counts as taken, so lower never shows through there. A file of which all
 * pieces are taken is copied. Who maps the file asks anew whenever a piece is taken (pages.c).
 *
 * In an overlay that is kept all files are copied whole: lower may be another one next time.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/mm/uio.h"

#define COPY_BYTES  (256UL << 10)
#define WHOLE_BYTES (1UL << 20) /* a file up to here is copied whole */
#define PIECE_SHIFT 16
#define PIECES_MAX  (1UL << 23) /* of one file: its map takes a bit for each */
#define FILES_MAX   256         /* that are in pieces: each has a descriptor of the host's */

static struct timespec time_of(uint64_t sec, uint64_t nsec)
{
    return (struct timespec){(time_t)sec, (long)nsec};
}

/* [*at, end) or what of it comes in one piece; *at is advanced. */
static int copy_piece(struct file *from, struct file *to, uint8_t *buf, uint64_t end, uint64_t *at)
{
    int64_t in = (int64_t)*at, out = (int64_t)*at;
    struct uio uio;
    ssize_t n;

    uio_init_host(&uio, buf, MIN(COPY_BYTES, end - *at));
    n = from->ops->read(from, &uio, &in);
    if (n <= 0)
        return n < 0 ? (int)n : -ENODATA; /* shorter by now */
    *at += (uint64_t)n;
    while (n > 0) {
        ssize_t written;

        uio_init_host(&uio, buf, (uint64_t)n);
        written = to->ops->write(to, &uio, &out);
        if (written <= 0)
            return written < 0 ? (int)written : -EIO;
        n -= written;
        memmove(buf, buf + written, (size_t)n);
    }
    return 0;
}

/* The next byte from `at` on that is no hole. */
static uint64_t next_data(struct file *from, uint64_t at, uint64_t end)
{
    int64_t found = from->ops->llseek ? from->ops->llseek(from, (int64_t)at, SEEK_DATA, (int64_t)at)
                                      : (int64_t)at;

    if (found == -ENXIO)
        return end;
    return found < (int64_t)at ? at : MIN((uint64_t)found, end);
}

/* [start, end). */
static int copy_range(struct file *from, struct file *to, uint64_t start, uint64_t end)
{
    uint8_t *buf = malloc(COPY_BYTES);
    uint64_t at = start;
    int err = buf ? 0 : -ENOMEM;

    while (!err && at < end) {
        at = next_data(from, at, end);
        if (at < end)
            err = copy_piece(from, to, buf, end, &at);
    }
    free(buf);
    return err == -ENODATA ? 0 : err;
}

/* None of the copying was the program's doing: `bytes` keeps what upper said before. */
static int restore_times(struct ov_inode *ov, struct dentry *bytes, const struct linux_stat *before)
{
    const unsigned upper_too = bytes == ov_upper(ov) ? ATTR_CTIME | ATTR_MODE : 0;
    const struct inode_attr attr = {
        .mask = ATTR_ATIME | ATTR_MTIME | upper_too,
        .mode = before->st_mode & 07777,
        .atime = time_of(before->st_atime_sec, before->st_atime_nsec),
        .mtime = time_of(before->st_mtime_sec, before->st_mtime_nsec),
        .ctime = time_of(before->st_ctime_sec, before->st_ctime_nsec),
    };

    return bytes->inode->ops->setattr(bytes, &attr);
}

/* ---- whole --------------------------------------------------------------------------------------
 */

/* `bytes` gets the first `limit` bytes of lower's half, and upper's times. */
static int copy_contents(struct ov_inode *ov, struct dentry *bytes, uint64_t limit)
{
    struct dentry *upper = ov_upper(ov);
    struct file *from = NULL, *to = NULL;
    struct linux_stat st, before;
    int err;

    err = upper->inode->ops->stat(upper, true, &before);
    if (err < 0)
        return err;
    err = ov_open_half(ov->lower, O_RDONLY, &from);
    if (!err)
        err = from->ops->stat(from, &st);
    if (!err)
        err = ov_open_half(bytes, O_WRONLY, &to);
    if (!err)
        err = copy_range(from, to, 0, MIN(limit, (uint64_t)st.st_size));
    file_unref(from);
    file_unref(to);
    /* A hole at the end, or what an attempt before this one left. */
    if (!err)
        err = bytes->inode->ops->truncate(bytes, MIN(limit, (uint64_t)st.st_size));
    return err ? err : restore_times(ov, bytes, &before);
}

static int copy_whole_locked(struct ov_inode *ov, uint64_t limit)
{
    struct dentry *bytes;
    int err = ov_bytes_make(ov);

    if (!err && limit > 0) {
        err = ov_bytes(ov, &bytes);
        if (!err) {
            err = copy_contents(ov, bytes, limit);
            dentry_unref(bytes);
        }
    }
    if (!err)
        err = ov_note_copied(ov);
    if (!err)
        __atomic_store_n(&ov->copied, true, __ATOMIC_RELEASE);
    return err;
}

/* ---- in pieces ----------------------------------------------------------------------------------
 */

static uint64_t piece_of(const struct ov_pieces *p, uint64_t offset)
{
    return offset >> p->shift;
}

static bool is_taken(const struct ov_pieces *p, uint64_t piece)
{
    return piece >= p->count ||
           (__atomic_load_n(&p->taken[piece / 64], __ATOMIC_ACQUIRE) & (1UL << piece % 64));
}

bool ov_pieces_run(const struct ov_pieces *p, uint64_t offset, uint64_t *size)
{
    uint64_t piece = piece_of(p, offset), end = MIN(*size, UINT64_MAX - offset) + offset;
    bool taken = is_taken(p, piece);

    while (piece < p->count && (piece + 1) << p->shift < end && is_taken(p, piece + 1) == taken)
        piece++;
    if (piece < p->count)
        *size = MIN(end, (piece + 1) << p->shift) - offset;
    return taken;
}

void ov_pieces_free(struct ov_inode *ov)
{
    struct ov_pieces *p = ov->pieces;

    if (!p)
        return;
    file_unref(p->lower);
    free(p);
    __atomic_sub_fetch(&ov->fs->pieces_count, 1, __ATOMIC_RELAXED);
}

/* With copy_lock held: no piece is taken yet. -EFBIG: it is not to be done so. */
static int begin_locked(struct ov_inode *ov)
{
    struct dentry *upper = ov_upper(ov);
    unsigned shift = PIECE_SHIFT;
    struct linux_stat st, before;
    struct ov_pieces *p;
    struct file *lower;
    uint64_t count;
    int err = ov_open_half(ov->lower, O_RDONLY, &lower);

    if (err < 0)
        return err;
    err = lower->ops->stat(lower, &st);
    if (!err && (uint64_t)st.st_size <= WHOLE_BYTES)
        err = -EFBIG;
    while (!err && ((uint64_t)st.st_size >> shift) >= PIECES_MAX)
        shift++;
    count = err ? 0 : (((uint64_t)st.st_size - 1) >> shift) + 1;
    p = err ? NULL : calloc(1, sizeof(*p) + (count / 64 + 1) * sizeof(p->taken[0]));
    if (!err && !p)
        err = -ENOMEM;
    if (!err)
        err = upper->inode->ops->stat(upper, true, &before);
    if (!err)
        err = upper->inode->ops->truncate(upper, (uint64_t)st.st_size);
    if (!err)
        err = restore_times(ov, upper, &before);
    if (err < 0) {
        free(p);
        file_unref(lower);
        return err;
    }
    p->lower = lower;
    p->shift = shift;
    p->count = p->left = count;
    p->end = (uint64_t)st.st_size;
    __atomic_store_n(&ov->pieces, p, __ATOMIC_RELEASE);
    return 0;
}

static void mark(struct ov_inode *ov, struct ov_pieces *p, uint64_t piece)
{
    if (is_taken(p, piece))
        return;
    __atomic_or_fetch(&p->taken[piece / 64], 1UL << piece % 64, __ATOMIC_RELEASE);
    if (--p->left == 0)
        __atomic_store_n(&ov->copied, true, __ATOMIC_RELEASE);
}

/* With copy_lock held: the pieces with [start, end) of them. */
static int take_locked(struct ov_inode *ov, uint64_t start, uint64_t end)
{
    struct ov_pieces *p = ov->pieces;
    struct dentry *upper = ov_upper(ov);
    struct linux_stat before;
    struct file *to = NULL;
    int err = upper->inode->ops->stat(upper, true, &before);

    if (err < 0 || end <= start)
        return err;
    for (uint64_t piece = piece_of(p, start); piece <= piece_of(p, end - 1) && !err; piece++) {
        if (is_taken(p, piece))
            continue;
        if (!to)
            err = ov_open_half(upper, O_WRONLY, &to);
        if (!err)
            err = copy_range(p->lower, to, piece << p->shift,
                             MIN((piece + 1) << p->shift, (uint64_t)before.st_size));
        if (!err)
            mark(ov, p, piece);
    }
    if (to && !err)
        err = restore_times(ov, upper, &before);
    file_unref(to);
    return err;
}

/* Is it in pieces now? 1, 0, or -errno. */
static int be_in_pieces_locked(struct ov_inode *ov)
{
    int err;

    if (ov->pieces)
        return 1;
    if (ov->fs->journal)
        return 0;
    if (__atomic_add_fetch(&ov->fs->pieces_count, 1, __ATOMIC_RELAXED) <= FILES_MAX)
        err = begin_locked(ov);
    else
        err = -EFBIG;
    if (err < 0)
        __atomic_sub_fetch(&ov->fs->pieces_count, 1, __ATOMIC_RELAXED);
    return err == -EFBIG ? 0 : err < 0 ? err : 1;
}

/* ---- what changes need --------------------------------------------------------------------------
 */

static int ready(struct dentry *dentry)
{
    struct ov_inode *ov = ov_of(dentry);
    int err = ov_begin(ov->fs);

    return err ? err : ov_copy_up_unlocked(dentry);
}

/* It has been copied up, but perhaps for its bytes. */
int ov_take_mapped(struct ov_inode *ov, uint64_t start, uint64_t size)
{
    uint64_t end = start + MIN(size, UINT64_MAX - start), last = 0;
    int err = 0, pieces = 0;

    if (ov_copied(ov))
        return 0;
    lock_acquire(&ov->copy_lock);
    if (!ov_copied(ov)) {
        pieces = be_in_pieces_locked(ov);
        if (pieces > 0) {
            last = ov->pieces->end - 1;
            err = take_locked(ov, start, MIN(end, last + 1));
            /* Behind lower's end are zeroes: they are upper's. */
            if (!err && end > last + 1)
                err = take_locked(ov, last, last + 1);
        } else {
            err = pieces < 0 ? pieces : copy_whole_locked(ov, UINT64_MAX);
        }
    }
    lock_release(&ov->copy_lock);
    /* The pieces around the range, and the last one, may have been taken. */
    if (!err)
        ov_pages_changed(ov, 0, UINT64_MAX);
    return err;
}

int ov_take(struct dentry *dentry, uint64_t start, uint64_t size)
{
    struct ov_inode *ov = ov_of(dentry);
    int err = ov_copied(ov) ? 0 : ready(dentry);

    return err ? err : ov_take_mapped(ov, start, size);
}

int ov_take_cut(struct dentry *dentry, uint64_t size)
{
    struct ov_inode *ov = ov_of(dentry);
    int err, pieces;

    if (ov_copied(ov))
        return 0;
    err = ready(dentry);
    if (err < 0)
        return err;
    lock_acquire(&ov->copy_lock);
    if (!ov_copied(ov)) {
        pieces = size <= WHOLE_BYTES && !ov->pieces ? 0 : be_in_pieces_locked(ov);
        if (pieces > 0) {
            struct ov_pieces *p = ov->pieces;
            uint64_t last = MIN(size, p->end - 1);

            /* The piece with the new end in it; the ones behind it are to be zero for ever. */
            err = take_locked(ov, last, last + 1);
            for (uint64_t piece = piece_of(p, last); piece < p->count && !err; piece++)
                mark(ov, p, piece);
        } else {
            err = pieces < 0 ? pieces : copy_whole_locked(ov, size);
        }
    }
    lock_release(&ov->copy_lock);
    if (!err)
        ov_pages_changed(ov, 0, UINT64_MAX);
    return err;
}
