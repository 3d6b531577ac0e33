/*
 * The walk. One loop over the names of a path; a symbolic link found on the way is put in front of
 * what is left of the path, so there is no recursion. Plain names are taken in runs (namei_run.c).
 */
#include "sentry/vfs/path/namei.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/path/namei_internal.h"
#include "sentry/vfs/attr/permission.h"

#define WALK_LINKS_MAX 40

static bool is_at(const struct walk *w, const struct path *place)
{
    return w->at.dentry == place->dentry && w->at.mount == place->mount;
}

int walk_cross_down(struct walk *w)
{
    struct mount *before = w->at.mount;

    mount_cross_down(&w->at);
    return (w->flags & WALK_NO_XDEV) && w->at.mount != before ? -EXDEV : 0;
}

static int go_up(struct walk *w)
{
    struct dentry *parent;
    int crossed;

    w->fresh = false;
    if (is_at(w, &w->top))
        return -EXDEV;
    if (is_at(w, &w->root))
        return 0;
    crossed = mount_cross_up(&w->at, &w->root);
    if (crossed < 0)
        return 0;
    if (crossed > 0 && (w->flags & WALK_NO_XDEV))
        return -EXDEV;
    parent = dentry_parent(w->at.dentry);
    if (!parent)
        return 0;
    if (!mount_reaches(w->at.mount, parent)) {
        dentry_unref(parent);
        return -ENOENT;
    }
    walk_go_to(w, (struct path){mount_ref(w->at.mount), parent});
    return walk_cross_down(w);
}

static int go_to_root(struct walk *w)
{
    if ((w->flags & WALK_BENEATH) || ((w->flags & WALK_NO_XDEV) && w->at.mount != w->root.mount))
        return -EXDEV;
    walk_go_to(w, path_ref(w->root));
    return 0;
}

/* May a magic link jump to `mount` (NULL: out of the tree)? fs/namei.c:nd_jump_link() */
static int check_jump(const struct walk *w, const struct mount *mount)
{
    if (w->flags & WALK_NO_MAGICLINKS)
        return -ELOOP;
    if ((w->flags & WALK_NO_XDEV) && mount != w->at.mount)
        return -EXDEV;
    return w->flags & (WALK_BENEATH | WALK_IN_ROOT) ? -EXDEV : 0;
}

/* Puts `target` in front of the rest of the path. */
static int prepend(struct walk *w, const char *target, size_t size)
{
    size_t rest = strlen(w->rest);
    char *joined;

    if (size + rest >= PATH_MAX)
        return -ENAMETOOLONG;
    joined = malloc(size + rest + 1);
    if (!joined)
        return -ENOMEM;
    memcpy(joined, target, size);
    memcpy(joined + size, w->rest, rest + 1);
    free(w->buffer);
    w->buffer = joined;
    w->rest = joined;
    return 0;
}

int walk_follow(struct walk *w, struct dentry *link, struct file **ret_file)
{
    const struct inode_operations *ops = link->inode->ops;
    struct link_target target = {0};
    char text[PATH_MAX];
    ssize_t n = 0;
    int err = 0;

    if (++w->links > WALK_LINKS_MAX || (w->flags & WALK_NO_SYMLINKS) ||
        (mount_get_flags(w->at.mount) & MOUNT_NOSYMFOLLOW))
        err = -ELOOP;
    else if (ops->follow)
        err = ops->follow(link, &target);
    else
        n = ops->readlink(link, text, sizeof(text));
    dentry_unref(link);
    if (err < 0 || n < 0)
        return err < 0 ? err : (int)n;
    w->fresh = false;
    if (ops->follow) {
        err = check_jump(w, target.path.mount);
        if (err < 0) {
            file_unref(target.file);
            path_unref(&target.path);
            return err;
        }
    }
    if (target.file) {
        /* Nothing is below a pipe. */
        if (!nothing_left(w->rest) || *w->rest) {
            file_unref(target.file);
            return -ENOTDIR;
        }
        *ret_file = target.file;
        return 0;
    }
    if (target.path.dentry) {
        walk_go_to(w, target.path);
        return 0;
    }
    if (n == 0)
        return -ENOENT;
    if (text[0] == '/') {
        err = go_to_root(w);
        if (err < 0)
            return err;
    }
    return prepend(w, text, (size_t)n);
}

int walk_begin(struct walk *w, struct fs_context *fs, const struct path *start, const char *name,
               unsigned flags)
{
    *w = (struct walk){.fs = fs, .rest = name, .flags = flags};
    if (start && !start->dentry) /* something without a place in the tree */
        return -ENOTDIR;
    if (strlen(name) >= PATH_MAX)
        return -ENAMETOOLONG;
    if (*name == '/' && (flags & WALK_BENEATH))
        return -EXDEV;
    if (!(flags & WALK_IN_ROOT))
        w->root = fs_context_root(fs);
    if (*name == '/' && !(flags & WALK_IN_ROOT))
        w->at = path_ref(w->root);
    else
        w->at = start ? path_ref(*start) : fs_context_cwd(fs);
    if (flags & WALK_IN_ROOT)
        w->root = path_ref(w->at);
    if (flags & WALK_BENEATH)
        w->top = path_ref(w->at);
    return 0;
}

void walk_end(struct walk *w)
{
    path_unref(&w->root);
    path_unref(&w->top);
    path_unref(&w->at);
    free(w->buffer);
}

int walk_names(struct walk *w, unsigned flags, struct file **ret_file)
{
    while (!nothing_left(w->rest)) {
        const char *before = w->rest;
        struct name name = next_name(&w->rest);
        struct dentry *link = NULL;
        int err = 0;

        if (w->last_only_parent && nothing_left(w->rest)) {
            w->rest = before;
            return inode_type(w->at.dentry->inode) == S_IFDIR ? 0 : -ENOTDIR;
        }
        if (!walk_is_plain(name)) {
            if (inode_type(w->at.dentry->inode) != S_IFDIR)
                return -ENOTDIR;
            err = walk_search_permission(&w->at);
            if (err < 0)
                return err;
            err = name.size == 2 ? go_up(w) : 0;
            if (err < 0)
                return err;
            continue;
        }
        err = walk_step_down(w, name, &link);
        if (err < 0)
            return err;
        if (!link)
            continue;
        /* Slashes behind the last name mean the directory that the link leads to. */
        if (*w->rest == '\0' && !(flags & WALK_FOLLOW)) {
            walk_go_to(w, (struct path){mount_ref(w->at.mount), link});
            w->fresh = true;
            return 0;
        }
        err = walk_follow(w, link, ret_file);
        if (err < 0 || *ret_file)
            return err;
    }
    if (*w->rest == '/' && inode_type(w->at.dentry->inode) != S_IFDIR)
        return -ENOTDIR;
    return 0;
}

int path_walk(struct fs_context *fs, const struct path *start, const char *name, unsigned flags,
              struct walk_result *ret)
{
    struct file *file = NULL;
    struct walk w;
    int err;

    if (*name == '\0' && !(flags & WALK_EMPTY))
        return -ENOENT;
    err = walk_begin(&w, fs, start, name, flags);
    if (!err)
        err = walk_names(&w, flags, &file);
    if (!err && (flags & WALK_DIRECTORY) && (file || inode_type(w.at.dentry->inode) != S_IFDIR)) {
        file_unref(file);
        err = -ENOTDIR;
    }
    if (!err) {
        *ret = (struct walk_result){.file = file, .fresh = w.fresh};
        if (!file) {
            ret->path = w.at;
            w.at = (struct path){NULL, NULL};
        }
    }
    walk_end(&w);
    return err;
}

void walk_result_unref(struct walk_result *result)
{
    if (result->path.mount)
        mount_used(result->path.mount);
    path_unref(&result->path);
    result->file = file_unref(result->file);
}
