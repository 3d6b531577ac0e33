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
const struct tree_node proc_sys_net_nodes[PROC_SYS_NET_NODES] = {
    TREE_DIR("core", core_nodes),
    TREE_DIR("unix", unix_nodes),
};
