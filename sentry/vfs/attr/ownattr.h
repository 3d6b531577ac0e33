/*
 * Mode, owner and times of an object that keeps them itself, since it is no file system's: a pipe,
 * a socket, a terminal. The rules are those of setattr.h, without a tree: no mount is in the way,
 * no ACL, no flags.
 */
#ifndef SENTRY_VFS_OWNATTR_H
#define SENTRY_VFS_OWNATTR_H

#include "abi/stat.h"
#include "base/lock.h"
#include "sentry/vfs/inode.h"

struct own_attr {
    struct lock lock; /* innermost */
    uint32_t mode __guarded_by(lock);
    uint32_t uid __guarded_by(lock), gid __guarded_by(lock);
    struct timespec atime __guarded_by(lock), mtime __guarded_by(lock), ctime __guarded_by(lock);
};

/* `mode` with its type; all times are now. */
void own_attr_init(struct own_attr *a, uint32_t mode, uint32_t uid, uint32_t gid);
void own_attr_fini(struct own_attr *a);
/* Fills in st_mode, ids and times. */
void own_attr_stat(struct own_attr *a, struct linux_stat *ret);
uint32_t own_attr_uid(struct own_attr *a);
void own_attr_get(struct own_attr *a, uint32_t *ret_mode, uint32_t *ret_uid, uint32_t *ret_gid);
/*
 * What vfs_chmod() and its kin have allowed by an inode that shows these attributes, which may have
 * been changed since: -EPERM for those who could not change anything now.
 */
int own_attr_apply(struct own_attr *a, const struct inode_attr *attr);

/* R_OK, W_OK: 0, -EACCES. */
int own_attr_permission(struct own_attr *a, int mask);
/* fchmod(2), fchown(2), futimens(2), as vfs_chmod() and its kin: 0, -EPERM, -EACCES. */
int own_attr_chmod(struct own_attr *a, uint32_t mode);
int own_attr_chown(struct own_attr *a, uint32_t uid, uint32_t gid);
int own_attr_set_times(struct own_attr *a, const struct timespec times[2]);

#endif
