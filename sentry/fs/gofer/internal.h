/* Inside sentry/fs/gofer: inodes of the host's tree, and the files that it donated. */
#ifndef SENTRY_FS_GOFER_INTERNAL_H
#define SENTRY_FS_GOFER_INTERNAL_H

#include "host/gofer_protocol.h"
#include "sentry/vfs/inode.h"

struct goferfs {
    struct super_block sb;
    struct gofer_client *client; /* borrowed */
    struct memfile *memfile;     /* borrowed */
};

struct gofer_inode {
    struct inode inode;
    struct lock lock;
    struct linux_stat stat __guarded_by(lock); /* as last reported */
    char *target __guarded_by(lock);           /* S_IFLNK; owned */
};

static inline struct goferfs *goferfs_of(struct dentry *dentry)
{
    return container_of(dentry->sb, struct goferfs, sb);
}

/* Asks about `dentry` itself: a request with its whole path, all names but the last skipped. */
int gofer_ask_about(struct dentry *dentry, enum gofer_op op, uint32_t mode,
                    struct gofer_reply *ret_reply, int *ret_fd);
/* The file for a donated descriptor, which it takes over (on failure too). */
int gofer_file_create(struct dentry *dentry, int fd, uint32_t flags, struct file **ret);

#endif
