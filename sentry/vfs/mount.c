#include "sentry/vfs/mount.h"

#include <errno.h>
#include <stdlib.h>

static struct mount *mount_new(struct mount_ns *ns, struct super_block *sb, struct dentry *root)
{
    struct mount *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    refcount_set(&m->refs, 1);
    m->ns = ns;
    m->sb = super_ref(sb);
    m->root = dentry_ref(root);
    list_init(&m->ns_node);
    return m;
}

struct mount *mount_ref(struct mount *mount)
{
    refcount_get(&mount->refs);
    return mount;
}

struct mount *mount_unref(struct mount *mount)
{
    if (mount && refcount_put(&mount->refs)) {
        dentry_unref(mount->root);
        super_unref(mount->sb);
        free(mount);
    }
    return NULL;
}

int mount_ns_create(struct super_block *sb, struct mount_ns **ret)
{
    struct mount_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return -ENOMEM;
    lock_init(&ns->lock);
    list_init(&ns->mounts);
    ns->root = mount_new(ns, sb, sb->root);
    if (!ns->root) {
        free(ns);
        return -ENOMEM;
    }
    *ret = ns;
    return 0;
}

void mount_ns_destroy(struct mount_ns *ns)
{
    struct mount *m, *tmp;

    list_for_each_safe (m, tmp, &ns->mounts, ns_node) {
        list_del_init(&m->ns_node);
        __atomic_fetch_sub(&m->over.dentry->mount_count, 1, __ATOMIC_RELAXED);
        path_unref(&m->over);
        mount_unref(m);
    }
    mount_unref(ns->root);
    lock_destroy(&ns->lock);
    free(ns);
}

static struct mount *covering_locked(struct mount_ns *ns, const struct path *at)
    __must_hold(ns->lock)
{
    struct mount *m;

    list_for_each (m, &ns->mounts, ns_node) {
        if (m->over.mount == at->mount && m->over.dentry == at->dentry)
            return m;
    }
    return NULL;
}

static int attach(struct mount_ns *ns, const struct path *at, struct super_block *sb,
                  struct dentry *root)
{
    struct mount *m;
    int err = 0;

    if (inode_type(at->dentry->inode) != S_IFDIR || inode_type(root->inode) != S_IFDIR)
        return -ENOTDIR;
    m = mount_new(ns, sb, root);
    if (!m)
        return -ENOMEM;
    lock_acquire(&ns->lock);
    if (covering_locked(ns, at)) {
        err = -EBUSY;
    } else {
        m->over = path_ref(*at);
        __atomic_fetch_add(&at->dentry->mount_count, 1, __ATOMIC_RELAXED);
        list_add_tail(&ns->mounts, &m->ns_node);
    }
    lock_release(&ns->lock);
    if (err)
        mount_unref(m);
    return err;
}

int mount_attach(struct mount_ns *ns, const struct path *at, struct super_block *sb)
{
    return attach(ns, at, sb, sb->root);
}

int mount_bind(struct mount_ns *ns, const struct path *at, const struct path *what)
{
    return attach(ns, at, what->mount->sb, what->dentry);
}

void mount_cross_down(struct path *path)
{
    while (__atomic_load_n(&path->dentry->mount_count, __ATOMIC_RELAXED) > 0) {
        struct mount_ns *ns = path->mount->ns;
        struct path inner = {NULL, NULL};
        struct mount *m;

        lock_acquire(&ns->lock);
        m = covering_locked(ns, path);
        if (m)
            inner = path_ref((struct path){m, m->root});
        lock_release(&ns->lock);
        if (!m)
            return;
        path_unref(path);
        *path = inner;
    }
}

bool mount_cross_up(struct path *path)
{
    bool crossed = false;

    while (path->dentry == path->mount->root && path->mount->over.mount) {
        struct path outer = path_ref(path->mount->over);

        path_unref(path);
        *path = outer;
        crossed = true;
    }
    return crossed;
}
