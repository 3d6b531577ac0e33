/* /proc/sys/fs/inotify, mount-max, lease-break-time: limits that the administrator can change. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/event/inotify.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/fanotify/fanotify.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/mount/mount.h"

static int set(uint32_t *value, const char *text, uint32_t low, uint32_t high)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (!vfs_has_cap(CAP_SYS_ADMIN))
        return -EPERM;
    if (end == text || (*end != '\0' && *end != '\n') || number < low || number > high)
        return -EINVAL;
    __atomic_store_n(value, (uint32_t)number, __ATOMIC_RELAXED);
    return 0;
}

#define LIMIT(name_, value_, low_, high_)                                                          \
    static ssize_t name_##_text(uint64_t key, char *buf, size_t size)                              \
    {                                                                                              \
        return snprintf(buf, size, "%u\n", __atomic_load_n(&(value_), __ATOMIC_RELAXED));          \
    }                                                                                              \
    static int name_##_write(uint64_t key, const char *text, size_t size)                          \
    {                                                                                              \
        return set(&(value_), text, low_, high_);                                                  \
    }
/* What can be queued and watched takes memory of the Sentry: there is an end to it. */
LIMIT(max_queued_events, inotify_max_queued, 0, 1U << 17)
LIMIT(max_user_instances, inotify_max_instances, 0, 1U << 13)
LIMIT(max_user_watches, inotify_max_watches, 0, 1U << 20)
LIMIT(fan_max_queued, fanotify_max_queued, 0, 1U << 17)
LIMIT(fan_max_groups, fanotify_max_groups, 0, 1U << 13)
LIMIT(fan_max_marks, fanotify_max_marks, 0, 1U << 18)
LIMIT(lease_break_time, lease_break_seconds, 0, INT32_MAX)
LIMIT(mount_max, mount_max, 1, 100000)

#define LIMIT_NODE(name_, fn_)                                                                     \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = fn_##_text, .write = fn_##_write            \
    }

const struct tree_node proc_inotify_nodes[3] = {
    LIMIT_NODE("max_queued_events", max_queued_events),
    LIMIT_NODE("max_user_instances", max_user_instances),
    LIMIT_NODE("max_user_watches", max_user_watches),
};

const struct tree_node proc_fanotify_nodes[3] = {
    LIMIT_NODE("max_queued_events", fan_max_queued),
    LIMIT_NODE("max_user_groups", fan_max_groups),
    LIMIT_NODE("max_user_marks", fan_max_marks),
};

ssize_t proc_lease_break_time_text(uint64_t key, char *buf, size_t size)
{
    return lease_break_time_text(key, buf, size);
}

int proc_lease_break_time_write(uint64_t key, const char *text, size_t size)
{
    return lease_break_time_write(key, text, size);
}

ssize_t proc_mount_max_text(uint64_t key, char *buf, size_t size)
{
    return mount_max_text(key, buf, size);
}

int proc_mount_max_write(uint64_t key, const char *text, size_t size)
{
    return mount_max_write(key, text, size);
}
