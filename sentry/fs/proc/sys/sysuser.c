/* /proc/sys/user: how many namespaces a user may make in the caller's user namespace. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/userns.h"

static ssize_t show(enum ns_type type, char *buf, size_t size)
{
    const uint32_t *max = &task_current()->cred->user_ns->max[type];

    return snprintf(buf, size, "%u\n", __atomic_load_n(max, __ATOMIC_RELAXED));
}

/* Who may: CAP_SYS_RESOURCE in that namespace, Linux set_permissions(). */
static int set(enum ns_type type, const char *text)
{
    struct task *task = task_current();
    char *end;
    long value = strtol(text, &end, 10);

    if (!task_has_own_cap(task, CAP_SYS_RESOURCE))
        return -EPERM;
    if (end == text || (*end && *end != '\n') || value < 0 || value > INT32_MAX)
        return -EINVAL;
    __atomic_store_n(&task->cred->user_ns->max[type], (uint32_t)value, __ATOMIC_RELAXED);
    return 0;
}

#define LIMIT_FILE(kind, type)                                                                     \
    static ssize_t kind##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        return show(type, buf, size);                                                              \
    }                                                                                              \
    static int kind##_write(uint64_t key, const char *text, size_t size)                           \
    {                                                                                              \
        return set(type, text);                                                                    \
    }
LIMIT_FILE(cgroup, NS_CGROUP)
LIMIT_FILE(ipc, NS_IPC)
LIMIT_FILE(mnt, NS_MNT)
LIMIT_FILE(net, NS_NET)
LIMIT_FILE(pid, NS_PID)
LIMIT_FILE(time, NS_TIME)
LIMIT_FILE(user, NS_USER)
LIMIT_FILE(uts, NS_UTS)

#define LIMIT_NODE(kind)                                                                           \
    {                                                                                              \
        .name = "max_" #kind "_namespaces", .mode = S_IFREG | 0644, .text = kind##_text,           \
        .write = kind##_write                                                                      \
    }
const struct tree_node proc_sys_user_nodes[NS_TYPES] = {
    LIMIT_NODE(cgroup), LIMIT_NODE(ipc),  LIMIT_NODE(mnt),  LIMIT_NODE(net),
    LIMIT_NODE(pid),    LIMIT_NODE(time), LIMIT_NODE(user), LIMIT_NODE(uts),
};
