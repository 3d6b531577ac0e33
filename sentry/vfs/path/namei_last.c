/* The last name of a path: what is about to be made, removed or opened with O_CREAT. */
#include <errno.h>
#include <string.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/path/namei_internal.h"

/* Where the walk stopped before the last name; `ret` gets a reference on the directory. */
static int take_parent(struct walk *w, struct walk_parent *ret)
{
    const char *rest = w->rest;
    struct name last = next_name(&rest);

    if (last.size > VFS_NAME_MAX)
        return -ENAMETOOLONG;
    *ret = (struct walk_parent){.path = path_ref(w->at), .slash = *rest == '/'};
    if (last.size == 0)
        ret->kind = LAST_ROOT;
    else if (name_is(last, "."))
        ret->kind = LAST_DOT;
    else if (name_is(last, ".."))
        ret->kind = LAST_DOTDOT;
    memcpy(ret->name, last.text, last.size);
    return 0;
}

/* Up to the directory of the last name. */
static int walk_to_last(struct walk *w)
{
    struct file *file = NULL;
    int err = walk_names(w, WALK_FOLLOW, &file);

    if (!err && file) {
        file_unref(file);
        err = -ENOTDIR;
    }
    return err ? err : walk_search_permission(&w->at);
}

int path_walk_parent(struct fs_context *fs, const struct path *start, const char *name,
                     struct walk_parent *ret)
{
    struct walk w;
    int err;

    if (*name == '\0')
        return -ENOENT;
    err = walk_begin(&w, fs, start, name, 0);
    w.last_only_parent = true;
    if (!err)
        err = walk_to_last(&w);
    if (!err)
        err = take_parent(&w, ret);
    walk_end(&w);
    return err;
}

/* What came of the last name. */
enum last_look { LOOK_DONE, LOOK_MISSING, LOOK_AGAIN };

/*
 * Looks the last name of w->rest up; a symbolic link there is followed: LOOK_AGAIN, walk on.
 * LOOK_MISSING: there is no such name, which is not the same as a magic link that leads nowhere.
 */
static int look_at_last(struct walk *w, const struct walk_parent *parent, bool nofollow,
                        struct walk_result *ret, enum last_look *ret_look)
{
    struct file *file = NULL;
    int err = path_lookup_one(&parent->path, parent->name, ret);

    *ret_look = err == -ENOENT ? LOOK_MISSING : LOOK_DONE;
    if (err < 0 || inode_type(ret->path.dentry->inode) != S_IFLNK || nofollow)
        return err;
    (void)next_name(&w->rest);
    err = walk_follow(w, dentry_ref(ret->path.dentry), &file);
    walk_result_unref(ret);
    if (err < 0)
        return err;
    if (file) {
        ret->file = file;
        return 0;
    }
    if (nothing_left(w->rest)) {
        /* A magic link: it has led straight to the object. */
        ret->path = path_ref(w->at);
        return 0;
    }
    *ret_look = LOOK_AGAIN;
    return 0;
}

int path_walk_create(struct fs_context *fs, const struct path *start, const char *name,
                     unsigned flags, struct walk_parent *ret_parent, struct walk_result *ret)
{
    struct walk w;
    int err;

    *ret_parent = (struct walk_parent){0};
    if (*name == '\0')
        return -ENOENT;
    err = walk_begin(&w, fs, start, name, flags);
    w.last_only_parent = true;
    while (!err) {
        enum last_look look = LOOK_DONE;

        *ret = (struct walk_result){0};
        err = walk_to_last(&w);
        if (!err)
            err = take_parent(&w, ret_parent);
        if (err)
            break;
        if (ret_parent->kind != LAST_NAME || ret_parent->slash)
            err = -EISDIR;
        else
            err = look_at_last(&w, ret_parent, !(flags & WALK_FOLLOW), ret, &look);
        if (look == LOOK_MISSING)
            break; /* the caller may make it */
        if (err || look == LOOK_AGAIN)
            path_unref(&ret_parent->path);
        if (look != LOOK_AGAIN)
            break;
    }
    walk_end(&w);
    return err;
}

int dentry_lookup_locked(struct dentry *dir, const char *name, struct dentry **ret)
{
    struct name one = {name, strlen(name)};
    struct inode *inode;
    struct dentry *child = dentry_find(dir, one);
    int found, error = 0;

    if (child && __atomic_load_n(&child->mount_count, __ATOMIC_RELAXED) > 0) {
        *ret = child;
        return 0;
    }
    dentry_unref(child);
    if (!dir->inode->ops->lookup)
        return -ENOTDIR;
    found = dir->inode->ops->lookup(dir, &one, 1, &inode, &error);
    if (found <= 0) {
        if (found == 0 && error == -ENOENT)
            dentry_detach(dir, one);
        return found < 0 ? found : error;
    }
    *ret = dentry_attach(dir, one, inode);
    return *ret ? 0 : -ENOMEM;
}

int path_lookup_one(const struct path *dir, const char *name, struct walk_result *ret)
{
    struct path at = {NULL, NULL};
    struct dentry *child;
    int err;

    tree_lock(dir->dentry->sb);
    err = dentry_lookup_locked(dir->dentry, name, &child);
    tree_unlock(dir->dentry->sb);
    if (err < 0)
        return err;
    at = (struct path){mount_ref(dir->mount), child};
    mount_cross_down(&at);
    *ret = (struct walk_result){.path = at, .fresh = at.dentry == child};
    return 0;
}
