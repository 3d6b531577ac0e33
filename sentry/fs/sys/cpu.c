/* /sys/devices/system: cpu and node. Each processor is a core of one package, and always there. */
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
static ssize_t put_mask(int64_t cpu, char *buf, size_t size)
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
    return put_mask(-1, buf, size);
}

static ssize_t own_mask_text(uint64_t cpu, char *buf, size_t size)
{
    return put_mask((int64_t)cpu, buf, size);
}

static const struct tree_node topology_nodes[] = {
    TREE_TEXT("core_cpus", own_mask_text),
    TREE_TEXT("core_cpus_list", own_text),
    TREE_TEXT("core_id", own_text),
    TREE_TEXT("core_siblings", mask_text),
    TREE_TEXT("core_siblings_list", list_text),
    TREE_TEXT("die_id", zero_text),
    TREE_TEXT("package_cpus", mask_text),
    TREE_TEXT("package_cpus_list", list_text),
    TREE_TEXT("physical_package_id", zero_text),
    TREE_TEXT("thread_siblings", own_mask_text),
    TREE_TEXT("thread_siblings_list", own_text),
};
static const struct tree_node one_nodes[] = {TREE_DIR("topology", topology_nodes)};
static const struct tree_node one = TREE_DIR("", one_nodes);

static int find_cpu(uint64_t key, struct name name, const struct tree_node **ret_node,
                    uint64_t *ret_key)
{
    uint64_t cpu = 0;

    if (name.size < 4 || name.size > 8 || memcmp(name.text, "cpu", 3) != 0 ||
        (name.size > 4 && name.text[3] == '0'))
        return -ENOENT;
    for (size_t i = 3; i < name.size; i++) {
        if (name.text[i] < '0' || name.text[i] > '9')
            return -ENOENT;
        cpu = cpu * 10 + (uint64_t)(name.text[i] - '0');
    }
    if (cpu >= sys_cpu_count())
        return -ENOENT;
    *ret_node = &one;
    *ret_key = cpu;
    return 0;
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

static const struct tree_node node0_nodes[] = {
    TREE_TEXT("cpulist", list_text),
    TREE_TEXT("cpumap", mask_text),
    TREE_TEXT("distance", distance_text),
    TREE_TEXT("meminfo", meminfo_text),
};
static const struct tree_node node_nodes[] = {
    TREE_TEXT("has_cpu", zero_text),
    TREE_TEXT("has_memory", zero_text),
    TREE_TEXT("has_normal_memory", zero_text),
    TREE_DIR("node0", node0_nodes),
    TREE_TEXT("online", zero_text),
    TREE_TEXT("possible", zero_text),
};

static const struct tree_node cpu_nodes[] = {
    TREE_TEXT("isolated", none_text), TREE_TEXT("kernel_max", kernel_max_text),
    TREE_TEXT("offline", none_text),  TREE_TEXT("online", list_text),
    TREE_TEXT("possible", list_text), TREE_TEXT("present", list_text),
};

const struct tree_node sys_system_nodes[2] = {
    {
        .name = "cpu",
        .mode = S_IFDIR | 0555,
        .children = cpu_nodes,
        .child_count = ARRAY_COUNT(cpu_nodes),
        .find = find_cpu,
        .list = list_cpus,
    },
    TREE_DIR("node", node_nodes),
};
