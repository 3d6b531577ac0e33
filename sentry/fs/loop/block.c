/* Requests that any block device takes, ioctl_blk*: block/ioctl.c of Linux. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/fs.h>

#include "sentry/fs/loop/internal.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"

#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, __u64)
#endif

static long put_int(struct mm *mm, uaddr_t arg, uint32_t value)
{
    return copy_struct_to_user(mm, arg, &value);
}

static long put_long(struct mm *mm, uaddr_t arg, uint64_t value)
{
    return copy_struct_to_user(mm, arg, &value);
}

static long set_read_only(struct loop_device *d, struct mm *mm, uaddr_t arg)
{
    int on;

    if (!vfs_has_cap(CAP_SYS_ADMIN))
        return -EACCES;
    if (copy_struct_from_user(mm, &on, arg) < 0)
        return -EFAULT;
    lock_acquire(&loop_lock);
    d->read_only = on != 0;
    lock_release(&loop_lock);
    return 0;
}

static long set_soft_block_size(struct loop_device *d, struct mm *mm, uaddr_t arg)
{
    int size;

    if (!vfs_has_cap(CAP_SYS_ADMIN))
        return -EACCES;
    if (!arg)
        return -EINVAL;
    if (copy_struct_from_user(mm, &size, arg) < 0)
        return -EFAULT;
    if (size < LOOP_SECTOR || size > (int)PAGE_SIZE || (size & (size - 1)))
        return -EINVAL;
    lock_acquire(&loop_lock);
    if ((uint32_t)size >= d->block_size)
        d->soft_block_size = (uint32_t)size;
    else
        size = -1;
    lock_release(&loop_lock);
    return size < 0 ? -EINVAL : 0;
}

static long set_read_ahead(struct loop_device *d, uint64_t sectors)
{
    if (!vfs_has_cap(CAP_SYS_ADMIN))
        return -EACCES;
    lock_acquire(&loop_lock);
    d->read_ahead = round_down(sectors * LOOP_SECTOR, PAGE_SIZE);
    lock_release(&loop_lock);
    return 0;
}

static long flush(struct loop_device *d)
{
    if (!vfs_has_cap(CAP_SYS_ADMIN))
        return -EACCES;
    loop_sync(d);
    return 0;
}

/* BLKDISCARD, BLKZEROOUT: start and size in bytes. */
static long zero_range(struct loop_file *f, struct mm *mm, uaddr_t arg, bool give_back)
{
    uint64_t range[2];
    struct loop_view view;
    uint64_t mask = LOOP_SECTOR - 1;

    if (!file_can_write(&f->file))
        return -EBADF;
    if (copy_struct_from_user(mm, &range, arg) < 0)
        return -EFAULT;
    if (!loop_look(f->device->number, &view))
        return -ENXIO;
    if (give_back)
        mask = view.block_size - 1;
    if (((range[0] | range[1]) & mask) || (!give_back && range[1] == 0))
        return -EINVAL;
    return loop_zero(f->device, range[0], range[1], give_back);
}

static long get(struct loop_device *d, struct mm *mm, uint32_t cmd, uaddr_t arg)
{
    struct loop_view view;
    uint32_t soft;

    lock_acquire(&loop_lock);
    soft = d->soft_block_size;
    lock_release(&loop_lock);
    if (!loop_look(d->number, &view))
        return -ENXIO;
    switch (cmd) {
    case BLKROGET:
        return put_int(mm, arg, view.read_only);
    case BLKGETSIZE:
        return put_long(mm, arg, view.size / LOOP_SECTOR);
    case BLKGETSIZE64:
        return put_long(mm, arg, view.size);
    case BLKSSZGET:
    case BLKPBSZGET:
    case BLKIOMIN:
        return put_int(mm, arg, view.block_size);
    case BLKBSZGET:
        return put_int(mm, arg, soft);
    case BLKRAGET:
    case BLKFRAGET:
        return arg ? put_long(mm, arg, view.read_ahead / LOOP_SECTOR) : -EINVAL;
    case BLKGETDISKSEQ:
        return put_long(mm, arg, view.sequence);
    case BLKIOOPT:
    case BLKALIGNOFF:
    case BLKDISCARDZEROES:
        return put_int(mm, arg, 0);
    default:
        return -ENOTTY;
    }
}

long loop_block_request(struct loop_file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    switch (cmd) {
    case BLKROSET:
        return set_read_only(f->device, mm, arg);
    case BLKBSZSET:
        return set_soft_block_size(f->device, mm, arg);
    case BLKRASET:
    case BLKFRASET:
        return set_read_ahead(f->device, arg);
    case BLKFLSBUF:
        return flush(f->device);
    case BLKDISCARD:
    case BLKZEROOUT:
        return zero_range(f, mm, arg, cmd == BLKDISCARD);
    case BLKSECDISCARD:
        return file_can_write(&f->file) ? -EOPNOTSUPP : -EBADF;
    case BLKRRPART:
        return vfs_has_cap(CAP_SYS_ADMIN) ? -EINVAL : -EACCES;
    default:
        return get(f->device, mm, cmd, arg);
    }
}
