/* /proc/PID/ns: links to the task's namespaces, for those who may look into it. */
#include <errno.h>
#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/nsproxy.h"

typedef struct ns *(*get_fn)(struct task *task, enum ns_type type);

static ssize_t get_ns(uint64_t tid, get_fn get, enum ns_type type, struct ns **ret)
{
    struct task *task;
    int err = proc_look_into(tid, &task);

    if (err < 0)
        return err;
    *ret = get(task, type);
    task_unref(task);
    return *ret ? 0 : -ENOENT;
}

static ssize_t show(uint64_t tid, get_fn get, enum ns_type type, char *buf, size_t size)
{
    struct ns *ns;
    ssize_t n = get_ns(tid, get, type, &ns);

    if (n < 0)
        return n;
    n = snprintf(buf, size, "%s:[%lu]", ns_name(type), ns->inum);
    ns_unref(ns);
    return n;
}

static int follow(uint64_t tid, get_fn get, enum ns_type type, struct link_target *ret)
{
    struct ns *ns;
    int err = (int)get_ns(tid, get, type, &ns);

    if (err < 0)
        return err;
    err = nsfs_path(ns, &ret->path);
    ns_unref(ns);
    return err;
}

#define NS_LINK(name_, get_, type_)                                                                \
    static ssize_t name_##_readlink(uint64_t tid, char *buf, size_t size)                          \
    {                                                                                              \
        return show(tid, get_, type_, buf, size);                                                  \
    }                                                                                              \
    static int name_##_follow(uint64_t tid, struct link_target *ret)                               \
    {                                                                                              \
        return follow(tid, get_, type_, ret);                                                      \
    }
NS_LINK(cgroup, task_get_ns, NS_CGROUP)
NS_LINK(ipc, task_get_ns, NS_IPC)
NS_LINK(mnt, task_get_ns, NS_MNT)
NS_LINK(net, task_get_ns, NS_NET)
NS_LINK(pid, task_get_ns, NS_PID)
NS_LINK(pid_for_children, task_get_child_ns, NS_PID)
NS_LINK(time, task_get_ns, NS_TIME)
NS_LINK(time_for_children, task_get_child_ns, NS_TIME)
NS_LINK(user, task_get_ns, NS_USER)
NS_LINK(uts, task_get_ns, NS_UTS)

#define NS_NODE(name_, kind)                                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFLNK | 0777, .readlink = kind##_readlink,                        \
        .follow = kind##_follow, .owner = proc_task_owner                                          \
    }

const struct tree_node proc_ns_nodes[10] = {
    NS_NODE("cgroup", cgroup), NS_NODE("ipc", ipc),
    NS_NODE("mnt", mnt),       NS_NODE("net", net),
    NS_NODE("pid", pid),       NS_NODE("pid_for_children", pid_for_children),
    NS_NODE("time", time),     NS_NODE("time_for_children", time_for_children),
    NS_NODE("user", user),     NS_NODE("uts", uts),
};
