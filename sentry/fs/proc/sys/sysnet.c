/* /proc/sys/net: limits of sockets that programs look up. They are what they are. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/netcaller.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/net/netns.h"
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
/* proc_dointvec(): one number, as a tag of the caller's network namespace. */
static ssize_t tag_text(enum net_tag which, char *buf, size_t size)
{
    struct ns *ns = task_get_ns(task_current(), NS_NET);
    int value = net_ns_tag(net_of_namespace(ns), which);

    ns_unref(ns);
    return snprintf(buf, size, "%d\n", value);
}

static int tag_write(enum net_tag which, const char *text)
{
    struct ns *ns;
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 0);
    if (errno || end == text || (*end && *end != '\n' && *end != ' ') || value < INT_MIN ||
        value > INT_MAX)
        return -EINVAL;
    ns = task_get_ns(task_current(), NS_NET);
    net_ns_set_tag(net_of_namespace(ns), which, (int)value);
    ns_unref(ns);
    return 0;
}

#define TAG(name_, which_)                                                                         \
    static ssize_t tag_##name_##_text(uint64_t key, char *buf, size_t size)                        \
    {                                                                                              \
        return tag_text(which_, buf, size);                                                        \
    }                                                                                              \
    static int tag_##name_##_write(uint64_t key, const char *text, size_t size)                    \
    {                                                                                              \
        return tag_write(which_, text);                                                            \
    }                                                                                              \
    static const struct tree_node ipv4_##name_##_nodes[] = {{                                      \
        .name = "tag",                                                                             \
        .mode = S_IFREG | 0644,                                                                    \
        .text = tag_##name_##_text,                                                                \
        .write = tag_##name_##_write,                                                              \
    }};
TAG(all, NET_TAG_ALL)
TAG(default, NET_TAG_DEFAULT)
TAG(lo, NET_TAG_LO)

static const struct tree_node ipv4_conf_nodes[] = {
    TREE_DIR("all", ipv4_all_nodes),
    TREE_DIR("default", ipv4_default_nodes),
    TREE_DIR("lo", ipv4_lo_nodes),
};
/* As sockets answer when they are asked (tcp(7), ip(7)); what can be changed, a socket changes. */
static const struct tree_node ipv4_nodes[] = {
    TREE_DIR("conf", ipv4_conf_nodes),
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
    TREE_FIXED("tcp_fastopen", "1\n"),
    TREE_FIXED("tcp_fin_timeout", "60\n"),
    TREE_FIXED("tcp_keepalive_intvl", "75\n"),
    TREE_FIXED("tcp_keepalive_probes", "9\n"),
    TREE_FIXED("tcp_keepalive_time", "7200\n"),
    TREE_TEXT("tcp_max_syn_backlog", somaxconn_text),
    TREE_FIXED("tcp_rmem", "4096\t131072\t1048576\n"),
    TREE_FIXED("tcp_sack", "1\n"),
    TREE_FIXED("tcp_syn_retries", "6\n"),
    TREE_FIXED("tcp_timestamps", "1\n"),
    TREE_FIXED("tcp_window_scaling", "1\n"),
    TREE_FIXED("tcp_wmem", "4096\t16384\t1048576\n"),
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
