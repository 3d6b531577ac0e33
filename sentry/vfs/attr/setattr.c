#include "sentry/vfs/attr/setattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <unistd.h>

#include "host/clock.h"
#include "sentry/vfs/attr/filecaps.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

struct timespec vfs_now(void)
{
    uint64_t ns = host_sandbox_realtime_ns();

    return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

/* Over the file itself, as the asker's user namespace maps its ids. */
static bool has_cap(const struct inode *inode, int cap)
{
    return vfs_has_cap_over(__atomic_load_n(&inode->uid, __ATOMIC_RELAXED),
                            __atomic_load_n(&inode->gid, __ATOMIC_RELAXED), cap);
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

int vfs_chmod(const struct path *path, uint32_t mode)
{
    struct dentry *dentry = path->dentry;
    struct inode *inode = dentry->inode;
    struct inode_attr attr = {.mask = ATTR_MODE, .mode = mode & 07777};

    if (path_read_only(path))
        return -EROFS;
    if (inode_type(inode) == S_IFLNK)
        return -EOPNOTSUPP;
    if (is_fixed(inode) || !inode_owned(inode))
        return -EPERM;
    if (!vfs_in_group(__atomic_load_n(&inode->gid, __ATOMIC_RELAXED)) &&
        !has_cap(inode, CAP_FSETID))
        attr.mode &= ~(uint32_t)S_ISGID;
    return change(path, &attr);
}

/* chown_common(): what is no directory loses its setuid bit, whoever asks. */
static uint32_t mode_after_chown(const struct inode *inode)
{
    uint32_t mode = inode_mode(inode);

    if (S_ISDIR(mode))
        return mode & 07777;
    mode &= ~(uint32_t)S_ISUID;
    if ((mode & S_IXGRP) || (!vfs_in_group(inode->gid) && !has_cap(inode, CAP_FSETID)))
        mode &= ~(uint32_t)S_ISGID;
    return mode & 07777;
}

int vfs_chown(const struct path *path, uint32_t uid, uint32_t gid)
{
    struct dentry *dentry = path->dentry;
    struct inode *inode = dentry->inode;
    uint32_t old_uid = __atomic_load_n(&inode->uid, __ATOMIC_RELAXED);
    uint32_t old_gid = __atomic_load_n(&inode->gid, __ATOMIC_RELAXED);
    bool owner = vfs_identity()->uid == old_uid, may = has_cap(inode, CAP_CHOWN);
    struct inode_attr attr = {.mask = ATTR_MODE, .uid = uid, .gid = gid};
    int err;

    if (path_read_only(path))
        return -EROFS;
    if (is_fixed(inode))
        return -EPERM;
    if (uid != UINT32_MAX) {
        attr.mask |= ATTR_UID;
        if (!may && !(owner && uid == old_uid))
            return -EPERM;
    }
    if (gid != UINT32_MAX) {
        attr.mask |= ATTR_GID;
        if (!may && !(owner && (gid == old_gid || vfs_in_group(gid))))
            return -EPERM;
    }
    attr.mode = mode_after_chown(inode);
    err = change(path, &attr);
    if (err == 0)
        file_caps_drop(dentry);
    return err;
}

int vfs_set_times(const struct path *path, const struct timespec times[2])
{
    struct dentry *dentry = path->dentry;
    bool now = !times || (times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW);
    struct inode_attr attr = {.mask = 0};
    struct timespec present;
    int err;

    if (path_read_only(path))
        return -EROFS;
    if (now ? inode_is_immutable(dentry->inode) : is_fixed(dentry->inode))
        return -EPERM;
    /* Anybody who may write may say that he has written just now. */
    if (!inode_owned(dentry->inode)) {
        err = now ? dentry_permission(dentry, W_OK) : -EPERM;
        if (err < 0)
            return err;
    }
    present = vfs_now();
    if (!times || times[0].tv_nsec != UTIME_OMIT) {
        attr.mask |= ATTR_ATIME;
        attr.atime = !times || times[0].tv_nsec == UTIME_NOW ? present : times[0];
    }
    if (!times || times[1].tv_nsec != UTIME_OMIT) {
        attr.mask |= ATTR_MTIME;
        attr.mtime = !times || times[1].tv_nsec == UTIME_NOW ? present : times[1];
    }
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
    err = dentry_permission(path->dentry, W_OK);
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
