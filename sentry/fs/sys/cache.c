/*
 * /sys/devices/system/cpu/cpuN/cache: what CPUID tells of the caches (leaf 4 of Intel's, SDM volume
 * 2; leaf 0x8000001d of AMD's, APM volume 3). The last level is shared by all processors of the
 * sandbox, the others belong to one core.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/sys/internal.h"

#define INTEL_LEAF      4
#define AMD_LEAF        0x8000001d
#define INDEX_MAX       8
#define SHARED_LEVEL    3

#define KEY(cpu, index) ((cpu) | (uint64_t)(index) << 32)
#define KEY_CPU(key)    ((key)&UINT32_MAX)
#define KEY_INDEX(key)  ((unsigned)((key) >> 32))

enum cache_type { CACHE_NONE, CACHE_DATA, CACHE_INSTRUCTION, CACHE_UNIFIED };

struct cache {
    enum cache_type type;
    unsigned level, line, partitions, ways, sets;
};

static bool read_leaf(unsigned leaf, unsigned index, struct cache *ret)
{
    unsigned a, b, c, d;

    if (!__get_cpuid_count(leaf, index, &a, &b, &c, &d) || (a & 31) == CACHE_NONE ||
        (a & 31) > CACHE_UNIFIED)
        return false;
    *ret = (struct cache){
        .type = a & 31,
        .level = a >> 5 & 7,
        .line = (b & 0xfff) + 1,
        .partitions = (b >> 12 & 0x3ff) + 1,
        .ways = (b >> 22) + 1,
        .sets = c + 1,
    };
    return true;
}

static bool cache_get(unsigned index, struct cache *ret)
{
    return index < INDEX_MAX &&
           (read_leaf(AMD_LEAF, index, ret) || read_leaf(INTEL_LEAF, index, ret));
}

#define CACHE_TEXT(name, format, ...)                                                              \
    static ssize_t name##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        struct cache c = {0};                                                                      \
                                                                                                   \
        return cache_get(KEY_INDEX(key), &c) ? snprintf(buf, size, format "\n", __VA_ARGS__)       \
                                             : -ENOENT;                                            \
    }
static const char *const type_names[] = {"", "Data", "Instruction", "Unified"};

CACHE_TEXT(id, "%lu", c.level >= SHARED_LEVEL ? 0 : KEY_CPU(key))
CACHE_TEXT(level, "%u", c.level)
CACHE_TEXT(line, "%u", c.line)
CACHE_TEXT(partition, "%u", c.partitions)
CACHE_TEXT(sets, "%u", c.sets)
CACHE_TEXT(size, "%luK", (uint64_t)c.line *c.partitions *c.ways *c.sets / 1024)
CACHE_TEXT(type, "%s", type_names[c.type])
CACHE_TEXT(ways, "%u", c.ways)

static bool is_shared(uint64_t key)
{
    struct cache c = {0};

    return cache_get(KEY_INDEX(key), &c) && c.level >= SHARED_LEVEL;
}

static ssize_t shared_list_text(uint64_t key, char *buf, size_t size)
{
    return sys_put_cpu_list(is_shared(key) ? -1 : (int64_t)KEY_CPU(key), buf, size);
}

static ssize_t shared_map_text(uint64_t key, char *buf, size_t size)
{
    return sys_put_cpu_mask(is_shared(key) ? -1 : (int64_t)KEY_CPU(key), buf, size);
}

static const struct tree_node index_nodes[] = {
    TREE_TEXT("coherency_line_size", line_text),
    TREE_TEXT("id", id_text),
    TREE_TEXT("level", level_text),
    TREE_TEXT("number_of_sets", sets_text),
    TREE_TEXT("physical_line_partition", partition_text),
    TREE_TEXT("shared_cpu_list", shared_list_text),
    TREE_TEXT("shared_cpu_map", shared_map_text),
    TREE_TEXT("size", size_text),
    TREE_TEXT("type", type_text),
    TREE_FIXED("uevent", ""),
    TREE_TEXT("ways_of_associativity", ways_text),
};
static const struct tree_node index_node = TREE_DIR("", index_nodes);

int sys_find_cache(uint64_t cpu, struct name name, const struct tree_node **ret_node,
                   uint64_t *ret_key)
{
    struct cache c;

    if (name.size != 6 || memcmp(name.text, "index", 5) != 0 || name.text[5] < '0' ||
        name.text[5] > '9' || !cache_get((unsigned)(name.text[5] - '0'), &c))
        return -ENOENT;
    *ret_node = &index_node;
    *ret_key = KEY(cpu, name.text[5] - '0');
    return 0;
}

int64_t sys_list_caches(uint64_t cpu, int64_t from, char *ret_name, size_t size,
                        const struct tree_node **ret_node)
{
    struct cache c;

    if (from >= INDEX_MAX || !cache_get((unsigned)from, &c))
        return -1;
    snprintf(ret_name, size, "index%ld", from);
    *ret_node = &index_node;
    return from;
}
