/* Changing objects: chmod(2), chown(2), utimensat(2), truncate(2). */
#ifndef SENTRY_VFS_SETATTR_H
#define SENTRY_VFS_SETATTR_H

#include "sentry/vfs/inode.h"

/* What files are stamped with: the host's clock, as programs see it to within its steps. */
struct timespec vfs_now(void);

int vfs_chmod(const struct path *path, uint32_t mode);
/* UINT32_MAX leaves an id as it is. */
int vfs_chown(const struct path *path, uint32_t uid, uint32_t gid);
/* tv_nsec may be UTIME_NOW or UTIME_OMIT; times NULL: both now. */
int vfs_set_times(const struct path *path, const struct timespec times[2]);
/* What of these is to be written, and with what; true: both are now. */
bool vfs_plan_times(const struct timespec times[2], struct inode_attr *ret);
/* Type, file system, permission: what truncate(2) looks at first. */
int vfs_may_truncate(const struct path *path);
int vfs_truncate(const struct path *path, uint64_t size);

#endif
