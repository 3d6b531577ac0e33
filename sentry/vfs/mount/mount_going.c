/* Mounts that go: umount(2), and pivot_root(2), which puts the root elsewhere. */
#include <errno.h>
#include <sys/mount.h>

#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/notify.h"

static int check_expiry(struct mount *m, const struct path *root, int flags)
{
    if (m == root->mount || (flags & (MNT_FORCE | MNT_DETACH)))
        return -EINVAL;
    if (refcount_read(&m->refs) > 2)
        return -EBUSY;
    return __atomic_exchange_n(&m->expiring, 1, __ATOMIC_RELAXED) ? 0 : -EAGAIN;
}

int vfs_umount(struct mount_ns *ns, const struct path *path, const struct path *root, int flags)
{
    struct mount *m = path->mount;
    struct list dead;
    int err = 0;

    list_init(&dead);
    mount_lock();
    if (!path_is_mount_root(path) || m->ns != ns || (mount_get_flags(m) & MOUNT_LOCKED) ||
        (!m->over.mount && !m->ns->anonymous))
        err = -EINVAL;
    if (!err && (flags & MNT_EXPIRE))
        err = check_expiry(m, root, flags);
    if (!err && m == root->mount && !(flags & MNT_DETACH)) {
        /* The root is not taken away but made read-only. */
        mount_unlock();
        return super_set_read_only(m->sb, true);
    }
    if (!err && !(flags & MNT_DETACH) && mount_busy_locked(m, 1))
        err = -EBUSY;
    if (!err)
        mount_take_out_locked(m, true, &dead);
    mount_unlock_and_bury(&dead);
    return err;
}

/* fs/namespace.c:is_path_reachable() */
static bool reachable(const struct mount *m, struct dentry *dentry, const struct path *root)
{
    while (m != root->mount && m->over.mount) {
        dentry = m->over.dentry;
        m = m->over.mount;
    }
    return m == root->mount && dentry_is_below(dentry, root->dentry);
}

static int check_pivot(const struct mount_ns *ns, const struct path *new_root,
                       const struct path *put_old, const struct path *root)
{
    struct mount *new = new_root->mount, *old = root->mount;

    if (put_old->mount->group || (new->over.mount &&new->over.mount->group) ||
        (old->over.mount && old->over.mount->group))
        return -EINVAL;
    if (old->ns != ns || new->ns != ns || (mount_get_flags(new) & MOUNT_LOCKED))
        return -EINVAL;
    if (dentry_gone(new_root->dentry) || dentry_gone(put_old->dentry))
        return -ENOENT;
    if (new == old || put_old->mount == old)
        return -EBUSY;
    if (!path_is_mount_root(root) || !old->over.mount || !path_is_mount_root(new_root) ||
        !new->over.mount)
        return -EINVAL;
    if (!reachable(put_old->mount, put_old->dentry, new_root) ||
        !reachable(new, new_root->dentry, root))
        return -EINVAL;
    return 0;
}

/* A lock stays with the place of the root, not with what was there. */
static void pass_lock(struct mount *from, struct mount *to)
{
    if (!(mount_get_flags(from) & MOUNT_LOCKED))
        return;
    __atomic_fetch_or(&to->flags, MOUNT_LOCKED, __ATOMIC_RELAXED);
    __atomic_fetch_and(&from->flags, ~(uint32_t)MOUNT_LOCKED, __ATOMIC_RELAXED);
}

int vfs_pivot_root(struct mount_ns *ns, const struct path *new_root, const struct path *put_old,
                   const struct path *root)
{
    struct path old = *put_old, was_new = {NULL, NULL}, was_root = {NULL, NULL};
    int err;

    mount_lock();
    mount_to_top_locked(&old);
    err = check_pivot(ns, new_root, &old, root);
    if (!err) {
        old = path_ref(old);
        mount_unhang_locked(new_root->mount, &was_new);
        pass_lock(root->mount, new_root->mount);
        mount_unhang_locked(root->mount, &was_root);
        mount_hang_locked(new_root->mount, &was_root);
        mount_hang_locked(root->mount, &old);
        notify_mount(ns, root->mount->unique_id, NOTIFY_MOUNT_ATTACH | NOTIFY_MOUNT_DETACH);
        notify_mount(ns, new_root->mount->unique_id, NOTIFY_MOUNT_ATTACH | NOTIFY_MOUNT_DETACH);
        mount_changed_locked(ns);
        mount_unlock();
        path_unref(&was_new);
        path_unref(&was_root);
        path_unref(&old);
        return 0;
    }
    mount_unlock();
    return err;
}
