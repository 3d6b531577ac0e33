/* /proc/sys/vm: what is promised of memory. */
#include <errno.h>

#include "sentry/fs/proc/sys/number.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"

CONSTANT_TEXT(mmap_min_addr, "%lu", PAGE_SIZE * 16)

NUMBER(overcommit_memory, &mm_tunables.overcommit, MM_OVERCOMMIT_GUESS, MM_OVERCOMMIT_NEVER)
NUMBER(overcommit_ratio, &mm_tunables.overcommit_ratio, 0, INT32_MAX)
NUMBER(overcommit_kbytes, &mm_tunables.overcommit_kbytes, 0, UINT64_MAX / 1024)
NUMBER(max_map_count, &mm_tunables.max_map_count, 0, INT32_MAX)

/* Everything that caches hold is given back: 1 to 4 alike. */
static int drop_caches_write(uint64_t key, const char *text, size_t size)
{
    uint64_t value;
    int err = proc_parse_numbers(text, 1, &value);

    if (err < 0)
        return err;
    if (value < 1 || value > 4)
        return -EINVAL;
    pagecache_reclaim();
    return 0;
}

/* As on a machine whose memory is in pieces: one may ask for huge pages, and there are none. */
static ssize_t huge_pool_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "0\n");
}

static int huge_pool_write(uint64_t key, const char *text, size_t size)
{
    uint64_t wanted;

    return proc_parse_numbers(text, 1, &wanted);
}

#define HUGE_POOL(name_)                                                                           \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = huge_pool_text, .write = huge_pool_write    \
    }

const struct tree_node proc_sys_vm_nodes[PROC_SYS_VM_NODES] = {
    TREE_FIXED("admin_reserve_kbytes", "0\n"),
    TREE_FIXED("dirty_background_bytes", "0\n"),
    TREE_FIXED("dirty_background_ratio", "0\n"),
    TREE_FIXED("dirty_bytes", "0\n"),
    TREE_FIXED("dirty_expire_centisecs", "0\n"),
    TREE_FIXED("dirty_ratio", "0\n"),
    TREE_FIXED("dirty_writeback_centisecs", "0\n"),
    {.name = "drop_caches", .mode = S_IFREG | 0200, .write = drop_caches_write},
    TREE_FIXED("hugetlb_shm_group", "0\n"),
    TREE_FIXED("legacy_va_layout", "0\n"),
    NUMBER_FILE("max_map_count", max_map_count),
    TREE_FIXED("memfd_noexec", "0\n"),
    TREE_FIXED("min_free_kbytes", "0\n"),
    TREE_TEXT("mmap_min_addr", mmap_min_addr_text),
    TREE_FIXED("mmap_rnd_bits", "28\n"),
    HUGE_POOL("nr_hugepages"),
    HUGE_POOL("nr_overcommit_hugepages"),
    TREE_FIXED("oom_dump_tasks", "0\n"),
    TREE_FIXED("oom_kill_allocating_task", "1\n"),
    NUMBER_FILE("overcommit_memory", overcommit_memory),
    NUMBER_FILE("overcommit_kbytes", overcommit_kbytes),
    NUMBER_FILE("overcommit_ratio", overcommit_ratio),
    TREE_FIXED("page-cluster", "0\n"),
    TREE_FIXED("panic_on_oom", "0\n"),
    TREE_FIXED("stat_interval", "1\n"),
    TREE_FIXED("swappiness", "0\n"),
    TREE_FIXED("unprivileged_userfaultfd", "0\n"),
    TREE_FIXED("user_reserve_kbytes", "0\n"),
    TREE_FIXED("vfs_cache_pressure", "100\n"),
    TREE_FIXED("zone_reclaim_mode", "0\n"),
};
