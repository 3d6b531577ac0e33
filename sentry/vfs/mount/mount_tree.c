/*
 * Trees of mounts: walking, copying, putting them somewhere and taking them away. Never recursive:
 * programs can stack as many mounts as a namespace may have.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/notify.h"

struct mount *mount_next_locked(struct mount *m, const struct mount *top)
{
    if (!list_empty(&m->children))
        return list_first(&m->children, struct mount, sibling);
    while (m != top) {
        struct mount *parent = m->over.mount;

        if (m->sibling.next != &parent->children)
            return list_entry(m->sibling.next, struct mount, sibling);
        m = parent;
    }
    return NULL;
}

/* The same, without what is below `m`. */
static struct mount *skip_tree_locked(struct mount *m, const struct mount *top)
{
    while (m != top) {
        struct mount *parent = m->over.mount;

        if (m->sibling.next != &parent->children)
            return list_entry(m->sibling.next, struct mount, sibling);
        m = parent;
    }
    return NULL;
}

void mount_changed_locked(struct mount_ns *ns)
{
    struct mount_watch *watch;

    __atomic_fetch_add(&ns->event, 1, __ATOMIC_RELAXED);
    list_for_each (watch, &ns->watches, node)
        watch->changed(watch);
}

/* fs/namespace.c:clone_mnt() */
static int copy_one(struct mount *old, struct dentry *root, unsigned flags, struct mount **ret)
{
    struct mount *m;
    int err =
        mount_new(old->sb, root, old->source, mount_get_flags(old) & ~(uint32_t)MOUNT_LOCKED, &m);

    if (err < 0)
        return err;
    m->copied_from = old->unique_id;
    m->map = mount_map_ref(old->map);
    if (flags & COPY_LOCKED)
        m->flags |= MOUNT_LOCKED | MOUNT_FLAGS_LOCKED(m->flags & MOUNT_SETTABLE);
    if ((flags & COPY_SLAVE) || ((flags & COPY_SHARED_TO_SLAVE) && old->group)) {
        mount_set_master_locked(m, old->group ? old->group : old->master);
    } else if (!(flags & COPY_PRIVATE)) {
        if (old->group)
            mount_join_group_locked(m, old->group);
        if (old->master)
            mount_set_master_locked(m, old->master);
    }
    if ((flags & COPY_MAKE_SHARED) && !m->group)
        err = mount_share_locked(m);
    if (err < 0) {
        struct list dead;

        list_init(&dead);
        mount_drop_tree_locked(m, &dead);
        mount_bury(&dead);
        return err;
    }
    *ret = m;
    return 0;
}

/* Copies what hangs below `m`, as far as `root` shows it, into the copy that `m` has. */
static int copy_below(struct mount *m, struct dentry *root, unsigned flags)
{
    struct mount *at = mount_next_locked(m, m);

    while (at) {
        struct mount *parent = at->over.mount;
        bool left_out = (parent == m && !dentry_is_below(at->over.dentry, root)) ||
                        (!(flags & COPY_UNBINDABLE) && (mount_get_flags(at) & MOUNT_UNBINDABLE)) ||
                        (!(flags & COPY_NS_FILES) && mount_ns_shown(at->root));
        struct path over;
        int err;

        if (left_out) {
            at = skip_tree_locked(at, m);
            continue;
        }
        err = copy_one(at, at->root, flags, &at->copy);
        if (err < 0)
            return err;
        over = (struct path){parent->copy, at->over.dentry};
        mount_hang_locked(at->copy, &over);
        at = mount_next_locked(at, m);
    }
    return 0;
}

int mount_copy_locked(struct mount *m, struct dentry *root, unsigned flags, bool tree,
                      struct mount **ret)
{
    int err;

    if (!(flags & COPY_UNBINDABLE) && (mount_get_flags(m) & MOUNT_UNBINDABLE))
        return -EINVAL;
    if (!(flags & COPY_NS_FILES) && mount_ns_shown(root))
        return -EINVAL;
    err = copy_one(m, root, flags, &m->copy);
    if (!err && tree) {
        err = copy_below(m, root, flags);
        if (err < 0) {
            struct list dead;

            list_init(&dead);
            mount_drop_tree_locked(m->copy, &dead);
            mount_bury(&dead);
        }
    }
    if (!err)
        *ret = m->copy;
    return err;
}

void mount_enter_locked(struct mount *top, struct mount_ns *ns)
{
    for (struct mount *m = top; m; m = mount_next_locked(m, top)) {
        struct list *before = ns->mounts.prev;

        while (before != &ns->mounts &&
               list_entry(before, struct mount, ns_node)->unique_id > m->unique_id)
            before = before->prev;
        list_insert_between(&m->ns_node, before, before->next);
        m->ns = ns;
        ns->count++;
    }
}

void mount_leave_locked(struct mount *top)
{
    for (struct mount *m = top; m; m = mount_next_locked(m, top)) {
        if (!m->ns)
            continue;
        list_del_init(&m->ns_node);
        m->ns->count--;
        m->ns = NULL;
    }
}

uint32_t mount_count_locked(struct mount *top)
{
    uint32_t count = 0;

    for (struct mount *m = top; m; m = mount_next_locked(m, top))
        count++;
    return count;
}

/* ---- taking away --------------------------------------------------------------------------- */

static void tell_locked(const struct mount *m, const struct mount_ns *ns, uint32_t mask)
{
    if (!ns->anonymous)
        notify_mount(ns, m->unique_id, mask);
}

/* What is moved within a namespace is one event, whatever is mounted upon it. */
static void tell_attached_locked(struct mount *top)
{
    if (top->moving) {
        tell_locked(top, top->ns, NOTIFY_MOUNT_ATTACH | NOTIFY_MOUNT_DETACH);
        return;
    }
    for (struct mount *m = top; m; m = mount_next_locked(m, top))
        tell_locked(m, m->ns, NOTIFY_MOUNT_ATTACH);
}

static void take_apart_locked(struct list *going, struct list *dead)
{
    struct mount *m, *tmp;

    list_for_each_safe (m, tmp, going, work_node) {
        struct mount_ns *ns = m->ns;

        list_del_init(&m->ns_node);
        m->ns = NULL;
        m->going = false;
        if (ns) {
            ns->count--;
            tell_locked(m, ns, NOTIFY_MOUNT_DETACH);
            mount_changed_locked(ns);
        }
        mount_unhang_locked(m, &m->was_over);
        mount_make_private_locked(m);
        list_del_init(&m->work_node);
        list_add_tail(dead, &m->work_node);
    }
}

void mount_take_out_locked(struct mount *top, bool propagate, struct list *dead)
{
    struct list going;

    list_init(&going);
    for (struct mount *m = top; m; m = mount_next_locked(m, top)) {
        m->going = true;
        list_add_tail(&going, &m->work_node);
    }
    if (propagate)
        mount_propagate_going_locked(&going);
    take_apart_locked(&going, dead);
}

void mount_drop_tree_locked(struct mount *top, struct list *dead)
{
    mount_take_out_locked(top, false, dead);
}

void mount_bury(struct list *dead)
{
    while (!list_empty(dead)) {
        struct mount *m = list_first(dead, struct mount, work_node);

        list_del_init(&m->work_node);
        path_unref(&m->was_over);
        mount_unref(m);
    }
}

/* ---- putting somewhere --------------------------------------------------------------------- */

static int check_room(const struct mount_ns *ns, uint32_t more)
{
    return ns->count + more > __atomic_load_n(&mount_max, __ATOMIC_RELAXED) ? -ENOSPC : 0;
}

/* What covers the place already comes to lie upon the new mount. */
static void tuck_locked(struct mount *top, const struct path *over)
{
    struct mount *there = mount_covering_locked(over->mount, over->dentry);
    struct path root = {top, top->root}, old;

    mount_to_top_locked(&root);
    if (there)
        mount_unhang_locked(there, &old);
    mount_hang_locked(top, over);
    if (there) {
        mount_hang_locked(there, &root);
        path_unref(&old); /* `over` is held by others: nothing goes */
    }
}

/* fs/namespace.c:attach_recursive_mnt() */
int mount_graft_locked(struct mount *top, const struct path *over, struct list *dead)
{
    struct mount_ns *ns = over->mount->ns;
    uint32_t count = mount_count_locked(top);
    struct list copies;
    struct mount *m, *tmp;
    int err = check_room(ns, count);

    list_init(&copies);
    if (!err && over->mount->group) {
        for (m = top; m && !err; m = mount_next_locked(m, top))
            err = m->group ? 0 : mount_share_locked(m);
        if (!err)
            err = mount_propagate_locked(top, over, &copies);
        list_for_each (m, &copies, work_node) {
            if (!err)
                err = check_room(m->was_over.mount->ns ? m->was_over.mount->ns : ns, count);
        }
    }
    if (!err) {
        mount_enter_locked(top, ns);
        tell_attached_locked(top);
        tuck_locked(top, over);
        mount_changed_locked(ns);
    }
    list_for_each_safe (m, tmp, &copies, work_node) {
        struct path place = m->was_over;

        list_del_init(&m->work_node);
        m->was_over = (struct path){NULL, NULL};
        if (err < 0) {
            mount_drop_tree_locked(m, dead);
        } else {
            mount_enter_locked(m, place.mount->ns);
            tell_attached_locked(m);
            tuck_locked(m, &place);
            mount_changed_locked(place.mount->ns);
        }
    }
    return err;
}
