/*
 * What programs do to mounts: mount(2), umount(2), pivot_root(2), open_tree(2), move_mount(2),
 * mount_setattr(2). Linux: fs/namespace.c, whose order of errors is kept. `ns` is the caller's
 * namespace; that the caller may mount at all has been checked.
 */
#ifndef SENTRY_VFS_MOUNT_OPS_H
#define SENTRY_VFS_MOUNT_OPS_H

#include "sentry/vfs/mount/mount.h"

/* The root of `sb` upon `to`. -EBUSY, -EINVAL, -ENOTDIR, -ENOENT, -ENOSPC, -ENOMEM. */
int vfs_mount(struct mount_ns *ns, const struct path *to, struct super_block *sb,
              const char *source, uint32_t flags);
/* MS_BIND, with `tree` MS_REC as well. */
int vfs_mount_bind(struct mount_ns *ns, const struct path *to, const struct path *from, bool tree);
/* MS_MOVE, move_mount(2); `beneath`: MOVE_MOUNT_BENEATH. */
int vfs_mount_move(struct mount_ns *ns, const struct path *to, const struct path *from,
                   bool beneath);
/* MOVE_MOUNT_SET_GROUP: `to` gets the peers and master of `from`. */
int vfs_mount_set_group(struct mount_ns *ns, const struct path *to, const struct path *from);

/* mount_attr.c */
/* MS_REMOUNT|MS_BIND: MOUNT_SETTABLE flags of this mount. -EPERM, -EBUSY. */
int vfs_remount_bind(struct mount_ns *ns, const struct path *path, uint32_t flags);
/* MS_REMOUNT: of the file system, too. `setup`: its options (fstype.h), may be NULL. */
int vfs_remount(struct mount_ns *ns, const struct path *path, uint32_t flags, bool read_only,
                struct fs_setup *setup);
/* The file system alone: read-only or not. -EBUSY. */
int super_set_read_only(struct super_block *sb, bool read_only);
/* One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE. */
int vfs_mount_propagation(struct mount_ns *ns, const struct path *path, unsigned type, bool tree);
struct mount_change {
    uint32_t set, clear;  /* MOUNT_SETTABLE flags */
    unsigned propagation; /* MS_*, or 0 */
    bool tree;
    bool remap;            /* `map` is to be set; NULL: none */
    bool replace;          /* the mounts are new: whatever map they have goes */
    struct mount_map *map; /* borrowed */
    uint64_t map_owner;    /* the user namespace whose map it is */
    bool (*controls)(const struct super_block *sb); /* may the caller do so to the file system? */
};
/* -EINVAL, -EPERM, -EBUSY. */
int vfs_mount_setattr(struct mount_ns *ns, const struct path *path,
                      const struct mount_change *change);

/* mount_going.c */
/* MNT_DETACH, MNT_EXPIRE, MNT_FORCE. `root`: the caller's. The caller holds one reference. */
int vfs_umount(struct mount_ns *ns, const struct path *path, const struct path *root, int flags);
int vfs_pivot_root(struct mount_ns *ns, const struct path *new_root, const struct path *put_old,
                   const struct path *root);

/* mount_ops.c again. A tree alone: a copy of what is at `from` (OPEN_TREE_CLONE). ret: its root,
 * referenced. */
int vfs_mount_clone(struct mount_ns *ns, const struct path *from, bool tree, struct path *ret);
/* Or a new mount (fsmount(2)). */
int vfs_mount_alone(struct super_block *sb, const char *source, uint32_t flags, struct path *ret);
/* Whoever held it lets go: takes it apart if it is alone still. */
void vfs_mount_dissolve(struct mount *m);

#endif
