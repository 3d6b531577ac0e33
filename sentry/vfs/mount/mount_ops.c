#include "sentry/vfs/mount/mount_ops.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/mount/mount_internal.h"

static bool is_dir(const struct dentry *dentry)
{
    return inode_type(dentry->inode) == S_IFDIR;
}

/* May something be mounted there? ENOENT for a directory that was removed, or what the file system
 * takes nothing upon. */
static int check_place(const struct mount_ns *ns, const struct path *to)
{
    if (dentry_gone(to->dentry) || to->dentry->inode->no_mounts)
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
    if (!err && over.mount->sb == sb && path_is_mount_root(&over))
        err = -EBUSY;
    if (err < 0)
        mount_drop_tree_locked(m, &dead);
    else
        err = graft_or_drop(m, &over, &dead);
    mount_unlock_and_bury(&dead);
    return err;
}

/* May it be copied? A locked mount in it would no longer cover what it hides. */
static int check_copy(const struct mount_ns *ns, const struct path *from, bool tree)
{
    struct mount *child;

    if (mount_get_flags(from->mount) & MOUNT_UNBINDABLE)
        return -EINVAL;
    if (from->mount->ns != ns && !(from->mount->ns && from->mount->ns->anonymous) &&
        !from->dentry->sb->bindable)
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
        err = mount_ns_loops(ns, from->dentry) ? -EINVAL : check_copy(ns, from, tree);
    if (!err)
        err = mount_copy_locked(from->mount, from->dentry, COPY_NS_FILES, tree, &m);
    if (!err)
        err = graft_or_drop(m, &over, &dead);
    mount_unlock_and_bury(&dead);
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

/* check_for_nsfs_mounts() */
static bool has_loop(const struct mount_ns *ns, struct mount *top)
{
    for (struct mount *m = top; m; m = mount_next_locked(m, top)) {
        if (mount_ns_loops(ns, m->root))
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

    if (!path_is_mount_root(to) || !top->over.mount || (mount_get_flags(top) & MOUNT_LOCKED) ||
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
    if (!old->ns || (mount_get_flags(old) & MOUNT_LOCKED) || !path_is_mount_root(from))
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
    return has_loop(ns, old) || within(to->mount, old) ? -ELOOP : 0;
}

/* A namespace without a name ends when its tree has left it. */
static void leave_anonymous(struct mount_ns *from, const struct mount *m)
{
    if (from->anonymous && from->root == m)
        free(from);
    else
        mount_changed_locked(from);
}

/* One that is moved gets what propagation gives it, though it is nowhere at the moment. */
static void set_moving_locked(struct mount *top, bool moving)
{
    for (struct mount *m = top; m; m = mount_next_locked(m, top))
        m->moving = moving;
}

static int move_locked(struct mount *m, const struct path *over, struct list *dead)
{
    struct mount_ns *from = m->ns;
    struct path old = {NULL, NULL};
    int err;

    mount_leave_locked(m);
    mount_unhang_locked(m, &old);
    set_moving_locked(m, !from->anonymous);
    err = mount_graft_locked(m, over, dead);
    set_moving_locked(m, false);
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
        mount_unlock_and_bury(&dead);
        path_unref(&old);
        path_unref(&over);
        return err;
    }
    mount_unlock_and_bury(&dead);
    return err;
}

int vfs_mount_set_group(struct mount_ns *ns, const struct path *to, const struct path *from)
{
    struct mount *m = to->mount, *old = from->mount;
    int err = -EINVAL;

    mount_lock();
    if (!path_is_mount_root(to) || !path_is_mount_root(from) || !m->ns || !old->ns)
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
        err = mount_copy_locked(from->mount, from->dentry, COPY_NS_FILES, tree, &m);
    if (!err) {
        err = keep_alone_locked(m, ret);
        if (err < 0)
            mount_drop_tree_locked(m, &dead);
    }
    mount_unlock_and_bury(&dead);
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
