/* Mount namespaces: making, copying, watching (mount.h). */
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"

#define ROOTFS_MINOR  2
#define DEFAULT_FLAGS (MOUNT_RELATIME)

uint32_t mount_max = 100000;

static uint64_t last_id; /* atomic */

/* ---- the empty directory under everything -------------------------------------------------- */

static int rootfs_lookup(struct dentry *dir, const struct name *names, int count,
                         struct inode **ret_inodes, int *ret_error)
{
    *ret_error = -ENOENT;
    return 0;
}

static int rootfs_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    *ret = (struct linux_stat){
        .st_dev = dentry->inode->dev, .st_ino = 1, .st_nlink = 2, .st_mode = S_IFDIR | 0755};
    return 0;
}

static void rootfs_release_inode(struct inode *inode)
{
    free(inode);
}

static const struct inode_operations rootfs_operations = {
    .lookup = rootfs_lookup,
    .stat = rootfs_stat,
    .release = rootfs_release_inode,
};

static void rootfs_release(struct super_block *sb)
{
    free(sb);
}

static int rootfs_create(struct super_block **ret)
{
    struct super_block *sb = calloc(1, sizeof(*sb));
    struct inode *root = malloc(sizeof(*root));

    if (!sb || !root) {
        free(sb);
        free(root);
        return -ENOMEM;
    }
    inode_init(root, &rootfs_operations, S_IFDIR | 0755, makedev(0, ROOTFS_MINOR), 1);
    if (super_init(sb, root, rootfs_release) < 0) {
        free(sb);
        free(root);
        return -ENOMEM;
    }
    sb->type = "rootfs";
    sb->read_only = true;
    sb->dev = (uint32_t)makedev(0, ROOTFS_MINOR);
    *ret = sb;
    return 0;
}

/* ---- namespaces ---------------------------------------------------------------------------- */

struct mount_ns *mount_ns_new(bool anonymous)
{
    struct mount_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    refcount_set(&ns->refs, 1);
    ns->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
    ns->anonymous = anonymous;
    list_init(&ns->mounts);
    list_init(&ns->watches);
    return ns;
}

/* `sb` upon an empty directory. */
static int make_bottom(struct super_block *sb, struct mount **ret)
{
    struct super_block *rootfs;
    struct mount *bottom, *m;
    struct path over;
    int err = rootfs_create(&rootfs);

    if (err < 0)
        return err;
    err = mount_new(rootfs, rootfs->root, "none", DEFAULT_FLAGS, &bottom);
    super_unref(rootfs);
    if (err < 0)
        return err;
    err = mount_new(sb, sb->root, sb->type, DEFAULT_FLAGS, &m);
    if (err < 0) {
        mount_unref(bottom);
        return err;
    }
    over = (struct path){bottom, bottom->root};
    mount_lock();
    mount_hang_locked(m, &over);
    mount_unlock();
    *ret = bottom;
    return 0;
}

int mount_ns_create(struct super_block *sb, struct mount_ns **ret)
{
    struct mount_ns *ns = mount_ns_new(false);
    int err;

    if (!ns)
        return -ENOMEM;
    err = make_bottom(sb, &ns->root);
    if (err < 0) {
        free(ns);
        return err;
    }
    mount_lock();
    mount_enter_locked(ns->root, ns);
    mount_unlock();
    *ret = ns;
    return 0;
}

struct mount_ns *mount_ns_ref(struct mount_ns *ns)
{
    refcount_get(&ns->refs);
    return ns;
}

struct mount_ns *mount_ns_unref(struct mount_ns *ns)
{
    struct list dead;

    if (!ns || !refcount_put(&ns->refs))
        return NULL;
    list_init(&dead);
    mount_lock();
    ns->anonymous = true; /* nobody is told any more */
    if (ns->root)
        mount_take_out_locked(ns->root, false, &dead);
    mount_unlock();
    mount_bury(&dead);
    free(ns);
    return NULL;
}

struct path mount_ns_top(struct mount_ns *ns)
{
    struct path top;

    mount_lock();
    top = (struct path){ns->root, ns->root->root};
    mount_to_top_locked(&top);
    top = path_ref(top);
    mount_unlock();
    return top;
}

int mount_ns_copy(struct mount_ns *old, const void *owner, struct mount_ns **ret)
{
    unsigned flags = COPY_UNBINDABLE;
    struct mount_ns *ns = mount_ns_new(false);
    int err;

    if (!ns)
        return -ENOMEM;
    ns->owner = owner;
    if (owner != old->owner)
        flags |= COPY_SHARED_TO_SLAVE | COPY_LOCKED;
    mount_lock();
    err = mount_copy_locked(old->root, old->root->root, flags, true, &ns->root);
    if (!err)
        mount_enter_locked(ns->root, ns);
    mount_unlock();
    if (err < 0)
        free(ns);
    else
        *ret = ns;
    return err;
}

void mount_ns_translate(const struct mount_ns *old, const struct mount_ns *copy, struct path *path)
{
    struct mount *was = NULL, *m;

    mount_lock();
    if (path->mount->ns == old) {
        list_for_each (m, &copy->mounts, ns_node) {
            if (m->copied_from == path->mount->unique_id) {
                was = path->mount;
                path->mount = mount_ref(m);
                break;
            }
        }
    }
    mount_unlock();
    mount_unref(was);
}

void mount_ns_watch(struct mount_ns *ns, struct mount_watch *watch)
{
    mount_lock();
    list_add_tail(&ns->watches, &watch->node);
    mount_unlock();
}

void mount_ns_unwatch(struct mount_watch *watch)
{
    mount_lock();
    list_del_init(&watch->node);
    mount_unlock();
}

/* ---- what the runtime mounts --------------------------------------------------------------- */

static int attach(struct mount_ns *ns, const struct path *at, struct super_block *sb,
                  struct dentry *root, uint32_t flags)
{
    struct list dead;
    struct mount *m;
    int err;

    if (inode_type(at->dentry->inode) != S_IFDIR || inode_type(root->inode) != S_IFDIR)
        return -ENOTDIR;
    err = mount_new(sb, root, sb->type, flags, &m);
    if (err < 0)
        return err;
    list_init(&dead);
    mount_lock();
    if (mount_covering_locked(at->mount, at->dentry) || at->mount->ns != ns)
        err = -EBUSY;
    else
        err = mount_graft_locked(m, at, &dead);
    if (err < 0)
        mount_drop_tree_locked(m, &dead);
    mount_unlock();
    mount_bury(&dead);
    return err;
}

int mount_attach(struct mount_ns *ns, const struct path *at, struct super_block *sb, uint32_t flags)
{
    return attach(ns, at, sb, sb->root, flags);
}

int mount_bind(struct mount_ns *ns, const struct path *at, const struct path *what, uint32_t flags)
{
    return attach(ns, at, what->mount->sb, what->dentry, flags);
}
