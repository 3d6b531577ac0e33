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

#define EMPTY_DIR(name_)                                                                           \
    {                                                                                              \
        .name = name_, .mode = S_IFDIR | 0555                                                      \
    }

#define FOUND_DIR(name_, find_, list_)                                                             \
    {                                                                                              \
        .name = name_, .mode = S_IFDIR | 0555, .find = find_, .list = list_                        \
    }

static const struct tree_node virtual_nodes[] = {
    FOUND_DIR("block", sys_find_virtual_block, sys_list_virtual_block),
    TREE_DIR("mem", sys_virtual_mem_nodes),
    FOUND_DIR("net", sys_find_virtual_net, sys_list_virtual_net),
    TREE_DIR("tty", sys_virtual_tty_nodes),
};
static const struct tree_node devices_nodes[] = {
    TREE_DIR("system", sys_system_nodes),
    TREE_DIR("virtual", virtual_nodes),
};
static const struct tree_node class_nodes[] = {
    FOUND_DIR("block", sys_find_class_block, sys_list_class_block),
    TREE_DIR("mem", sys_class_mem_nodes),
    FOUND_DIR("net", sys_find_class_net, sys_list_class_net),
    TREE_DIR("tty", sys_class_tty_nodes),
};
static const struct tree_node dev_nodes[] = {
    FOUND_DIR("block", sys_find_block_number, sys_list_block_numbers),
    TREE_DIR("char", sys_dev_char_nodes),
};
static const struct tree_node bus_nodes[] = {EMPTY_DIR("cpu"), EMPTY_DIR("memory")};
/* Where cgroups are mounted. */
static const struct tree_node fs_nodes[] = {EMPTY_DIR("cgroup")};
static const struct tree_node thp_nodes[] = {
    TREE_FIXED("defrag", "always defer defer+madvise [madvise] never\n"),
    TREE_TEXT("enabled", thp_enabled_text),
    TREE_TEXT("hpage_pmd_size", thp_size_text),
    TREE_FIXED("shmem_enabled", "always within_size advise [never] deny force\n"),
    TREE_FIXED("use_zero_page", "0\n"),
};
/* The sizes that the processor has; the pools are empty (sentry/mm/mmap.c). */
static const struct tree_node pool_nodes[] = {
    TREE_FIXED("free_hugepages", "0\n"),         TREE_FIXED("nr_hugepages", "0\n"),
    TREE_FIXED("nr_hugepages_mempolicy", "0\n"), TREE_FIXED("nr_overcommit_hugepages", "0\n"),
    TREE_FIXED("resv_hugepages", "0\n"),         TREE_FIXED("surplus_hugepages", "0\n"),
};
static const struct tree_node pools_nodes[] = {
    TREE_DIR("hugepages-1048576kB", pool_nodes),
    TREE_DIR("hugepages-2048kB", pool_nodes),
};
/* What may be merged is kept and shown (madvise(2)), and nobody goes about it: not to be started.
 */
static const struct tree_node ksm_nodes[] = {
    TREE_FIXED("advisor_max_cpu", "70\n"),
    TREE_FIXED("advisor_max_pages_to_scan", "30000\n"),
    TREE_FIXED("advisor_min_pages_to_scan", "500\n"),
    TREE_FIXED("advisor_mode", "[none] scan-time\n"),
    TREE_FIXED("advisor_target_scan_time", "200\n"),
    TREE_FIXED("full_scans", "0\n"),
    TREE_FIXED("general_profit", "0\n"),
    TREE_FIXED("ksm_zero_pages", "0\n"),
    TREE_FIXED("max_page_sharing", "256\n"),
    TREE_FIXED("merge_across_nodes", "1\n"),
    TREE_FIXED("pages_scanned", "0\n"),
    TREE_FIXED("pages_shared", "0\n"),
    TREE_FIXED("pages_sharing", "0\n"),
    TREE_FIXED("pages_skipped", "0\n"),
    TREE_FIXED("pages_to_scan", "100\n"),
    TREE_FIXED("pages_unshared", "0\n"),
    TREE_FIXED("pages_volatile", "0\n"),
    TREE_FIXED("run", "0\n"),
    TREE_FIXED("sleep_millisecs", "20\n"),
    TREE_FIXED("smart_scan", "1\n"),
    TREE_FIXED("stable_node_chains", "0\n"),
    TREE_FIXED("stable_node_chains_prune_millisecs", "2000\n"),
    TREE_FIXED("stable_node_dups", "0\n"),
    TREE_FIXED("use_zero_pages", "0\n"),
};
static const struct tree_node mm_nodes[] = {
    TREE_DIR("hugepages", pools_nodes),
    TREE_DIR("ksm", ksm_nodes),
    TREE_DIR("transparent_hugepage", thp_nodes),
};
static const struct tree_node kernel_nodes[] = {
    TREE_FIXED("address_bits", "64\n"), TREE_FIXED("cpu_byteorder", "little\n"),
    TREE_FIXED("fscaps", "1\n"),        TREE_DIR("mm", mm_nodes),
    TREE_FIXED("profiling", "0\n"),     EMPTY_DIR("security"),
    TREE_FIXED("uevent_seqnum", "0\n"),
};
static const struct tree_node sys_nodes[] = {
    FOUND_DIR("block", sys_find_block, sys_list_block),
    TREE_DIR("bus", bus_nodes),
    TREE_DIR("class", class_nodes),
    TREE_DIR("dev", dev_nodes),
    TREE_DIR("devices", devices_nodes),
    EMPTY_DIR("firmware"),
    TREE_DIR("fs", fs_nodes),
    TREE_DIR("kernel", kernel_nodes),
    EMPTY_DIR("module"),
    EMPTY_DIR("power"),
};
static const struct tree_node sys_root = TREE_DIR("", sys_nodes);

int sysfs_create(unsigned cpu_count, struct memfile *memfile, struct super_block **ret)
{
    memory = memfile;
    cpus = MAX(cpu_count, 1U);
    return treefs_create(&sys_root, "sysfs", SYSFS_MAGIC, SYS_MINOR, ret);
}
