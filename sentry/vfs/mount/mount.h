/*
 * Mounts: which file system is seen where. A mount namespace is a tree of mounts; a mount covers
 * one dentry of its parent mount, and on one place there is at most one: what is mounted later
 * covers the root of what was there. Under it all lies an empty directory that nobody sees, so that
 * the root itself can be exchanged (pivot_root(2)).
 *
 *   new (nowhere yet) -> in the tree of a namespace -> taken out, kept while somebody uses it
 *
 * A tree may also be alone: it then belongs to a namespace without a name (open_tree(2),
 * fsmount(2)) and goes with the file that holds it.
 *
 * Propagation (mount_namespaces(7)): mounts that are shared are members of a peer group; a mount
 * may have a group as its master. What is mounted or unmounted in one is so in all peers, and in
 * all that have the group as their master.
 *
 * One lock guards the shape of all trees (Linux: namespace_sem, mount_lock). It comes after any
 * tree_lock and before any super_block->lock.
 */
#ifndef SENTRY_VFS_MOUNT_H
#define SENTRY_VFS_MOUNT_H

#include "sentry/vfs/inode.h"

struct mount_map;
struct peer_group;

enum mount_flags {
    MOUNT_READ_ONLY = 1,
    MOUNT_NOSUID = 2,
    MOUNT_NODEV = 4,
    MOUNT_NOEXEC = 8,
    MOUNT_NOATIME = 0x10,
    MOUNT_NODIRATIME = 0x20,
    MOUNT_RELATIME = 0x40,
    MOUNT_NOSYMFOLLOW = 0x80,
    MOUNT_ATIME_MASK = 0x70,
    MOUNT_SETTABLE = 0xff,
    MOUNT_LOCKED = 0x100,     /* came with others from a more privileged namespace: stays */
    MOUNT_UNBINDABLE = 0x200, /* is left out of copies */
};
/* Settable ones that may not be taken away: of a mount that came from a more privileged namespace.
 */
#define MOUNT_FLAGS_LOCKED(flags) ((flags) << 16)

struct mount_ns {
    refcount_t refs;
    uint64_t id;       /* unique, never used again */
    bool anonymous;    /* of a tree that is alone */
    const void *owner; /* the user namespace that it belongs to: kernel/mntns.c's; only compared */
    /* Under mount_lock(): */
    struct list mounts; /* struct mount, by unique id */
    uint32_t count;
    struct mount *root; /* the bottom one */
    struct list watches;
    uint64_t event; /* atomic: how often the tree has changed */
};

/* Somebody who wants to know that a namespace has changed. */
struct mount_watch {
    struct list node;
    void (*changed)(struct mount_watch *watch); /* under mount_lock(): short */
};

struct mount {
    refcount_t refs; /* one is that of the tree */
    uint32_t id;     /* used again */
    uint64_t unique_id;
    uint64_t copied_from; /* the unique number of what it was copied from; 0: nothing */
    uint32_t flags;       /* atomic: enum mount_flags */
    uint32_t writers;     /* atomic: files open for writing */
    uint32_t expiring;    /* atomic: MNT_EXPIRE has come, nobody used it since */
    struct super_block *sb;
    struct dentry *root; /* what of sb is seen */
    char *source;        /* owned; NULL: "none" */
    /* mountmap.h; owned; atomic: changes only while the mount is in no namespace. NULL: none. */
    struct mount_map *map;

    /* Under mount_lock(): */
    struct mount_ns *ns; /* borrowed: takes its mounts out before it goes; NULL: in no tree */
    struct path over;    /* the place it covers, in the parent mount; empty for a bottom */
    struct list hashed;
    struct list children, sibling;
    struct list ns_node;
    struct peer_group *group, *master;
    struct list group_node, slave_node;
    /* Of use within one change of the tree. */
    struct list work_node, receiver_node;
    struct path was_over;
    struct mount *copy;
    bool going, receives;
    bool moving; /* its tree is about to be put elsewhere */
};

/* Takes and gives back what guards all trees. */
void mount_lock(void);
void mount_unlock(void);

/*
 * The mount of a file system whose objects have no names (pipes, sockets and the like), by its
 * device. It is in no tree, but its numbers are told. False: there are too many.
 */
bool mount_kernel_id(uint64_t dev, uint32_t *ret_id, uint64_t *ret_unique);

/* A namespace whose root is `sb`; a reference on sb is taken. */
int mount_ns_create(struct super_block *sb, struct mount_ns **ret);
struct mount_ns *mount_ns_ref(struct mount_ns *ns);
struct mount_ns *mount_ns_unref(struct mount_ns *ns); /* takes NULL, returns NULL */
/* The root as a program that enters the namespace sees it; referenced. */
struct path mount_ns_top(struct mount_ns *ns);
/*
 * CLONE_NEWNS: a copy of the whole tree. `owner` as in the structure: under another one, shared
 * mounts become slaves and all are locked. -ENOMEM, -ENOSPC.
 */
int mount_ns_copy(struct mount_ns *old, const void *owner, struct mount_ns **ret);
/* The same place in that copy; one that is not in `old`, or was not then, stays as it is. */
void mount_ns_translate(const struct mount_ns *old, const struct mount_ns *copy, struct path *path);
void mount_ns_watch(struct mount_ns *ns, struct mount_watch *watch);
void mount_ns_unwatch(struct mount_watch *watch);
/* How many mounts a namespace may have: /proc/sys/fs/mount-max. Atomic. */
extern uint32_t mount_max;

/*
 * For the runtime, before the first program: covers the directory `at` (not yet a mount point) with
 * the root of `sb`. -ENOTDIR, -EBUSY.
 */
int mount_attach(struct mount_ns *ns, const struct path *at, struct super_block *sb,
                 uint32_t flags);
/* The same with a directory of whatever file system; of any namespace. */
int mount_bind(struct mount_ns *ns, const struct path *at, const struct path *what, uint32_t flags);

struct mount *mount_ref(struct mount *mount);
struct mount *mount_unref(struct mount *mount);
/* A call or an open file has ended that used it: what MNT_EXPIRE wants to know. */
static inline void mount_used(struct mount *mount)
{
    if (unlikely(__atomic_load_n(&mount->expiring, __ATOMIC_RELAXED)))
        __atomic_store_n(&mount->expiring, 0, __ATOMIC_RELAXED);
}
/* While something is mounted upon *path, replaces it by the root of that mount. */
void mount_cross_down(struct path *path);
/*
 * While *path is the root of a mount, replaces it by the place covered; stops at `stop` (may be
 * NULL). 1: it is now a place that is no root; 0: it was none before; -ENOENT: there is no such
 * place, *path is unchanged.
 */
int mount_cross_up(struct path *path, const struct path *stop);
/* Does something cover `dentry` in the namespace of `mount`? */
bool mount_is_mountpoint(struct mount *mount, struct dentry *dentry);
/* `dentry` was removed: what is mounted upon it, in whichever namespace, goes. */
void mount_leave_removed(struct dentry *dentry);
/* Can `dentry` be reached from the root of the mount? A bind mount's directory may be moved out. */
bool mount_reaches(struct mount *mount, struct dentry *dentry);

/*
 * Is the place in a tree of a namespace of `owner`, with nothing locked upon it or below? Who may
 * do as he likes in that namespace could then see all that is there.
 */
bool path_is_bindable(const struct path *path, const void *owner);

/* ---- what mounts forbid -------------------------------------------------------------------- */

static inline uint32_t mount_get_flags(const struct mount *mount)
{
    return __atomic_load_n(&mount->flags, __ATOMIC_RELAXED);
}

/* Nothing can be changed there: by the mount, or by the file system. */
static inline bool path_read_only(const struct path *path)
{
    return super_read_only(path->dentry->sb) || (mount_get_flags(path->mount) & MOUNT_READ_ONLY);
}

/* A file is opened for writing there. -EROFS. */
int mount_get_write(struct mount *mount);
void mount_put_write(struct mount *mount);

enum atime_rule { ATIME_NEVER, ATIME_RELATIVE, ATIME_ALWAYS };
enum atime_rule mount_atime(const struct mount *mount, bool directory);
/* statfs(2)'s f_flags. */
int64_t mount_statfs_flags(const struct mount *mount);

#endif
