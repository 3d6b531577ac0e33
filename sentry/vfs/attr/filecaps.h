/*
 * File capabilities: the extended attribute security.capability (capabilities(7)). On a file they
 * are kept with the kernel id of the root user whose namespaces they count in; what programs read
 * and write has that id as their user namespace knows it (security/commoncap.c).
 */
#ifndef SENTRY_VFS_FILECAPS_H
#define SENTRY_VFS_FILECAPS_H

#include "sentry/vfs/inode.h"

#define FILE_CAPS_NAME "security.capability"

struct file_caps {
    uint64_t permitted, inheritable;
    bool effective;
    uint32_t root; /* kernel id */
};

/* As seen there. -ENODATA: it has none, or nobody's; -EINVAL: no form that is known. */
int file_caps_read(const struct path *path, struct file_caps *ret);

/* As the attribute that a program reads: its size, of at most 24 bytes. -ENODATA, -EOVERFLOW... */
ssize_t file_caps_get(const struct path *path, void *buf, size_t size);
/* What a program writes. -EINVAL, -EPERM, and as vfs_setxattr(). */
int file_caps_set(const struct path *path, const void *value, size_t size, int flags);
/* The file was written to, or has another owner: it has none any more. */
void file_caps_drop(struct dentry *dentry);

#endif
