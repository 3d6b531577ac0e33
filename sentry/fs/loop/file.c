/* Open files of loop devices: block/fops.c of Linux. */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/fs/loop/internal.h"
#include "sentry/mm/uio.h"

#define ZEROES_AT_ONCE 65536 /* bytes */

/* O_DIRECT: whole blocks. */
static bool whole_blocks(const struct file *f, const struct loop_bytes *bytes, uint64_t pos,
                         uint64_t size)
{
    return !(f->flags & O_DIRECT) || !((pos | size) & (bytes->block_size - 1));
}

/* Moves at most `size` bytes of the uio, and not one more. */
static ssize_t transfer(const struct loop_bytes *bytes, struct uio *uio, uint64_t pos,
                        uint64_t size, bool write)
{
    int64_t at = (int64_t)(bytes->offset + pos);
    uint64_t beyond = uio->left - size, limit = uio->size_limit;
    struct file *backing = bytes->backing;
    ssize_t n;

    uio->left = size;
    if (write) {
        uio->no_append = true;
        uio->size_limit = UINT64_MAX; /* no file's, but a device's bytes */
        n = backing->ops->write(backing, uio, &at);
        uio->size_limit = limit;
    } else {
        n = backing->ops->read(backing, uio, &at);
        /* The file became shorter than the device. */
        if (n >= 0 && (uint64_t)n < size && uio->left == size - (uint64_t)n) {
            ssize_t zeroes = uio_zero(uio, size - (uint64_t)n);

            n = zeroes >= 0 ? n + zeroes : n > 0 ? n : zeroes;
        }
    }
    uio->left += beyond;
    return n;
}

static ssize_t loop_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct loop_bytes bytes;
    uint64_t at = (uint64_t)*pos;
    ssize_t n = 0;

    loop_bytes_get(loop_file_of(f)->device, &bytes);
    if (!whole_blocks(f, &bytes, at, uio->left))
        n = -EINVAL;
    else if (bytes.backing && at < bytes.size)
        n = transfer(&bytes, uio, at, MIN(uio->left, bytes.size - at), false);
    file_unref(bytes.backing);
    if (n > 0)
        *pos += n;
    return n;
}

static ssize_t loop_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct loop_bytes bytes;
    uint64_t at = (uint64_t)*pos;
    ssize_t n;

    loop_bytes_get(loop_file_of(f)->device, &bytes);
    if (bytes.read_only)
        n = -EPERM;
    else if (uio->left == 0)
        n = 0;
    else if (!bytes.backing || at >= bytes.size)
        n = -ENOSPC;
    else if (!whole_blocks(f, &bytes, at, uio->left))
        n = -EINVAL;
    else
        n = transfer(&bytes, uio, at, MIN(uio->left, bytes.size - at), true);
    file_unref(bytes.backing);
    if (n > 0)
        *pos += n;
    return n;
}

/* fixed_size_llseek() */
static int64_t loop_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct loop_view view;
    int64_t target;

    if (whence == SEEK_DATA || whence == SEEK_HOLE)
        return -EINVAL;
    if (!loop_look(loop_file_of(f)->device->number, &view))
        return -ENXIO;
    target = file_seek_in(offset, whence, pos, (int64_t)view.size);
    return target > (int64_t)view.size ? -EINVAL : target;
}

int loop_sync(struct loop_device *device)
{
    struct loop_bytes bytes;
    int err = 0;

    loop_bytes_get(device, &bytes);
    if (bytes.backing && bytes.backing->ops->sync)
        err = bytes.backing->ops->sync(bytes.backing);
    file_unref(bytes.backing);
    return err;
}

static int write_zeroes(const struct loop_bytes *bytes, uint64_t start, uint64_t size)
{
    void *zeroes = calloc(1, ZEROES_AT_ONCE);
    int err = zeroes ? 0 : -ENOMEM;

    while (!err && size > 0) {
        struct uio uio;
        ssize_t n;

        uio_init_host(&uio, zeroes, MIN(size, (uint64_t)ZEROES_AT_ONCE));
        n = transfer(bytes, &uio, start, uio.left, true);
        err = n > 0 ? 0 : n < 0 ? (int)n : -EIO;
        if (n > 0) {
            start += (uint64_t)n;
            size -= (uint64_t)n;
        }
    }
    free(zeroes);
    return err;
}

int loop_zero(struct loop_device *device, uint64_t start, uint64_t size, bool give_back)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    struct loop_bytes bytes;
    int err = -EOPNOTSUPP;

    loop_bytes_get(device, &bytes);
    if (bytes.read_only)
        err = -EPERM;
    else if (!bytes.backing || start > bytes.size || size > bytes.size - start)
        err = -EINVAL;
    else if (bytes.backing->ops->allocate)
        err = bytes.backing->ops->allocate(bytes.backing, mode, bytes.offset + start, size);
    if (err == -EOPNOTSUPP && !give_back)
        err = write_zeroes(&bytes, start, size);
    file_unref(bytes.backing);
    return err;
}

/* blkdev_fallocate() */
static int loop_allocate(struct file *f, int mode, uint64_t offset, uint64_t size)
{
    struct loop_device *device = loop_file_of(f)->device;
    int kind = mode & ~FALLOC_FL_KEEP_SIZE;
    struct loop_view view;

    if (kind != FALLOC_FL_ZERO_RANGE && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (!loop_look(device->number, &view) || offset >= view.size)
        return -EINVAL;
    if (size > view.size - offset) {
        if (!(mode & FALLOC_FL_KEEP_SIZE))
            return -EINVAL;
        size = view.size - offset;
    }
    if ((offset | size) & (view.block_size - 1))
        return -EINVAL;
    return loop_zero(device, offset, size, false);
}

static int loop_file_sync(struct file *f)
{
    return loop_sync(loop_file_of(f)->device);
}

static long loop_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    long result = loop_request(loop_file_of(f), mm, cmd, arg);

    return result == -ENOTTY ? loop_block_request(loop_file_of(f), mm, cmd, arg) : result;
}

static void loop_release(struct file *f)
{
    struct loop_device *device = loop_file_of(f)->device;

    file_fini(f);
    free(loop_file_of(f));
    loop_put(device);
}

static const struct file_operations loop_operations = {
    .read = loop_read,
    .write = loop_write,
    .llseek = loop_llseek,
    .sync = loop_file_sync,
    .allocate = loop_allocate,
    .ioctl = loop_ioctl,
    .release = loop_release,
};

bool loop_is(const struct file *f)
{
    return f->ops == &loop_operations;
}

int loop_open(unsigned number, uint32_t flags, struct file **ret)
{
    struct loop_device *device = loop_get(number);
    struct loop_file *f;

    if (!device)
        return -ENXIO;
    f = malloc(sizeof(*f));
    if (!f) {
        loop_put(device);
        return -ENOMEM;
    }
    file_init(&f->file, &loop_operations, flags);
    f->device = device;
    *ret = &f->file;
    return 0;
}

/* ---- /dev/loop-control ---------------------------------------------------------------------- */

static long control_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    return loop_control_request(mm, cmd, arg);
}

static void control_release(struct file *f)
{
    file_fini(f);
    free(f);
}

/* noop_llseek() */
static int64_t control_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return pos;
}

static const struct file_operations control_operations = {
    .ioctl = control_ioctl,
    .llseek = control_llseek,
    .release = control_release,
};

int loop_control_open(uint32_t flags, struct file **ret)
{
    struct file *f = malloc(sizeof(*f));

    if (!f)
        return -ENOMEM;
    file_init(f, &control_operations, flags);
    *ret = f;
    return 0;
}
