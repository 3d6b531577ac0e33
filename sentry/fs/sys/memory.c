/* /sys/devices/system/memory: guest memory in blocks, all of them online and none removable. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/sys/internal.h"

#define BLOCK_SIZE (128UL << 20)

static uint64_t block_count(void)
{
    struct memfile_stats stats;

    sys_memory(&stats);
    return (stats.limit + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

static ssize_t block_size_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%lx\n", BLOCK_SIZE);
}

static ssize_t index_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%08lx\n", key);
}

static const struct tree_node block_nodes[] = {
    TREE_LINK("node0", "../../node/node0"),
    TREE_FIXED("online", "1\n"),
    TREE_FIXED("phys_device", "0\n"),
    TREE_TEXT("phys_index", index_text),
    TREE_FIXED("removable", "0\n"),
    TREE_FIXED("state", "online\n"),
    TREE_FIXED("uevent", ""),
    TREE_FIXED("valid_zones", "Normal\n"),
};
static const struct tree_node block_node = TREE_DIR("", block_nodes);

int sys_find_memory(uint64_t key, struct name name, const struct tree_node **ret_node,
                    uint64_t *ret_key)
{
    int err = sys_parse_numbered(name, "memory", block_count(), ret_key);

    if (err == 0)
        *ret_node = &block_node;
    return err;
}

int64_t sys_list_memory(uint64_t key, int64_t from, char *ret_name, size_t size,
                        const struct tree_node **ret_node)
{
    if (from >= (int64_t)block_count())
        return -1;
    snprintf(ret_name, size, "memory%ld", from);
    *ret_node = &block_node;
    return from;
}

const struct tree_node sys_memory_nodes[SYS_MEMORY_NODES] = {
    TREE_FIXED("auto_online_blocks", "online\n"),
    TREE_TEXT("block_size_bytes", block_size_text),
};
