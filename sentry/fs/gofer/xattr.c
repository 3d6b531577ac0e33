/*
 * Extended attributes of the host's files, read through a descriptor that is open for reading: the
 * same that opening the file would use. What the host would not open shows none, and so do objects
 * that are no files, which have none but an administrator's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/vfs/attr/acl.h"

static int readable(struct dentry *dentry, struct host_file **ret)
{
    uint32_t type = inode_type(dentry->inode);
    int err;

    if (type != S_IFREG && type != S_IFDIR)
        return -ENODATA;
    err = gofer_host_file(dentry, false, ret);
    return err == -EACCES ? -ENODATA : err;
}

/* What was said at the last walk holds until the object changes. */
static bool has_none(struct dentry *dentry)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    struct linux_stat now;
    bool none;

    if (!gofer_inode_look(g, &now))
        return false;
    lock_acquire(&g->lock);
    none = (g->about.flags & GOFER_NO_XATTRS) &&
           (g->fs->exclusive || (g->about.at.ctime_sec == now.st_ctime_sec &&
                                 g->about.at.ctime_nsec == now.st_ctime_nsec));
    lock_release(&g->lock);
    return none;
}

/* Some file systems have others that they do not list. */
static bool is_listed(const char *name)
{
    static const char *const prefixes[] = {"user.", "security.", "trusted.", "system.posix_acl_"};

    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

ssize_t gofer_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size)
{
    struct host_file *host;
    ssize_t n = is_listed(name) && has_none(dentry) ? -ENODATA : readable(dentry, &host);

    if (n < 0)
        return n;
    n = host_getxattr(host->fd, name, buf, size);
    host_file_unref(host);
    return n == -EOPNOTSUPP ? -ENODATA : n;
}

ssize_t gofer_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size)
{
    struct host_file *host;
    ssize_t n = has_none(dentry) ? -ENODATA : readable(dentry, &host);

    if (n < 0)
        return n == -ENODATA ? 0 : n;
    n = host_listxattr(host->fd, buf, size);
    host_file_unref(host);
    return n == -EOPNOTSUPP ? 0 : n;
}

/* What was said at the last walk holds until the object changes. */
static bool may_have_acl(struct gofer_inode *g, enum acl_kind kind)
{
    struct stamp now;
    bool may;

    lock_acquire(&g->lock);
    now = stamp_of(&g->stat);
    may = g->about.flags & (kind == ACL_DEFAULT ? GOFER_HAS_DEFAULT_ACL : GOFER_HAS_ACL);
    if (!may && !g->fs->exclusive)
        may = g->about.at.ctime_sec != now.ctime_sec || g->about.at.ctime_nsec != now.ctime_nsec;
    lock_release(&g->lock);
    return may;
}

int gofer_get_acl(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret)
{
    const char *name = kind == ACL_DEFAULT ? ACL_DEFAULT_NAME : ACL_ACCESS_NAME;
    ssize_t n;
    void *buf;
    int err;

    if (!dentry || !may_have_acl(gofer_inode_of(inode), (enum acl_kind)kind))
        return 0;
    n = gofer_getxattr(dentry, name, NULL, 0);
    if (n <= 0)
        return n == -ENODATA ? 0 : (int)n;
    buf = malloc((size_t)n);
    if (!buf)
        return -ENOMEM;
    n = gofer_getxattr(dentry, name, buf, (size_t)n);
    err = n < 0 ? (int)n : acl_parse(buf, (size_t)n, ret);
    free(buf);
    return err == -ENODATA ? 0 : err;
}
