/* /dev: null, zero, full, random, urandom, tty, and the links to the process's descriptors. */
#ifndef SENTRY_FS_DEV_DEV_H
#define SENTRY_FS_DEV_DEV_H

#include "base/compiler.h"

struct file;
struct super_block;

/* `tty` is the caller's terminal, for /dev/pts (a reference is taken); NULL: there is none. */
int devfs_create(struct file *tty, struct super_block **ret);

#endif
