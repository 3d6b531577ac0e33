/* What files are: stat(2), statx(2), access(2), readlink(2), statfs(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sentry/fs/loop/loop.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/fileattr.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/attr/ownattr.h"
#include "sentry/vfs/attr/permission.h"

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* What statx(2) says beyond stat(2): where the object is seen, and what it is like. */
struct place {
    uint64_t mount_id; /* the unique number; 0: it is in no tree */
    uint32_t mount_number;
    bool mount_root;
    uint64_t attributes, attributes_known;
    bool has_birth;
    struct timespec birth;
};

static void look_at_place(const struct path *path, struct place *ret)
{
    const struct inode_operations *ops = path->dentry ? path->dentry->inode->ops : NULL;

    ret->has_birth = ops && ops->birth && ops->birth(path->dentry, &ret->birth);
    ret->attributes = 0;
    ret->attributes_known = STATX_ATTR_AUTOMOUNT | STATX_ATTR_DAX;
    if (path->dentry)
        ret->attributes = vfs_attributes(path->dentry, &ret->attributes_known);
    ret->mount_id = path->mount ? path->mount->unique_id : 0;
    ret->mount_number = path->mount ? path->mount->id : 0;
    ret->mount_root = path->mount && path->dentry == path->mount->root;
}

/* ret_place NULL, here and below: it is not asked for. */
static int stat_path(struct task *task, int dirfd, uaddr_t path, unsigned walk_flags,
                     struct linux_stat *ret, struct place *ret_place)
{
    struct walk_result found;
    struct dentry *dentry;
    int err = at_path_walk(task, dirfd, path, walk_flags, &found);

    if (err < 0)
        return err;
    dentry = found.path.dentry;
    if (ret_place)
        look_at_place(found.file ? &found.file->at : &found.path, ret_place);
    if (found.file)
        err = file_stat(found.file, ret);
    else
        err = dentry->inode->ops->stat(dentry, found.fresh, ret);
    if (!err)
        mount_map_stat(path_map(found.file ? &found.file->at : &found.path), ret);
    walk_result_unref(&found);
    return err;
}

static int stat_fd(struct task *task, int fd, struct linux_stat *ret, struct place *ret_place)
{
    struct file *file = fdtable_get(task->files, fd);
    int err;

    if (!file)
        return -EBADF;
    if (ret_place)
        look_at_place(&file->at, ret_place);
    err = file_stat(file, ret);
    if (!err)
        mount_map_stat(path_map(&file->at), ret);
    file_unref(file);
    return err;
}

/* True when the string is empty; AT_EMPTY_PATH then means the descriptor itself. */
static bool is_empty_path(struct task *task, uaddr_t path)
{
    char first;

    /* Since Linux 6.11 a null pointer counts as the empty string here. */
    if (path == 0)
        return true;
    return copy_struct_from_user(task->mm, &first, path) == 0 && first == '\0';
}

static int stat_at(struct task *task, int dirfd, uaddr_t path, int flags, struct linux_stat *ret,
                   struct place *ret_place)
{
    unsigned walk_flags = flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW;

    if ((flags & AT_EMPTY_PATH) && dirfd != AT_FDCWD && is_empty_path(task, path))
        return stat_fd(task, dirfd, ret, ret_place);
    if (flags & AT_EMPTY_PATH)
        walk_flags |= WALK_EMPTY;
    return stat_path(task, dirfd, path, walk_flags, ret, ret_place);
}

static long give_stat(struct task *task, uaddr_t buf, int err, struct linux_stat *st)
{
    if (err < 0)
        return err;
    st->st_uid = cred_shown_uid(task->cred, st->st_uid);
    st->st_gid = cred_shown_gid(task->cred, st->st_gid);
    return copy_struct_to_user(task->mm, buf, st);
}

SYSCALL_DEFINE2(stat, uaddr_t, path, uaddr_t, buf)
{
    struct linux_stat st;

    return give_stat(task, buf, stat_at(task, AT_FDCWD, path, 0, &st, NULL), &st);
}

SYSCALL_DEFINE2(lstat, uaddr_t, path, uaddr_t, buf)
{
    struct linux_stat st;
    int err = stat_at(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &st, NULL);

    return give_stat(task, buf, err, &st);
}

SYSCALL_DEFINE2(fstat, int, fd, uaddr_t, buf)
{
    struct linux_stat st;

    return give_stat(task, buf, stat_fd(task, fd, &st, NULL), &st);
}

SYSCALL_DEFINE4(newfstatat, int, dirfd, uaddr_t, path, uaddr_t, buf, int, flags)
{
    struct linux_stat st;

    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    return give_stat(task, buf, stat_at(task, dirfd, path, flags, &st, NULL), &st);
}

static struct statx_timestamp statx_time(uint64_t sec, uint64_t nsec)
{
    return (struct statx_timestamp){.tv_sec = (int64_t)sec, .tv_nsec = (uint32_t)nsec};
}

/* The unique number of a mount is newer than Debian 12's headers. */
#define STATX_MOUNT_ID_UNIQUE 0x4000U

/* Of block devices: bytes to which addresses and positions of O_DIRECT are to be aligned. */
static void fill_direct(const struct linux_stat *st, struct statx *ret)
{
    struct loop_view view;

    if ((st->st_mode & S_IFMT) != S_IFBLK || major(st->st_rdev) != LOOP_MAJOR ||
        !loop_look(minor(st->st_rdev), &view))
        return;
    ret->stx_mask |= STATX_DIOALIGN;
    ret->stx_dio_mem_align = LOOP_SECTOR;
    ret->stx_dio_offset_align = view.block_size;
}

static void fill_statx(const struct linux_stat *st, const struct place *place, unsigned mask,
                       struct statx *ret)
{
    bool unique = mask & STATX_MOUNT_ID_UNIQUE;

    *ret = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)st->st_blksize,
        .stx_nlink = (uint32_t)st->st_nlink,
        .stx_uid = st->st_uid,
        .stx_gid = st->st_gid,
        .stx_mode = (uint16_t)st->st_mode,
        .stx_ino = st->st_ino,
        .stx_size = (uint64_t)st->st_size,
        .stx_blocks = (uint64_t)st->st_blocks,
        .stx_atime = statx_time(st->st_atime_sec, st->st_atime_nsec),
        .stx_ctime = statx_time(st->st_ctime_sec, st->st_ctime_nsec),
        .stx_mtime = statx_time(st->st_mtime_sec, st->st_mtime_nsec),
        .stx_rdev_major = major(st->st_rdev),
        .stx_rdev_minor = minor(st->st_rdev),
        .stx_dev_major = major(st->st_dev),
        .stx_dev_minor = minor(st->st_dev),
    };
    static_assert(sizeof(*ret) == 256, "struct statx");
    ret->stx_attributes_mask = place->attributes_known | STATX_ATTR_MOUNT_ROOT;
    ret->stx_attributes = place->attributes | (place->mount_root ? STATX_ATTR_MOUNT_ROOT : 0);
    if (place->has_birth && (mask & STATX_BTIME)) {
        ret->stx_mask |= STATX_BTIME;
        ret->stx_btime = statx_time((uint64_t)place->birth.tv_sec, (uint64_t)place->birth.tv_nsec);
    }
    if (place->mount_id) {
        ret->stx_mask |= unique ? STATX_MOUNT_ID_UNIQUE : STATX_MNT_ID;
        ret->stx_mnt_id = unique ? place->mount_id : place->mount_number;
    }
    if (mask & STATX_DIOALIGN)
        fill_direct(st, ret);
}

SYSCALL_DEFINE5(statx, int, dirfd, uaddr_t, path, int, flags, unsigned, mask, uaddr_t, buf)
{
    struct place place;
    struct linux_stat st;
    struct statx stx;
    int err;

    if (mask & STATX__RESERVED)
        return -EINVAL;
    if ((flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
        return -EINVAL;
    err = stat_at(task, dirfd, path, flags, &st, &place);
    if (err < 0)
        return err;
    st.st_uid = cred_shown_uid(task->cred, st.st_uid);
    st.st_gid = cred_shown_gid(task->cred, st.st_gid);
    if (!place.mount_id)
        (void)mount_kernel_id(st.st_dev, &place.mount_number, &place.mount_id);
    fill_statx(&st, &place, mask, &stx);
    return copy_struct_to_user(task->mm, buf, &stx);
}

static int access_found(const struct walk_result *found, int mode)
{
    struct dentry *dentry = found->path.dentry;
    uint32_t type;

    if (found->file && found->file->ops->own_attr)
        return own_attr_permission(found->file->ops->own_attr(found->file), mode);
    if (found->file) {
        bool denied = ((mode & R_OK) && !file_can_read(found->file)) ||
                      ((mode & W_OK) && !file_can_write(found->file)) || (mode & X_OK);

        return denied ? -EACCES : 0;
    }
    type = inode_type(dentry->inode);
    if ((mode & X_OK) && type == S_IFREG && (mount_get_flags(found->path.mount) & MOUNT_NOEXEC))
        return -EACCES;
    if ((mode & W_OK) && path_read_only(&found->path) &&
        (type == S_IFREG || type == S_IFDIR || type == S_IFLNK)) {
        /* access(2) looks at the permissions first and at the file system afterwards. */
        int err = mode & ~W_OK ? path_permission(&found->path, mode & ~W_OK) : 0;

        return err < 0 ? err : -EROFS;
    }
    return mode == F_OK ? 0 : path_permission(&found->path, mode);
}

static long do_access(struct task *task, int dirfd, uaddr_t path, int mode, int flags)
{
    unsigned walk_flags = flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW;
    struct walk_result found;
    int err;

    if (mode & ~(R_OK | W_OK | X_OK))
        return -EINVAL;
    if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (flags & AT_EMPTY_PATH)
        walk_flags |= WALK_EMPTY;
    if (!(flags & AT_EACCESS))
        cred_use_real_ids(task->cred);
    err = at_path_walk(task, dirfd, path, walk_flags, &found);
    if (!err) {
        err = access_found(&found, mode);
        walk_result_unref(&found);
    }
    cred_use_for_files(task->cred);
    return err;
}

SYSCALL_DEFINE2(access, uaddr_t, path, int, mode)
{
    return do_access(task, AT_FDCWD, path, mode, 0);
}

SYSCALL_DEFINE3(faccessat, int, dirfd, uaddr_t, path, int, mode)
{
    return do_access(task, dirfd, path, mode, 0);
}

SYSCALL_DEFINE4(faccessat2, int, dirfd, uaddr_t, path, int, mode, int, flags)
{
    return do_access(task, dirfd, path, mode, flags);
}

static long do_readlink(struct task *task, int dirfd, uaddr_t path, uaddr_t buf, int size)
{
    struct walk_result found;
    char target[PATH_MAX];
    ssize_t n = -EINVAL;
    bool empty;
    int err;

    if (size <= 0)
        return -EINVAL;
    empty = is_empty_path(task, path) && path != 0;
    err = at_path_walk(task, dirfd, path, WALK_EMPTY, &found);
    if (err < 0)
        return err;
    if (!found.file && inode_type(found.path.dentry->inode) == S_IFLNK)
        n = found.path.dentry->inode->ops->readlink(found.path.dentry, target, sizeof(target));
    else if (empty)
        n = -ENOENT;
    walk_result_unref(&found);
    if (n < 0)
        return n;
    n = MIN(n, size);
    return copy_to_user(task->mm, buf, target, (size_t)n) < 0 ? -EFAULT : n;
}

SYSCALL_DEFINE3(readlink, uaddr_t, path, uaddr_t, buf, int, size)
{
    return do_readlink(task, AT_FDCWD, path, buf, size);
}

SYSCALL_DEFINE4(readlinkat, int, dirfd, uaddr_t, path, uaddr_t, buf, int, size)
{
    return do_readlink(task, dirfd, path, buf, size);
}

SYSCALL_DEFINE2(statfs, uaddr_t, path, uaddr_t, buf)
{
    struct linux_statfs fs;
    struct walk_result found;
    int err = at_path_walk(task, AT_FDCWD, path, WALK_FOLLOW, &found);

    if (err < 0)
        return err;
    if (found.file)
        err = file_statfs(found.file, &fs);
    else
        err = path_statfs(&found.path, &fs);
    walk_result_unref(&found);
    return err < 0 ? err : copy_struct_to_user(task->mm, buf, &fs);
}

SYSCALL_DEFINE2(fstatfs, int, fd, uaddr_t, buf)
{
    struct file *file = fdtable_get(task->files, fd);
    struct linux_statfs fs;
    int err;

    if (!file)
        return -EBADF;
    err = file_statfs(file, &fs);
    file_unref(file);
    return err < 0 ? err : copy_struct_to_user(task->mm, buf, &fs);
}
