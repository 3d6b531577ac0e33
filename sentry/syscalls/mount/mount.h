/* What the files of mount(2) and its younger kin share. */
#ifndef SENTRY_SYSCALLS_MOUNT_H
#define SENTRY_SYSCALLS_MOUNT_H

#include "sentry/kernel/task.h"

struct file;
struct fs_setup;
struct path;
struct super_block;

/* A string argument that may be NULL, at most a page: owned by the caller. -EINVAL, -EFAULT. */
int mount_copy_string(struct task *task, uaddr_t ptr, char **ret);
/* A file system as `setup` says. -EPERM: user namespaces may not make this kind. */
int mount_create_super(struct task *task, const struct fs_setup *setup, struct super_block **ret);
/* MOUNT_ATTR_* of `attr` as enum mount_flags; -EINVAL. */
int mount_attr_flags(uint64_t attr, uint32_t *ret);
uint64_t mount_attr_of_flags(uint32_t flags);
/* An O_PATH file on `at`, whose reference is taken over, among the descriptors; `dissolves`: with
 * its end, the tree ends. */
long mount_open_place(struct task *task, struct path at, bool dissolves, bool cloexec);

#endif
