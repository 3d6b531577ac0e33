/* Mount namespaces as tasks are in them; what they are is told in sentry/vfs/mount/mount.h. */
#ifndef SENTRY_KERNEL_MNTNS_H
#define SENTRY_KERNEL_MNTNS_H

#include "sentry/kernel/ns/ns.h"
#include "sentry/vfs/mount/mount.h"

struct fs_context;

struct mnt_ns {
    struct ns ns;
    struct mount_ns *tree; /* owned reference; NULL: the first one, before its files are known */
    struct list node;      /* of all, by number */
};

static inline struct mnt_ns *mnt_ns_of(struct ns *ns)
{
    return container_of(ns, struct mnt_ns, ns);
}

/* For ns.c: a copy of `old` that belongs to `owner`; NULL: the first one. -ENOMEM, -ENOSPC. */
int mnt_ns_create(struct mnt_ns *old, const struct user_ns *owner, struct ns **ret);
/* The first one gets the tree that `fs` stands in. */
void mnt_ns_begin(struct kernel *kernel, struct fs_context *fs);
/* The namespace `to` has been copied from `from`: `fs` goes over to it, to the same places. */
void mnt_ns_take_along(struct fs_context *fs, struct ns *from, struct ns *to);
/* setns(2): root and working directory are the root of `ns`. */
void mnt_ns_enter(struct fs_context *fs, struct ns *ns);

/* For ns.c: it has its number now. */
void mnt_ns_enter_list(struct ns *ns);
/* By number; a reference, NULL. */
struct mnt_ns *mnt_ns_find(uint64_t number);
/* The next one, or the one before, over which the caller has CAP_SYS_ADMIN; a reference, NULL. */
struct mnt_ns *mnt_ns_beside(struct mnt_ns *ns, bool before);

/* The caller's own; borrowed. */
struct mount_ns *task_mount_ns(const struct task *task);
/* Of any task, referenced; NULL when it has ended. */
struct mount_ns *task_get_mount_ns(struct task *task);
/* CAP_SYS_ADMIN in the user namespace that the caller's mounts belong to. */
bool task_may_mount(const struct task *task);
/* The same for the user namespace in which the file system was made. */
bool task_may_change_super(const struct task *task, const struct super_block *sb);
/* After pivot_root(2): whoever stands at `old` as its root or working directory goes to `new`. */
void mntns_move_roots(struct task *task, const struct path *old, const struct path *new);

#endif
