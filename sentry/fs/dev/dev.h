/* /dev: null, zero, full, random, urandom, tty, userfaultfd, loop devices, a place for devpts, and
 * the links to the process's descriptors. */
#ifndef SENTRY_FS_DEV_DEV_H
#define SENTRY_FS_DEV_DEV_H

#include "base/compiler.h"

struct file;
struct super_block;

/* What a device node of that number opens, wherever it lies: as vfs_set_device_open() wants it. */
int dev_open(bool block, uint64_t number, uint32_t flags, struct file **ret);
/* Is it /dev/userfaultfd, whose USERFAULTFD_IOC_NEW makes a descriptor? The caller does that. */
bool dev_is_userfaultfd(const struct file *f);
/*
 * Makes an empty file system in memory a devtmpfs: with the nodes of all devices, and of those that
 * come later. Once. -ENOMEM.
 */
int devfs_fill(struct super_block *sb);

#endif
