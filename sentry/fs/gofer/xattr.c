/*
 * Extended attributes of the host's files, read through a descriptor that is open for reading: the
 * same that opening the file would use. What the host would not open shows none, and so do objects
 * that are no files, which have none but an administrator's.
 */
#include <errno.h>

#include "host/io.h"
#include "sentry/fs/gofer/internal.h"

static int readable(struct dentry *dentry, struct host_file **ret)
{
    uint32_t type = inode_type(dentry->inode);
    int err;

    if (type != S_IFREG && type != S_IFDIR)
        return -ENODATA;
    err = gofer_host_file(dentry, false, ret);
    return err == -EACCES ? -ENODATA : err;
}

ssize_t gofer_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size)
{
    struct host_file *host;
    ssize_t n = readable(dentry, &host);

    if (n < 0)
        return n;
    n = host_getxattr(host->fd, name, buf, size);
    host_file_unref(host);
    return n == -EOPNOTSUPP ? -ENODATA : n;
}

ssize_t gofer_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size)
{
    struct host_file *host;
    ssize_t n = readable(dentry, &host);

    if (n < 0)
        return n == -ENODATA ? 0 : n;
    n = host_listxattr(host->fd, buf, size);
    host_file_unref(host);
    return n == -EOPNOTSUPP ? 0 : n;
}
