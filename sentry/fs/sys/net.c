/* /sys/class/net: the loopback interface. */
#include <stdio.h>

#include "abi/loopback.h"
#include "sentry/fs/sys/internal.h"

#define NET_TEXT(name_, format_, ...)                                                              \
    static ssize_t name_##_text(uint64_t key, char *buf, size_t size)                              \
    {                                                                                              \
        return snprintf(buf, size, format_ "\n", __VA_ARGS__);                                     \
    }
NET_TEXT(zero, "%d", 0)
NET_TEXT(carrier, "%d", 1)
NET_TEXT(hardware, "%s", "00:00:00:00:00:00")
NET_TEXT(address_size, "%d", 6)
NET_TEXT(flags, "0x%x", LO_FLAGS & 0x9)
NET_TEXT(index, "%d", LO_INDEX)
NET_TEXT(mtu, "%d", LO_MTU)
NET_TEXT(state, "%s", "unknown")
NET_TEXT(queue, "%d", LO_TX_QUEUE)
NET_TEXT(type, "%d", LO_TYPE)
NET_TEXT(uevent, "INTERFACE=%s\nIFINDEX=%d", LO_NAME, LO_INDEX)

static const struct tree_node statistics_nodes[] = {
    TREE_TEXT("collisions", zero_text), TREE_TEXT("multicast", zero_text),
    TREE_TEXT("rx_bytes", zero_text),   TREE_TEXT("rx_dropped", zero_text),
    TREE_TEXT("rx_errors", zero_text),  TREE_TEXT("rx_packets", zero_text),
    TREE_TEXT("tx_bytes", zero_text),   TREE_TEXT("tx_dropped", zero_text),
    TREE_TEXT("tx_errors", zero_text),  TREE_TEXT("tx_packets", zero_text),
};
static const struct tree_node lo_nodes[] = {
    TREE_TEXT("addr_len", address_size_text), TREE_TEXT("address", hardware_text),
    TREE_TEXT("broadcast", hardware_text),    TREE_TEXT("carrier", carrier_text),
    TREE_TEXT("flags", flags_text),           TREE_TEXT("ifindex", index_text),
    TREE_TEXT("iflink", index_text),          TREE_TEXT("mtu", mtu_text),
    TREE_TEXT("operstate", state_text),       TREE_DIR("statistics", statistics_nodes),
    TREE_TEXT("tx_queue_len", queue_text),    TREE_TEXT("type", type_text),
    TREE_TEXT("uevent", uevent_text),
};
const struct tree_node sys_virtual_net_nodes[1] = {TREE_DIR(LO_NAME, lo_nodes)};
const struct tree_node sys_class_net_nodes[1] = {
    TREE_LINK(LO_NAME, "../../devices/virtual/net/" LO_NAME),
};
