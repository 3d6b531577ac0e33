/* Mount namespaces of tasks (sentry/vfs/mount.h has what they are). */
#ifndef SENTRY_KERNEL_MNTNS_H
#define SENTRY_KERNEL_MNTNS_H

#include "sentry/vfs/mount.h"

struct task;

/* The caller's own; borrowed. */
struct mount_ns *task_mount_ns(const struct task *task);
/* Of any task, referenced; NULL when it has ended. */
struct mount_ns *task_get_mount_ns(struct task *task);
/* CAP_SYS_ADMIN in the user namespace that the caller's mounts belong to. */
bool task_may_mount(const struct task *task);
/* After pivot_root(2): whoever stands at `old` as its root or working directory goes to `new`. */
void mntns_move_roots(struct task *task, const struct path *old, const struct path *new);

#endif
