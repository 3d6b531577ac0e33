/* Between the files of this folder. */
#ifndef SENTRY_VFS_MOUNT_INTERNAL_H
#define SENTRY_VFS_MOUNT_INTERNAL_H

#include "sentry/vfs/mount/mount.h"

/* Mounts that propagate to each other. Made with its first member, goes with its last one. */
struct peer_group {
    uint32_t id;
    struct list members, slaves;
    /* Of use within one change of the tree. */
    struct mount *source; /* the copy that its members got */
    bool visited;
};

/* ---- mount.c: objects; all under mount_lock() unless said otherwise ------------------------- */

/* A mount that is nowhere; any time. -ENOMEM, -ENOSPC. */
int mount_new(struct super_block *sb, struct dentry *root, const char *source, uint32_t flags,
              struct mount **ret);
/* What covers that place; borrowed; NULL. */
struct mount *mount_covering_locked(const struct mount *parent, const struct dentry *at);
/* Hangs `m` upon `over`, of which it takes references. */
void mount_hang_locked(struct mount *m, const struct path *over);
/* And takes it down: the references on the place go to ret_over, for path_unref() afterwards. */
void mount_unhang_locked(struct mount *m, struct path *ret_over);
/* Upwards until there is nothing upon *path; borrowed places. */
void mount_to_top_locked(struct path *path);
/* Numbers from 1 on, the lowest free one; 0: all are taken. Any time. */
enum mount_number { NUMBER_MOUNT, NUMBER_GROUP, NUMBER_DEV, NUMBER_KINDS };
uint32_t mount_take_number(enum mount_number kind);
void mount_give_number(enum mount_number kind, uint32_t number);

static inline bool path_is_mount_root(const struct path *path)
{
    return path->dentry == path->mount->root;
}

/* Does it stand for a mount namespace? Its number, or 0. */
static inline uint64_t mount_ns_shown(const struct dentry *dentry)
{
    const struct inode_operations *ops = dentry->inode->ops;

    return unlikely(ops->mount_ns_id != NULL) ? ops->mount_ns_id(dentry->inode) : 0;
}

/* Would a mount of it in `ns` make a circle? As long as all go to later ones, none does. */
static inline bool mount_ns_loops(const struct mount_ns *ns, const struct dentry *dentry)
{
    uint64_t id = mount_ns_shown(dentry);

    return id && id <= ns->id;
}

/* ---- mount_tree.c ---------------------------------------------------------------------------- */

/* The next mount of the tree below `top`, parents first; NULL: that was the last. */
struct mount *mount_next_locked(struct mount *m, const struct mount *top);
enum mount_copy_flags {
    COPY_SLAVE = 1,           /* becomes a slave of what it is copied from */
    COPY_PRIVATE = 2,         /* has nothing to do with it */
    COPY_MAKE_SHARED = 4,     /* is shared, with it or alone */
    COPY_SHARED_TO_SLAVE = 8, /* is a slave where that is shared */
    COPY_UNBINDABLE = 0x10,   /* unbindable mounts are copied as well */
    COPY_LOCKED = 0x20,       /* the copies are locked */
    COPY_NS_FILES = 0x40,     /* files on mount namespaces are copied as well */
};
/* One mount, or with `tree` what is mounted below `root` as well. -EINVAL, -ENOMEM, -ENOSPC. */
int mount_copy_locked(struct mount *m, struct dentry *root, unsigned flags, bool tree,
                      struct mount **ret);
/* Enters the tree of `top` in the list of `ns` (none before), which takes over its references. */
void mount_enter_locked(struct mount *top, struct mount_ns *ns);
/* And the other way round, when it moves. */
void mount_leave_locked(struct mount *top);
uint32_t mount_count_locked(struct mount *top);
/*
 * Takes the tree of `top` out of its namespace and apart; with `propagate` also what propagation
 * has put elsewhere. All go to `dead`, for mount_bury() once the lock is free.
 */
void mount_take_out_locked(struct mount *top, bool propagate, struct list *dead);
void mount_bury(struct list *dead);

/* The end of a change: what it makes superfluous goes when the lock is free. */
static inline void mount_unlock_and_bury(struct list *dead)
{
    mount_unlock();
    mount_bury(dead);
}

/* A tree that was never entered anywhere. */
void mount_drop_tree_locked(struct mount *top, struct list *dead);
/*
 * Puts the tree of `top` (in no namespace, hanging nowhere) upon `over`, and propagates it.
 * -ENOSPC, -ENOMEM.
 */
int mount_graft_locked(struct mount *top, const struct path *over, struct list *dead);
void mount_changed_locked(struct mount_ns *ns);

/* ---- mount_peers.c ------------------------------------------------------------------------------
 */

int mount_share_locked(struct mount *m); /* -ENOMEM, -ENOSPC */
void mount_join_group_locked(struct mount *m, struct peer_group *group);
void mount_set_master_locked(struct mount *m, struct peer_group *master);
/* MS_SLAVE: of its former peers; leaves it with the master that it had if there are none. */
void mount_make_slave_locked(struct mount *m);
void mount_make_private_locked(struct mount *m);
/* Those who get what happens in `m`, by receiver_node; until mount_receivers_end_locked(). */
void mount_receivers_locked(struct mount *m, struct list *ret);
void mount_receivers_end_locked(struct mount *m, struct list *receivers);
/* Copies for all receivers of over->mount, by work_node, each with was_over, where it is to go. */
int mount_propagate_locked(struct mount *top, const struct path *over, struct list *ret);
/* Adds to `going` (work_node) what propagation takes away with what is there already. */
void mount_propagate_going_locked(struct list *going);
/* May `m` not go, since somebody uses it or a copy of it? `uses`: references of `m` that are fine.
 */
bool mount_busy_locked(struct mount *m, uint32_t uses);

/* ---- mount_ns.c --------------------------------------------------------------------------------
 */

struct mount_ns *mount_ns_new(bool anonymous);

#endif
