#include "sentry/kernel/mntns.h"

#include <linux/capability.h>

#include "sentry/kernel/kernel.h"
#include "sentry/vfs/fs_context.h"

struct mount_ns *task_mount_ns(const struct task *task)
{
    return task->kernel->mount_ns;
}

struct mount_ns *task_get_mount_ns(struct task *task)
{
    return mount_ns_ref(task->kernel->mount_ns);
}

bool task_may_mount(const struct task *task)
{
    return task_has_cap(task, CAP_SYS_ADMIN);
}

static bool same(const struct path *a, const struct path *b)
{
    return a->mount == b->mount && a->dentry == b->dentry;
}

static void move_root(struct fs_context *fs, const struct path *old, const struct path *new)
{
    struct path root = fs_context_root(fs), cwd = fs_context_cwd(fs);

    if (same(&root, old))
        fs_context_set_root(fs, *new);
    if (same(&cwd, old))
        fs_context_set_cwd(fs, *new);
    path_unref(&root);
    path_unref(&cwd);
}

void mntns_move_roots(struct task *task, const struct path *old, const struct path *new)
{
    for (int32_t tid = 1; tid < KERNEL_PID_MAX; tid++) {
        struct task *other = task_find(task->kernel, tid);
        struct fs_context *fs = other ? task_get_fs(other) : NULL;

        if (fs)
            move_root(fs, old, new);
        fs_context_unref(fs);
        task_unref(other);
    }
}
