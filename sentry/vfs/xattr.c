#include "sentry/vfs/xattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <string.h>
#include <unistd.h>

#include "sentry/vfs/identity.h"
#include "sentry/vfs/permission.h"

static bool in_space(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

int xattr_check_name(const char *name)
{
    static const char *const spaces[] = {XATTR_USER_PREFIX, XATTR_TRUSTED_PREFIX,
                                         XATTR_SECURITY_PREFIX};

    for (size_t i = 0; i < ARRAY_COUNT(spaces); i++) {
        if (in_space(name, spaces[i]))
            return name[strlen(spaces[i])] ? 0 : -EINVAL;
    }
    return -EOPNOTSUPP;
}

/* fs/xattr.c:xattr_permission(); security.* is the administrator's, too (cap_inode_setxattr()). */
static int check_permission(struct dentry *dentry, const char *name, bool write)
{
    uint32_t mode = inode_mode(dentry->inode);

    if (write && dentry->sb->read_only)
        return -EROFS;
    if (in_space(name, XATTR_SECURITY_PREFIX))
        return write && !vfs_has_cap(CAP_SYS_ADMIN) ? -EPERM : 0;
    if (in_space(name, XATTR_TRUSTED_PREFIX) && !vfs_has_cap(CAP_SYS_ADMIN))
        return write ? -EPERM : -ENODATA;
    if (in_space(name, XATTR_USER_PREFIX)) {
        if (!S_ISREG(mode) && !S_ISDIR(mode))
            return write ? -EPERM : -ENODATA;
        if (S_ISDIR(mode) && (mode & S_ISVTX) && write && !inode_owned(dentry->inode))
            return -EPERM;
    }
    return dentry_permission(dentry, write ? W_OK : R_OK);
}

ssize_t vfs_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size)
{
    const struct inode_operations *ops = dentry->inode->ops;
    int err = check_permission(dentry, name, false);

    if (!err)
        err = xattr_check_name(name);
    if (err < 0)
        return err;
    return ops->getxattr ? ops->getxattr(dentry, name, buf, size) : -ENODATA;
}

int vfs_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size, int flags)
{
    const struct inode_operations *ops = dentry->inode->ops;
    int err = check_permission(dentry, name, true);

    if (!err)
        err = xattr_check_name(name);
    if (err < 0)
        return err;
    return ops->setxattr ? ops->setxattr(dentry, name, value, size, flags) : -EOPNOTSUPP;
}

int vfs_removexattr(struct dentry *dentry, const char *name)
{
    const struct inode_operations *ops = dentry->inode->ops;
    int err = check_permission(dentry, name, true);

    if (!err)
        err = xattr_check_name(name);
    if (err < 0)
        return err;
    return ops->setxattr ? ops->setxattr(dentry, name, NULL, 0, XATTR_REPLACE) : -EOPNOTSUPP;
}

ssize_t vfs_listxattr(struct dentry *dentry, char *buf, size_t size)
{
    const struct inode_operations *ops = dentry->inode->ops;

    return ops->listxattr ? ops->listxattr(dentry, vfs_has_cap(CAP_SYS_ADMIN), buf, size) : 0;
}
