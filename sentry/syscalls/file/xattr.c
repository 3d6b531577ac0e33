/*
 * Extended attributes (xattr(7)): setxattr(2) and its relatives, by path, by descriptor, and at a
 * folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <stdlib.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/xattr.h"

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* Which object is meant. */
struct target {
    int fd; /* a descriptor, or where a path starts */
    bool by_fd;
    uaddr_t path;
    unsigned walk_flags;
};

static struct target by_path(uaddr_t path, unsigned walk_flags)
{
    return (struct target){.fd = AT_FDCWD, .path = path, .walk_flags = walk_flags};
}

static struct target by_fd(int fd)
{
    return (struct target){.fd = fd, .by_fd = true};
}

static int target_at(struct task *task, int dirfd, uaddr_t path, unsigned at_flags,
                     struct target *ret)
{
    char first = 0;

    if (at_flags & ~(unsigned)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    *ret = by_path(path, at_flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW);
    ret->fd = dirfd;
    if (!(at_flags & AT_EMPTY_PATH))
        return 0;
    ret->walk_flags |= WALK_EMPTY;
    if (dirfd >= 0 && (!path || (copy_struct_from_user(task->mm, &first, path) == 0 && !first)))
        *ret = by_fd(dirfd);
    return 0;
}

/* What the target leads to; given back by walk_result_unref(). */
static int find(struct task *task, const struct target *target, struct walk_result *ret)
{
    struct file *file;

    if (!target->by_fd)
        return at_path_walk(task, target->fd, target->path, target->walk_flags, ret);
    file = task_file(task, target->fd);
    if (!file)
        return -EBADF;
    *ret = (struct walk_result){0};
    if (!file->at.dentry) {
        ret->file = file;
        return 0;
    }
    ret->path = path_ref(file->at);
    file_unref(file);
    return 0;
}

/* fs/xattr.c:import_xattr_name() */
static int get_name(struct task *task, uaddr_t name, char ret[XATTR_NAME_MAX + 1])
{
    ssize_t size = strncpy_from_user(task->mm, ret, name, XATTR_NAME_MAX + 1);

    if (size == 0 || size == -ENAMETOOLONG)
        return -ERANGE;
    return size < 0 ? (int)size : 0;
}

/* What has no place in the tree takes none: fs/xattr.c:xattr_permission() has user.* for files
 * alone. */
static int refuse(const char *name)
{
    return strncmp(name, XATTR_USER_PREFIX, XATTR_USER_PREFIX_LEN) == 0 ? -EPERM : -EOPNOTSUPP;
}

static long do_get(struct task *task, struct target target, uaddr_t name_ptr, uaddr_t value,
                   size_t size)
{
    char name[XATTR_NAME_MAX + 1];
    struct walk_result found;
    ssize_t n;
    char *buf;
    int err = get_name(task, name_ptr, name);

    if (!err)
        err = find(task, &target, &found);
    if (err < 0)
        return err;
    size = MIN(size, (size_t)XATTR_SIZE_MAX);
    buf = malloc(size + 1);
    if (!buf)
        n = -ENOMEM;
    else if (found.file)
        n = xattr_check_name(name) ? -EOPNOTSUPP : -ENODATA;
    else
        n = vfs_getxattr(&found.path, name, buf, size);
    if (n > 0 && size > 0 && copy_to_user(task->mm, value, buf, (size_t)n) < 0)
        n = -EFAULT;
    free(buf);
    walk_result_unref(&found);
    return n;
}

static long do_list(struct task *task, struct target target, uaddr_t list, size_t size)
{
    struct walk_result found;
    ssize_t n = 0;
    char *buf;
    int err = find(task, &target, &found);

    if (err < 0)
        return err;
    size = MIN(size, (size_t)XATTR_LIST_MAX);
    buf = malloc(size + 1);
    if (!buf)
        n = -ENOMEM;
    else if (!found.file)
        n = vfs_listxattr(&found.path, buf, size);
    if (n > 0 && size > 0 && copy_to_user(task->mm, list, buf, (size_t)n) < 0)
        n = -EFAULT;
    free(buf);
    walk_result_unref(&found);
    return n;
}

/* setxattr_copy(), then the object. */
static long do_set(struct task *task, struct target target, uaddr_t name_ptr, uaddr_t value,
                   size_t size, unsigned flags)
{
    char name[XATTR_NAME_MAX + 1], *buf;
    struct walk_result found;
    int err;

    if (flags & ~(unsigned)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    err = get_name(task, name_ptr, name);
    if (err < 0)
        return err;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    buf = malloc(size + 1);
    if (!buf)
        return -ENOMEM;
    if (size > 0)
        err = copy_from_user(task->mm, buf, value, size);
    if (!err)
        err = find(task, &target, &found);
    if (!err) {
        err = found.file ? refuse(name) : vfs_setxattr(&found.path, name, buf, size, (int)flags);
        walk_result_unref(&found);
    }
    free(buf);
    return err;
}

static long do_remove(struct task *task, struct target target, uaddr_t name_ptr)
{
    char name[XATTR_NAME_MAX + 1];
    struct walk_result found;
    int err = get_name(task, name_ptr, name);

    if (!err)
        err = find(task, &target, &found);
    if (err < 0)
        return err;
    err = found.file ? refuse(name) : vfs_removexattr(&found.path, name);
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE4(getxattr, uaddr_t, path, uaddr_t, name, uaddr_t, value, size_t, size)
{
    return do_get(task, by_path(path, WALK_FOLLOW), name, value, size);
}

SYSCALL_DEFINE4(lgetxattr, uaddr_t, path, uaddr_t, name, uaddr_t, value, size_t, size)
{
    return do_get(task, by_path(path, 0), name, value, size);
}

SYSCALL_DEFINE4(fgetxattr, int, fd, uaddr_t, name, uaddr_t, value, size_t, size)
{
    return do_get(task, by_fd(fd), name, value, size);
}

SYSCALL_DEFINE3(listxattr, uaddr_t, path, uaddr_t, list, size_t, size)
{
    return do_list(task, by_path(path, WALK_FOLLOW), list, size);
}

SYSCALL_DEFINE3(llistxattr, uaddr_t, path, uaddr_t, list, size_t, size)
{
    return do_list(task, by_path(path, 0), list, size);
}

SYSCALL_DEFINE3(flistxattr, int, fd, uaddr_t, list, size_t, size)
{
    return do_list(task, by_fd(fd), list, size);
}

SYSCALL_DEFINE5(setxattr, uaddr_t, path, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
    return do_set(task, by_path(path, WALK_FOLLOW), name, value, size, (unsigned)flags);
}

SYSCALL_DEFINE5(lsetxattr, uaddr_t, path, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
    return do_set(task, by_path(path, 0), name, value, size, (unsigned)flags);
}

SYSCALL_DEFINE5(fsetxattr, int, fd, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
    return do_set(task, by_fd(fd), name, value, size, (unsigned)flags);
}

SYSCALL_DEFINE2(removexattr, uaddr_t, path, uaddr_t, name)
{
    return do_remove(task, by_path(path, WALK_FOLLOW), name);
}

SYSCALL_DEFINE2(lremovexattr, uaddr_t, path, uaddr_t, name)
{
    return do_remove(task, by_path(path, 0), name);
}

SYSCALL_DEFINE2(fremovexattr, int, fd, uaddr_t, name)
{
    return do_remove(task, by_fd(fd), name);
}

/* ---- at a folder ---------------------------------------------------------------------------- */

/* struct xattr_args of Linux 6.13. */
struct xattr_args_abi {
    uint64_t value;
    uint32_t size;
    uint32_t flags;
};
static_assert(sizeof(struct xattr_args_abi) == 16, "struct xattr_args");

/* Of any size: what we do not know must be zero. */
static int get_args(struct task *task, uaddr_t ptr, size_t size, struct xattr_args_abi *ret)
{
    int err;

    if (size < sizeof(*ret))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    err = check_zero_from_user(task->mm, ptr, sizeof(*ret), size);
    return err < 0 ? err : copy_struct_from_user(task->mm, ret, ptr);
}

SYSCALL_DEFINE6(setxattrat, int, dirfd, uaddr_t, path, unsigned, at_flags, uaddr_t, name, uaddr_t,
                args_ptr, size_t, size)
{
    struct xattr_args_abi args;
    struct target target;
    int err = get_args(task, args_ptr, size, &args);

    if (!err)
        err = target_at(task, dirfd, path, at_flags, &target);
    return err < 0 ? err : do_set(task, target, name, args.value, args.size, args.flags);
}

SYSCALL_DEFINE6(getxattrat, int, dirfd, uaddr_t, path, unsigned, at_flags, uaddr_t, name, uaddr_t,
                args_ptr, size_t, size)
{
    struct xattr_args_abi args;
    struct target target;
    int err = get_args(task, args_ptr, size, &args);

    if (!err && args.flags != 0)
        err = -EINVAL;
    if (!err)
        err = target_at(task, dirfd, path, at_flags, &target);
    return err < 0 ? err : do_get(task, target, name, args.value, args.size);
}

SYSCALL_DEFINE5(listxattrat, int, dirfd, uaddr_t, path, unsigned, at_flags, uaddr_t, list, size_t,
                size)
{
    struct target target;
    int err = target_at(task, dirfd, path, at_flags, &target);

    return err < 0 ? err : do_list(task, target, list, size);
}

SYSCALL_DEFINE4(removexattrat, int, dirfd, uaddr_t, path, unsigned, at_flags, uaddr_t, name)
{
    struct target target;
    int err = target_at(task, dirfd, path, at_flags, &target);

    return err < 0 ? err : do_remove(task, target, name);
}
