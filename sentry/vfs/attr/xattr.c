#include "sentry/vfs/attr/xattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <string.h>
#include <unistd.h>

#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/filecaps.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

static bool in_space(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_file_caps(const char *name)
{
    return strcmp(name, FILE_CAPS_NAME) == 0;
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
static int check_permission(const struct path *path, const char *name, bool write)
{
    struct dentry *dentry = path->dentry;
    uint32_t mode = inode_mode(dentry->inode);

    if (write && path_read_only(path))
        return -EROFS;
    if (write && (inode_is_immutable(dentry->inode) || inode_is_append(dentry->inode)))
        return -EPERM;
    if (is_file_caps(name))
        return 0; /* file_caps_set() knows */
    if (in_space(name, XATTR_SECURITY_PREFIX))
        return write && !vfs_has_cap(CAP_SYS_ADMIN) ? -EPERM : 0;
    if (in_space(name, XATTR_SYSTEM_PREFIX))
        return 0;
    if (in_space(name, XATTR_TRUSTED_PREFIX) && !vfs_has_cap(CAP_SYS_ADMIN))
        return write ? -EPERM : -ENODATA;
    if (in_space(name, XATTR_USER_PREFIX)) {
        if (!S_ISREG(mode) && !S_ISDIR(mode))
            return write ? -EPERM : -ENODATA;
        if (S_ISDIR(mode) && (mode & S_ISVTX) && write && !path_owned(path))
            return -EPERM;
    }
    return path_permission(path, write ? W_OK : R_OK);
}

ssize_t vfs_getxattr(const struct path *path, const char *name, void *buf, size_t size)
{
    const struct inode_operations *ops = path->dentry->inode->ops;
    enum acl_kind kind;
    int err;

    if (acl_kind_of(name, &kind))
        return acl_getxattr(path, kind, buf, size);
    err = check_permission(path, name, false);
    if (!err)
        err = xattr_check_name(name);
    if (err < 0)
        return err;
    if (is_file_caps(name))
        return file_caps_get(path, buf, size);
    return ops->getxattr ? ops->getxattr(path->dentry, name, buf, size) : -ENODATA;
}

int vfs_setxattr(const struct path *path, const char *name, const void *value, size_t size,
                 int flags)
{
    const struct inode_operations *ops = path->dentry->inode->ops;
    enum acl_kind kind;
    bool is_acl = acl_kind_of(name, &kind);
    int err = check_permission(path, name, true);

    if (!err && !is_acl)
        err = xattr_check_name(name);
    if (err < 0)
        return err;
    if (is_acl) {
        err = acl_setxattr(path, kind, value, size);
        if (!err)
            notify_path(path, NOTIFY_ATTRIB);
        return err;
    }
    if (is_file_caps(name))
        err = file_caps_set(path, value, size, flags);
    else
        err = ops->setxattr ? ops->setxattr(path->dentry, name, value, size, flags) : -EOPNOTSUPP;
    if (!err)
        notify_path(path, NOTIFY_ATTRIB);
    return err;
}

int vfs_removexattr(const struct path *path, const char *name)
{
    const struct inode_operations *ops = path->dentry->inode->ops;
    enum acl_kind kind;
    int err;

    if (acl_kind_of(name, &kind))
        return vfs_setxattr(path, name, NULL, 0, 0);
    err = check_permission(path, name, true);
    if (!err)
        err = xattr_check_name(name);
    if (err < 0)
        return err;
    if (is_file_caps(name))
        err = file_caps_set(path, NULL, 0, XATTR_REPLACE);
    else
        err =
            ops->setxattr ? ops->setxattr(path->dentry, name, NULL, 0, XATTR_REPLACE) : -EOPNOTSUPP;
    if (!err)
        notify_path(path, NOTIFY_ATTRIB);
    return err;
}

ssize_t vfs_listxattr(const struct path *path, char *buf, size_t size)
{
    const struct inode_operations *ops = path->dentry->inode->ops;

    return ops->listxattr ? ops->listxattr(path->dentry, vfs_has_cap(CAP_SYS_ADMIN), buf, size) : 0;
}
