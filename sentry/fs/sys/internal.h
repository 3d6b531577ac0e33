/* Inside sentry/fs/sys: parts of the tree, and what they are about. */
#ifndef SENTRY_FS_SYS_INTERNAL_H
#define SENTRY_FS_SYS_INTERNAL_H

#include "platform/memfile.h"
#include "sentry/fs/treefs.h"

unsigned sys_cpu_count(void);
void sys_memory(struct memfile_stats *ret);

/* cpu.c: what is in /sys/devices/system */
extern const struct tree_node sys_system_nodes[3];
/* One processor, or all for -1: as a list of numbers, as a mask. snprintf(3)'s result. */
ssize_t sys_put_cpu_list(int64_t cpu, char *buf, size_t size);
ssize_t sys_put_cpu_mask(int64_t cpu, char *buf, size_t size);
/* `head` and a number below `limit`. -ENOENT. */
int sys_parse_numbered(struct name name, const char *head, uint64_t limit, uint64_t *ret);

/* cache.c: in cpuN/cache */
int sys_find_cache(uint64_t cpu, struct name name, const struct tree_node **ret_node,
                   uint64_t *ret_key);
int64_t sys_list_caches(uint64_t cpu, int64_t from, char *ret_name, size_t size,
                        const struct tree_node **ret_node);

/* memory.c: in /sys/devices/system/memory */
#define SYS_MEMORY_NODES 2
extern const struct tree_node sys_memory_nodes[SYS_MEMORY_NODES];
int sys_find_memory(uint64_t key, struct name name, const struct tree_node **ret_node,
                    uint64_t *ret_key);
int64_t sys_list_memory(uint64_t key, int64_t from, char *ret_name, size_t size,
                        const struct tree_node **ret_node);

/* devices.c: character devices by where they are, by kind, by number */
#define SYS_MEM_DEVICES 6
#define SYS_TTY_DEVICES 3
extern const struct tree_node sys_virtual_mem_nodes[SYS_MEM_DEVICES];
extern const struct tree_node sys_virtual_tty_nodes[SYS_TTY_DEVICES];
extern const struct tree_node sys_class_mem_nodes[SYS_MEM_DEVICES];
extern const struct tree_node sys_class_tty_nodes[SYS_TTY_DEVICES];
extern const struct tree_node sys_dev_char_nodes[SYS_MEM_DEVICES + SYS_TTY_DEVICES];

/* block.c: the loop devices in /sys/block, /sys/class/block, /sys/devices/virtual/block and, by
 * number, in /sys/dev/block */
#define SYS_FINDERS(name_, names_)                                                                 \
    int sys_find_##name_(uint64_t key, struct name name, const struct tree_node **ret_node,        \
                         uint64_t *ret_key);                                                       \
    int64_t sys_list_##names_(uint64_t key, int64_t from, char *ret_name, size_t size,             \
                              const struct tree_node **ret_node)
SYS_FINDERS(block, block);
SYS_FINDERS(class_block, class_block);
SYS_FINDERS(virtual_block, virtual_block);
SYS_FINDERS(block_number, block_numbers);

/* net.c: interfaces in /sys/devices/virtual/net and, by links, in /sys/class/net */
SYS_FINDERS(virtual_net, virtual_net);
SYS_FINDERS(class_net, class_net);

#endif
