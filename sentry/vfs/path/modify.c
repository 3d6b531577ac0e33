#include "sentry/vfs/path/modify.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/fileattr.h"
#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

static struct name last_name(const struct walk_parent *parent)
{
    return (struct name){parent->name, strlen(parent->name)};
}

/*
 * With tree_lock held: may the last name of `parent` be made? filename_create(), may_create(). A
 * name that is there goes before everything else. `mode` 0: another name of something.
 */
static int check_new_name(const struct walk_parent *parent, uint32_t mode)
{
    struct dentry *there;
    int err = dentry_lookup_locked(parent->path.dentry, parent->name, &there);

    if (err == 0) {
        dentry_unref(there);
        return -EEXIST;
    }
    if (err != -ENOENT)
        return err;
    if (parent->slash && !S_ISDIR(mode))
        return -ENOENT;
    if (path_read_only(&parent->path))
        return -EROFS;
    err = mode ? landlock_check_make(&parent->path, mode) : 0;
    return err ? err : may_make(&parent->path);
}

static bool is_device(const struct inode_make *make)
{
    return S_ISCHR(make->mode) || S_ISBLK(make->mode);
}

/* 0:0 is no device, but overlayfs's mark for a name that is gone. */
static int check_device(const struct inode_make *make)
{
    bool whiteout = S_ISCHR(make->mode) && make->rdev == 0;

    return is_device(make) && !whiteout && !vfs_has_cap(CAP_MKNOD) ? -EPERM : 0;
}

static int make_locked(const struct walk_parent *parent, struct inode_make *make,
                       struct inode **ret)
{
    struct dentry *dir = parent->path.dentry;
    int err = check_new_name(parent, make->mode);

    if (!err)
        err = check_device(make);
    if (!err && !dir->inode->ops->make)
        err = -EPERM;
    if (err < 0)
        return err;
    make_owner(&parent->path, make);
    make->flags = fileattr_inherited(dir->inode, make->mode);
    err = acl_inherit(dir, make);
    if (!err)
        err = dir->inode->ops->make(dir, last_name(parent), make, ret);
    acl_inherited_free(make);
    return err;
}

int vfs_make(struct fs_context *fs, const struct path *start, const char *name,
             struct inode_make *make)
{
    struct dentry *dentry = NULL;
    struct inode *inode = NULL;
    struct walk_parent parent;
    int err = path_walk_parent(fs, start, name, &parent);

    if (err < 0)
        return err;
    if (parent.kind != LAST_NAME) {
        err = -EEXIST;
    } else {
        tree_lock(parent.path.dentry->sb);
        err = make_locked(&parent, make, &inode);
        if (!err && notify_active())
            dentry = dentry_attach(parent.path.dentry, last_name(&parent), inode_ref(inode));
        tree_unlock(parent.path.dentry->sb);
        if (!err)
            notify_dir(parent.path.dentry, parent.name, NOTIFY_CREATE, S_ISDIR(make->mode), dentry);
    }
    dentry_unref(dentry);
    inode_unref(inode);
    path_unref(&parent.path);
    return err;
}

int vfs_make_at(const struct walk_parent *parent, struct inode_make *make, struct path *ret)
{
    struct dentry *dir = parent->path.dentry, *dentry = NULL;
    struct inode *inode;
    int err;

    tree_lock(dir->sb);
    err = make_locked(parent, make, &inode);
    if (!err) {
        dentry = dentry_attach(dir, last_name(parent), inode);
        err = dentry ? 0 : -ENOMEM;
    }
    tree_unlock(dir->sb);
    if (!err)
        notify_dir(dir, parent->name, NOTIFY_CREATE, false, dentry);
    if (!err)
        *ret = (struct path){mount_ref(parent->path.mount), dentry};
    return err;
}

int vfs_make_unnamed(const struct path *dir, struct inode_make *make, bool linkable,
                     struct path *ret)
{
    const struct inode_operations *ops = dir->dentry->inode->ops;
    struct dentry *dentry;
    struct inode *inode;
    char name[24];
    int err;

    if (path_read_only(dir))
        return -EROFS;
    if (!ops->tmpfile)
        return -EOPNOTSUPP;
    err = may_make(dir);
    if (err < 0)
        return err;
    make_owner(dir, make);
    make->flags = fileattr_inherited(dir->dentry->inode, make->mode);
    tree_lock(dir->dentry->sb);
    err = acl_inherit(dir->dentry, make);
    if (!err)
        err = ops->tmpfile(dir->dentry, make, linkable, &inode);
    acl_inherited_free(make);
    tree_unlock(dir->dentry->sb);
    if (err < 0)
        return err;
    snprintf(name, sizeof(name), "#%lu", inode->ino);
    dentry = dentry_unnamed(dir->dentry, (struct name){name, strlen(name)}, inode);
    if (!dentry)
        return -ENOMEM;
    *ret = (struct path){mount_ref(dir->mount), dentry};
    return 0;
}

/* ---- link ---------------------------------------------------------------------------------- */

static int check_link_rules(const struct walk_parent *parent, struct dentry *object)
{
    struct dentry *dir = dentry_parent(object);
    const struct landlock_refer refer = {.mount = parent->path.mount,
                                         .old = object,
                                         .old_dir = dir ? dir : object,
                                         .new_dir = parent->path.dentry};
    int err = landlock_check_refer(&refer);

    dentry_unref(dir);
    return err;
}

static int link_locked(const struct walk_parent *parent, const struct walk_result *object)
{
    struct dentry *dir = parent->path.dentry;
    int err = check_new_name(parent, 0);

    /* Another mount goes before the directory's permissions, and after EEXIST and EROFS. */
    if ((!err || err == -EACCES || err == -EOVERFLOW) &&
        (object->file || object->path.mount != parent->path.mount))
        return -EXDEV;
    if (inode_is_unmapped(path_map(&parent->path), object->path.dentry->inode))
        return -EOVERFLOW;
    if (!err)
        err = check_link_rules(parent, object->path.dentry);
    if (err < 0)
        return err;
    if (inode_is_append(object->path.dentry->inode) ||
        inode_is_immutable(object->path.dentry->inode))
        return -EPERM;
    if (inode_type(object->path.dentry->inode) == S_IFDIR || !dir->inode->ops->link)
        return -EPERM;
    return dir->inode->ops->link(dir, last_name(parent), object->path.dentry);
}

int vfs_link(struct fs_context *fs, const struct path *start, const char *name,
             const struct walk_result *object)
{
    struct walk_parent parent;
    int err = path_walk_parent(fs, start, name, &parent);

    if (err < 0)
        return err;
    if (parent.kind != LAST_NAME) {
        err = -EEXIST;
    } else {
        tree_lock(parent.path.dentry->sb);
        err = link_locked(&parent, object);
        tree_unlock(parent.path.dentry->sb);
        if (!err) {
            notify_self(object->path.dentry, NOTIFY_ATTRIB);
            notify_dir(parent.path.dentry, parent.name, NOTIFY_CREATE, false, object->path.dentry);
        }
    }
    path_unref(&parent.path);
    return err;
}

/* ---- unlink, rmdir ------------------------------------------------------------------------- */

/* may_delete() and what do_unlinkat() and do_rmdir() look at before it. */
static int check_removal(const struct walk_parent *parent, struct dentry *victim, bool directory)
{
    struct dentry *dir = parent->path.dentry;
    bool is_dir = inode_type(victim->inode) == S_IFDIR;
    bool mounted = mount_is_mountpoint(parent->path.mount, victim);
    bool read_only = path_read_only(&parent->path);
    int err;

    if (!directory && parent->slash)
        return is_dir ? -EISDIR : -ENOTDIR;
    /*
     * Linux would not even look for the name on a read-only mount, but programs expect the host's
     * usual answer, and the host's tree is seldom mounted so.
     */
    if (read_only && directory)
        return mounted ? -EBUSY : -EROFS;
    if (read_only)
        return is_dir ? -EISDIR : -EROFS;
    err = landlock_check_remove(&parent->path, victim);
    if (!err)
        err = may_remove(&parent->path, victim->inode);
    if (err < 0)
        return err;
    if (directory && !is_dir)
        return -ENOTDIR;
    if (!directory && is_dir)
        return -EISDIR;
    if (mounted)
        return -EBUSY;
    return dir->inode->ops->remove ? 0 : -EPERM;
}

void vfs_mark_unlinked(struct dentry *dentry)
{
    struct inode *inode = dentry->inode;
    struct linux_stat st;

    handles_removed(dentry);
    if (!notify_active())
        return;
    if (inode_type(inode) == S_IFDIR ||
        (inode->ops->stat(dentry, false, &st) == 0 && st.st_nlink == 0))
        __atomic_store_n(&inode->unlinked_from, dentry->sb, __ATOMIC_RELAXED);
}

static int remove_at(const struct walk_parent *parent, bool directory)
{
    struct dentry *dir = parent->path.dentry, *victim = NULL;
    int err;

    tree_lock(dir->sb);
    err = dentry_lookup_locked(dir, parent->name, &victim);
    if (!err)
        err = check_removal(parent, victim, directory);
    if (!err)
        err = dir->inode->ops->remove(dir, victim);
    if (!err)
        dentry_remove(victim);
    tree_unlock(dir->sb);
    if (!err) {
        mount_leave_removed(victim);
        if (!directory)
            notify_self(victim, NOTIFY_ATTRIB);
        vfs_mark_unlinked(victim);
    }
    if (!err)
        notify_removed(dir, parent->name, directory, victim);
    else
        dentry_unref(victim);
    return err;
}

int vfs_remove(struct fs_context *fs, const struct path *start, const char *name, bool directory)
{
    static const int unlink_errors[] = {
        [LAST_DOT] = -EISDIR, [LAST_DOTDOT] = -EISDIR, [LAST_ROOT] = -EISDIR};
    static const int rmdir_errors[] = {
        [LAST_DOT] = -EINVAL, [LAST_DOTDOT] = -ENOTEMPTY, [LAST_ROOT] = -EBUSY};
    struct walk_parent parent;
    int err = path_walk_parent(fs, start, name, &parent);

    if (err < 0)
        return err;
    if (parent.kind == LAST_NAME)
        err = remove_at(&parent, directory);
    else
        err = directory ? rmdir_errors[parent.kind] : unlink_errors[parent.kind];
    path_unref(&parent.path);
    return err;
}
