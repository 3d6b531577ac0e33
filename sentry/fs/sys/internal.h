/* Inside sentry/fs/sys: parts of the tree, and what they are about. */
#ifndef SENTRY_FS_SYS_INTERNAL_H
#define SENTRY_FS_SYS_INTERNAL_H

#include "platform/memfile.h"
#include "sentry/fs/treefs.h"

unsigned sys_cpu_count(void);
void sys_memory(struct memfile_stats *ret);

/* cpu.c: what is in /sys/devices/system */
extern const struct tree_node sys_system_nodes[2];

/* net.c: /sys/devices/virtual, /sys/class */
extern const struct tree_node sys_virtual_nodes[1];
extern const struct tree_node sys_class_nodes[1];

#endif
