/* From a place to its name: getcwd(2), links in /proc. */
#include <errno.h>
#include <string.h>

#include "sentry/vfs/path/namei.h"

static const char unreachable[] = "(unreachable)";

/*
 * Puts the name in front of buf[*at], until `root` is reached: 0; or the end of the tree: 1. Mounts
 * are not referenced, the lock keeps them.
 */
static int put_names_locked(const struct path *root, struct path *place, char *buf, size_t *at)
{
    while (place->dentry != root->dentry || place->mount != root->mount) {
        struct dentry *parent;
        int err;

        if (place->dentry == place->mount->root) {
            if (!place->mount->over.mount)
                return 1;
            dentry_unref(place->dentry);
            *place = place->mount->over;
            dentry_ref(place->dentry);
            continue;
        }
        err = dentry_put_name(place->dentry, buf, sizeof(unreachable) + 1, at, &parent);
        if (err < 0)
            return err;
        if (!parent)
            return 1;
        buf[--*at] = '/';
        dentry_unref(place->dentry);
        place->dentry = parent;
    }
    return 0;
}

ssize_t path_name_locked(const struct path *root, const struct path *path, bool must_reach,
                         char *buf, size_t size)
{
    struct path at = *path;
    size_t start = size;
    ssize_t length;
    int ends;

    if (size < sizeof(unreachable) + 1)
        return -ENAMETOOLONG;
    buf[--start] = '\0';
    dentry_ref(at.dentry);
    ends = put_names_locked(root, &at, buf, &start);
    dentry_unref(at.dentry);
    if (ends < 0 || (ends > 0 && must_reach))
        return ends < 0 ? ends : -ENOENT;
    if (buf[start] == '\0')
        buf[--start] = '/';
    if (ends > 0 && root->mount && !path->dentry->sb->hidden) {
        start -= sizeof(unreachable) - 1;
        memcpy(buf + start, unreachable, sizeof(unreachable) - 1);
    }
    length = (ssize_t)(size - start - 1);
    memmove(buf, buf + start, (size_t)length + 1);
    return length;
}

ssize_t path_to_string(const struct path *root, const struct path *path, char *buf, size_t size)
{
    static const struct path nowhere = {NULL, NULL};
    ssize_t n;

    mount_lock();
    n = path_name_locked(root ? root : &nowhere, path, false, buf, size);
    mount_unlock();
    return n;
}

/* What has a name of its own where it is not mounted: d_dname(). */
static bool has_own_name(const struct path *path)
{
    const struct super_block *sb = path->dentry->sb;

    return sb->hidden && sb->show_root && path->dentry != path->mount->root;
}

ssize_t path_to_link(const struct path *root, const struct path *path, char *buf, size_t size)
{
    static const char deleted[] = " (deleted)";
    const size_t skip = sizeof(unreachable) - 1;
    ssize_t n;

    if (has_own_name(path))
        return path->dentry->sb->show_root(path->dentry, buf, size);
    n = path_to_string(root, path, buf, size);
    /* fs/d_path.c: getcwd(2) alone says it. */
    if (n > 0 && buf[0] != '/') {
        n -= (ssize_t)skip;
        memmove(buf, buf + skip, (size_t)n + 1);
    }
    if (n < 0 || !dentry_gone(path->dentry))
        return n;
    if ((size_t)n + sizeof(deleted) > size)
        return -ENAMETOOLONG;
    memcpy(buf + n, deleted, sizeof(deleted));
    return n + (ssize_t)sizeof(deleted) - 1;
}
