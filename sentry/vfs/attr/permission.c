#include "sentry/vfs/attr/permission.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/identity.h"

static uint32_t load(const uint32_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

/* Capabilities over a file count where its ids are mapped. */
static bool has_cap(const struct inode *inode, int cap)
{
    return vfs_has_cap_over(load(&inode->uid), load(&inode->gid), cap);
}

/* By the ACL, if there is one, else by the mode: acl_permission_check(). */
static int check(struct inode *inode, struct dentry *dentry, int mask)
{
    uint32_t mode = inode_mode(inode), uid = load(&inode->uid), gid = load(&inode->gid);
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
        err = acl_permission(acl, uid, gid, mask);
        free(acl);
        return err;
    }
    if (vfs_in_group(gid))
        mode >>= 3;
    return (uint32_t)mask & ~mode & 7 ? -EACCES : 0;
}

static int permission(struct inode *inode, struct dentry *dentry, int mask)
{
    uint32_t mode = inode_mode(inode);
    int err = (mask & W_OK) && inode_is_immutable(inode) ? -EPERM : check(inode, dentry, mask);

    if (err != -EACCES)
        return err;
    if (S_ISDIR(mode)) {
        if (has_cap(inode, CAP_DAC_OVERRIDE) ||
            (!(mask & W_OK) && has_cap(inode, CAP_DAC_READ_SEARCH)))
            return 0;
        return -EACCES;
    }
    if (mask == R_OK && has_cap(inode, CAP_DAC_READ_SEARCH))
        return 0;
    if ((!(mask & X_OK) || (mode & 0111)) && has_cap(inode, CAP_DAC_OVERRIDE))
        return 0;
    return -EACCES;
}

int inode_permission(struct inode *inode, int mask)
{
    return permission(inode, NULL, mask);
}

int dentry_permission(struct dentry *dentry, int mask)
{
    const struct inode_operations *ops = dentry->inode->ops;

    if (dentry->sb->checks_modes)
        return permission(dentry->inode, dentry, mask);
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

bool inode_owned(const struct inode *inode)
{
    return vfs_identity()->uid == load(&inode->uid) || has_cap(inode, CAP_FOWNER);
}

int may_make(struct dentry *dir)
{
    return dentry_permission(dir, W_OK | X_OK);
}

int may_remove(struct dentry *dir, const struct inode *victim)
{
    uint32_t uid = vfs_identity()->uid;
    int err = dentry_permission(dir, W_OK | X_OK);

    if (err < 0)
        return err;
    if (inode_is_append(dir->inode) || inode_is_append(victim) || inode_is_immutable(victim))
        return -EPERM;
    if ((inode_mode(dir->inode) & S_ISVTX) && load(&victim->uid) != uid &&
        load(&dir->inode->uid) != uid && !has_cap(victim, CAP_FOWNER))
        return -EPERM;
    return 0;
}

void make_owner(const struct inode *dir, struct inode_make *make)
{
    uint32_t dir_mode = inode_mode(dir), dir_gid = load(&dir->gid);
    const uint32_t both = S_ISGID | S_IXGRP;

    make->uid = vfs_identity()->uid;
    make->gid = vfs_identity()->gid;
    if (!(dir_mode & S_ISGID))
        return;
    make->gid = dir_gid;
    if (S_ISDIR(make->mode))
        make->mode |= S_ISGID;
    else if ((make->mode & both) == both && !vfs_in_group(dir_gid) && !has_cap(dir, CAP_FSETID))
        make->mode &= ~(uint32_t)S_ISGID;
}

uint32_t mode_without_privileges(const struct inode *inode)
{
    uint32_t mode = inode_mode(inode);

    if (!S_ISREG(mode) || has_cap(inode, CAP_FSETID))
        return mode;
    mode &= ~(uint32_t)S_ISUID;
    if ((mode & S_IXGRP) || !vfs_in_group(load(&inode->gid)))
        mode &= ~(uint32_t)S_ISGID;
    return mode;
}
