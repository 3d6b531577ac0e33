/* /dev: null, zero, full, random, urandom, tty, a place for devpts, and the links to the process's
 * descriptors. */
#ifndef SENTRY_FS_DEV_DEV_H
#define SENTRY_FS_DEV_DEV_H

#include "base/compiler.h"

struct super_block;

int devfs_create(struct super_block **ret);

#endif
