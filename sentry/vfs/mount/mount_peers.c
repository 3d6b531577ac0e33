/* Propagation (mount_namespaces(7); Linux: fs/pnode.c, Documentation/filesystems/sharedsubtree). */
#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/mount/mount_internal.h"

int mount_share_locked(struct mount *m)
{
    struct peer_group *group = calloc(1, sizeof(*group));

    if (!group)
        return -ENOMEM;
    group->id = mount_take_number(NUMBER_GROUP);
    if (!group->id) {
        free(group);
        return -ENOSPC;
    }
    list_init(&group->members);
    list_init(&group->slaves);
    mount_join_group_locked(m, group);
    return 0;
}

void mount_join_group_locked(struct mount *m, struct peer_group *group)
{
    m->group = group;
    list_add_tail(&group->members, &m->group_node);
}

void mount_set_master_locked(struct mount *m, struct peer_group *master)
{
    if (m->master)
        list_del_init(&m->slave_node);
    m->master = master;
    if (master)
        list_add_tail(&master->slaves, &m->slave_node);
}

/* With the last member the group goes; its slaves get the master of that one. */
static void leave_group_locked(struct mount *m)
{
    struct peer_group *group = m->group;

    if (!group)
        return;
    m->group = NULL;
    list_del_init(&m->group_node);
    if (!list_empty(&group->members))
        return;
    while (!list_empty(&group->slaves))
        mount_set_master_locked(list_first(&group->slaves, struct mount, slave_node), m->master);
    mount_give_number(NUMBER_GROUP, group->id);
    free(group);
}

void mount_make_slave_locked(struct mount *m)
{
    struct peer_group *group = m->group;

    if (!group)
        return;
    if (group->members.next->next != &group->members) {
        leave_group_locked(m);
        mount_set_master_locked(m, group);
    } else {
        leave_group_locked(m);
    }
}

void mount_make_private_locked(struct mount *m)
{
    leave_group_locked(m);
    mount_set_master_locked(m, NULL);
}

/* ---- who gets what happens in a mount ------------------------------------------------------ */

static void add_receiver(struct mount *m, struct list *ret)
{
    if (m->receives)
        return;
    m->receives = true;
    list_add_tail(ret, &m->receiver_node);
}

static void add_group(struct peer_group *group, const struct mount *except, struct list *ret)
{
    struct mount *m;

    if (group->visited)
        return;
    group->visited = true;
    list_for_each (m, &group->members, group_node) {
        if (m != except)
            add_receiver(m, ret);
    }
    list_for_each (m, &group->slaves, slave_node) {
        if (m != except)
            add_receiver(m, ret);
    }
}

void mount_receivers_locked(struct mount *m, struct list *ret)
{
    struct mount *r;

    list_init(ret);
    if (!m->group)
        return;
    m->receives = true;
    add_group(m->group, m, ret);
    list_for_each (r, ret, receiver_node) {
        if (r->group)
            add_group(r->group, m, ret);
    }
}

void mount_receivers_end_locked(struct mount *m, struct list *receivers)
{
    m->receives = false;
    if (m->group) {
        m->group->visited = false;
        m->group->source = NULL;
    }
    while (!list_empty(receivers)) {
        struct mount *r = list_first(receivers, struct mount, receiver_node);

        list_del_init(&r->receiver_node);
        r->receives = false;
        if (r->group) {
            r->group->visited = false;
            r->group->source = NULL;
        }
    }
}

/* ---- mounting ------------------------------------------------------------------------------ */

/* What `r` gets is copied from what the nearest group above it got. */
static struct mount *source_for(const struct mount *r, unsigned *ret_flags)
{
    const struct peer_group *group = r->group;
    const struct mount *at = r;

    *ret_flags = COPY_MAKE_SHARED;
    if (group && group->source)
        return group->source;
    *ret_flags = COPY_SLAVE | (group ? COPY_MAKE_SHARED : 0);
    for (group = at->master; group; group = at->master) {
        if (group->source)
            return group->source;
        at = list_first(&group->members, struct mount, group_node);
    }
    return NULL;
}

static int propagate_one(struct mount *r, struct dentry *at, struct list *ret)
{
    struct mount *source, *copy;
    unsigned flags;
    int err;

    /* In no tree, or the place cannot be seen there. */
    if ((!r->ns && !r->moving) || !dentry_is_below(at, r->root))
        return 0;
    source = source_for(r, &flags);
    if (!source)
        return 0;
    err = mount_copy_locked(source, source->root, flags | COPY_UNBINDABLE, true, &copy);
    if (err < 0)
        return err;
    copy->was_over = (struct path){r, at}; /* borrowed: the lock is held until it hangs there */
    list_add_tail(ret, &copy->work_node);
    if (r->group && !r->group->source)
        r->group->source = copy;
    return 0;
}

int mount_propagate_locked(struct mount *top, const struct path *over, struct list *ret)
{
    struct list receivers;
    struct mount *r;
    int err = 0;

    mount_receivers_locked(over->mount, &receivers);
    over->mount->group->source = top;
    list_for_each (r, &receivers, receiver_node) {
        err = propagate_one(r, over->dentry, ret);
        if (err < 0)
            break;
    }
    mount_receivers_end_locked(over->mount, &receivers);
    return err;
}

/* ---- unmounting ---------------------------------------------------------------------------- */

/* All that is upon it goes as well, but for one mount that covers its root as a whole. */
static bool can_go(const struct mount *m)
{
    struct mount *child;

    list_for_each (child, &m->children, sibling) {
        if (!child->going && child->over.dentry != m->root)
            return false;
    }
    return true;
}

static void add_copies(struct mount *m, struct list *candidates)
{
    struct mount *parent = m->over.mount, *r;
    struct list receivers;

    if (!parent)
        return;
    mount_receivers_locked(parent, &receivers);
    list_for_each (r, &receivers, receiver_node) {
        struct mount *child = mount_covering_locked(r, m->over.dentry);

        if (!child || child->going || (mount_get_flags(child) & MOUNT_LOCKED))
            continue;
        child->going = true;
        list_add_tail(candidates, &child->work_node);
    }
    mount_receivers_end_locked(parent, &receivers);
}

/* What covers the root of one that goes takes its place, or that of the lowest one below it that
 * goes as well: fs/pnode.c:reparent(). */
static void lift_cover_locked(struct mount *m)
{
    struct mount *cover = mount_covering_locked(m, m->root), *lowest = m;
    struct path old, place;

    while (lowest->over.mount && lowest->over.mount->going)
        lowest = lowest->over.mount;
    if (!cover || cover->going || !lowest->over.mount)
        return;
    mount_unhang_locked(cover, &old);
    mount_unhang_locked(lowest, &place);
    mount_hang_locked(cover, &place);
    path_unref(&old); /* of `m`, which is held by its tree */
    path_unref(&place);
}

void mount_propagate_going_locked(struct list *going)
{
    struct list candidates;
    struct mount *m, *tmp;
    bool again = true;

    list_init(&candidates);
    list_for_each (m, going, work_node)
        add_copies(m, &candidates);
    while (again) {
        again = false;
        list_for_each_safe (m, tmp, &candidates, work_node) {
            if (!can_go(m)) {
                m->going = false;
                list_del_init(&m->work_node);
                again = true;
            }
        }
    }
    list_for_each_safe (m, tmp, &candidates, work_node) {
        list_del_init(&m->work_node);
        list_add_tail(going, &m->work_node);
        lift_cover_locked(m);
    }
}

bool mount_busy_locked(struct mount *m, uint32_t uses)
{
    struct mount *parent = m->over.mount, *r;
    struct list receivers;
    bool busy = false;

    if (!list_empty(&m->children) || refcount_read(&m->refs) > 1 + uses)
        return true;
    if (!parent)
        return false;
    mount_receivers_locked(parent, &receivers);
    list_for_each (r, &receivers, receiver_node) {
        struct mount *child = mount_covering_locked(r, m->over.dentry);
        uint32_t fine = 1;

        if (!child)
            continue;
        /* One mount that covers it as a whole does not keep it; with any other it stays anyway. */
        if (!list_empty(&child->children)) {
            if (child->children.next != child->children.prev ||
                !mount_covering_locked(child, child->root))
                continue;
            fine++;
        }
        if (refcount_read(&child->refs) > fine)
            busy = true;
    }
    mount_receivers_end_locked(parent, &receivers);
    return busy;
}
