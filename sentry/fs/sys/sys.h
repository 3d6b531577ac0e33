/* /sys: the few values that C libraries and language runtimes look up. */
#ifndef SENTRY_FS_SYS_SYS_H
#define SENTRY_FS_SYS_SYS_H

#include "base/compiler.h"

struct memfile;
struct super_block;

/* `cpu_count`: processors of the sandbox, numbered from 0. `memfile` outlives the tree. */
int sysfs_create(unsigned cpu_count, struct memfile *memfile, struct super_block **ret);

#endif
