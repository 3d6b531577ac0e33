/*
 * The cgroup2 file system: a directory for each group (sentry/kernel/cgroup/cgroup.h), files for
 * what it is and does. mkdir(2) makes a group, rmdir(2) removes it.
 */
#ifndef SENTRY_FS_CGROUP_CGROUPFS_H
#define SENTRY_FS_CGROUP_CGROUPFS_H

#include "base/compiler.h"

struct cgroup;
struct file;
struct super_block;

/* Begins at `root`, of which the file system keeps a reference. -ENOMEM. */
int cgroupfs_create(struct cgroup *root, struct super_block **ret);
/* The group whose open directory that is, referenced. -EBADF; -ENODEV once it was removed. */
int cgroupfs_of_file(const struct file *file, struct cgroup **ret);

#endif
