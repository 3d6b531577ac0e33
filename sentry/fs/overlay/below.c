/* Where what was kept of an overlay had its lower half: the place is said as a path. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "sentry/fs/overlay/internal.h"

#define WALK_NAMES 16 /* asked for at once */

/* Goes down from *at (a reference, exchanged) by `count` names. -ENOENT. */
static int descend(struct dentry **at, const struct name *names, int count)
{
    struct inode *inodes[WALK_NAMES];
    struct dentry *top = *at;
    int err = 0, found;

    tree_lock(top->sb);
    found = top->inode->ops->lookup(top, names, count, inodes, &err);
    for (int i = 0; i < found; i++) {
        struct dentry *child = *at ? dentry_attach(*at, names[i], inodes[i]) : NULL;

        if (!*at)
            inode_unref(inodes[i]);
        dentry_unref(*at);
        *at = child;
    }
    tree_unlock(top->sb);
    if (found >= 0 && !*at)
        return -ENOMEM;
    return found == count ? 0 : found < 0 ? found : -ENOENT;
}

static int walk_below(struct overlay *fs, const char *path, size_t size, struct dentry **ret)
{
    struct dentry *at = dentry_ref(fs->lower->root);
    struct name names[WALK_NAMES];
    int count = 0, err = 0;

    for (size_t from = 0; from < size && !err;) {
        const char *end = memchr(path + from, '/', size - from);
        size_t length = end ? (size_t)(end - path) - from : size - from;

        if (length == 0 || length > VFS_NAME_MAX) {
            err = -EUCLEAN;
            break;
        }
        names[count++] = (struct name){path + from, length};
        from += length + 1;
        if (count == WALK_NAMES || from >= size) {
            err = descend(&at, names, count);
            count = 0;
        }
    }
    if (err < 0)
        dentry_unref(at);
    else
        *ret = at;
    return err;
}

int ov_find_below(struct overlay *fs, const struct ov_node_record *node, struct dentry **ret)
{
    bool file = S_ISREG(node->mode);
    int err;

    *ret = NULL;
    if ((node->head.flags & OV_IS_MADE) || !(node->head.flags & OV_HAS_PATH))
        return 0;
    if (!S_ISDIR(node->mode) && !fs->imagined && (!file || (node->head.flags & OV_HAS_BYTES)))
        return 0;
    err = walk_below(fs, node->text, node->path_size, ret);
    if (!err && !fs->imagined && inode_type((*ret)->inode) != (node->mode & S_IFMT))
        *ret = dentry_unref(*ret);
    if (err == -ENOENT || err == -EACCES || err == -ENOTDIR)
        err = 0;
    if (!err && !*ret)
        log_warning("overlay: /%.*s is no longer below what was changed of it",
                    (int)MIN(node->path_size, 1000U), node->text);
    return err;
}
