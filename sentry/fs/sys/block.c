/* /sys/block and what leads there: the loop devices that there are, by name and by number. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/loop/loop.h"
#include "sentry/fs/sys/internal.h"

/* ---- of one device -------------------------------------------------------------------------- */

/* A text with one number of it. */
#define NUMBER_TEXT(name_, format_, value_)                                                        \
    static ssize_t name_##_text(uint64_t number, char *buf, size_t size)                           \
    {                                                                                              \
        struct loop_view view;                                                                     \
                                                                                                   \
        if (!loop_look(number, &view))                                                             \
            return -ENODEV;                                                                        \
        return snprintf(buf, size, format_ "\n", value_);                                          \
    }

NUMBER_TEXT(size, "%lu", view.size / LOOP_SECTOR)
NUMBER_TEXT(ro, "%d", view.read_only)
NUMBER_TEXT(diskseq, "%lu", view.sequence)
NUMBER_TEXT(block_size, "%u", view.block_size)
NUMBER_TEXT(read_ahead, "%lu", view.read_ahead / 1024)
NUMBER_TEXT(offset, "%lu", view.offset)
NUMBER_TEXT(size_limit, "%lu", view.size_limit)
NUMBER_TEXT(autoclear, "%d", (view.flags & LO_FLAGS_AUTOCLEAR) != 0)
NUMBER_TEXT(partscan, "%d", (view.flags & LO_FLAGS_PARTSCAN) != 0)
NUMBER_TEXT(dio, "%d", (view.flags & LO_FLAGS_DIRECT_IO) != 0)

static ssize_t dev_text(uint64_t number, char *buf, size_t size)
{
    return snprintf(buf, size, "%d:%lu\n", LOOP_MAJOR, number);
}

static ssize_t uevent_text(uint64_t number, char *buf, size_t size)
{
    struct loop_view view;

    if (!loop_look(number, &view))
        return -ENODEV;
    return snprintf(buf, size, "MAJOR=%d\nMINOR=%lu\nDEVNAME=loop%lu\nDEVTYPE=disk\nDISKSEQ=%lu\n",
                    LOOP_MAJOR, number, number, view.sequence);
}

static ssize_t backing_file_text(uint64_t number, char *buf, size_t size)
{
    char name[PAGE_SIZE];
    ssize_t n = loop_backing_name(number, name, sizeof(name) - 1);

    return n < 0 ? n : snprintf(buf, size, "%s\n", name);
}

static const struct tree_node binding_nodes[] = {
    TREE_TEXT("autoclear", autoclear_text),
    TREE_TEXT("backing_file", backing_file_text),
    TREE_TEXT("dio", dio_text),
    TREE_TEXT("offset", offset_text),
    TREE_TEXT("partscan", partscan_text),
    TREE_TEXT("sizelimit", size_limit_text),
};
/* It is there while something is bound. */
static const struct tree_node binding_dir = TREE_DIR("loop", binding_nodes);

static int find_binding(uint64_t number, struct name name, const struct tree_node **ret_node,
                        uint64_t *ret_key)
{
    struct loop_view view;

    if (name.size != strlen(binding_dir.name) ||
        memcmp(name.text, binding_dir.name, name.size) != 0 || !loop_look(number, &view) ||
        !view.bound)
        return -ENOENT;
    *ret_node = &binding_dir;
    *ret_key = number;
    return 0;
}

static int64_t list_binding(uint64_t number, int64_t from, char *ret_name, size_t size,
                            const struct tree_node **ret_node)
{
    struct loop_view view;

    if (from > 0 || !loop_look(number, &view) || !view.bound)
        return -1;
    *ret_node = &binding_dir;
    snprintf(ret_name, size, "%s", binding_dir.name);
    return 0;
}

static const struct tree_node queue_nodes[] = {
    TREE_FIXED("dma_alignment", "511\n"),
    TREE_TEXT("logical_block_size", block_size_text),
    TREE_TEXT("minimum_io_size", block_size_text),
    TREE_FIXED("optimal_io_size", "0\n"),
    TREE_TEXT("physical_block_size", block_size_text),
    TREE_TEXT("read_ahead_kb", read_ahead_text),
};
static const struct tree_node device_nodes[] = {
    TREE_FIXED("alignment_offset", "0\n"),
    TREE_TEXT("dev", dev_text),
    TREE_TEXT("diskseq", diskseq_text),
    {.name = "holders", .mode = S_IFDIR | 0555},
    TREE_FIXED("hidden", "0\n"),
    TREE_DIR("queue", queue_nodes),
    TREE_FIXED("removable", "0\n"),
    TREE_TEXT("ro", ro_text),
    TREE_TEXT("size", size_text),
    {.name = "slaves", .mode = S_IFDIR | 0555},
    TREE_LINK("subsystem", "../../../../class/block"),
    TREE_TEXT("uevent", uevent_text),
};

/* ---- the directories that they are in ------------------------------------------------------- */

static ssize_t link_text(uint64_t number, char *buf, size_t size, const char *up)
{
    int n = snprintf(buf, size, "%sdevices/virtual/block/loop%lu", up, number);

    return (size_t)n < size ? n : -ENAMETOOLONG;
}

static ssize_t near_link(uint64_t number, char *buf, size_t size)
{
    return link_text(number, buf, size, "../");
}

static ssize_t far_link(uint64_t number, char *buf, size_t size)
{
    return link_text(number, buf, size, "../../");
}

static const struct tree_node device_dir = {.mode = S_IFDIR | 0555,
                                            .children = device_nodes,
                                            .child_count = ARRAY_COUNT(device_nodes),
                                            .find = find_binding,
                                            .list = list_binding};
static const struct tree_node near_node = {.mode = S_IFLNK | 0777, .readlink = near_link};
static const struct tree_node far_node = {.mode = S_IFLNK | 0777, .readlink = far_link};

static int64_t list_numbers(int64_t from, const char *head, char *ret_name, size_t size)
{
    int64_t number = loop_next((uint64_t)from);

    snprintf(ret_name, size, "%s%ld", head, number);
    return number;
}

#define BY_NAME(name_, node_)                                                                      \
    int sys_find_##name_(uint64_t key, struct name name, const struct tree_node **ret_node,        \
                         uint64_t *ret_key)                                                        \
    {                                                                                              \
        *ret_node = &(node_);                                                                      \
        return loop_parse_name(name.text, name.size, ret_key);                                     \
    }                                                                                              \
    int64_t sys_list_##name_(uint64_t key, int64_t from, char *ret_name, size_t size,              \
                             const struct tree_node **ret_node)                                    \
    {                                                                                              \
        *ret_node = &(node_);                                                                      \
        return list_numbers(from, "loop", ret_name, size);                                         \
    }

BY_NAME(block, near_node)
BY_NAME(class_block, far_node)
BY_NAME(virtual_block, device_dir)

int sys_find_block_number(uint64_t key, struct name name, const struct tree_node **ret_node,
                          uint64_t *ret_key)
{
    int err = sys_parse_numbered(name, "7:", LOOP_LIMIT, ret_key);

    *ret_node = &far_node;
    return err < 0 || loop_next(*ret_key) == (int64_t)*ret_key ? err : -ENOENT;
}

int64_t sys_list_block_numbers(uint64_t key, int64_t from, char *ret_name, size_t size,
                               const struct tree_node **ret_node)
{
    *ret_node = &far_node;
    return list_numbers(from, "7:", ret_name, size);
}
