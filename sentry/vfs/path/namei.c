/*
 * The walk. One loop over the names of a path; a symbolic link found on the way is put in front of
 * what is left of the path, so there is no recursion.
 *
 * Names are looked up in runs: all plain names up to the next "..", mount point or end are handed
 * to the file system at once, which may answer several in one round trip (inode_operations.lookup).
 * Each answer becomes a dentry before the next name is looked at, so mounts and symbolic links
 * in the middle of a run end it. Names whose dentries were looked up in this epoch of their file
 * system (super_block.epoch) are not looked up again.
 */
#include "sentry/vfs/path/namei.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/path/namei_internal.h"
#include "sentry/vfs/attr/permission.h"

#define WALK_LINKS_MAX 40
#define WALK_RUN_MAX   16

static _Thread_local bool to_open;

bool walk_is_to_open(void)
{
    return to_open;
}

static bool is_plain(struct name name)
{
    return !name_is(name, ".") && !name_is(name, "..");
}

static void go_to(struct walk *w, struct path to)
{
    path_unref(&w->at);
    w->at = to;
}

static bool is_at(const struct walk *w, const struct path *place)
{
    return w->at.dentry == place->dentry && w->at.mount == place->mount;
}

/* Enters what is mounted upon w->at. */
static int cross_down(struct walk *w)
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
    go_to(w, (struct path){mount_ref(w->at.mount), parent});
    return cross_down(w);
}

static int go_to_root(struct walk *w)
{
    if ((w->flags & WALK_BENEATH) || ((w->flags & WALK_NO_XDEV) && w->at.mount != w->root.mount))
        return -EXDEV;
    go_to(w, path_ref(w->root));
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
        go_to(w, target.path);
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

/* Names that are looked up in one go, and the dentries that they had before: referenced, or NULL.
 */
struct run {
    int count;
    struct name names[WALK_RUN_MAX];
    struct dentry *known[WALK_RUN_MAX];
};

static bool has_mount(const struct dentry *dentry)
{
    return __atomic_load_n(&dentry->mount_count, __ATOMIC_RELAXED) > 0;
}

/*
 * Collects the names that may be looked up in one go below w->at, starting with `first`. Known
 * mount points end the run: what is below them is another file system's.
 */
static void collect_run(struct walk *w, struct name first, struct run *ret)
{
    struct dentry *known = w->at.dentry;
    const char *rest = w->rest;
    int count = 0;

    for (struct name name = first; count < WALK_RUN_MAX; name = next_name(&rest)) {
        if (name.size == 0 || name.size > VFS_NAME_MAX || !is_plain(name) ||
            (w->last_only_parent && nothing_left(name.text + name.size)))
            break;
        known = known ? dentry_find(known, name) : NULL;
        ret->names[count] = name;
        ret->known[count++] = known;
        if (known && has_mount(known))
            break;
    }
    ret->count = count;
}

static void run_unref(struct run *run)
{
    for (int i = 0; i < run->count; i++)
        dentry_unref(run->known[i]);
}

/* A name that is covered by a mount needs no look-up: the file system below is not consulted. */
static int enter_mount(struct walk *w, struct dentry *child)
{
    go_to(w, (struct path){mount_ref(w->at.mount), dentry_ref(child)});
    w->fresh = false;
    return cross_down(w);
}

int walk_search_permission(const struct path *dir)
{
    return dir->dentry->sb->checks_modes ? path_permission(dir, X_OK) : 0;
}

/* The dentry of names[i] in w->at, which is `inode` (taken over): the known one as a rule. */
static struct dentry *attach(struct walk *w, const struct run *run, int i, struct inode *inode)
{
    struct dentry *known = run->known[i];

    if (!known || known->inode != inode || !dentry_is_at(known, w->at.dentry, run->names[i]))
        return dentry_attach(w->at.dentry, run->names[i], inode);
    inode_unref(inode);
    return dentry_ref(known);
}

/*
 * Takes the walk to `child` (taken over), which names[i] of the run means. True: that is all there
 * is to go along at once. *ret_link: it is a symbolic link, and w->at its directory.
 */
static bool go_down(struct walk *w, const struct run *run, int i, struct dentry *child,
                    struct dentry **ret_link, int *ret_error)
{
    w->rest = run->names[i].text + run->names[i].size;
    if (inode_type(child->inode) == S_IFLNK) {
        *ret_link = child;
        return true;
    }
    dentry_unref(w->at.dentry);
    w->at.dentry = child;
    w->fresh = true;
    if (!has_mount(child))
        return false;
    *ret_error = cross_down(w);
    w->fresh = false;
    return true;
}

/*
 * Takes the inodes that a look-up of `run` found (`found` of them, references taken over) into
 * the walk, as far as the path leads through them. Returns the symbolic link where it stopped
 * (with w->at its directory and w->rest behind it) in ret_link.
 */
static int advance(struct walk *w, const struct run *run, int found, struct inode **inodes,
                   struct dentry **ret_link)
{
    bool done = false;
    int i = 0, err = 0;

    *ret_link = NULL;
    while (i < found && !done) {
        struct dentry *child;

        /* The caller has looked at the first directory; the others were not known then. */
        err = i > 0 ? walk_search_permission(&w->at) : 0;
        if (err < 0)
            break;
        child = attach(w, run, i, inodes[i]);
        i++;
        if (!child) {
            err = -ENOMEM;
            break;
        }
        dentry_set_seen(child, w->epoch);
        done = go_down(w, run, i - 1, child, ret_link, &err);
    }
    for (; i < found; i++)
        inode_unref(inodes[i]);
    return err;
}

/* How many names of the run lead to where they were found to lead in this epoch. */
static int count_seen(const struct walk *w, const struct run *run)
{
    int count = 0;

    while (count < run->count && run->known[count] && dentry_was_seen(run->known[count], w->epoch))
        count++;
    return count;
}

/* Along the first `count` names of the run, which need no look-up; ret_link as in advance(). */
static int go_along(struct walk *w, const struct run *run, int count, struct dentry **ret_link)
{
    bool done = false;
    int err = 0;

    for (int i = 0; i < count && !done; i++) {
        err = i > 0 ? walk_search_permission(&w->at) : 0;
        if (err < 0)
            break;
        done = go_down(w, run, i, dentry_ref(run->known[i]), ret_link, &err);
    }
    return err;
}

/* Looks up the names of `run`; ret_link as in advance(). */
static int look_up(struct walk *w, const struct run *run, struct dentry **ret_link)
{
    const struct inode_operations *ops = w->at.dentry->inode->ops;
    struct super_block *sb = w->at.dentry->sb;
    struct inode *inodes[WALK_RUN_MAX];
    int found, err = 0, error = 0;

    tree_lock(sb);
    to_open = w->flags & WALK_OPEN;
    found = ops->lookup(w->at.dentry, run->names, run->count, inodes, &error);
    to_open = false;
    if (found > 0)
        err = advance(w, run, found, inodes, ret_link);
    else if (found == 0 && error == -ENOENT)
        dentry_detach(w->at.dentry, run->names[0]);
    tree_unlock(sb);
    if (found <= 0)
        return found < 0 ? found : error;
    /* The run went through all that was found, and the next name was not. */
    if (!err && !*ret_link && w->fresh && error < 0) {
        if (error == -ENOENT)
            dentry_detach(w->at.dentry, run->names[found]);
        err = walk_search_permission(&w->at);
        if (!err)
            err = error;
    }
    return err;
}

/* Looks up `first` and what follows it; ret_link as in advance(). */
static int step_down(struct walk *w, struct name first, struct dentry **ret_link)
{
    struct dentry *dir = w->at.dentry, *known;
    struct run run;
    int err, seen;

    *ret_link = NULL;
    if (inode_type(dir->inode) != S_IFDIR || !dir->inode->ops->lookup)
        return -ENOTDIR;
    if (first.size > VFS_NAME_MAX)
        return -ENAMETOOLONG;
    err = walk_search_permission(&w->at);
    if (err < 0)
        return err;
    collect_run(w, first, &run);
    w->epoch = dir->sb->epoch ? dir->sb->epoch(dir->sb) : 0;
    known = run.known[0];
    seen = count_seen(w, &run);
    if (known && has_mount(known))
        err = enter_mount(w, known);
    else if (seen > 0)
        err = go_along(w, &run, seen, ret_link);
    else if ((w->flags & WALK_CACHED) && dir->sb->far && !known)
        err =
            -EAGAIN; /* RESOLVE_CACHED: the name is not in use, and its file system not in memory */
    else
        err = look_up(w, &run, ret_link);
    run_unref(&run);
    return err;
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
        if (!is_plain(name)) {
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
        err = step_down(w, name, &link);
        if (err < 0)
            return err;
        if (!link)
            continue;
        /* Slashes behind the last name mean the directory that the link leads to. */
        if (*w->rest == '\0' && !(flags & WALK_FOLLOW)) {
            go_to(w, (struct path){mount_ref(w->at.mount), link});
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
