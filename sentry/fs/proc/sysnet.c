/* /proc/sys/net: limits of sockets that programs look up. They are what they are. */
#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/net/socket.h"
#include "sentry/net/unix/unix.h"

#define TEXT(name_, format_, ...)                                                                  \
    static ssize_t name_##_text(uint64_t key, char *buf, size_t size)                              \
    {                                                                                              \
        return snprintf(buf, size, format_ "\n", __VA_ARGS__);                                     \
    }
TEXT(buffer_default, "%d", SOCKET_BUF_DEFAULT)
TEXT(buffer_max, "%d", SOCKET_BUF_MAX)
TEXT(optmem_max, "%d", SOCKET_OPTMEM_MAX)
TEXT(somaxconn, "%d", SOCKET_SOMAXCONN)
TEXT(max_dgram_qlen, "%d", UNIX_DGRAM_QUEUE)

static const struct tree_node core_nodes[] = {
    TREE_TEXT("optmem_max", optmem_max_text),       TREE_TEXT("rmem_default", buffer_default_text),
    TREE_TEXT("rmem_max", buffer_max_text),         TREE_TEXT("somaxconn", somaxconn_text),
    TREE_TEXT("wmem_default", buffer_default_text), TREE_TEXT("wmem_max", buffer_max_text),
};
static const struct tree_node unix_nodes[] = {
    TREE_TEXT("max_dgram_qlen", max_dgram_qlen_text),
};
/* As sockets answer when they are asked (tcp(7), ip(7)); what can be changed, a socket changes. */
static const struct tree_node ipv4_nodes[] = {
    TREE_FIXED("ip_default_ttl", "64\n"),
    TREE_FIXED("ip_forward", "0\n"),
    TREE_FIXED("ip_local_port_range", "32768\t60999\n"),
    TREE_FIXED("ip_local_reserved_ports", "\n"),
    TREE_FIXED("ip_nonlocal_bind", "0\n"),
    TREE_FIXED("ip_unprivileged_port_start", "1024\n"),
    TREE_FIXED("ping_group_range", "1\t0\n"),
    TREE_FIXED("tcp_allowed_congestion_control", "reno cubic\n"),
    TREE_FIXED("tcp_available_congestion_control", "reno cubic\n"),
    TREE_FIXED("tcp_congestion_control", "cubic\n"),
    TREE_FIXED("tcp_keepalive_intvl", "75\n"),
    TREE_FIXED("tcp_keepalive_probes", "9\n"),
    TREE_FIXED("tcp_keepalive_time", "7200\n"),
    TREE_TEXT("tcp_max_syn_backlog", somaxconn_text),
};
static const struct tree_node ipv6_lo_nodes[] = {TREE_FIXED("disable_ipv6", "0\n")};
static const struct tree_node ipv6_conf_nodes[] = {
    TREE_DIR("all", ipv6_lo_nodes),
    TREE_DIR("default", ipv6_lo_nodes),
    TREE_DIR("lo", ipv6_lo_nodes),
};
static const struct tree_node ipv6_nodes[] = {
    TREE_FIXED("bindv6only", "0\n"),
    TREE_DIR("conf", ipv6_conf_nodes),
};
const struct tree_node proc_sys_net_nodes[PROC_SYS_NET_NODES] = {
    TREE_DIR("core", core_nodes),
    TREE_DIR("ipv4", ipv4_nodes),
    TREE_DIR("ipv6", ipv6_nodes),
    TREE_DIR("unix", unix_nodes),
};
