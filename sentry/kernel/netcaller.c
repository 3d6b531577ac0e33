#include "sentry/kernel/netcaller.h"

#include <errno.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/fs/sys/sys.h"
#include "sentry/kernel/async.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/net/caller.h"
#include "sentry/net/netlink/netlink.h"
#include "sentry/net/netns.h"
#include "sentry/net/frames.h"
#include "sentry/net/inet/inet.h"
#include "sentry/net/packet/packet.h"
#include "sentry/net/unix/unix.h"
#include "sentry/net/vsock/vsock.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

static void describe_caller(struct net_caller *ret)
{
    struct task *task = task_current();

    if (!task)
        return;
    ret->pid = task->process->pid;
    ret->serial = task->process->serial;
    ret->uid = task->cred->uid;
    ret->gid = task->cred->gid;
    ret->euid = task->cred->euid;
    ret->egid = task->cred->egid;
    ret->fs = task->fs;
    ret->nofile = task_rlimit(task, RLIMIT_NOFILE);
    ret->may_exceed = task_has_cap(task, CAP_SYS_RESOURCE) || task_has_cap(task, CAP_SYS_ADMIN);
}

static struct net_peer *describe_peer(void)
{
    struct task *task = task_current();
    struct net_peer *peer;
    uint32_t count;

    if (!task)
        return NULL;
    count = task->cred->group_count;
    peer = malloc(sizeof(*peer) + count * sizeof(peer->groups[0]));
    if (!peer)
        return NULL;
    refcount_set(&peer->refs, 1);
    peer->pid = task->process->pid;
    peer->serial = task->process->serial;
    peer->uid = task->cred->euid;
    peer->gid = task->cred->egid;
    peer->group_count = count;
    memcpy(peer->groups, task->cred->groups, count * sizeof(peer->groups[0]));
    return peer;
}

/* Over a namespace that the caller is not in, the first user namespace alone says. */
static bool caller_capable(const struct net_ns *net, int cap)
{
    const struct task *task = task_current();
    struct ns *ns;

    if (!task)
        return false;
    ns = task->namespaces->ns[NS_NET];
    return net_of_namespace(ns) == net ? task_has_ns_cap(task, ns->owner, cap)
                                       : task_has_cap(task, cap);
}

static int check_process(struct task *asker, uint32_t pid)
{
    struct pid_ns *pids = asker->process->pid_ns;
    struct task *task =
        pid <= INT32_MAX ? task_find(asker->kernel, pid_global(pids, (int32_t)pid)) : NULL;
    struct ns *ns = task ? task_get_ns(task, NS_NET) : NULL;
    int err = ns ? 0 : -ESRCH;

    ns_unref(ns);
    task_unref(task);
    return err;
}

/* get_net_ns_by_pid(), get_net_ns_by_fd() */
static int check_reference(uint32_t number, enum net_reference by)
{
    struct task *task = task_current();
    struct file *file;
    const struct ns *ns;
    int err;

    if (!task || by == NET_BY_PID)
        return task ? check_process(task, number) : -ESRCH;
    file = number <= INT32_MAX ? fdtable_get(task->files, (int)number) : NULL;
    if (!file)
        return -EBADF;
    ns = ns_of_file(file);
    err = ns && ns->type == NS_NET ? 0 : -EINVAL;
    file_unref(file);
    return err;
}

static const struct net_kernel net_kernel = {
    .caller = describe_caller,
    .peer = describe_peer,
    .capable = caller_capable,
    .check_reference = check_reference,
    .urgent = async_urgent,
};

/* /sys/class/net: lo, and what there is beside it. */
static int interface_at(int place, struct sys_interface *ret)
{
    const struct task *task = task_current();
    const struct net_ns *net = task ? task_net(task) : NULL;
    const struct net_outward *outward = net ? net_ns_outward(net) : NULL;
    struct net_device device;

    if (net && place == 0)
        net_ns_device(net, LO_INDEX, &device);
    else if (place == 1 && outward && outward->device)
        outward->device(&device);
    else
        return -ENOENT;
    *ret = (struct sys_interface){
        .index = device.index,
        .mtu = device.mtu,
        .queue = LO_TX_QUEUE,
        .flags = place == 0 ? net_ns_lo_flags(net)
                            : IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST,
        .type = device.type,
        .in_frames = device.in_frames,
        .in_bytes = device.in_bytes,
        .in_dropped = device.in_dropped,
        .out_frames = device.out_frames,
        .out_bytes = device.out_bytes,
    };
    memcpy(ret->name, device.name, sizeof(ret->name));
    memcpy(ret->address, device.address, sizeof(ret->address));
    return 0;
}

static const struct net_frame_users frame_users = {
    .seen = packet_frame_seen,
    .arrived = inet_packet_arrived,
};

void net_start(struct memfile *memfile)
{
    packet_setup(memfile);
    net_set_kernel(&net_kernel);
    socket_register_family(&unix_family);
    socket_register_family(&inet_family);
    socket_register_family(&inet6_family);
    socket_register_family(&netlink_family);
    socket_register_family(&packet_family);
    net_frames_set_users(&frame_users);
    sys_set_interfaces(interface_at);
    socket_register_family(&vsock_family);
}

/* ---- as a namespace ---------------------------------------------------------------------------
 */

struct net_namespace {
    struct ns ns;
    struct net_ns *net; /* owned reference */
};

static void net_namespace_release(struct ns *ns)
{
    struct net_namespace *n = container_of(ns, struct net_namespace, ns);

    net_ns_unref(n->net);
    free(n);
}

struct ns *net_namespace_create(bool first)
{
    struct net_namespace *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->ns.release = net_namespace_release;
    if (net_ns_create(first, &n->net) < 0) {
        free(n);
        return NULL;
    }
    return &n->ns;
}

struct net_ns *net_of_namespace(struct ns *ns)
{
    return container_of(ns, struct net_namespace, ns)->net;
}

struct net_ns *task_net(const struct task *task)
{
    return net_of_namespace(task->namespaces->ns[NS_NET]);
}
