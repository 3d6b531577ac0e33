/* Changing objects: chmod(2), chown(2), utimensat(2), truncate(2). */
#ifndef SENTRY_VFS_SETATTR_H
#define SENTRY_VFS_SETATTR_H

#include "sentry/vfs/inode.h"

/* What files are stamped with: the host's clock, as programs see it to within its steps. */
struct timespec vfs_now(void);

int vfs_chmod(struct dentry *dentry, uint32_t mode);
/* UINT32_MAX leaves an id as it is. */
int vfs_chown(struct dentry *dentry, uint32_t uid, uint32_t gid);
/* tv_nsec may be UTIME_NOW or UTIME_OMIT; times NULL: both now. */
int vfs_set_times(struct dentry *dentry, const struct timespec times[2]);
/* Type, file system, permission: what truncate(2) looks at first. */
int vfs_may_truncate(struct dentry *dentry);
int vfs_truncate(struct dentry *dentry, uint64_t size);

#endif
