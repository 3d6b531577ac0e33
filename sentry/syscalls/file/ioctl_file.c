/*
 * Requests that every file answers before its own (fs/ioctl.c:do_vfs_ioctl), most of them about its
 * place in its file system. No file system here knows where on a disk its blocks are, or lets two
 * files share them: those are refused as tmpfs and an overlay over it refuse them.
 */
#include <errno.h>
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>

#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/ioctl.h"

/* Newer than Debian 12's headers: FS_IOC_GETFSUUID, FS_IOC_GETFSSYSFSPATH (no file system here has
 * a folder in /sys). */
#define GET_UUID       0x80111500U
#define GET_SYSFS_PATH 0x80811501U

/* What XFS had before fallocate(2): fs/ioctl.c, include/linux/falloc.h. */
#define RESERVE      0x40305828U /* FS_IOC_RESVSP */
#define RESERVE_64   0x4030582aU /* FS_IOC_RESVSP64, and so on */
#define UNRESERVE    0x40305829U
#define UNRESERVE_64 0x4030582bU
#define ZERO_RANGE   0x40305839U

struct space_resv {
    int16_t type, whence;
    int32_t pad;
    int64_t start, size;
    int32_t sysid;
    uint32_t pid, unused[4];
};
static_assert(sizeof(struct space_resv) == 48, "struct space_resv");

static bool is_regular(const struct linux_stat *st)
{
    return (st->st_mode & S_IFMT) == S_IFREG;
}

static const struct super_block *super_of(const struct file *file)
{
    return file->at.dentry ? file->at.dentry->sb : NULL;
}

static bool is_stacked(const struct file *file)
{
    return file->at.dentry && file->at.dentry->sb->stacked;
}

static long block_size(struct task *task, const struct file *file, const struct linux_stat *st,
                       uaddr_t arg)
{
    int size = (int)st->st_blksize;

    return is_stacked(file) ? -EINVAL : copy_struct_to_user(task->mm, arg, &size);
}

static long space_taken(struct task *task, const struct linux_stat *st, uaddr_t arg)
{
    int64_t size = st->st_blocks * 512;
    uint32_t type = st->st_mode & S_IFMT;

    if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK)
        return -ENOTTY;
    return copy_struct_to_user(task->mm, arg, &size);
}

static long block_of(struct task *task, const struct linux_stat *st, uaddr_t arg)
{
    const int none = 0;
    int block;

    if (!is_regular(st))
        return -ENOTTY;
    if (!task_has_cap(task, CAP_SYS_RAWIO))
        return -EPERM;
    if (copy_struct_from_user(task->mm, &block, arg) < 0)
        return -EFAULT;
    return block >= 0 && copy_struct_to_user(task->mm, arg, &none) < 0 ? -EFAULT : -EINVAL;
}

/* An overlay looks at what is asked before it asks the tree above, which has no extents. */
static long extents(struct task *task, const struct file *file, const struct linux_stat *st,
                    uaddr_t arg)
{
    struct fiemap map;

    if (is_stacked(file) && is_regular(st) && copy_struct_from_user(task->mm, &map, arg) < 0)
        return -EFAULT;
    return -EOPNOTSUPP;
}

static long uuid(struct task *task, const struct file *file, uaddr_t arg)
{
    const struct super_block *sb = super_of(file);
    struct {
        uint8_t size, bytes[16];
    } answer = {.size = 16};

    if (!sb || !sb->has_uuid)
        return -ENOTTY;
    memcpy(answer.bytes, sb->uuid, sizeof(answer.bytes));
    return copy_struct_to_user(task->mm, arg, &answer);
}

/* No file system here can be frozen, so none is. */
static long freeze(struct task *task, const struct file *file, uint32_t cmd)
{
    const struct super_block *sb = super_of(file);

    if (sb ? !task_may_change_super(task, sb) : !task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    return cmd == FIFREEZE ? -EOPNOTSUPP : -EINVAL;
}

static long reserve(struct task *task, struct file *file, const struct linux_stat *st, int mode,
                    uaddr_t arg)
{
    struct space_resv r;

    if (!is_regular(st))
        return -ENOTTY;
    if (copy_struct_from_user(task->mm, &r, arg) < 0)
        return -EFAULT;
    if (r.whence == SEEK_CUR)
        r.start = (int64_t)((uint64_t)r.start + (uint64_t)file_llseek(file, 0, SEEK_CUR));
    else if (r.whence == SEEK_END)
        r.start = (int64_t)((uint64_t)r.start + (uint64_t)st->st_size);
    else if (r.whence != SEEK_SET)
        return -EINVAL;
    return file_allocate(task, file, mode | FALLOC_FL_KEEP_SIZE, r.start, r.size);
}

static bool same_file_system(const struct file *a, const struct linux_stat *a_st,
                             const struct file *b, const struct linux_stat *b_st)
{
    if (a->at.dentry && b->at.dentry)
        return a->at.dentry->sb == b->at.dentry->sb;
    return a_st->st_dev == b_st->st_dev;
}

/* vfs_clone_file_range(), which ends where file systems without shared blocks end it. */
static long clone_from(struct task *task, struct file *to, const struct linux_stat *to_st, int fd)
{
    struct file *from = task_file(task, fd);
    struct linux_stat st;
    long err;

    if (!from)
        return -EBADF;
    err = file_stat(from, &st);
    if (err == 0 && !same_file_system(from, &st, to, to_st))
        err = -EXDEV;
    else if (err == 0 && ((st.st_mode & S_IFMT) == S_IFDIR || (to_st->st_mode & S_IFMT) == S_IFDIR))
        err = -EISDIR;
    else if (err == 0 && (!is_regular(&st) || !is_regular(to_st)))
        err = -EINVAL;
    else if (err == 0 && (!file_can_read(from) || !file_can_write(to) || (to->flags & O_APPEND)))
        err = -EBADF;
    else if (err == 0)
        err = -EOPNOTSUPP;
    file_unref(from);
    return err;
}

static long clone_range(struct task *task, struct file *to, const struct linux_stat *st,
                        uaddr_t arg)
{
    struct file_clone_range range;

    if (copy_struct_from_user(task->mm, &range, arg) < 0)
        return -EFAULT;
    return clone_from(task, to, st, (int)range.src_fd);
}

static long dedupe(struct task *task, const struct file *file, const struct linux_stat *st,
                   uaddr_t arg)
{
    struct file_dedupe_range range;

    if (copy_struct_from_user(task->mm, &range, arg) < 0)
        return -EFAULT;
    if (sizeof(range) + range.dest_count * sizeof(struct file_dedupe_range_info) > PAGE_SIZE)
        return -ENOMEM;
    if (!file_can_read(file) || range.reserved1 || range.reserved2)
        return -EINVAL;
    if ((st->st_mode & S_IFMT) == S_IFDIR)
        return -EISDIR;
    return is_regular(st) ? -EOPNOTSUPP : -EINVAL;
}

static long answer(struct task *task, struct file *file, const struct linux_stat *st, uint32_t cmd,
                   uint64_t arg)
{
    switch (cmd) {
    case FIGETBSZ:
        return block_size(task, file, st, arg);
    case FIOQSIZE:
        return space_taken(task, st, arg);
    case FIBMAP:
        return block_of(task, st, arg);
    case FS_IOC_FIEMAP:
        return extents(task, file, st, arg);
    case FICLONE:
        return clone_from(task, file, st, (int)arg);
    case FICLONERANGE:
        return clone_range(task, file, st, arg);
    case FIDEDUPERANGE:
        return dedupe(task, file, st, arg);
    case RESERVE:
    case RESERVE_64:
        return reserve(task, file, st, 0, arg);
    case UNRESERVE:
    case UNRESERVE_64:
        return reserve(task, file, st, FALLOC_FL_PUNCH_HOLE, arg);
    case ZERO_RANGE:
        return reserve(task, file, st, FALLOC_FL_ZERO_RANGE, arg);
    default:
        return -ENOTTY;
    }
}

long ioctl_file(struct task *task, struct file *file, uint32_t cmd, uint64_t arg, bool *ret_final)
{
    struct linux_stat st;
    int err;

    *ret_final = cmd == FIOQSIZE || cmd == GET_UUID || cmd == GET_SYSFS_PATH;
    switch (cmd) {
    case FIFREEZE:
    case FITHAW:
        return freeze(task, file, cmd);
    case GET_UUID:
        return uuid(task, file, arg);
    case FS_IOC_GETFLAGS:
    case FS_IOC_SETFLAGS:
    case FS_IOC_FSGETXATTR:
    case FS_IOC_FSSETXATTR:
        return ioctl_fileattr(task, file, cmd, arg);
    case FIGETBSZ:
    case FIOQSIZE:
    case FIBMAP:
    case FS_IOC_FIEMAP:
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
    case RESERVE:
    case RESERVE_64:
    case UNRESERVE:
    case UNRESERVE_64:
    case ZERO_RANGE:
        err = file_stat(file, &st);
        return err < 0 ? err : answer(task, file, &st, cmd, arg);
    default:
        return -ENOTTY;
    }
}
