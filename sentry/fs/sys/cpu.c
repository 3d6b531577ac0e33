/* /sys/devices/system: cpu, node and memory. Each processor is a core of one package, and always
 * there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/sys/internal.h"

#define KERNEL_MAX 8191 /* CONFIG_NR_CPUS - 1 of a distribution's kernel */

static ssize_t list_text(uint64_t key, char *buf, size_t size)
{
    unsigned cpus = sys_cpu_count();

    return cpus == 1 ? snprintf(buf, size, "0\n") : snprintf(buf, size, "0-%u\n", cpus - 1);
}

ssize_t sys_put_cpu_list(int64_t cpu, char *buf, size_t size)
{
    return cpu < 0 ? list_text(0, buf, size) : snprintf(buf, size, "%ld\n", cpu);
}

static ssize_t none_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "\n");
}

static ssize_t kernel_max_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%d\n", KERNEL_MAX);
}

static ssize_t zero_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "0\n");
}

static ssize_t own_text(uint64_t cpu, char *buf, size_t size)
{
    return snprintf(buf, size, "%lu\n", cpu);
}

/* A bitmap as Linux prints it: words of 32 bits, the highest first. `cpu` alone, or all for -1. */
ssize_t sys_put_cpu_mask(int64_t cpu, char *buf, size_t size)
{
    unsigned cpus = sys_cpu_count();
    size_t at = 0;

    for (unsigned word = (cpus + 31) / 32; word-- > 0;) {
        unsigned rest = cpus - word * 32;
        uint32_t bits = rest >= 32 ? UINT32_MAX : (1U << rest) - 1;

        if (cpu >= 0)
            bits = (uint64_t)cpu / 32 == word ? 1U << cpu % 32 : 0;
        at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, "%0*x%s",
                               cpus > 32 ? 8 : 1, bits, word ? "," : "\n");
    }
    return (ssize_t)at;
}

static ssize_t mask_text(uint64_t key, char *buf, size_t size)
{
    return sys_put_cpu_mask(-1, buf, size);
}

static ssize_t own_mask_text(uint64_t cpu, char *buf, size_t size)
{
    return sys_put_cpu_mask((int64_t)cpu, buf, size);
}

static const struct tree_node topology_nodes[] = {
    TREE_TEXT("core_cpus", own_mask_text),
    TREE_TEXT("core_cpus_list", own_text),
    TREE_TEXT("cluster_cpus", own_mask_text),
    TREE_TEXT("cluster_cpus_list", own_text),
    TREE_FIXED("cluster_id", "65535\n"),
    TREE_TEXT("core_id", own_text),
    TREE_TEXT("core_siblings", mask_text),
    TREE_TEXT("core_siblings_list", list_text),
    TREE_TEXT("die_cpus", mask_text),
    TREE_TEXT("die_cpus_list", list_text),
    TREE_TEXT("die_id", zero_text),
    TREE_TEXT("package_cpus", mask_text),
    TREE_TEXT("package_cpus_list", list_text),
    TREE_TEXT("physical_package_id", zero_text),
    TREE_TEXT("thread_siblings", own_mask_text),
    TREE_TEXT("thread_siblings_list", own_text),
};
static const struct tree_node one_nodes[] = {
    {.name = "cache", .mode = S_IFDIR | 0555, .find = sys_find_cache, .list = sys_list_caches},
    TREE_LINK("node0", "../../node/node0"),
    TREE_LINK("subsystem", "../../../../bus/cpu"),
    TREE_DIR("topology", topology_nodes),
    TREE_FIXED("uevent", "DRIVER=processor\n"),
};
static const struct tree_node one = TREE_DIR("", one_nodes);

int sys_parse_numbered(struct name name, const char *head, uint64_t limit, uint64_t *ret)
{
    size_t skip = strlen(head);
    uint64_t number = 0;

    if (name.size <= skip || name.size > skip + 9 || memcmp(name.text, head, skip) != 0 ||
        (name.size > skip + 1 && name.text[skip] == '0'))
        return -ENOENT;
    for (size_t i = skip; i < name.size; i++) {
        if (name.text[i] < '0' || name.text[i] > '9')
            return -ENOENT;
        number = number * 10 + (uint64_t)(name.text[i] - '0');
    }
    *ret = number;
    return number < limit ? 0 : -ENOENT;
}

static int find_cpu(uint64_t key, struct name name, const struct tree_node **ret_node,
                    uint64_t *ret_key)
{
    int err = sys_parse_numbered(name, "cpu", sys_cpu_count(), ret_key);

    if (err == 0)
        *ret_node = &one;
    return err;
}

static int64_t list_cpus(uint64_t key, int64_t from, char *ret_name, size_t size,
                         const struct tree_node **ret_node)
{
    if (from >= (int64_t)sys_cpu_count())
        return -1;
    snprintf(ret_name, size, "cpu%ld", from);
    *ret_node = &one;
    return from;
}

/* ---- memory nodes: one, with all processors and all memory --------------------------------- */

static ssize_t distance_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "10\n");
}

static ssize_t meminfo_text(uint64_t key, char *buf, size_t size)
{
    struct memfile_stats stats;

    sys_memory(&stats);
    return snprintf(buf, size,
                    "Node 0 MemTotal:       %8lu kB\nNode 0 MemFree:        %8lu kB\n"
                    "Node 0 MemUsed:        %8lu kB\n",
                    stats.limit / 1024, (stats.limit - stats.allocated) / 1024,
                    stats.allocated / 1024);
}

/* Each processor belongs to the node: links to it. */
static ssize_t node_cpu_readlink(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "../../cpu/cpu%lu", key);
}

static const struct tree_node node_cpu = {
    .name = "",
    .mode = S_IFLNK | 0777,
    .readlink = node_cpu_readlink,
};

static int find_node_cpu(uint64_t key, struct name name, const struct tree_node **ret_node,
                         uint64_t *ret_key)
{
    int err = sys_parse_numbered(name, "cpu", sys_cpu_count(), ret_key);

    if (err == 0)
        *ret_node = &node_cpu;
    return err;
}

static int64_t list_node_cpus(uint64_t key, int64_t from, char *ret_name, size_t size,
                              const struct tree_node **ret_node)
{
    int64_t cpu = list_cpus(key, from, ret_name, size, ret_node);

    if (cpu >= 0)
        *ret_node = &node_cpu;
    return cpu;
}

/* All memory comes from here, and none was wanted elsewhere. */
static ssize_t numastat_text(uint64_t key, char *buf, size_t size)
{
    struct memfile_stats stats;

    sys_memory(&stats);
    return snprintf(buf, size,
                    "numa_hit %lu\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\n"
                    "local_node %lu\nother_node 0\n",
                    stats.extent / PAGE_SIZE, stats.extent / PAGE_SIZE);
}

static const struct tree_node node0_nodes[] = {
    TREE_TEXT("cpulist", list_text),      TREE_TEXT("cpumap", mask_text),
    TREE_TEXT("distance", distance_text), TREE_TEXT("meminfo", meminfo_text),
    TREE_TEXT("numastat", numastat_text),
};
static const struct tree_node node_nodes[] = {
    TREE_TEXT("has_cpu", zero_text),
    TREE_TEXT("has_memory", zero_text),
    TREE_TEXT("has_normal_memory", zero_text),
    {.name = "node0",
     .mode = S_IFDIR | 0555,
     .children = node0_nodes,
     .child_count = ARRAY_COUNT(node0_nodes),
     .find = find_node_cpu,
     .list = list_node_cpus},
    TREE_TEXT("online", zero_text),
    TREE_TEXT("possible", zero_text),
};

static const struct tree_node smt_nodes[] = {
    TREE_FIXED("active", "0\n"),
    TREE_FIXED("control", "notsupported\n"),
};

static const struct tree_node cpu_nodes[] = {
    TREE_DIR("smt", smt_nodes),       TREE_TEXT("enabled", list_text),
    TREE_TEXT("isolated", none_text), TREE_TEXT("kernel_max", kernel_max_text),
    TREE_TEXT("offline", none_text),  TREE_TEXT("online", list_text),
    TREE_TEXT("possible", list_text), TREE_TEXT("present", list_text),
};

const struct tree_node sys_system_nodes[3] = {
    {
        .name = "cpu",
        .mode = S_IFDIR | 0555,
        .children = cpu_nodes,
        .child_count = ARRAY_COUNT(cpu_nodes),
        .find = find_cpu,
        .list = list_cpus,
    },
    {
        .name = "memory",
        .mode = S_IFDIR | 0555,
        .children = sys_memory_nodes,
        .child_count = SYS_MEMORY_NODES,
        .find = sys_find_memory,
        .list = sys_list_memory,
    },
    TREE_DIR("node", node_nodes),
};
