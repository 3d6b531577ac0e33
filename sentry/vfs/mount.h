/*
 * Mounts: which file system is seen where. A mount namespace is a tree of mounts; a mount covers
 * one dentry of its parent mount.
 */
#ifndef SENTRY_VFS_MOUNT_H
#define SENTRY_VFS_MOUNT_H

#include "sentry/vfs/inode.h"

struct mount_ns {
    struct lock lock;
    struct list mounts __guarded_by(lock); /* all but the root */
    struct mount *root;                    /* owned */
};

struct mount {
    refcount_t refs;
    struct mount_ns *ns; /* borrowed: outlives its mounts */
    struct super_block *sb;
    struct dentry *root; /* what of sb is seen */
    struct path over;    /* the place it covers, in the parent mount; empty for the root */
    struct list ns_node; /* guarded by ns->lock */
};

/* A namespace whose root is `sb`; a reference on sb is taken. */
int mount_ns_create(struct super_block *sb, struct mount_ns **ret);
void mount_ns_destroy(struct mount_ns *ns);
/* Covers the directory `at` (not yet a mount point) with the root of `sb`. -ENOTDIR, -EBUSY. */
int mount_attach(struct mount_ns *ns, const struct path *at, struct super_block *sb);
/* The same with a directory of whatever file system; of any namespace. */
int mount_bind(struct mount_ns *ns, const struct path *at, const struct path *what);

struct mount *mount_ref(struct mount *mount);
struct mount *mount_unref(struct mount *mount);
/* While something is mounted upon *path, replaces it by the root of that mount. */
void mount_cross_down(struct path *path);
/* While *path is the root of a mount, replaces it by the place covered. False: it was no root. */
bool mount_cross_up(struct path *path);

#endif
