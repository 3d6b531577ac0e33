#include "sentry/fs/sys/sys.h"

#include <linux/magic.h>
#include <stdio.h>

#include "sentry/fs/sys/internal.h"

#define SYS_MINOR 16 /* st_dev of the tree */

/* Set before the guest runs. */
static unsigned cpus;
static struct memfile *memory;

unsigned sys_cpu_count(void)
{
    return cpus;
}

void sys_memory(struct memfile_stats *ret)
{
    memfile_get_stats(memory, ret);
}

/* Memory is given out in huge pages where that works, and never promised. */
static ssize_t thp_enabled_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "always [madvise] never\n");
}

static ssize_t thp_size_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%lu\n", HUGE_PAGE_SIZE);
}

static const struct tree_node devices_nodes[] = {
    TREE_DIR("system", sys_system_nodes),
    TREE_DIR("virtual", sys_virtual_nodes),
};
static const struct tree_node thp_nodes[] = {
    TREE_TEXT("enabled", thp_enabled_text),
    TREE_TEXT("hpage_pmd_size", thp_size_text),
};
static const struct tree_node mm_nodes[] = {TREE_DIR("transparent_hugepage", thp_nodes)};
static const struct tree_node kernel_nodes[] = {TREE_DIR("mm", mm_nodes)};
static const struct tree_node sys_nodes[] = {
    TREE_DIR("class", sys_class_nodes),
    TREE_DIR("devices", devices_nodes),
    TREE_DIR("kernel", kernel_nodes),
};
static const struct tree_node sys_root = TREE_DIR("", sys_nodes);

int sysfs_create(unsigned cpu_count, struct memfile *memfile, struct super_block **ret)
{
    memory = memfile;
    cpus = MAX(cpu_count, 1U);
    return treefs_create(&sys_root, "sysfs", SYSFS_MAGIC, SYS_MINOR, ret);
}
