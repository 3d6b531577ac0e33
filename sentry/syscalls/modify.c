/*
 * Calls that change the tree: mkdir(2), unlink(2), rename(2), chmod(2) and so on. Every file system
 * there is can only be read, so they end in EROFS at the latest; the path is walked as Linux walks
 * it, and what would have failed before fails with its own error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <utime.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/files.h"

static int walk_parent(struct task *task, int dirfd, uaddr_t path, struct walk_parent *ret)
{
    struct at_path at;
    int err = at_path_get(task, dirfd, path, false, &at);

    if (err < 0)
        return err;
    err = path_walk_parent(task->fs, at.start, at.name, ret);
    at_path_put(&at);
    return err;
}

/* A name that is to be made: fs/namei.c:filename_create(). */
static long make_name(struct task *task, int dirfd, uaddr_t path, bool directory)
{
    struct walk_result existing;
    struct walk_parent parent;
    int err = walk_parent(task, dirfd, path, &parent);

    if (err < 0)
        return err;
    if (parent.kind != LAST_NAME) {
        path_unref(&parent.path);
        return -EEXIST;
    }
    err = path_lookup_one(&parent.path, parent.name, &existing);
    path_unref(&parent.path);
    if (err == 0) {
        walk_result_unref(&existing);
        return -EEXIST;
    }
    if (err == -ENOENT)
        err = parent.slash && !directory ? -ENOENT : -EROFS;
    return err;
}

/* -EROFS for a name that is there. Linux would not even look on a read-only mount, but programs
 * expect the host's usual answer, and the host's tree is seldom mounted so. */
static int refuse_change(const struct walk_parent *parent)
{
    struct walk_result existing;
    int err = path_lookup_one(&parent->path, parent->name, &existing);

    if (err < 0)
        return err;
    walk_result_unref(&existing);
    return -EROFS;
}

/* A name that is to be removed; what the special last names say is in errors[enum last_kind]. */
static long remove_name(struct task *task, int dirfd, uaddr_t path, const int errors[4])
{
    struct walk_parent parent;
    int err = walk_parent(task, dirfd, path, &parent);

    if (err < 0)
        return err;
    err = errors[parent.kind] ? errors[parent.kind] : refuse_change(&parent);
    path_unref(&parent.path);
    return err;
}

/* An object whose attributes are to be changed. */
static long change_object(struct task *task, int dirfd, uaddr_t path, unsigned walk_flags)
{
    struct walk_result found;
    int err = at_path_walk(task, dirfd, path, walk_flags, &found);

    if (err < 0)
        return err;
    walk_result_unref(&found);
    return -EROFS;
}

static long change_file(struct task *task, int fd)
{
    struct file *file = task_file(task, fd);

    if (!file)
        return -EBADF;
    file_unref(file);
    return -EROFS;
}

static const int unlink_errors[] = {
    [LAST_DOT] = -EISDIR, [LAST_DOTDOT] = -EISDIR, [LAST_ROOT] = -EISDIR};
static const int rmdir_errors[] = {
    [LAST_DOT] = -EINVAL, [LAST_DOTDOT] = -ENOTEMPTY, [LAST_ROOT] = -EBUSY};

SYSCALL_DEFINE2(mkdir, uaddr_t, path, uint32_t, mode)
{
    return make_name(task, AT_FDCWD, path, true);
}

SYSCALL_DEFINE3(mkdirat, int, dirfd, uaddr_t, path, uint32_t, mode)
{
    return make_name(task, dirfd, path, true);
}

static long do_mknod(struct task *task, int dirfd, uaddr_t path, uint32_t mode)
{
    switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return make_name(task, dirfd, path, false);
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
}

SYSCALL_DEFINE3(mknod, uaddr_t, path, uint32_t, mode, uint32_t, dev)
{
    return do_mknod(task, AT_FDCWD, path, mode);
}

SYSCALL_DEFINE4(mknodat, int, dirfd, uaddr_t, path, uint32_t, mode, uint32_t, dev)
{
    return do_mknod(task, dirfd, path, mode);
}

static long do_symlink(struct task *task, uaddr_t target, int dirfd, uaddr_t path)
{
    struct at_path at;
    int err = at_path_get(task, AT_FDCWD, target, false, &at);

    if (err < 0)
        return err;
    at_path_put(&at);
    return make_name(task, dirfd, path, false);
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
    long err;

    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (flags & AT_EMPTY_PATH)
        walk_flags |= WALK_EMPTY;
    err = change_object(task, old_dirfd, old_path, walk_flags);
    return err == -EROFS ? make_name(task, new_dirfd, new_path, false) : err;
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

SYSCALL_DEFINE1(unlink, uaddr_t, path)
{
    return remove_name(task, AT_FDCWD, path, unlink_errors);
}

SYSCALL_DEFINE1(rmdir, uaddr_t, path)
{
    return remove_name(task, AT_FDCWD, path, rmdir_errors);
}

SYSCALL_DEFINE3(unlinkat, int, dirfd, uaddr_t, path, int, flags)
{
    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    return remove_name(task, dirfd, path, flags & AT_REMOVEDIR ? rmdir_errors : unlink_errors);
}

static long do_rename(struct task *task, int old_dirfd, uaddr_t old_path, int new_dirfd,
                      uaddr_t new_path, unsigned flags)
{
    struct walk_parent old_parent, new_parent;
    long err;

    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))
        return -EINVAL;
    err = walk_parent(task, old_dirfd, old_path, &old_parent);
    if (err < 0)
        return err;
    err = walk_parent(task, new_dirfd, new_path, &new_parent);
    if (err < 0) {
        path_unref(&old_parent.path);
        return err;
    }
    if (old_parent.path.mount != new_parent.path.mount)
        err = -EXDEV;
    else if (old_parent.kind != LAST_NAME)
        err = -EBUSY;
    else if (new_parent.kind != LAST_NAME)
        err = flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    else
        err = refuse_change(&old_parent);
    path_unref(&old_parent.path);
    path_unref(&new_parent.path);
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

SYSCALL_DEFINE2(truncate, uaddr_t, path, int64_t, size)
{
    struct walk_result found;
    int err;

    if (size < 0)
        return -EINVAL;
    err = at_path_walk(task, AT_FDCWD, path, WALK_FOLLOW, &found);
    if (err < 0)
        return err;
    err = -EINVAL;
    if (!found.file && inode_type(found.path.dentry->inode) == S_IFDIR)
        err = -EISDIR;
    else if (!found.file && inode_type(found.path.dentry->inode) == S_IFREG)
        err = -EROFS;
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE2(chmod, uaddr_t, path, uint32_t, mode)
{
    return change_object(task, AT_FDCWD, path, WALK_FOLLOW);
}

SYSCALL_DEFINE2(fchmod, int, fd, uint32_t, mode)
{
    return change_file(task, fd);
}

SYSCALL_DEFINE3(fchmodat, int, dirfd, uaddr_t, path, uint32_t, mode)
{
    return change_object(task, dirfd, path, WALK_FOLLOW);
}

SYSCALL_DEFINE4(fchmodat2, int, dirfd, uaddr_t, path, uint32_t, mode, int, flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_object(task, dirfd, path,
                         (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) |
                             (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0));
}

SYSCALL_DEFINE3(chown, uaddr_t, path, uint32_t, uid, uint32_t, gid)
{
    return change_object(task, AT_FDCWD, path, WALK_FOLLOW);
}

SYSCALL_DEFINE3(lchown, uaddr_t, path, uint32_t, uid, uint32_t, gid)
{
    return change_object(task, AT_FDCWD, path, 0);
}

SYSCALL_DEFINE3(fchown, int, fd, uint32_t, uid, uint32_t, gid)
{
    return change_file(task, fd);
}

SYSCALL_DEFINE5(fchownat, int, dirfd, uaddr_t, path, uint32_t, uid, uint32_t, gid, int, flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_object(task, dirfd, path,
                         (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) |
                             (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0));
}

/* UTIME_NOW and UTIME_OMIT aside, nanoseconds are below a billion. */
static bool utime_valid(int64_t nsec)
{
    return nsec == UTIME_NOW || nsec == UTIME_OMIT || (nsec >= 0 && nsec <= 999999999);
}

SYSCALL_DEFINE4(utimensat, int, dirfd, uaddr_t, path, uaddr_t, times, int, flags)
{
    int64_t ts[4];

    if (times) {
        if (copy_struct_from_user(task->mm, &ts, times) < 0)
            return -EFAULT;
        if (ts[1] == UTIME_OMIT && ts[3] == UTIME_OMIT)
            return 0;
        if (!utime_valid(ts[1]) || !utime_valid(ts[3]))
            return -EINVAL;
    }
    if (!path && dirfd != AT_FDCWD)
        return flags ? -EINVAL : change_file(task, dirfd);
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_object(task, dirfd, path,
                         (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) |
                             (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0));
}

/* struct timeval[2] or NULL: microseconds below a million. */
static long change_times(struct task *task, int dirfd, uaddr_t path, uaddr_t times)
{
    int64_t tv[4];

    if (times) {
        if (copy_struct_from_user(task->mm, &tv, times) < 0)
            return -EFAULT;
        if (tv[1] < 0 || tv[1] >= 1000000 || tv[3] < 0 || tv[3] >= 1000000)
            return -EINVAL;
    }
    if (!path && dirfd != AT_FDCWD)
        return change_file(task, dirfd);
    return change_object(task, dirfd, path, WALK_FOLLOW);
}

SYSCALL_DEFINE2(utimes, uaddr_t, path, uaddr_t, times)
{
    return change_times(task, AT_FDCWD, path, times);
}

SYSCALL_DEFINE3(futimesat, int, dirfd, uaddr_t, path, uaddr_t, times)
{
    return change_times(task, dirfd, path, times);
}

SYSCALL_DEFINE2(utime, uaddr_t, path, uaddr_t, times)
{
    struct utimbuf buf;

    if (times && copy_struct_from_user(task->mm, &buf, times) < 0)
        return -EFAULT;
    return change_object(task, AT_FDCWD, path, WALK_FOLLOW);
}
