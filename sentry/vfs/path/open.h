/* open(2) and what the kernel itself opens. */
#ifndef SENTRY_VFS_OPEN_H
#define SENTRY_VFS_OPEN_H

#include "sentry/vfs/file.h"
#include "sentry/vfs/path/namei.h"

/*
 * openat(2): `start` as for path_walk(), flags as the guest gave them (unknown ones are ignored, as
 * open(2) does), mode for what O_CREAT makes. The new file has f->at set and no O_CREAT, O_EXCL,
 * O_NOCTTY, O_TRUNC or O_CLOEXEC in its flags.
 */
/* openat2(2): WALK_NO_XDEV and its like in `walk_flags`. */
int vfs_open_within(struct fs_context *fs, const struct path *start, const char *name,
                    uint32_t flags, uint32_t mode, unsigned walk_flags, struct file **ret);
int vfs_open(struct fs_context *fs, const struct path *start, const char *name, uint32_t flags,
             uint32_t mode, struct file **ret);
/*
 * For execve(2) and the loader: a regular file that may be executed, opened for reading. -EACCES
 * for anything else that exists.
 */
int vfs_open_exec(struct fs_context *fs, const struct path *start, const char *name,
                  unsigned walk_flags, struct file **ret);
/* The same for a place that was found already. */
int vfs_open_exec_at(const struct path *at, struct file **ret);
/* A file that only names `at`, as O_PATH opens it; a reference of its own is taken. */
int vfs_open_place(const struct path *at, struct file **ret);

/* Opens what was found by other means than a path, as open(2) does at its end. */
int vfs_open_found(const struct path *at, uint32_t flags, struct file **ret);

/*
 * The same for who hears of events: its permissions are not looked at, and nobody hears of what is
 * done with the file.
 */
int vfs_open_quietly(const struct path *at, uint32_t flags, struct file **ret);

#endif
