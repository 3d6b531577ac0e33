/*
 * Looking names up: as far as entries lead, then, for all that is left of the path, one question to
 * the lower file system.
 */
#include <errno.h>
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/attr/permission.h"

/* Turns `found` lower inodes (taken over) into objects, one below the other. Returns how many. */
static int adopt(struct overlay *fs, struct dentry *lower_dir, const struct name *names, int found,
                 struct inode **inodes)
{
    struct dentry *at = dentry_ref(lower_dir);
    int done = 0;

    while (done < found) {
        struct dentry *child = dentry_attach(at, names[done], inodes[done]);
        struct ov_inode *ov;

        dentry_unref(at);
        at = child ? dentry_ref(child) : NULL;
        ov = child ? ov_inode_of_lower(fs, child) : NULL;
        if (!ov)
            break;
        inodes[done++] = &ov->inode;
    }
    dentry_unref(at);
    if (done == found)
        return done;
    for (int i = done + 1; i < found; i++)
        inode_unref(inodes[i]);
    while (done-- > 0)
        inode_unref(inodes[done]);
    return -ENOMEM;
}

static int ask_lower(struct ov_inode *dir, const struct name *names, int count,
                     struct inode **ret_inodes, int *ret_error)
{
    struct dentry *lower = dir->lower;
    int found;

    if (!lower) {
        *ret_error = -ENOENT;
        return 0;
    }
    tree_lock(lower->sb);
    found = lower->inode->ops->lookup(lower, names, count, ret_inodes, ret_error);
    if (found > 0)
        found = adopt(dir->fs, lower, names, found, ret_inodes);
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
            found = ask_lower(dir, names + done, count - done, ret_inodes + done, ret_error);
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
