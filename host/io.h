/*
 * Reading, writing and asking about descriptors that the Sentry was given: stdio, donated files,
 * its own event descriptors. Thin: each function is the system call of its name and returns what
 * that returns, or -errno. None restarts after EINTR; callers decide.
 */
#ifndef HOST_IO_H
#define HOST_IO_H

#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "base/compiler.h"

ssize_t host_read(int fd, void *buf, size_t size);
ssize_t host_write(int fd, const void *buf, size_t size);
ssize_t host_pread(int fd, void *buf, size_t size, int64_t offset);
ssize_t host_readv(int fd, const struct iovec *iov, int count);
ssize_t host_writev(int fd, const struct iovec *iov, int count);
/* Unlike the others, it leaves it to the caller to say that it was news (news.h). */
ssize_t host_preadv(int fd, const struct iovec *iov, int count, int64_t offset);
/*
 * Could the byte at `offset` be read without waiting for a disk (RWF_NOWAIT of preadv2(2))? False
 * as well where the file system cannot tell.
 */
bool host_is_cached(int fd, int64_t offset);
ssize_t host_pwritev(int fd, const struct iovec *iov, int count, int64_t offset);
/* pwritev2(2) with RWF_APPEND: at the end of the file, wherever that is by then. */
ssize_t host_appendv(int fd, const struct iovec *iov, int count);
int64_t host_lseek(int fd, int64_t offset, int whence);
void host_close(int fd);
int host_fstat(int fd, struct stat *ret_stat);
/* statx(2) of the object itself, all that it says; -ENOSYS on Linux before 4.11. */
int host_statx(int fd, struct statx *ret_stat);
int host_fstatfs(int fd, struct statfs *ret_statfs);
int host_fsync(int fd);
/* fgetxattr(2), flistxattr(2) of a descriptor that is open for reading. */
ssize_t host_getxattr(int fd, const char *name, void *buf, size_t size);
ssize_t host_listxattr(int fd, char *buf, size_t size);
/* fcntl(2) F_GETFL: the O_* flags the descriptor was opened with. */
int host_get_flags(int fd);
/* fcntl(2) F_DUPFD_CLOEXEC: a copy numbered at least `min`. */
int host_dup_above(int fd, int min);
/* ioctl(2). The jail lets only the requests through that have a row in calls.def. */
int host_ioctl(int fd, unsigned long request, void *arg);
/* Fills `buf` wholly with getrandom(2)'s bytes. */
int host_random(void *buf, size_t size);

#endif
