#include "sentry/vfs/attr/setattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <unistd.h>

#include "host/clock.h"
#include "sentry/vfs/attr/filecaps.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

struct timespec vfs_now(void)
{
    uint64_t ns = host_sandbox_realtime_ns();

    return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

/* fsnotify_change(): one of the times alone is as if it had been read or written. */
static uint32_t event_of(unsigned mask)
{
    if (mask == ATTR_ATIME)
        return NOTIFY_ACCESS;
    return mask == ATTR_MTIME ? NOTIFY_MODIFY : NOTIFY_ATTRIB;
}

static int change(const struct path *path, const struct inode_attr *attr)
{
    const struct inode_operations *ops = path->dentry->inode->ops;
    int err = ops->setattr ? ops->setattr(path->dentry, attr) : -EPERM;

    if (!err && attr->mask)
        notify_path(path, event_of(attr->mask));
    return err;
}

/* may_setattr(): mode, owner and times that are said are what they are. */
static bool is_fixed(const struct inode *inode)
{
    return inode_is_immutable(inode) || inode_is_append(inode);
}

/* notify_change(): what would stay nobody's cannot be written back. `set`: ATTR_UID, ATTR_GID. */
static int check_ids(const struct mount_map *map, const struct inode *inode, unsigned set)
{
    if ((!(set & ATTR_UID) && inode_uid(map, inode) == ID_NONE) ||
        (!(set & ATTR_GID) && inode_gid(map, inode) == ID_NONE))
        return map ? -EOVERFLOW : 0;
    return 0;
}

int vfs_chmod(const struct path *path, uint32_t mode)
{
    struct dentry *dentry = path->dentry;
    struct inode *inode = dentry->inode;
    struct inode_attr attr = {.mask = ATTR_MODE, .mode = mode & 07777};
    const struct mount_map *map = path_map(path);

    if (path_read_only(path))
        return -EROFS;
    if (inode_type(inode) == S_IFLNK)
        return -EOPNOTSUPP;
    if (is_fixed(inode))
        return -EPERM;
    if (check_ids(map, inode, 0) < 0)
        return -EOVERFLOW;
    if (!path_owned(path))
        return -EPERM;
    if (!vfs_in_group(inode_gid(map, inode)) && !inode_has_cap(map, inode, CAP_FSETID))
        attr.mode &= ~(uint32_t)S_ISGID;
    return change(path, &attr);
}

/* chown_common(): what is no directory loses its setuid bit, whoever asks. */
static uint32_t mode_after_chown(const struct mount_map *map, const struct inode *inode)
{
    uint32_t mode = inode_mode(inode);

    if (S_ISDIR(mode))
        return mode & 07777;
    mode &= ~(uint32_t)S_ISUID;
    if ((mode & S_IXGRP) ||
        (!vfs_in_group(inode_gid(map, inode)) && !inode_has_cap(map, inode, CAP_FSETID)))
        mode &= ~(uint32_t)S_ISGID;
    return mode & 07777;
}

/* chown_ok(): who may do so to what is nobody's may do so to everything. */
static bool may_give_away(const struct mount_map *map, const struct inode *inode)
{
    return inode_has_cap(map, inode, CAP_CHOWN) ||
           (inode_is_unmapped(map, inode) && vfs_has_cap(CAP_CHOWN));
}

int vfs_chown(const struct path *path, uint32_t uid, uint32_t gid)
{
    struct inode *inode = path->dentry->inode;
    const struct mount_map *map = path_map(path);
    uint32_t old_uid = inode_uid(map, inode), old_gid = inode_gid(map, inode);
    bool owner = vfs_identity()->uid == old_uid, may = may_give_away(map, inode);
    struct inode_attr attr = {
        .mask = ATTR_MODE | (uid != ID_NONE ? (unsigned)ATTR_UID : 0) |
                (gid != ID_NONE ? (unsigned)ATTR_GID : 0),
        .uid = uid != ID_NONE ? kept_uid(map, uid) : ID_NONE,
        .gid = gid != ID_NONE ? kept_gid(map, gid) : ID_NONE,
    };
    int err;

    if (path_read_only(path))
        return -EROFS;
    if (is_fixed(inode))
        return -EPERM;
    if (((attr.mask & ATTR_UID) && attr.uid == ID_NONE) ||
        ((attr.mask & ATTR_GID) && attr.gid == ID_NONE) || check_ids(map, inode, attr.mask) < 0)
        return -EOVERFLOW;
    if ((attr.mask & ATTR_UID) && !may && !(owner && uid == old_uid))
        return -EPERM;
    if ((attr.mask & ATTR_GID) && !may && !(owner && (gid == old_gid || vfs_in_group(gid))))
        return -EPERM;
    attr.mode = mode_after_chown(map, inode);
    err = change(path, &attr);
    if (err == 0)
        file_caps_drop(path->dentry);
    return err;
}

bool vfs_plan_times(const struct timespec times[2], struct inode_attr *ret)
{
    struct timespec present = vfs_now();

    *ret = (struct inode_attr){.mask = 0};
    if (!times || times[0].tv_nsec != UTIME_OMIT) {
        ret->mask |= ATTR_ATIME;
        ret->atime = !times || times[0].tv_nsec == UTIME_NOW ? present : times[0];
    }
    if (!times || times[1].tv_nsec != UTIME_OMIT) {
        ret->mask |= ATTR_MTIME;
        ret->mtime = !times || times[1].tv_nsec == UTIME_NOW ? present : times[1];
    }
    return !times || (times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW);
}

int vfs_set_times(const struct path *path, const struct timespec times[2])
{
    struct dentry *dentry = path->dentry;
    struct inode_attr attr;
    bool now = vfs_plan_times(times, &attr);
    int err;

    if (path_read_only(path))
        return -EROFS;
    if (now ? inode_is_immutable(dentry->inode) : is_fixed(dentry->inode))
        return -EPERM;
    if (!now && check_ids(path_map(path), dentry->inode, 0) < 0)
        return -EOVERFLOW;
    /* Anybody who may write may say that he has written just now. */
    if (!path_owned(path)) {
        err = now ? path_permission(path, W_OK) : -EPERM;
        if (err < 0)
            return err;
    }
    if (check_ids(path_map(path), dentry->inode, 0) < 0)
        return -EOVERFLOW;
    return change(path, &attr);
}

int vfs_may_truncate(const struct path *path)
{
    uint32_t type = inode_type(path->dentry->inode);
    int err;

    if (type == S_IFDIR)
        return -EISDIR;
    if (type != S_IFREG)
        return -EINVAL;
    if (path_read_only(path))
        return -EROFS;
    err = path_permission(path, W_OK);
    return !err && inode_is_append(path->dentry->inode) ? -EPERM : err;
}

int vfs_truncate(const struct path *path, uint64_t size)
{
    struct dentry *dentry = path->dentry;
    struct inode *inode = dentry->inode;
    int err = vfs_may_truncate(path);

    if (!err)
        err = lease_break(inode, true);
    if (!err)
        err = inode_get_write(inode);
    if (err < 0)
        return err;
    err = inode->ops->truncate ? inode->ops->truncate(dentry, size) : -EINVAL;
    inode_put_write(inode);
    if (!err)
        notify_path(path, NOTIFY_MODIFY);
    return err;
}
