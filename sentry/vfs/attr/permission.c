#include "sentry/vfs/attr/permission.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"

/* By the ACL, if there is one, else by the mode: acl_permission_check(). */
static int check(const struct mount_map *map, struct inode *inode, struct dentry *dentry, int mask)
{
    uint32_t mode = inode_mode(inode), uid = inode_uid(map, inode), gid = inode_gid(map, inode);
    struct acl *acl = NULL;
    int err;

    if (vfs_identity()->uid == uid)
        return (uint32_t)mask & ~(mode >> 6) & 7 ? -EACCES : 0;
    /* Without a bit for the group nobody gets anything from an ACL that others do not get. */
    if ((mode & S_IRWXG) && inode->ops->get_acl) {
        err = acl_get(inode, dentry, ACL_ACCESS, &acl);
        if (err < 0)
            return err;
    }
    if (acl) {
        acl_to_seen(acl, map);
        err = acl_permission(acl, uid, gid, mask);
        free(acl);
        return err;
    }
    if (vfs_in_group(gid))
        mode >>= 3;
    return (uint32_t)mask & ~mode & 7 ? -EACCES : 0;
}

static int permission(const struct mount_map *map, struct inode *inode, struct dentry *dentry,
                      int mask)
{
    uint32_t mode = inode_mode(inode);
    int err;

    if ((mask & W_OK) && inode_is_immutable(inode))
        return -EPERM;
    if ((mask & W_OK) && inode_is_unmapped(map, inode))
        return -EACCES;
    err = check(map, inode, dentry, mask);
    if (err != -EACCES)
        return err;
    if (S_ISDIR(mode)) {
        if (inode_has_cap(map, inode, CAP_DAC_OVERRIDE) ||
            (!(mask & W_OK) && inode_has_cap(map, inode, CAP_DAC_READ_SEARCH)))
            return 0;
        return -EACCES;
    }
    if (mask == R_OK && inode_has_cap(map, inode, CAP_DAC_READ_SEARCH))
        return 0;
    if ((!(mask & X_OK) || (mode & 0111)) && inode_has_cap(map, inode, CAP_DAC_OVERRIDE))
        return 0;
    return -EACCES;
}

int inode_permission(struct inode *inode, int mask)
{
    return permission(NULL, inode, NULL, mask);
}

int path_permission(const struct path *path, int mask)
{
    struct dentry *dentry = path->dentry;
    const struct inode_operations *ops = dentry->inode->ops;

    if (dentry->sb->checks_modes)
        return permission(path_map(path), dentry->inode, dentry, mask);
    return ops->access ? ops->access(dentry, mask) : 0;
}

bool inode_is_immutable(const struct inode *inode)
{
    return inode_flags(inode) & FS_IMMUTABLE_FL;
}

bool inode_is_append(const struct inode *inode)
{
    return inode_flags(inode) & FS_APPEND_FL;
}

bool path_owned(const struct path *path)
{
    const struct mount_map *map = path_map(path);
    const struct inode *inode = path->dentry->inode;

    return vfs_identity()->uid == inode_uid(map, inode) || inode_has_cap(map, inode, CAP_FOWNER);
}

int may_make(const struct path *dir)
{
    const struct mount_map *map = path_map(dir);
    const struct vfs_identity *id = vfs_identity();

    if (unlikely(map != NULL) &&
        (kept_uid(map, id->uid) == ID_NONE || kept_gid(map, id->gid) == ID_NONE))
        return -EOVERFLOW;
    return path_permission(dir, W_OK | X_OK);
}

int may_remove(const struct path *dir, const struct inode *victim)
{
    const struct mount_map *map = path_map(dir);
    const struct inode *inode = dir->dentry->inode;
    uint32_t uid = vfs_identity()->uid;
    int err;

    if (inode_is_unmapped(map, victim))
        return -EOVERFLOW;
    err = path_permission(dir, W_OK | X_OK);
    if (err < 0)
        return err;
    if (inode_is_append(inode) || inode_is_append(victim) || inode_is_immutable(victim))
        return -EPERM;
    if ((inode_mode(inode) & S_ISVTX) && inode_uid(map, victim) != uid &&
        inode_uid(map, inode) != uid && !inode_has_cap(map, victim, CAP_FOWNER))
        return -EPERM;
    return 0;
}

void make_owner(const struct path *dir, struct inode_make *make)
{
    const struct mount_map *map = path_map(dir);
    const struct inode *inode = dir->dentry->inode;
    const uint32_t both = S_ISGID | S_IXGRP;

    make->uid = kept_uid(map, vfs_identity()->uid);
    make->gid = kept_gid(map, vfs_identity()->gid);
    if (!(inode_mode(inode) & S_ISGID))
        return;
    make->gid = __atomic_load_n(&inode->gid, __ATOMIC_RELAXED);
    if (S_ISDIR(make->mode))
        make->mode |= S_ISGID;
    else if ((make->mode & both) == both && !vfs_in_group(inode_gid(map, inode)) &&
             !inode_has_cap(map, inode, CAP_FSETID))
        make->mode &= ~(uint32_t)S_ISGID;
}

uint32_t mode_without_privileges(const struct inode *inode)
{
    uint32_t mode = inode_mode(inode);

    if (!S_ISREG(mode) || inode_has_cap(NULL, inode, CAP_FSETID))
        return mode;
    mode &= ~(uint32_t)S_ISUID;
    if ((mode & S_IXGRP) || !vfs_in_group(inode_gid(NULL, inode)))
        mode &= ~(uint32_t)S_ISGID;
    return mode;
}
