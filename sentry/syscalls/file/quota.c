/*
 * quotactl(2), quotactl_fd(2): fs/quota/quota.c of Linux. None of the file systems here counts what
 * its users have, and none lies on a block device, so that no question gets further than that.
 */
#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <linux/quota.h>
#include <sys/stat.h>

#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/mount/mount.h"

#define QUOTA_TYPES 3 /* of users, groups and projects */

/* Those that change nothing: quotactl_cmd_write(). */
static bool is_reading(uint32_t command)
{
    return command == Q_GETFMT || command == Q_GETINFO || command == Q_SYNC ||
           command == Q_XGETQSTAT || command == Q_XGETQSTATV || command == Q_XGETQUOTA ||
           command == Q_XGETNEXTQUOTA || command == Q_XQUOTASYNC;
}

SYSCALL_DEFINE4(quotactl, uint32_t, cmd, uaddr_t, special, int, id, uaddr_t, addr)
{
    struct walk_result found;
    int error;

    if ((cmd & SUBCMDMASK) >= QUOTA_TYPES)
        return -EINVAL;
    if (!special)
        return cmd >> SUBCMDSHIFT == Q_SYNC ? 0 : -ENODEV;
    error = at_path_walk(task, AT_FDCWD, special, WALK_FOLLOW, &found);
    if (error < 0)
        return error;
    if (found.file || inode_type(found.path.dentry->inode) != S_IFBLK)
        error = -ENOTBLK;
    else if (mount_get_flags(found.path.mount) & MOUNT_NODEV)
        error = -EACCES;
    else
        error = -ENODEV;
    walk_result_unref(&found);
    return error;
}

SYSCALL_DEFINE4(quotactl_fd, int, fd, uint32_t, cmd, int, id, uaddr_t, addr)
{
    struct file *file = fdtable_get(task->files, fd);
    int error = -ENOSYS;

    if (!file)
        return -EBADF;
    if ((cmd & SUBCMDMASK) >= QUOTA_TYPES)
        error = -EINVAL;
    else if (!is_reading(cmd >> SUBCMDSHIFT) && file->at.mount && path_read_only(&file->at))
        error = -EROFS;
    file_unref(file);
    return error;
}
