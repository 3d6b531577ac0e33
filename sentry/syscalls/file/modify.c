/* Calls that change names: mkdir(2), mknod(2), symlink(2), link(2), unlink(2), rename(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/path/modify.h"

/* `target`: of a symbolic link, else NULL. */
static long make(struct task *task, int dirfd, uaddr_t path, uint32_t mode, uint64_t rdev,
                 const char *target)
{
    struct inode_make make = {.mode = mode, .rdev = rdev, .target = target};
    struct at_path at;
    int err = at_path_get(task, dirfd, path, false, &at);

    if (err < 0)
        return err;
    make.umask = fs_context_umask(task->fs);
    err = vfs_make(task->fs, at.start, at.name, &make);
    at_path_put(&at);
    return err;
}

SYSCALL_DEFINE2(mkdir, uaddr_t, path, uint32_t, mode)
{
    return make(task, AT_FDCWD, path, S_IFDIR | (mode & 01777), 0, NULL);
}

SYSCALL_DEFINE3(mkdirat, int, dirfd, uaddr_t, path, uint32_t, mode)
{
    return make(task, dirfd, path, S_IFDIR | (mode & 01777), 0, NULL);
}

static long do_mknod(struct task *task, int dirfd, uaddr_t path, uint32_t mode, uint32_t dev)
{
    switch (mode & S_IFMT) {
    case 0:
        mode |= S_IFREG;
        break;
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        break;
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    return make(task, dirfd, path, mode & (S_IFMT | 07777), dev, NULL);
}

SYSCALL_DEFINE3(mknod, uaddr_t, path, uint32_t, mode, uint32_t, dev)
{
    return do_mknod(task, AT_FDCWD, path, mode, dev);
}

SYSCALL_DEFINE4(mknodat, int, dirfd, uaddr_t, path, uint32_t, mode, uint32_t, dev)
{
    return do_mknod(task, dirfd, path, mode, dev);
}

static long do_symlink(struct task *task, uaddr_t target, int dirfd, uaddr_t path)
{
    char text[PATH_MAX];
    ssize_t n = strncpy_from_user(task->mm, text, target, sizeof(text));

    if (n < 0)
        return n;
    if (n == 0)
        return -ENOENT;
    return make(task, dirfd, path, S_IFLNK | 0777, 0, text);
}

SYSCALL_DEFINE2(symlink, uaddr_t, target, uaddr_t, path)
{
    return do_symlink(task, target, AT_FDCWD, path);
}

SYSCALL_DEFINE3(symlinkat, uaddr_t, target, int, dirfd, uaddr_t, path)
{
    return do_symlink(task, target, dirfd, path);
}

static long do_link(struct task *task, int old_dirfd, uaddr_t old_path, int new_dirfd,
                    uaddr_t new_path, int flags)
{
    unsigned walk_flags = flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0;
    struct walk_result object;
    struct at_path at;
    int err;

    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (flags & AT_EMPTY_PATH)
        walk_flags |= WALK_EMPTY;
    err = at_path_walk(task, old_dirfd, old_path, walk_flags, &object);
    if (err < 0)
        return err;
    err = at_path_get(task, new_dirfd, new_path, false, &at);
    if (!err) {
        err = vfs_link(task->fs, at.start, at.name, &object);
        at_path_put(&at);
    }
    walk_result_unref(&object);
    return err;
}

SYSCALL_DEFINE2(link, uaddr_t, old_path, uaddr_t, new_path)
{
    return do_link(task, AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

SYSCALL_DEFINE5(linkat, int, old_dirfd, uaddr_t, old_path, int, new_dirfd, uaddr_t, new_path, int,
                flags)
{
    return do_link(task, old_dirfd, old_path, new_dirfd, new_path, flags);
}

static long do_remove(struct task *task, int dirfd, uaddr_t path, bool directory)
{
    struct at_path at;
    int err = at_path_get(task, dirfd, path, false, &at);

    if (err < 0)
        return err;
    err = vfs_remove(task->fs, at.start, at.name, directory);
    at_path_put(&at);
    return err;
}

SYSCALL_DEFINE1(unlink, uaddr_t, path)
{
    return do_remove(task, AT_FDCWD, path, false);
}

SYSCALL_DEFINE1(rmdir, uaddr_t, path)
{
    return do_remove(task, AT_FDCWD, path, true);
}

SYSCALL_DEFINE3(unlinkat, int, dirfd, uaddr_t, path, int, flags)
{
    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    return do_remove(task, dirfd, path, flags & AT_REMOVEDIR);
}

static long do_rename(struct task *task, int old_dirfd, uaddr_t old_path, int new_dirfd,
                      uaddr_t new_path, unsigned flags)
{
    /* Two paths are much for one thread's stack. */
    struct at_path *at = malloc(2 * sizeof(*at));
    long err;

    if (!at)
        return -ENOMEM;
    err = at_path_get(task, old_dirfd, old_path, false, &at[0]);
    if (!err) {
        err = at_path_get(task, new_dirfd, new_path, false, &at[1]);
        if (!err) {
            const struct vfs_rename args = {
                at[0].start, at[1].start, at[0].name, at[1].name, flags,
            };

            err = vfs_rename(task->fs, &args);
            at_path_put(&at[1]);
        }
        at_path_put(&at[0]);
    }
    free(at);
    return err;
}

SYSCALL_DEFINE2(rename, uaddr_t, old_path, uaddr_t, new_path)
{
    return do_rename(task, AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

SYSCALL_DEFINE4(renameat, int, old_dirfd, uaddr_t, old_path, int, new_dirfd, uaddr_t, new_path)
{
    return do_rename(task, old_dirfd, old_path, new_dirfd, new_path, 0);
}

SYSCALL_DEFINE5(renameat2, int, old_dirfd, uaddr_t, old_path, int, new_dirfd, uaddr_t, new_path,
                unsigned, flags)
{
    return do_rename(task, old_dirfd, old_path, new_dirfd, new_path, flags);
}
