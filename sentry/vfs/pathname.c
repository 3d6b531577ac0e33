/* From a place to its name: getcwd(2), links in /proc. */
#include <errno.h>
#include <string.h>

#include "sentry/vfs/namei.h"

ssize_t path_to_string(const struct path *root, const struct path *path, char *buf, size_t size)
{
    static const char unreachable[] = "(unreachable)";
    struct path at = path_ref(*path);
    size_t start = size;
    ssize_t length;

    if (size < sizeof(unreachable) + 1) {
        path_unref(&at);
        return -ENAMETOOLONG;
    }
    buf[--start] = '\0';
    while (at.dentry != root->dentry || at.mount != root->mount) {
        struct dentry *parent;
        int err;

        mount_cross_up(&at);
        err = dentry_put_name(at.dentry, buf, sizeof(unreachable) + 1, &start, &parent);
        if (err < 0) {
            path_unref(&at);
            return err;
        }
        if (!parent)
            break;
        buf[--start] = '/';
        dentry_unref(at.dentry);
        at.dentry = parent;
    }
    if (buf[start] == '\0')
        buf[--start] = '/';
    if ((at.dentry != root->dentry || at.mount != root->mount) && !path->dentry->sb->hidden) {
        start -= sizeof(unreachable) - 1;
        memcpy(buf + start, unreachable, sizeof(unreachable) - 1);
    }
    path_unref(&at);
    length = (ssize_t)(size - start - 1);
    memmove(buf, buf + start, (size_t)length + 1);
    return length;
}

ssize_t path_to_link(const struct path *root, const struct path *path, char *buf, size_t size)
{
    static const char deleted[] = " (deleted)";
    ssize_t n = path_to_string(root, path, buf, size);

    if (n < 0 || !dentry_gone(path->dentry))
        return n;
    if ((size_t)n + sizeof(deleted) > size)
        return -ENAMETOOLONG;
    memcpy(buf + n, deleted, sizeof(deleted));
    return n + (ssize_t)sizeof(deleted) - 1;
}
