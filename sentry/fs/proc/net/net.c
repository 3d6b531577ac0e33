/* /proc/PID/net: the network namespace of a task, as /proc/net shows the caller's. */
#include <errno.h>

#include "abi/loopback.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/netcaller.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/net/netlink/netlink.h"
#include "sentry/net/netns.h"
#include "sentry/net/packet/packet.h"
#include "sentry/net/unix/unix.h"

struct net_ns *proc_find_net(uint64_t tid, struct ns **ret_ns)
{
    struct task *task = proc_find_task(tid);

    *ret_ns = task ? task_get_ns(task, NS_NET) : NULL;
    task_unref(task);
    return *ret_ns ? net_of_namespace(*ret_ns) : NULL;
}

static void put_device(struct proc_text *text, const struct net_device *d)
{
    proc_printf(text,
                "%6s: %7lu %7lu %4d %4lu %4d %5d %10d %9d %8lu %7lu %4d %4d %4d %5d %7d %10d\n",
                d->name, d->in_bytes, d->in_frames, 0, d->in_dropped, 0, 0, 0, 0, d->out_bytes,
                d->out_frames, 0, 0, 0, 0, 0, 0);
}

static ssize_t dev_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    const struct net_outward *outward;
    struct net_device device;
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&text,
                "Inter-|   Receive                                                |  Transmit\n"
                " face |bytes    packets errs drop fifo frame compressed multicast|"
                "bytes    packets errs drop fifo colls carrier compressed\n");
    if (net_ns_device(net, LO_INDEX, &device) == 0)
        put_device(&text, &device);
    outward = net_ns_outward(net);
    if (outward && outward->device) {
        outward->device(&device);
        put_device(&text, &device);
    }
    ns_unref(ns);
    return (ssize_t)text.length;
}

static bool show_unix(void *arg, const struct socket_info *info)
{
    char name[sizeof(info->name) + 1] = {0};

    for (uint32_t i = 0; i < info->name_size; i++)
        name[i] = info->name[i] ? info->name[i] : '@';
    proc_printf(arg, "%016x: %08X %08X %08X %04X %02X %5lu", 0, info->refs, 0,
                info->state == SOCKET_LISTENING ? 0x10000 : 0, info->type,
                info->state == SOCKET_ESTABLISHED ? 3 : 1, info->ino);
    proc_printf(arg, *name ? " %s\n" : "%s\n", name);
    return true;
}

static ssize_t unix_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&text, "Num               RefCount Protocol Flags    Type St Inode Path\n");
    unix_family.list(net, show_unix, &text);
    ns_unref(ns);
    return (ssize_t)text.length;
}

static bool show_netlink(void *arg, const struct netlink_info *info)
{
    proc_printf(arg, "%016x %-3u %-10u %08x %-8u %-8u %-5u %-8u %-8u %-8lu\n", 0, info->protocol,
                info->port, info->groups, info->queued, 0, 0, info->refs, info->drops, info->ino);
    return true;
}

static ssize_t netlink_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&text, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    "
                       "Drops    Inode\n");
    netlink_list(net, show_netlink, &text);
    ns_unref(ns);
    return (ssize_t)text.length;
}

static ssize_t if_inet6_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    if (net_ns_lo_has_address(net, AF_INET6))
        proc_printf(&text, "%031d1 %02x %02x %02x %02x %8s\n", 0, LO_INDEX, 128, 0x10, 0x80,
                    LO_NAME);
    ns_unref(ns);
    return (ssize_t)text.length;
}

/* IPv4's main table, which is empty: the routes to ourselves are in another one. */
static ssize_t route_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(
        &text, "%-127s\n",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    return (ssize_t)text.length;
}

static ssize_t arp_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(&text, "IP address       HW type     Flags       HW address            Mask     "
                       "Device\n");
    return (ssize_t)text.length;
}

static void show_packet(void *arg, const struct packet_info *info)
{
    proc_printf(arg, "%016x %-6u %-4d %04x   %-5d %1d %-6u %-6u %-6lu\n", 0, info->refs, info->type,
                info->protocol, info->interface, info->running, info->queued, info->uid, info->ino);
}

static ssize_t packet_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&text, "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n");
    packet_list(net, show_packet, &text);
    ns_unref(ns);
    return (ssize_t)text.length;
}

/* ---- from outside -----------------------------------------------------------------------------
 */

/* What the namespace's network beyond the loopback tells, else the loopback's own. */
static ssize_t shown(uint64_t tid, const char *name,
                     ssize_t (*own)(uint64_t tid, char *buf, size_t size), char *buf, size_t size)
{
    const struct net_outward *outward;
    ssize_t n = -ENOENT;
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    outward = net_ns_outward(net);
    if (outward)
        n = outward->proc_text(name, buf, size);
    ns_unref(ns);
    return n == -ENOENT ? own(tid, buf, size) : n;
}

#define SHOWN(name, own)                                                                           \
    static ssize_t name##_shown(uint64_t tid, char *buf, size_t size)                              \
    {                                                                                              \
        return shown(tid, #name, own, buf, size);                                                  \
    }
SHOWN(arp, arp_text)
SHOWN(dev, dev_text)
SHOWN(if_inet6, if_inet6_text)
SHOWN(packet, packet_text)
SHOWN(route, route_text)
SHOWN(sockstat, proc_net_sockstat_text)
SHOWN(tcp, proc_net_tcp_text)
SHOWN(tcp6, proc_net_tcp6_text)
SHOWN(udp, proc_net_udp_text)
SHOWN(udp6, proc_net_udp6_text)

static ssize_t psched_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(&text, "%08x %08x %08x %08x\n", 1000, 64, 1000000, 1000000000);
    return (ssize_t)text.length;
}

static ssize_t ptype_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(&text, "Type Device      Function\n0800          ip_rcv\n86dd          ipv6_rcv\n");
    return (ssize_t)text.length;
}

/* No devices have groups of link addresses; nobody has an anycast address. */
static ssize_t empty_text(uint64_t tid, char *buf, size_t size)
{
    return 0;
}

static ssize_t icmp_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(
        &text, "%-127s\n",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
        "timeout inode ref pointer drops");
    return (ssize_t)text.length;
}

static ssize_t icmp6_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(&text, "  sl  local_address                         remote_address                "
                       "        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
                       "pointer drops\n");
    return (ssize_t)text.length;
}

static ssize_t ip6_flowlabel_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    proc_printf(&text, "%-5s %-1s %-6s %-6s %-6s %-8s %-32s %s\n", "Label", "S", "Owner", "Users",
                "Linger", "Expires", "Dst", "Opt");
    return (ssize_t)text.length;
}

SHOWN(snmp, proc_net_snmp_text)
SHOWN(snmp6, proc_net_snmp6_text)
SHOWN(netstat, proc_net_netstat_text)
SHOWN(sockstat6, proc_net_sockstat6_text)
SHOWN(igmp, proc_net_igmp_text)
SHOWN(igmp6, proc_net_igmp6_text)
SHOWN(ipv6_route, proc_net_ipv6_route_text)
SHOWN(fib_trie, proc_net_fib_trie_text)
SHOWN(raw, proc_net_raw_text)
SHOWN(raw6, proc_net_raw6_text)

const struct tree_node proc_net_nodes[PROC_NET_NODES] = {
    TREE_TEXT("anycast6", empty_text),
    TREE_TEXT("arp", arp_shown),
    TREE_TEXT("dev", dev_shown),
    TREE_TEXT("dev_mcast", empty_text),
    TREE_TEXT("fib_trie", fib_trie_shown),
    TREE_TEXT("icmp", icmp_text),
    TREE_TEXT("icmp6", icmp6_text),
    TREE_TEXT("if_inet6", if_inet6_shown),
    TREE_TEXT("igmp", igmp_shown),
    TREE_TEXT("igmp6", igmp6_shown),
    TREE_TEXT("ip6_flowlabel", ip6_flowlabel_text),
    TREE_TEXT("ipv6_route", ipv6_route_shown),
    TREE_TEXT("netlink", netlink_text),
    TREE_TEXT("netstat", netstat_shown),
    TREE_TEXT("packet", packet_shown),
    TREE_TEXT("psched", psched_text),
    TREE_TEXT("ptype", ptype_text),
    TREE_TEXT("raw", raw_shown),
    TREE_TEXT("raw6", raw6_shown),
    TREE_TEXT("route", route_shown),
    TREE_TEXT("snmp", snmp_shown),
    TREE_TEXT("snmp6", snmp6_shown),
    TREE_TEXT("sockstat", sockstat_shown),
    TREE_TEXT("sockstat6", sockstat6_shown),
    TREE_TEXT("tcp", tcp_shown),
    TREE_TEXT("tcp6", tcp6_shown),
    TREE_TEXT("udp", udp_shown),
    TREE_TEXT("udp6", udp6_shown),
    TREE_TEXT("udplite", proc_net_udplite_text),
    TREE_TEXT("udplite6", proc_net_udplite6_text),
    TREE_TEXT("unix", unix_text),
};
