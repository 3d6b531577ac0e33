/* Pipes: pipe(7). A ring of bytes with a read end and a write end. */
#ifndef SENTRY_FS_PIPE_PIPE_H
#define SENTRY_FS_PIPE_PIPE_H

#include "base/compiler.h"

struct file;

#define PIPE_SIZE_DEFAULT 65536
#define PIPE_SIZE_MAX     1048576 /* /proc/sys/fs/pipe-max-size */

/* `flags`: O_NONBLOCK for both ends; uid and gid as stat(2) shows them. */
int pipe_create(uint32_t flags, uint32_t uid, uint32_t gid, struct file **ret_read,
                struct file **ret_write);
/* F_GETPIPE_SZ; -EBADF when it is no pipe. */
int pipe_get_size(struct file *f);
/* F_SETPIPE_SZ: the new size in bytes. -EBADF, -EINVAL, -EPERM beyond the maximum, -EBUSY. */
int pipe_set_size(struct file *f, uint64_t size);

#endif
