/*
 * /proc/PID/attr: what a security module would say. There is none here that says anything, as on a
 * Linux without SELinux or AppArmor: the files are there and refuse.
 */
#include <errno.h>

#include "sentry/fs/proc/internal.h"

static ssize_t nothing_text(uint64_t key, char *buf, size_t size)
{
    return -EINVAL;
}

static int nothing_write(uint64_t key, const char *text, size_t size)
{
    return -EINVAL;
}

#define ATTR(name_, mode_)                                                                         \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | (mode_), .text = nothing_text, .write = nothing_write,    \
        .text_at_read = true, .owner = proc_task_owner                                             \
    }

const struct tree_node proc_attr_nodes[PROC_ATTR_NODES] = {
    ATTR("current", 0666),   ATTR("exec", 0666), ATTR("fscreate", 0666),
    ATTR("keycreate", 0666), ATTR("prev", 0444), ATTR("sockcreate", 0666),
};
