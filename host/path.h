/*
 * Calls that take a host path: the gofer's, and the runtime's before the jail closes. The Sentry's
 * jail has none of them.
 */
#ifndef HOST_PATH_H
#define HOST_PATH_H

#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/compiler.h"

/* The directory to root a tree in: O_PATH, close-on-exec, symbolic links followed. -errno. */
int host_open_root(const char *path);
/*
 * Makes the folder `path` if it is not there, and locks it for this process and those that inherit
 * the descriptor, which is returned; the lock is a file "lock" in it. -EWOULDBLOCK: another has it.
 */
int host_lock_folder(const char *path);
/*
 * openat2(2) with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS: nothing outside
 * `dirfd` can be reached, whatever `path` says and whoever renames meanwhile. -errno; -EXDEV when
 * the path tried to leave.
 */
int host_open_beneath(int dirfd, const char *path, int flags);
/*
 * Opens for reading what the O_PATH descriptor `fd` names: that very object, not its path again.
 * `proc_fds` is /proc/self/fd, opened before the jail closed.
 */
int host_reopen(int proc_fds, int fd);
/* The directory /proc/self/fd; -errno where there is no /proc. */
int host_open_proc_fds(void);
/* What /proc/self/fd says about `fd`: a path, "pipe:[N]"..., terminated. -errno. */
int host_fd_name(int fd, char *buf, size_t size);
/* The target of the symbolic link that `fd` (O_PATH) names: bytes, not terminated. */
ssize_t host_readlink_fd(int fd, char *buf, size_t size);
/* faccessat2(2) of the object behind `fd`, with the effective ids; `mode` is R_OK|W_OK|X_OK. */
int host_access_fd(int fd, int mode);
/* getdents64(2). */
ssize_t host_getdents(int fd, void *buf, size_t size);

/* Closes every descriptor from `first` to `last`, both included. */
int host_close_range(unsigned first, unsigned last);
/* dup3(2): `target` becomes a copy of `fd`, close-on-exec. -errno. */
int host_dup_over(int fd, int target);
/* A file of the host by its path, for reading: before the jail closes. */
int host_open_read(const char *path);
/* /dev/null for reading and writing. */
int host_open_null(void);

#endif
