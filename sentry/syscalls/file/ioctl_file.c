/*
 * Requests about a file's place in its file system (fs/ioctl.c). No file system here knows where on
 * a disk its blocks are, or lets two files share them: those are refused as tmpfs refuses them.
 */
#include <errno.h>
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/ioctl.h"

static bool is_regular(const struct linux_stat *st)
{
    return (st->st_mode & S_IFMT) == S_IFREG;
}

static long block_size(struct task *task, const struct linux_stat *st, uaddr_t arg)
{
    int size = (int)st->st_blksize;

    return copy_struct_to_user(task->mm, arg, &size);
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
    int block;

    if (!is_regular(st))
        return -ENOTTY;
    if (!task_has_cap(task, CAP_SYS_RAWIO))
        return -EPERM;
    return copy_struct_from_user(task->mm, &block, arg) < 0 ? -EFAULT : -EINVAL;
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

long ioctl_file(struct task *task, struct file *file, uint32_t cmd, uint64_t arg)
{
    struct linux_stat st;
    long err = file_stat(file, &st);

    if (err < 0)
        return err;
    switch (cmd) {
    case FIGETBSZ:
        return block_size(task, &st, arg);
    case FIOQSIZE:
        return space_taken(task, &st, arg);
    case FIBMAP:
        return block_of(task, &st, arg);
    case FS_IOC_FIEMAP:
        return -EOPNOTSUPP;
    case FICLONE:
        return clone_from(task, file, &st, (int)arg);
    case FICLONERANGE:
        return clone_range(task, file, &st, arg);
    case FIDEDUPERANGE:
        return dedupe(task, file, &st, arg);
    case FS_IOC_GETFLAGS:
    case FS_IOC_SETFLAGS:
    case FS_IOC_FSGETXATTR:
    case FS_IOC_FSSETXATTR:
        return ioctl_fileattr(task, file, cmd, arg);
    default:
        return -ENOTTY;
    }
}
