/* Calls that change objects: chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <utime.h>

#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/attr/idmap.h"
#include "sentry/vfs/attr/ownattr.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/setattr.h"

static unsigned walk_flags_of(int at_flags)
{
    return (at_flags & AT_SYMLINK_NOFOLLOW ? 0U : (unsigned)WALK_FOLLOW) |
           (at_flags & AT_EMPTY_PATH ? (unsigned)WALK_EMPTY : 0U);
}

/* ---- size ---------------------------------------------------------------------------------- */

/* RLIMIT_FSIZE: -EFBIG and the signal, when the file would become longer than that. */
static int check_size(struct task *task, uint64_t old_size, uint64_t size)
{
    uint64_t limit = task_rlimit(task, RLIMIT_FSIZE);

    if (size <= old_size || size <= limit)
        return 0;
    signal_send_task(task, SIGXFSZ, NULL);
    return -EFBIG;
}

static int size_of(struct dentry *dentry, uint64_t *ret)
{
    struct linux_stat st;
    int err = dentry->inode->ops->stat(dentry, false, &st);

    if (!err)
        *ret = (uint64_t)st.st_size;
    return err;
}

/* A lease on it may have to go first. */
static int truncate_path(struct task *task, const struct path *path, uint64_t size)
{
    struct lease_attempt attempt;
    bool again;
    int err;

    lease_attempt_begin(&attempt);
    do {
        lease_attempt_again(&attempt);
        err = vfs_truncate(path, size);
        again = err == -EAGAIN;
        if (again)
            err = lease_wait(task, &attempt);
    } while (again && err == 0);
    lease_attempt_end(&attempt);
    return err;
}

SYSCALL_DEFINE2(truncate, uaddr_t, path, int64_t, size)
{
    struct walk_result found;
    struct dentry *dentry;
    uint64_t old_size;
    int err;

    if (size < 0)
        return -EINVAL;
    err = at_path_walk(task, AT_FDCWD, path, WALK_FOLLOW, &found);
    if (err < 0)
        return err;
    if (found.file) {
        err = -EINVAL;
    } else {
        dentry = found.path.dentry;
        err = vfs_may_truncate(&found.path);
        if (!err)
            err = size_of(dentry, &old_size);
        if (!err)
            err = check_size(task, old_size, (uint64_t)size);
        if (!err)
            err = landlock_check(&found.path, LANDLOCK_TRUNCATE);
        if (!err)
            err = truncate_path(task, &found.path, (uint64_t)size);
    }
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE2(ftruncate, int, fd, int64_t, size)
{
    struct linux_stat st;
    struct file *file;
    int err;

    if (size < 0)
        return -EINVAL;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    if (!file->ops->truncate || !file_can_write(file))
        err = -EINVAL;
    else
        err = file_stat(file, &st);
    if (!err && file->at.dentry && inode_is_append(file->at.dentry->inode))
        err = -EPERM;
    if (!err)
        err = check_size(task, (uint64_t)st.st_size, (uint64_t)size);
    if (!err && (file->landlock_denied & LANDLOCK_TRUNCATE))
        err = -EACCES;
    if (!err)
        err = file->ops->truncate(file, (uint64_t)size);
    if (!err)
        notify_path(&file->at, NOTIFY_MODIFY);
    file_unref(file);
    return err;
}

/* fs/open.c:vfs_fallocate(): which bits go together. */
static int check_allocate_mode(int mode)
{
    const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                      FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
    const int kinds = known & ~FALLOC_FL_KEEP_SIZE;
    int kind = mode & kinds;

    if (mode & ~known)
        return -EOPNOTSUPP;
    if (kind & (kind - 1))
        return -EOPNOTSUPP;
    if (kind == FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
        return -EOPNOTSUPP;
    if ((kind == FALLOC_FL_COLLAPSE_RANGE || kind == FALLOC_FL_INSERT_RANGE) && mode != kind)
        return -EOPNOTSUPP;
    return 0;
}

static int allocate(struct task *task, struct file *file, int mode, uint64_t offset, uint64_t size)
{
    struct linux_stat st;
    int err = check_allocate_mode(mode);

    if (err < 0)
        return err;
    if (!file_can_write(file))
        return -EBADF;
    if (file->at.dentry &&
        (inode_is_immutable(file->at.dentry->inode) ||
         ((mode & ~FALLOC_FL_KEEP_SIZE) && inode_is_append(file->at.dentry->inode))))
        return -EPERM;
    err = file_stat(file, &st);
    if (err < 0)
        return err;
    if (S_ISFIFO(st.st_mode))
        return -ESPIPE;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return -ENODEV;
    if (offset + size > INT64_MAX)
        return -EFBIG;
    if (!file->ops->allocate)
        return -EOPNOTSUPP;
    if (!(mode & FALLOC_FL_KEEP_SIZE))
        err = check_size(task, (uint64_t)st.st_size, offset + size);
    if (!err)
        err = file->ops->allocate(file, mode, offset, size);
    if (!err)
        notify_path(&file->at, NOTIFY_MODIFY);
    return err;
}

int file_allocate(struct task *task, struct file *file, int mode, int64_t offset, int64_t size)
{
    if (offset < 0 || size <= 0)
        return -EINVAL;
    return allocate(task, file, mode, (uint64_t)offset, (uint64_t)size);
}

SYSCALL_DEFINE4(fallocate, int, fd, int, mode, int64_t, offset, int64_t, size)
{
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = file_allocate(task, file, mode, offset, size);
    file_unref(file);
    return err;
}

/* ---- mode, owner, times --------------------------------------------------------------------- */

/* An object: its place in the tree, or what it keeps itself. */
struct object {
    const struct path *path;
    struct own_attr *own;
};

/* What is to be done to it: one of them. */
struct change {
    int (*fn)(const struct object *object, const struct change *change);
    uint32_t mode, uid, gid;
    const struct timespec *times; /* NULL: now */
};

static int change_mode(const struct object *object, const struct change *change)
{
    return object->own ? own_attr_chmod(object->own, change->mode)
                       : vfs_chmod(object->path, change->mode);
}

static int change_owner(const struct object *object, const struct change *change)
{
    const struct cred *cred = task_current()->cred;
    uint32_t uid = cred_kernel_uid(cred, change->uid), gid = cred_kernel_gid(cred, change->gid);

    if ((uid == ID_NONE && change->uid != ID_NONE) || (gid == ID_NONE && change->gid != ID_NONE))
        return -EINVAL;
    return object->own ? own_attr_chown(object->own, uid, gid) : vfs_chown(object->path, uid, gid);
}

static int change_times(const struct object *object, const struct change *change)
{
    return object->own ? own_attr_set_times(object->own, change->times)
                       : vfs_set_times(object->path, change->times);
}

static int change_file(struct file *file, const struct change *change)
{
    struct object object = {.path = &file->at};

    if (file->at.dentry)
        return change->fn(&object, change);
    if (!file->ops->own_attr)
        return file->ops->attr_error ? file->ops->attr_error : -EOPNOTSUPP;
    object.own = file->ops->own_attr(file);
    return change->fn(&object, change);
}

static long change_path(struct task *task, int dirfd, uaddr_t path, int at_flags,
                        const struct change *change)
{
    struct walk_result found;
    int err;

    if (at_flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    err = at_path_walk(task, dirfd, path, walk_flags_of(at_flags), &found);
    if (err < 0)
        return err;
    err = found.file ? change_file(found.file, change)
                     : change->fn(&(struct object){.path = &found.path}, change);
    walk_result_unref(&found);
    return err;
}

static long change_fd(struct task *task, int fd, const struct change *change)
{
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = change_file(file, change);
    file_unref(file);
    return err;
}

SYSCALL_DEFINE2(chmod, uaddr_t, path, uint32_t, mode)
{
    return change_path(task, AT_FDCWD, path, 0, &(struct change){change_mode, .mode = mode});
}

SYSCALL_DEFINE2(fchmod, int, fd, uint32_t, mode)
{
    return change_fd(task, fd, &(struct change){change_mode, .mode = mode});
}

SYSCALL_DEFINE3(fchmodat, int, dirfd, uaddr_t, path, uint32_t, mode)
{
    return change_path(task, dirfd, path, 0, &(struct change){change_mode, .mode = mode});
}

SYSCALL_DEFINE4(fchmodat2, int, dirfd, uaddr_t, path, uint32_t, mode, int, flags)
{
    return change_path(task, dirfd, path, flags, &(struct change){change_mode, .mode = mode});
}

SYSCALL_DEFINE3(chown, uaddr_t, path, uint32_t, uid, uint32_t, gid)
{
    return change_path(task, AT_FDCWD, path, 0,
                       &(struct change){change_owner, .uid = uid, .gid = gid});
}

SYSCALL_DEFINE3(lchown, uaddr_t, path, uint32_t, uid, uint32_t, gid)
{
    return change_path(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
                       &(struct change){change_owner, .uid = uid, .gid = gid});
}

SYSCALL_DEFINE3(fchown, int, fd, uint32_t, uid, uint32_t, gid)
{
    return change_fd(task, fd, &(struct change){change_owner, .uid = uid, .gid = gid});
}

SYSCALL_DEFINE5(fchownat, int, dirfd, uaddr_t, path, uint32_t, uid, uint32_t, gid, int, flags)
{
    return change_path(task, dirfd, path, flags,
                       &(struct change){change_owner, .uid = uid, .gid = gid});
}

/* UTIME_NOW and UTIME_OMIT aside, nanoseconds are below a billion. */
static bool utime_valid(int64_t nsec)
{
    return nsec == UTIME_NOW || nsec == UTIME_OMIT || (nsec >= 0 && nsec <= 999999999);
}

SYSCALL_DEFINE4(utimensat, int, dirfd, uaddr_t, path, uaddr_t, times, int, flags)
{
    struct timespec ts[2];
    struct change change = {change_times, .times = times ? ts : NULL};

    static_assert(sizeof(ts) == 32, "struct timespec[2]");
    if (times) {
        if (copy_struct_from_user(task->mm, &ts, times) < 0)
            return -EFAULT;
        if (ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT)
            return 0;
        if (!utime_valid(ts[0].tv_nsec) || !utime_valid(ts[1].tv_nsec))
            return -EINVAL;
    }
    if (!path && dirfd != AT_FDCWD)
        return flags ? -EINVAL : change_fd(task, dirfd, &change);
    return change_path(task, dirfd, path, flags, &change);
}

/* struct timeval[2] or NULL: microseconds below a million. */
static long change_timeval(struct task *task, int dirfd, uaddr_t path, uaddr_t times)
{
    struct timespec ts[2];
    struct change change = {change_times, .times = times ? ts : NULL};
    int64_t tv[4];

    if (times) {
        if (copy_struct_from_user(task->mm, &tv, times) < 0)
            return -EFAULT;
        if (tv[1] < 0 || tv[1] >= 1000000 || tv[3] < 0 || tv[3] >= 1000000)
            return -EINVAL;
        ts[0] = (struct timespec){tv[0], tv[1] * 1000};
        ts[1] = (struct timespec){tv[2], tv[3] * 1000};
    }
    if (!path && dirfd != AT_FDCWD)
        return change_fd(task, dirfd, &change);
    return change_path(task, dirfd, path, 0, &change);
}

SYSCALL_DEFINE2(utimes, uaddr_t, path, uaddr_t, times)
{
    return change_timeval(task, AT_FDCWD, path, times);
}

SYSCALL_DEFINE3(futimesat, int, dirfd, uaddr_t, path, uaddr_t, times)
{
    return change_timeval(task, dirfd, path, times);
}

SYSCALL_DEFINE2(utime, uaddr_t, path, uaddr_t, times)
{
    struct timespec ts[2] = {{0}};
    struct change change = {change_times, .times = times ? ts : NULL};
    struct utimbuf buf;

    if (times) {
        if (copy_struct_from_user(task->mm, &buf, times) < 0)
            return -EFAULT;
        ts[0].tv_sec = buf.actime;
        ts[1].tv_sec = buf.modtime;
    }
    return change_path(task, AT_FDCWD, path, 0, &change);
}
