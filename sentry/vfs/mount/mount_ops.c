#include "sentry/vfs/mount/mount_ops.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "sentry/vfs/mount/mount_internal.h"

/* One change: what it makes superfluous goes when the lock is free. */
static void finish(struct list *dead)
{
    mount_unlock();
    mount_bury(dead);
}

static bool is_root(const struct path *path)
{
    return path->dentry == path->mount->root;
}

static bool is_dir(const struct dentry *dentry)
{
    return inode_type(dentry->inode) == S_IFDIR;
}

/* May something be mounted there? ENOENT for a directory that was removed. */
static int check_place(const struct mount_ns *ns, const struct path *to)
{
    if (dentry_gone(to->dentry))
        return -ENOENT;
    if (to->mount->ns != ns && !(to->mount->ns && to->mount->ns->anonymous))
        return -EINVAL;
    return 0;
}

/* Graft or throw away. */
static int graft_or_drop(struct mount *m, const struct path *over, struct list *dead)
{
    int err = is_dir(m->root) == is_dir(over->dentry) ? 0 : -ENOTDIR;

    if (!err)
        err = mount_graft_locked(m, over, dead);
    if (err < 0)
        mount_drop_tree_locked(m, dead);
    return err;
}

int vfs_mount(struct mount_ns *ns, const struct path *to, struct super_block *sb,
              const char *source, uint32_t flags)
{
    struct path over = *to;
    struct list dead;
    struct mount *m;
    int err = mount_new(sb, sb->root, source, flags & MOUNT_SETTABLE, &m);

    if (err < 0)
        return err;
    list_init(&dead);
    mount_lock();
    mount_to_top_locked(&over);
    err = check_place(ns, &over);
    if (!err && over.mount->sb == sb && is_root(&over))
        err = -EBUSY;
    if (err < 0)
        mount_drop_tree_locked(m, &dead);
    else
        err = graft_or_drop(m, &over, &dead);
    finish(&dead);
    return err;
}

/* May it be copied? A locked mount in it would no longer cover what it hides. */
static int check_copy(const struct mount_ns *ns, const struct path *from, bool tree)
{
    struct mount *child;

    if (mount_get_flags(from->mount) & MOUNT_UNBINDABLE)
        return -EINVAL;
    if (from->mount->ns != ns && !(from->mount->ns && from->mount->ns->anonymous))
        return -EINVAL;
    list_for_each (child, &from->mount->children, sibling) {
        if (!tree && (mount_get_flags(child) & MOUNT_LOCKED) &&
            dentry_is_below(child->over.dentry, from->dentry))
            return -EINVAL;
    }
    return 0;
}

int vfs_mount_bind(struct mount_ns *ns, const struct path *to, const struct path *from, bool tree)
{
    struct path over = *to;
    struct list dead;
    struct mount *m;
    int err;

    list_init(&dead);
    mount_lock();
    mount_to_top_locked(&over);
    err = check_place(ns, &over);
    if (!err)
        err = check_copy(ns, from, tree);
    if (!err)
        err = mount_copy_locked(from->mount, from->dentry, 0, tree, &m);
    if (!err)
        err = graft_or_drop(m, &over, &dead);
    finish(&dead);
    return err;
}

/* ---- moving -------------------------------------------------------------------------------- */

static bool has_unbindable(struct mount *top)
{
    for (struct mount *m = top; m; m = mount_next_locked(m, top)) {
        if (mount_get_flags(m) & MOUNT_UNBINDABLE)
            return true;
    }
    return false;
}

/* Is `m`, or what it hangs on, within the tree of `top`? */
static bool within(const struct mount *m, const struct mount *top)
{
    for (; m; m = m->over.mount) {
        if (m == top)
            return true;
    }
    return false;
}

/* fs/namespace.c:can_move_mount_beneath() */
static int check_beneath(const struct mount *old, const struct path *to)
{
    struct mount *top = to->mount;

    if (!is_root(to) || !top->over.mount || (mount_get_flags(top) & MOUNT_LOCKED) ||
        within(old, top) || within(top, old))
        return -EINVAL;
    return top->over.mount->group && old->group == top->over.mount->group ? -EINVAL : 0;
}

static int check_move(const struct mount_ns *ns, const struct path *to, const struct path *from,
                      bool beneath)
{
    struct mount *old = from->mount, *parent = old->over.mount;
    int err = check_place(ns, to);

    if (err < 0)
        return err;
    if (!old->ns || (mount_get_flags(old) & MOUNT_LOCKED) || !is_root(from))
        return -EINVAL;
    if (old->ns->anonymous ? to->mount->ns == old->ns : old->ns != ns || !parent)
        return -EINVAL;
    if (is_dir(from->dentry) != is_dir(to->dentry))
        return -EINVAL;
    if (parent && parent->group)
        return -EINVAL;
    if (beneath)
        err = check_beneath(old, to);
    if (err < 0)
        return err;
    if (to->mount->group && has_unbindable(old))
        return -EINVAL;
    return within(to->mount, old) ? -ELOOP : 0;
}

/* A namespace without a name ends when its tree has left it. */
static void leave_anonymous(struct mount_ns *from, const struct mount *m)
{
    if (from->anonymous && from->root == m)
        free(from);
    else
        mount_changed_locked(from);
}

static int move_locked(struct mount *m, const struct path *over, struct list *dead)
{
    struct mount_ns *from = m->ns;
    struct path old = {NULL, NULL};
    int err;

    mount_leave_locked(m);
    mount_unhang_locked(m, &old);
    err = mount_graft_locked(m, over, dead);
    if (err < 0) {
        if (old.mount)
            mount_hang_locked(m, &old);
        mount_enter_locked(m, from);
    } else {
        __atomic_store_n(&m->expiring, 0, __ATOMIC_RELAXED);
        leave_anonymous(from, m);
    }
    m->was_over = old;
    return err;
}

int vfs_mount_move(struct mount_ns *ns, const struct path *to, const struct path *from,
                   bool beneath)
{
    struct path over = *to, old = {NULL, NULL};
    struct list dead;
    int err;

    list_init(&dead);
    mount_lock();
    mount_to_top_locked(&over);
    err = check_move(ns, &over, from, beneath);
    if (!err) {
        if (beneath)
            over = over.mount->over;
        over = path_ref(over);
        err = move_locked(from->mount, &over, &dead);
        old = from->mount->was_over;
        from->mount->was_over = (struct path){NULL, NULL};
        finish(&dead);
        path_unref(&old);
        path_unref(&over);
        return err;
    }
    finish(&dead);
    return err;
}

int vfs_mount_set_group(struct mount_ns *ns, const struct path *to, const struct path *from)
{
    struct mount *m = to->mount, *old = from->mount;
    int err = -EINVAL;

    mount_lock();
    if (!is_root(to) || !is_root(from) || !m->ns || !old->ns)
        goto out;
    if (m->ns != ns && !m->ns->anonymous)
        goto out;
    if (m->sb != old->sb || !dentry_is_below(m->root, old->root) || m->group || m->master ||
        (!old->group && !old->master))
        goto out;
    if (old->master)
        mount_set_master_locked(m, old->master);
    if (old->group)
        mount_join_group_locked(m, old->group);
    err = 0;
out:
    mount_unlock();
    return err;
}

/* ---- attributes ---------------------------------------------------------------------------- */

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
    if (m->ns != ns || !is_root(path))
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
    if (m->ns != ns || !is_root(path))
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
    if (is_root(path) && m->ns == ns)
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

/* All or nothing: those that cannot become read-only are found before anything is changed. */
static int check_setattr(struct mount *top, const struct mount_change *change)
{
    for (struct mount *m = top; m; m = change->tree ? mount_next_locked(m, top) : NULL) {
        uint32_t flags = changed(m, change);

        if (!may_change(m, flags))
            return -EPERM;
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
    if (is_root(path) && (top->ns == ns || (top->ns && top->ns->anonymous)))
        err = check_setattr(top, change);
    for (struct mount *m = top; m && !err; m = change->tree ? mount_next_locked(m, top) : NULL)
        err = set_flags(m, changed(m, change));
    if (!err && change->propagation)
        err = change_types(top, change->propagation, change->tree);
    if (!err)
        mount_changed_locked(top->ns);
    mount_unlock();
    return err;
}

/* ---- going --------------------------------------------------------------------------------- */

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
    if (!is_root(path) || m->ns != ns || (mount_get_flags(m) & MOUNT_LOCKED) ||
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
    finish(&dead);
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
    if (!is_root(root) || !old->over.mount || !is_root(new_root) || !new->over.mount)
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

/* ---- trees alone --------------------------------------------------------------------------- */

static int keep_alone_locked(struct mount *m, struct path *ret)
{
    struct mount_ns *ns = mount_ns_new(true);

    if (!ns)
        return -ENOMEM;
    ns->root = m;
    mount_enter_locked(m, ns);
    *ret = path_ref((struct path){m, m->root});
    return 0;
}

int vfs_mount_clone(struct mount_ns *ns, const struct path *from, bool tree, struct path *ret)
{
    struct list dead;
    struct mount *m;
    int err;

    list_init(&dead);
    mount_lock();
    err = check_copy(ns, from, tree);
    if (!err)
        err = mount_copy_locked(from->mount, from->dentry, 0, tree, &m);
    if (!err) {
        err = keep_alone_locked(m, ret);
        if (err < 0)
            mount_drop_tree_locked(m, &dead);
    }
    finish(&dead);
    return err;
}

int vfs_mount_alone(struct super_block *sb, const char *source, uint32_t flags, struct path *ret)
{
    struct mount *m;
    int err = mount_new(sb, sb->root, source, flags & MOUNT_SETTABLE, &m);

    if (err < 0)
        return err;
    mount_lock();
    err = keep_alone_locked(m, ret);
    mount_unlock();
    if (err < 0)
        mount_unref(m);
    return err;
}

void vfs_mount_dissolve(struct mount *m)
{
    struct mount_ns *ns = NULL;
    struct list dead;

    list_init(&dead);
    mount_lock();
    if (m->ns && m->ns->anonymous && m->ns->root == m) {
        ns = m->ns;
        mount_take_out_locked(m, false, &dead);
    }
    mount_unlock();
    mount_bury(&dead);
    free(ns);
}
