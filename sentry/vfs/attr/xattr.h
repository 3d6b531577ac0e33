/* Extended attributes: xattr(7). Name spaces and who may use them (fs/xattr.c). */
#ifndef SENTRY_VFS_XATTR_H
#define SENTRY_VFS_XATTR_H

#include "sentry/vfs/inode.h"

/*
 * The names are complete ("user.x") and of a name space that exists. Sizes are in bytes; with a
 * size of 0 the first and the last tell how many there are. -ERANGE, -ENODATA, -EEXIST, -ENOSPC,
 * -EPERM, -EACCES, -EROFS, -EOPNOTSUPP.
 */
ssize_t vfs_getxattr(const struct path *path, const char *name, void *buf, size_t size);
int vfs_setxattr(const struct path *path, const char *name, const void *value, size_t size,
                 int flags);
int vfs_removexattr(const struct path *path, const char *name);
/* Names, each with its NUL. */
ssize_t vfs_listxattr(const struct path *path, char *buf, size_t size);

/* -EOPNOTSUPP for a name space that nobody knows, -EINVAL for a prefix without a name. */
int xattr_check_name(const char *name);

#endif
