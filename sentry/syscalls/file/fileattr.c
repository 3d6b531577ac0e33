/* Flags of files: file_getattr(2), file_setattr(2), and the ioctls of ioctl_iflags(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/ioctl.h"
#include "sentry/vfs/attr/fileattr.h"

/* struct file_attr of Linux 6.17. */
struct file_attr_abi {
    uint64_t xflags;
    uint32_t extent_size, extent_count, project, cow_extent_size;
};
static_assert(sizeof(struct file_attr_abi) == 24, "struct file_attr");

/* All that file_setattr(2) knows: FS_XFLAGS_MASK. */
#define XFLAGS_KNOWN 0x8001fffbULL

/* ---- ioctl ---------------------------------------------------------------------------------- */

static long get_flags(struct task *task, const struct path *at, uaddr_t arg)
{
    struct fileattr attr;
    long err = vfs_fileattr_get(at, &attr);
    int flags;

    if (err < 0)
        return err;
    flags = (int)attr.flags;
    return copy_struct_to_user(task->mm, arg, &flags);
}

static long get_xflags(struct task *task, const struct path *at, uaddr_t arg)
{
    struct fsxattr x = {0};
    struct fileattr attr;
    long err = vfs_fileattr_get(at, &attr);

    if (err < 0)
        return err;
    x.fsx_xflags = (uint32_t)attr.xflags;
    return copy_struct_to_user(task->mm, arg, &x);
}

/* What is to be set; -EFAULT before anything else is looked at. */
static long get_wish(struct task *task, uint32_t cmd, uaddr_t arg, struct fileattr *ret)
{
    struct fsxattr x;
    uint32_t flags;

    if (cmd == FS_IOC_SETFLAGS) {
        *ret = (struct fileattr){0};
        if (copy_struct_from_user(task->mm, &flags, arg) < 0)
            return -EFAULT;
        ret->flags = flags;
        return 0;
    }
    if (copy_struct_from_user(task->mm, &x, arg) < 0)
        return -EFAULT;
    if (x.fsx_xflags & ~XFLAGS_KNOWN)
        return -EOPNOTSUPP;
    *ret = (struct fileattr){
        .by_xflags = true,
        .xflags = x.fsx_xflags,
        .extent_size = x.fsx_extsize,
        .project = x.fsx_projid,
        .cow_extent_size = x.fsx_cowextsize,
    };
    return 0;
}

static bool has_flags(const struct file *file)
{
    uint32_t type = file->at.dentry ? inode_type(file->at.dentry->inode) : 0;

    return file->at.mount && (type == S_IFREG || type == S_IFDIR) && file->at.dentry->sb->has_flags;
}

long ioctl_fileattr(struct task *task, struct file *file, uint32_t cmd, uint64_t arg)
{
    bool change = cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_FSSETXATTR;
    struct fileattr wish;
    long err = change ? get_wish(task, cmd, arg, &wish) : 0;

    if (err < 0)
        return err;
    if (!has_flags(file))
        return -ENOTTY;
    if (change)
        return vfs_fileattr_set(&file->at, &wish);
    err =
        cmd == FS_IOC_GETFLAGS ? get_flags(task, &file->at, arg) : get_xflags(task, &file->at, arg);
    return err == -EOPNOTSUPP ? -ENOTTY : err; /* the host's file system has none */
}

/* ---- system calls --------------------------------------------------------------------------- */

/* What is meant; given back by walk_result_unref(). What is in no tree has no flags. */
static int find(struct task *task, int dirfd, uaddr_t path, unsigned at_flags,
                struct walk_result *ret)
{
    unsigned walk_flags = at_flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW;
    struct file *file;
    char first = 0;

    if (at_flags & AT_EMPTY_PATH)
        walk_flags |= WALK_EMPTY;
    if (!(at_flags & AT_EMPTY_PATH) || dirfd < 0 ||
        (path && (copy_struct_from_user(task->mm, &first, path) < 0 || first)))
        return at_path_walk(task, dirfd, path, walk_flags, ret);
    file = task_file(task, dirfd);
    if (!file)
        return -EBADF;
    *ret = (struct walk_result){0};
    if (file->at.dentry && file->at.mount) {
        ret->path = path_ref(file->at);
        file_unref(file);
    } else {
        ret->file = file;
    }
    return 0;
}

static int check_args(unsigned at_flags, size_t size)
{
    if (at_flags & ~(unsigned)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    return size < sizeof(struct file_attr_abi) ? -EINVAL : 0;
}

SYSCALL_DEFINE5(file_getattr, int, dirfd, uaddr_t, path, uaddr_t, attr_ptr, size_t, size, unsigned,
                at_flags)
{
    struct file_attr_abi abi = {0};
    struct walk_result found;
    struct fileattr attr;
    int err = check_args(at_flags, size);

    if (!err)
        err = find(task, dirfd, path, at_flags, &found);
    if (err < 0)
        return err;
    err = found.file ? -EOPNOTSUPP : vfs_fileattr_get(&found.path, &attr);
    walk_result_unref(&found);
    if (err < 0)
        return err;
    abi.xflags = attr.xflags;
    if (copy_struct_to_user(task->mm, attr_ptr, &abi) < 0)
        return -EFAULT;
    for (size_t at = sizeof(abi); at < size; at++) {
        const char zero = 0;

        if (copy_struct_to_user(task->mm, attr_ptr + at, &zero) < 0)
            return -EFAULT;
    }
    return 0;
}

/* Of any size: what we do not know must be zero. */
static int get_attr(struct task *task, uaddr_t ptr, size_t size, struct fileattr *ret)
{
    struct file_attr_abi abi;
    int err;

    err = check_zero_from_user(task->mm, ptr, sizeof(abi), size);
    if (err < 0)
        return err;
    if (copy_struct_from_user(task->mm, &abi, ptr) < 0)
        return -EFAULT;
    if (abi.xflags & ~XFLAGS_KNOWN)
        return -EINVAL;
    *ret = (struct fileattr){
        .by_xflags = true,
        .xflags = abi.xflags,
        .extent_size = abi.extent_size,
        .project = abi.project,
        .cow_extent_size = abi.cow_extent_size,
    };
    return 0;
}

SYSCALL_DEFINE5(file_setattr, int, dirfd, uaddr_t, path, uaddr_t, attr_ptr, size_t, size, unsigned,
                at_flags)
{
    struct walk_result found;
    struct fileattr attr;
    int err = check_args(at_flags, size);

    if (!err)
        err = get_attr(task, attr_ptr, size, &attr);
    if (!err)
        err = find(task, dirfd, path, at_flags, &found);
    if (err < 0)
        return err;
    err = found.file ? -EOPNOTSUPP : vfs_fileattr_set(&found.path, &attr);
    walk_result_unref(&found);
    return err;
}
