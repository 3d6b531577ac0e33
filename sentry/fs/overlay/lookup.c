/*
 * Looking names up: as far as entries lead, then, for all that is left of the path, one question to
 * the lower file system.
 */
#include <errno.h>
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/attr/permission.h"

/*
 * The name is in use, and nothing was changed: the object that it leads to, referenced, with what
 * `inode`, just found below, says of it. NULL: an object is to be found or made.
 */
static struct ov_inode *known_object(struct dentry *known, struct dentry *lower_dir,
                                     struct name name, struct inode *inode)
{
    struct ov_inode *ov = known ? ov_of(known) : NULL;

    if (!ov || ov_upper(ov) || !ov->lower || ov->lower->inode != inode ||
        !dentry_is_at(ov->lower, lower_dir, name) || !ov_follow_lower(ov))
        return NULL;
    inode_ref(&ov->inode);
    return ov;
}

/*
 * Turns `found` lower inodes (taken over) into objects, one below the other. Returns how many.
 * `dir`, in which names[0] is, NULL: its dentry is not known.
 */
static int adopt(struct overlay *fs, struct dentry *dir, struct dentry *lower_dir,
                 const struct name *names, int found, struct inode **inodes)
{
    struct dentry *at = dir ? dentry_ref(dir) : NULL, *lower = dentry_ref(lower_dir);
    int done = 0;

    while (done < found) {
        struct dentry *known = at ? dentry_find(at, names[done]) : NULL;
        struct dentry *child;
        struct ov_inode *ov = known_object(known, lower, names[done], inodes[done]);

        if (ov) {
            child = dentry_ref(ov->lower);
            inode_unref(inodes[done]);
        } else {
            child = dentry_attach(lower, names[done], inodes[done]);
            ov = child ? ov_inode_of_lower(fs, dentry_ref(child)) : NULL;
        }
        dentry_unref(lower);
        dentry_unref(at);
        lower = child;
        at = known;
        if (!ov)
            break;
        inodes[done++] = &ov->inode;
    }
    dentry_unref(lower);
    dentry_unref(at);
    if (done == found)
        return done;
    for (int i = done + 1; i < found; i++)
        inode_unref(inodes[i]);
    while (done-- > 0)
        inode_unref(inodes[done]);
    return -ENOMEM;
}

/* Where names[0 .. done) lead from `dentry`, referenced; NULL: nobody knows a dentry of it. */
static struct dentry *place_of(struct dentry *dentry, const struct name *names, int done)
{
    struct dentry *at = dentry_ref(dentry);

    for (int i = 0; i < done && at; i++) {
        struct dentry *next = dentry_find(at, names[i]);

        dentry_unref(at);
        at = next;
    }
    return at;
}

/* Asks for what is left of `names` below `dir`, where names[0 .. done) led. */
static int ask_lower(struct ov_inode *dir, struct dentry *dentry, const struct name *names,
                     int done, int count, struct inode **ret_inodes, int *ret_error)
{
    struct dentry *lower = dir->lower, *place;
    int found;

    if (!lower) {
        *ret_error = -ENOENT;
        return 0;
    }
    tree_lock(lower->sb);
    found =
        lower->inode->ops->lookup(lower, names + done, count - done, ret_inodes + done, ret_error);
    if (found > 0) {
        place = place_of(dentry, names, done);
        found = adopt(dir->fs, place, lower, names + done, found, ret_inodes + done);
        dentry_unref(place);
    }
    tree_unlock(lower->sb);
    return found;
}

/* Names below a directory that may not be searched are not found, whatever lower said. */
static int check_search(struct inode **inodes, int found, bool more, int *ret_error)
{
    for (int i = 0; i < found; i++) {
        bool last = i + 1 == found && !more;

        if (last || inode_type(inodes[i]) != S_IFDIR || inode_permission(inodes[i], X_OK) == 0)
            continue;
        while (found > i + 1)
            inode_unref(inodes[--found]);
        *ret_error = -EACCES;
    }
    return found;
}

int ov_lookup(struct dentry *dentry, const struct name *names, int count, struct inode **ret_inodes,
              int *ret_error)
{
    struct ov_inode *dir = ov_of(dentry);
    int done = 0, found = 0;

    *ret_error = 0;
    while (done < count) {
        struct ov_entry *entry = ov_entry_find(dir, names[done]);

        if (ov_is_dead(dir) || (entry && !entry->inode)) {
            *ret_error = -ENOENT;
            break;
        }
        if (!entry) {
            found = ask_lower(dir, dentry, names, done, count, ret_inodes, ret_error);
            break;
        }
        dir = entry->inode;
        ret_inodes[done++] = inode_ref(&dir->inode);
        if (!ov_is_dir(dir) || (done < count && inode_permission(&dir->inode, X_OK) < 0))
            break;
    }
    if (found < 0) {
        while (done-- > 0)
            inode_unref(ret_inodes[done]);
        return found;
    }
    done += found;
    return check_search(ret_inodes, done, done < count, ret_error);
}
