/*
 * Calls that change host files: a share's alone (gofer/share.c). Names are single components in a
 * directory descriptor, so no path is resolved; objects are O_PATH descriptors. All answer -errno.
 */
#ifndef HOST_CHANGE_H
#define HOST_CHANGE_H

#include <sys/stat.h>

#include "base/compiler.h"

/* umask(2) 0: modes are the program's business. */
void host_clear_umask(void);
/* /proc/self/fd, which the calls below need, as the working directory. */
int host_enter_proc_fds(int proc_fds);

/* A new regular file, open for reading and writing: the descriptor. */
int host_make_file(int dir, const char *name, uint32_t mode);
/* A new file without a name in the directory behind `dir`. */
int host_make_unnamed(int dir, uint32_t mode);
int host_make_directory(int dir, const char *name, uint32_t mode);
/* A FIFO, a socket, a whiteout. */
int host_make_node(int dir, const char *name, uint32_t mode);
int host_make_symlink(int dir, const char *name, const char *target);
/* Another name for the object behind `fd`. */
int host_link_fd(int fd, int dir, const char *name);
int host_remove(int dir, const char *name, int flags);
int host_rename(int dir, const char *name, int new_dir, const char *new_name, unsigned flags);

/* As host_reopen(), for writing as well: O_RDONLY, O_WRONLY or O_RDWR. */
int host_reopen_for(int fd, int flags);
/* A new socket of AF_UNIX, close-on-exec and nonblocking, connected to the one that `fd` names. */
int host_connect_fd(int fd, int type);
int host_chmod_fd(int fd, uint32_t mode);
int host_chown_fd(int fd, uint32_t uid, uint32_t gid);
int host_set_times_fd(int fd, const struct timespec times[2]);
/* `fd` is open for writing. */
int host_truncate(int fd, uint64_t size);
int host_allocate(int fd, int mode, uint64_t offset, uint64_t size);

/* ioctl_iflags(2): FS_*_FL, of a regular file or a directory that is open. */
int host_get_file_flags(int fd, uint32_t *ret);
int host_set_file_flags(int fd, uint32_t flags);

ssize_t host_getxattr_fd(int fd, const char *name, void *buf, size_t size);
ssize_t host_listxattr_fd(int fd, char *buf, size_t size);
int host_setxattr_fd(int fd, const char *name, const void *value, size_t size, int flags);
int host_removexattr_fd(int fd, const char *name);

#endif
