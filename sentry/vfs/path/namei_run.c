/*
 * Names are looked up in runs: all plain names up to the next "..", mount point or end are handed
 * to the file system at once, which may answer several in one round trip (inode_operations.lookup).
 * Each answer becomes a dentry before the next name is looked at, so mounts and symbolic links
 * in the middle of a run end it. Names whose dentries were looked up in this epoch of their file
 * system (super_block.epoch) are not looked up again.
 */
#include <errno.h>
#include <unistd.h>

#include "sentry/vfs/attr/permission.h"
#include "sentry/vfs/path/namei_internal.h"

#define WALK_RUN_MAX 16

static _Thread_local bool to_open;

bool walk_is_to_open(void)
{
    return to_open;
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
        if (name.size == 0 || name.size > VFS_NAME_MAX || !walk_is_plain(name) ||
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
    walk_go_to(w, (struct path){mount_ref(w->at.mount), dentry_ref(child)});
    w->fresh = false;
    return walk_cross_down(w);
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
    *ret_error = walk_cross_down(w);
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

int walk_step_down(struct walk *w, struct name first, struct dentry **ret_link)
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
