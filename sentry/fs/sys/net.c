/*
 * /sys/class/net and what leads there: the interfaces of the caller's network namespace. An
 * object's key is the interface's index.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/sys/internal.h"
#include "sentry/fs/sys/sys.h"

#define PERMANENT_FLAGS (IFF_UP | IFF_BROADCAST | IFF_LOOPBACK | IFF_MULTICAST)

static int (*interface_at)(int place, struct sys_interface *ret);

void sys_set_interfaces(int (*at)(int place, struct sys_interface *ret))
{
    interface_at = at;
}

static bool look(uint64_t index, struct sys_interface *ret)
{
    for (int place = 0; interface_at && interface_at(place, ret) == 0; place++)
        if ((uint64_t)ret->index == index)
            return true;
    return false;
}

/* ---- of one interface ---------------------------------------------------------------------- */

#define NET_TEXT(name_, format_, value_)                                                           \
    static ssize_t name_##_text(uint64_t index, char *buf, size_t size)                            \
    {                                                                                              \
        struct sys_interface i;                                                                    \
                                                                                                   \
        if (!look(index, &i))                                                                      \
            return -ENODEV;                                                                        \
        return snprintf(buf, size, format_ "\n", value_);                                          \
    }
NET_TEXT(flags, "0x%x", i.flags &PERMANENT_FLAGS)
NET_TEXT(index, "%d", i.index)
NET_TEXT(mtu, "%d", i.mtu)
NET_TEXT(state, "%s", i.flags &IFF_UP ? i.flags &IFF_LOOPBACK ? "unknown" : "up" : "down")
NET_TEXT(queue, "%d", i.queue)
NET_TEXT(type, "%d", i.type)
NET_TEXT(rx_bytes, "%lu", i.in_bytes)
NET_TEXT(rx_packets, "%lu", i.in_frames)
NET_TEXT(rx_dropped, "%lu", i.in_dropped)
NET_TEXT(tx_bytes, "%lu", i.out_bytes)
NET_TEXT(tx_packets, "%lu", i.out_frames)

static ssize_t carrier_text(uint64_t index, char *buf, size_t size)
{
    struct sys_interface i;

    if (!look(index, &i))
        return -ENODEV;
    return i.flags & IFF_UP ? snprintf(buf, size, "1\n") : -EINVAL;
}

static ssize_t uevent_text(uint64_t index, char *buf, size_t size)
{
    struct sys_interface i;

    if (!look(index, &i))
        return -ENODEV;
    return snprintf(buf, size, "INTERFACE=%s\nIFINDEX=%d\n", i.name, i.index);
}

static ssize_t put_address(const uint8_t a[6], char *buf, size_t size)
{
    return snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x\n", a[0], a[1], a[2], a[3], a[4],
                    a[5]);
}

static ssize_t address_text(uint64_t index, char *buf, size_t size)
{
    struct sys_interface i;

    return look(index, &i) ? put_address(i.address, buf, size) : -ENODEV;
}

static ssize_t broadcast_text(uint64_t index, char *buf, size_t size)
{
    struct sys_interface i;

    if (!look(index, &i))
        return -ENODEV;
    memset(i.address, i.flags & IFF_LOOPBACK ? 0 : 0xff, sizeof(i.address));
    return put_address(i.address, buf, size);
}

static const struct tree_node statistics_nodes[] = {
    TREE_FIXED("collisions", "0\n"),      TREE_FIXED("multicast", "0\n"),
    TREE_TEXT("rx_bytes", rx_bytes_text), TREE_TEXT("rx_dropped", rx_dropped_text),
    TREE_FIXED("rx_errors", "0\n"),       TREE_TEXT("rx_packets", rx_packets_text),
    TREE_TEXT("tx_bytes", tx_bytes_text), TREE_FIXED("tx_dropped", "0\n"),
    TREE_FIXED("tx_errors", "0\n"),       TREE_TEXT("tx_packets", tx_packets_text),
};
static const struct tree_node interface_nodes[] = {
    TREE_FIXED("addr_len", "6\n"),
    TREE_TEXT("address", address_text),
    TREE_TEXT("broadcast", broadcast_text),
    TREE_TEXT("carrier", carrier_text),
    TREE_FIXED("dev_id", "0x0\n"),
    TREE_FIXED("dormant", "0\n"),
    TREE_TEXT("flags", flags_text),
    TREE_TEXT("ifindex", index_text),
    TREE_TEXT("iflink", index_text),
    TREE_FIXED("link_mode", "0\n"),
    TREE_TEXT("mtu", mtu_text),
    TREE_TEXT("operstate", state_text),
    TREE_DIR("statistics", statistics_nodes),
    TREE_LINK("subsystem", "../../../../class/net"),
    TREE_TEXT("tx_queue_len", queue_text),
    TREE_TEXT("type", type_text),
    TREE_TEXT("uevent", uevent_text),
};

/* ---- the directories that they are in ------------------------------------------------------- */

static ssize_t class_link(uint64_t index, char *buf, size_t size)
{
    struct sys_interface i;
    int n;

    if (!look(index, &i))
        return -ENOENT;
    n = snprintf(buf, size, "../../devices/virtual/net/%s", i.name);
    return (size_t)n < size ? n : -ENAMETOOLONG;
}

static const struct tree_node interface_dir = {.mode = S_IFDIR | 0555,
                                               .children = interface_nodes,
                                               .child_count = ARRAY_COUNT(interface_nodes)};
static const struct tree_node class_node = {.mode = S_IFLNK | 0777, .readlink = class_link};

static int find(struct name name, uint64_t *ret_key)
{
    struct sys_interface i;

    for (int place = 0; interface_at && interface_at(place, &i) == 0; place++)
        if (strlen(i.name) == name.size && memcmp(i.name, name.text, name.size) == 0) {
            *ret_key = (uint64_t)i.index;
            return 0;
        }
    return -ENOENT;
}

static int64_t list(int64_t from, char *ret_name, size_t size)
{
    struct sys_interface i;

    if (from > INT32_MAX || !interface_at || interface_at((int)from, &i) < 0)
        return -1;
    snprintf(ret_name, size, "%s", i.name);
    return from;
}

#define DIRECTORY(name_, node_)                                                                    \
    int sys_find_##name_(uint64_t key, struct name name, const struct tree_node **ret_node,        \
                         uint64_t *ret_key)                                                        \
    {                                                                                              \
        int err = find(name, ret_key);                                                             \
                                                                                                   \
        if (!err)                                                                                  \
            *ret_node = node_;                                                                     \
        return err;                                                                                \
    }                                                                                              \
    int64_t sys_list_##name_(uint64_t key, int64_t from, char *ret_name, size_t size,              \
                             const struct tree_node **ret_node)                                    \
    {                                                                                              \
        int64_t place = list(from, ret_name, size);                                                \
                                                                                                   \
        if (place >= 0)                                                                            \
            *ret_node = node_;                                                                     \
        return place;                                                                              \
    }
DIRECTORY(virtual_net, &interface_dir)
DIRECTORY(class_net, &class_node)
