/* /proc/PID/ns: links to the task's namespaces, for those who may look into it. */
#include <errno.h>
#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns.h"

static ssize_t get_ns(uint64_t tid, enum ns_type type, struct ns **ret)
{
    struct task *task;
    int err = proc_look_into(tid, &task);

    if (err < 0)
        return err;
    *ret = task_get_ns(task, type);
    task_unref(task);
    return *ret ? 0 : -ENOENT;
}

static ssize_t show(uint64_t tid, enum ns_type type, char *buf, size_t size)
{
    struct ns *ns;
    ssize_t n = get_ns(tid, type, &ns);

    if (n < 0)
        return n;
    n = snprintf(buf, size, "%s:[%lu]", ns_name(type), ns->inum);
    ns_unref(ns);
    return n;
}

static int follow(uint64_t tid, enum ns_type type, struct link_target *ret)
{
    struct ns *ns;
    int err = (int)get_ns(tid, type, &ns);

    if (err < 0)
        return err;
    err = ns_file_create(ns, &ret->file);
    ns_unref(ns);
    return err;
}

#define NS_LINK(name_, type_)                                                                      \
    static ssize_t name_##_readlink(uint64_t tid, char *buf, size_t size)                          \
    {                                                                                              \
        return show(tid, type_, buf, size);                                                        \
    }                                                                                              \
    static int name_##_follow(uint64_t tid, struct link_target *ret)                               \
    {                                                                                              \
        return follow(tid, type_, ret);                                                            \
    }
NS_LINK(cgroup, NS_CGROUP)
NS_LINK(ipc, NS_IPC)
NS_LINK(mnt, NS_MNT)
NS_LINK(net, NS_NET)
NS_LINK(pid, NS_PID)
NS_LINK(time, NS_TIME)
NS_LINK(user, NS_USER)
NS_LINK(uts, NS_UTS)

#define NS_NODE(name_, kind)                                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFLNK | 0777, .readlink = kind##_readlink,                        \
        .follow = kind##_follow, .owner = proc_task_owner                                          \
    }

const struct tree_node proc_ns_nodes[10] = {
    NS_NODE("cgroup", cgroup), NS_NODE("ipc", ipc),
    NS_NODE("mnt", mnt),       NS_NODE("net", net),
    NS_NODE("pid", pid),       NS_NODE("pid_for_children", pid),
    NS_NODE("time", time),     NS_NODE("time_for_children", time),
    NS_NODE("user", user),     NS_NODE("uts", uts),
};
