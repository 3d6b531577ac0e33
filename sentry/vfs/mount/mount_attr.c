/* What mounts and their file systems can be told: flags, propagation, read-only. */
#include <errno.h>
#include <sys/mount.h>

#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"

/* fs/namespace.c:can_change_locked_flags() */
static bool may_change(const struct mount *m, uint32_t flags)
{
    uint32_t now = mount_get_flags(m), locked = now >> 16;

    if (!(now & MOUNT_LOCKED))
        return true;
    if ((locked & ~MOUNT_ATIME_MASK & ~(uint32_t)MOUNT_NOSYMFOLLOW) & ~flags)
        return false;
    return (now & MOUNT_ATIME_MASK) == (flags & MOUNT_ATIME_MASK);
}

/* First said, then looked whether somebody writes: see mount_get_write(). */
static int set_flags(struct mount *m, uint32_t flags)
{
    uint32_t old = mount_get_flags(m);
    uint32_t kept = old & ~(uint32_t)MOUNT_SETTABLE;

    __atomic_store_n(&m->flags, kept | (flags & MOUNT_SETTABLE), __ATOMIC_SEQ_CST);
    if (!(flags & MOUNT_READ_ONLY) || (old & MOUNT_READ_ONLY) ||
        __atomic_load_n(&m->writers, __ATOMIC_SEQ_CST) == 0)
        return 0;
    __atomic_store_n(&m->flags, old, __ATOMIC_SEQ_CST);
    return -EBUSY;
}

int vfs_remount_bind(struct mount_ns *ns, const struct path *path, uint32_t flags)
{
    struct mount *m = path->mount;
    int err;

    mount_lock();
    if (m->ns != ns || !path_is_mount_root(path))
        err = -EINVAL;
    else if (!may_change(m, flags))
        err = -EPERM;
    else
        err = set_flags(m, flags);
    if (!err)
        mount_changed_locked(m->ns);
    mount_unlock();
    return err;
}

int super_set_read_only(struct super_block *sb, bool read_only)
{
    bool was = __atomic_exchange_n(&sb->remounted_ro, read_only, __ATOMIC_SEQ_CST);

    if (!read_only || was || __atomic_load_n(&sb->writers, __ATOMIC_SEQ_CST) == 0)
        return 0;
    __atomic_store_n(&sb->remounted_ro, false, __ATOMIC_SEQ_CST);
    return -EBUSY;
}

int vfs_remount(struct mount_ns *ns, const struct path *path, uint32_t flags, bool read_only,
                struct fs_setup *setup)
{
    struct mount *m = path->mount;
    int err = 0;

    mount_lock();
    if (m->ns != ns || !path_is_mount_root(path))
        err = -EINVAL;
    else if (!may_change(m, flags))
        err = -EPERM;
    mount_unlock();
    if (!err && setup && m->sb->reconfigure)
        err = m->sb->reconfigure(m->sb, setup);
    if (!err)
        err = super_set_read_only(m->sb, read_only);
    if (err < 0)
        return err;
    mount_lock();
    err = set_flags(m, flags);
    if (m->ns)
        mount_changed_locked(m->ns);
    mount_unlock();
    return 0;
}

static int change_type(struct mount *m, unsigned type)
{
    uint32_t unbindable = type == MS_UNBINDABLE ? MOUNT_UNBINDABLE : 0;

    if (type == MS_SHARED && !m->group) {
        int err = mount_share_locked(m);

        if (err < 0)
            return err;
    }
    if (type == MS_SLAVE)
        mount_make_slave_locked(m);
    else if (type != MS_SHARED)
        mount_make_private_locked(m);
    if (type != MS_SLAVE || m->master)
        __atomic_store_n(&m->flags, (mount_get_flags(m) & ~(uint32_t)MOUNT_UNBINDABLE) | unbindable,
                         __ATOMIC_RELAXED);
    return 0;
}

static int change_types(struct mount *top, unsigned type, bool tree)
{
    int err = 0;

    for (struct mount *m = top; m && !err; m = tree ? mount_next_locked(m, top) : NULL)
        err = change_type(m, type);
    return err;
}

int vfs_mount_propagation(struct mount_ns *ns, const struct path *path, unsigned type, bool tree)
{
    struct mount *m = path->mount;
    int err = -EINVAL;

    mount_lock();
    if (path_is_mount_root(path) && m->ns == ns)
        err = change_types(m, type, tree);
    if (!err)
        mount_changed_locked(m->ns);
    mount_unlock();
    return err;
}

static uint32_t changed(const struct mount *m, const struct mount_change *change)
{
    return ((mount_get_flags(m) & ~change->clear) | change->set) & MOUNT_SETTABLE;
}

/* can_idmap_mount() */
static int check_map(const struct mount *m, const struct mount_change *change)
{
    if (!change->remap)
        return 0;
    if (change->map && change->map_owner == m->sb->owner_id)
        return -EINVAL;
    if (!change->replace && m->map)
        return -EPERM;
    if (!m->sb->has_maps)
        return -EINVAL;
    if (!change->controls(m->sb))
        return -EPERM;
    return m->ns && m->ns->anonymous ? 0 : -EINVAL;
}

static void set_map(struct mount *m, const struct mount_change *change)
{
    struct mount_map *old = m->map;

    if (!change->remap)
        return;
    __atomic_store_n(&m->map, mount_map_ref(change->map), __ATOMIC_RELEASE);
    mount_map_unref(old);
}

/* All or nothing: those that cannot become read-only are found before anything is changed. */
static int check_setattr(struct mount *top, const struct mount_change *change)
{
    for (struct mount *m = top; m; m = change->tree ? mount_next_locked(m, top) : NULL) {
        uint32_t flags = changed(m, change);

        int err = may_change(m, flags) ? check_map(m, change) : -EPERM;

        if (err < 0)
            return err;
        if (change->remap && __atomic_load_n(&m->writers, __ATOMIC_SEQ_CST) > 0)
            return -EBUSY;
        if ((flags & MOUNT_READ_ONLY) && !(mount_get_flags(m) & MOUNT_READ_ONLY) &&
            __atomic_load_n(&m->writers, __ATOMIC_SEQ_CST) > 0)
            return -EBUSY;
    }
    return 0;
}

int vfs_mount_setattr(struct mount_ns *ns, const struct path *path,
                      const struct mount_change *change)
{
    struct mount *top = path->mount;
    int err = -EINVAL;

    mount_lock();
    if (path_is_mount_root(path) && (top->ns == ns || (top->ns && top->ns->anonymous)))
        err = check_setattr(top, change);
    for (struct mount *m = top; m && !err; m = change->tree ? mount_next_locked(m, top) : NULL) {
        set_map(m, change);
        err = set_flags(m, changed(m, change));
    }
    if (!err && change->propagation)
        err = change_types(top, change->propagation, change->tree);
    if (!err)
        mount_changed_locked(top->ns);
    mount_unlock();
    return err;
}
