/* rename(2): fs/namei.c:do_renameat2() and vfs_rename(), in their order of checks. */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/path/modify.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

/* Both names, looked up under tree_lock. */
struct renaming {
    const struct walk_parent *old_parent, *new_parent;
    struct dentry *old, *target; /* target: NULL when the new name is free */
    unsigned flags;
};

static bool is_dir(const struct dentry *dentry)
{
    return inode_type(dentry->inode) == S_IFDIR;
}

/* Is `dentry` in the tree that hangs from `top`, or `top` itself? */
static bool below(const struct dentry *dentry, const struct dentry *top)
{
    for (; dentry; dentry = dentry->parent) {
        if (dentry->inode == top->inode)
            return true;
    }
    return false;
}

static bool is_mounted(const struct renaming *r, struct dentry *dentry)
{
    return dentry && mount_is_mountpoint(r->old_parent->path.mount, dentry);
}

static int look_up(struct renaming *r)
{
    int err = dentry_lookup_locked(r->old_parent->path.dentry, r->old_parent->name, &r->old);

    if (err < 0)
        return err;
    err = dentry_lookup_locked(r->new_parent->path.dentry, r->new_parent->name, &r->target);
    if (err < 0 && err != -ENOENT)
        return err;
    if (r->target && (r->flags & RENAME_NOREPLACE))
        return -EEXIST;
    return (r->flags & RENAME_EXCHANGE) ? err : 0;
}

/* Slashes behind a name that is no directory's; a directory that would end up inside itself. */
static int check_shape(const struct renaming *r)
{
    bool exchange = r->flags & RENAME_EXCHANGE;

    if (exchange && !is_dir(r->target) && r->new_parent->slash)
        return -ENOTDIR;
    if (!is_dir(r->old) && (r->old_parent->slash || (!exchange && r->new_parent->slash)))
        return -ENOTDIR;
    if (is_dir(r->old) && below(r->new_parent->path.dentry, r->old))
        return -EINVAL;
    if (r->target && is_dir(r->target) && below(r->old_parent->path.dentry, r->target))
        return exchange ? -EINVAL : -ENOTEMPTY;
    return 0;
}

static int check_target(const struct renaming *r)
{
    const struct path *dir = &r->new_parent->path;
    int err;

    if (!r->target)
        return may_make(dir);
    err = may_remove(dir, r->target->inode);
    if (err < 0 || (r->flags & RENAME_EXCHANGE))
        return err;
    if (is_dir(r->old) && !is_dir(r->target))
        return -ENOTDIR;
    return !is_dir(r->old) && is_dir(r->target) ? -EISDIR : 0;
}

static int check_permissions(const struct renaming *r)
{
    struct dentry *old_dir = r->old_parent->path.dentry, *new_dir = r->new_parent->path.dentry;
    struct mount *mount = r->old_parent->path.mount;
    int err = may_remove(&r->old_parent->path, r->old->inode);

    if (!err)
        err = check_target(r);
    /* Its ".." changes. */
    if (!err && old_dir->inode != new_dir->inode) {
        if (is_dir(r->old))
            err = path_permission(&(struct path){mount, r->old}, W_OK);
        if (!err && (r->flags & RENAME_EXCHANGE) && is_dir(r->target))
            err = path_permission(&(struct path){mount, r->target}, W_OK);
    }
    return err;
}

/* RENAME_WHITEOUT: the old name becomes the mark that overlayfs knows, a character device 0:0. */
static int leave_whiteout(const struct renaming *r)
{
    struct dentry *dir = r->old_parent->path.dentry;
    struct inode_make make = {.mode = S_IFCHR};
    struct name name = {r->old_parent->name, strlen(r->old_parent->name)};
    struct inode *inode;
    int err;

    make_owner(&r->old_parent->path, &make);
    err = dir->inode->ops->make(dir, name, &make, &inode);
    if (!err)
        inode_unref(inode);
    return err;
}

static int carry_out(const struct renaming *r)
{
    struct dentry *old_dir = r->old_parent->path.dentry, *new_dir = r->new_parent->path.dentry;
    const struct inode_operations *ops = old_dir->inode->ops;
    struct name name = {r->new_parent->name, strlen(r->new_parent->name)};
    int err;

    if (!ops->rename || !ops->exchange || !ops->make)
        return -EPERM;
    if (is_mounted(r, r->old) || is_mounted(r, r->target))
        return -EBUSY;
    if (r->flags & RENAME_EXCHANGE) {
        err = ops->exchange(old_dir, r->old, new_dir, r->target);
        if (!err)
            dentry_exchange(r->old, r->target);
        return err;
    }
    err = ops->rename(old_dir, r->old, new_dir, name, r->target);
    if (err < 0)
        return err;
    dentry_move(r->old, new_dir, name);
    return r->flags & RENAME_WHITEOUT ? leave_whiteout(r) : 0;
}

static int check_rules(const struct renaming *r)
{
    const struct landlock_refer refer = {.mount = r->old_parent->path.mount,
                                         .old = r->old,
                                         .target = r->target,
                                         .old_dir = r->old_parent->path.dentry,
                                         .new_dir = r->new_parent->path.dentry,
                                         .removes = true,
                                         .exchange = r->flags & RENAME_EXCHANGE};

    return landlock_check_refer(&refer);
}

static int rename_locked(struct renaming *r)
{
    int err = look_up(r);

    if (!err)
        err = check_shape(r);
    if (!err && path_read_only(&r->old_parent->path))
        err = -EROFS;
    if (!err)
        err = check_rules(r);
    if (err < 0 || (r->target && r->target->inode == r->old->inode))
        return err;
    err = check_permissions(r);
    return err ? err : carry_out(r);
}

/* What had the new name is gone, and who watches is told. */
static void tell(const struct renaming *r)
{
    const struct walk_parent *from = r->old_parent, *to = r->new_parent;
    struct dentry *target = r->flags & RENAME_EXCHANGE ? NULL : r->target;

    if (target)
        mount_leave_removed(target);
    notify_move(from->path.dentry, from->name, to->path.dentry, to->name, r->old, target);
    if (target)
        vfs_mark_unlinked(target);
    if (r->flags & RENAME_EXCHANGE)
        notify_move(to->path.dentry, to->name, from->path.dentry, from->name, r->target, NULL);
}

static int rename_between(const struct walk_parent *old_parent,
                          const struct walk_parent *new_parent, unsigned flags)
{
    struct renaming r = {old_parent, new_parent, NULL, NULL, flags};
    struct super_block *sb = old_parent->path.dentry->sb;
    int err;

    if (old_parent->path.mount != new_parent->path.mount)
        return -EXDEV;
    if (old_parent->kind != LAST_NAME)
        return -EBUSY;
    if (new_parent->kind != LAST_NAME)
        return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    tree_lock(sb);
    err = rename_locked(&r);
    tree_unlock(sb);
    if (!err && !(r.target && r.target->inode == r.old->inode))
        tell(&r);
    dentry_unref(r.old);
    dentry_unref(r.target);
    return err;
}

int vfs_rename(struct fs_context *fs, const struct vfs_rename *args)
{
    struct walk_parent old_parent, new_parent;
    int err;

    if (args->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    if ((args->flags & RENAME_EXCHANGE) && (args->flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))
        return -EINVAL;
    err = path_walk_parent(fs, args->old_start, args->old_name, &old_parent);
    if (err < 0)
        return err;
    err = path_walk_parent(fs, args->new_start, args->new_name, &new_parent);
    if (!err) {
        err = rename_between(&old_parent, &new_parent, args->flags);
        path_unref(&new_parent.path);
    }
    path_unref(&old_parent.path);
    return err;
}
