/*
 * Flags of objects, FS_IMMUTABLE_FL and the like: ioctl_iflags(2), file_getattr(2). They are in
 * struct inode, as far as anything depends on them; super_block->has_flags says that regular files
 * and directories have some.
 */
#ifndef SENTRY_VFS_FILEATTR_H
#define SENTRY_VFS_FILEATTR_H

#include "sentry/vfs/inode.h"

/* What a file system in memory keeps (mm/shmem.c). */
#define FILEATTR_MODIFIABLE (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL)

/* Both forms of saying it. */
struct fileattr {
    bool by_xflags;  /* the second form was given */
    uint32_t flags;  /* FS_*_FL */
    uint64_t xflags; /* FS_XFLAG_* */
    uint32_t extent_size, project, cow_extent_size;
};

/* -EOPNOTSUPP where the object has none. */
int vfs_fileattr_get(const struct path *path, struct fileattr *ret);
/* -EROFS, -EOPNOTSUPP (also for a flag that is not known), -EPERM, -EINVAL. */
int vfs_fileattr_set(const struct path *path, const struct fileattr *attr);

/* What `dir` gives on to what is made in it with that mode: FS_*_FL. */
uint32_t fileattr_inherited(const struct inode *dir, uint32_t mode);

/* STATX_ATTR_* of the object, of those in ret_known. */
uint64_t vfs_attributes(struct dentry *dentry, uint64_t *ret_known);

#endif
