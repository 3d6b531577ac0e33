/* /sys: the few values that C libraries and language runtimes look up. */
#ifndef SENTRY_FS_SYS_SYS_H
#define SENTRY_FS_SYS_SYS_H

#include "base/compiler.h"

struct super_block;

/* `cpu_count`: processors of the sandbox, numbered from 0. */
int sysfs_create(unsigned cpu_count, struct super_block **ret);

#endif
