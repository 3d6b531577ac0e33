/*
 * /proc/PID/net/{snmp,netstat,snmp6}: what is counted. Packets are those that lo would carry
 * (sentry/net/inet/wire.h); and {igmp,igmp6,ipv6_route,fib_trie}: groups and routes
 * of lo.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/ns.h"
#include "sentry/net/inet/inet.h"
#include "sentry/net/netns.h"

/* A name and a number of one line of names and the line of numbers below it. */
struct counted {
    const char *name;
    uint64_t value;
};

static void put_lines(struct proc_text *text, const char *title, const struct counted *all,
                      size_t count)
{
    proc_printf(text, "%s:", title);
    for (size_t i = 0; i < count; i++)
        proc_printf(text, " %s", all[i].name);
    proc_printf(text, "\n%s:", title);
    for (size_t i = 0; i < count; i++)
        proc_printf(text, " %lu", all[i].value);
    proc_printf(text, "\n");
}

static bool count_established(const struct inet_report *r, void *arg)
{
    *(uint64_t *)arg += r->state == TCP_ESTABLISHED || r->state == TCP_CLOSE_WAIT;
    return true;
}

static uint64_t established(struct net_ns *net)
{
    uint64_t n = 0;

    inet_for_each(net, AF_INET, IPPROTO_TCP, count_established, &n);
    inet_for_each(net, AF_INET6, IPPROTO_TCP, count_established, &n);
    return n;
}

static void put_udp(struct proc_text *text, const char *title, uint64_t in, uint64_t no_port,
                    uint64_t full, uint64_t out)
{
    const struct counted all[] = {
        {"InDatagrams", in},   {"NoPorts", no_port},   {"InErrors", full},
        {"OutDatagrams", out}, {"RcvbufErrors", full}, {"SndbufErrors", 0},
        {"InCsumErrors", 0},   {"IgnoredMulti", 0},    {"MemErrors", 0},
    };

    put_lines(text, title, all, ARRAY_COUNT(all));
}

/* Over lo what goes out comes in. */
static void put_icmp(struct proc_text *text, struct net_ns *net)
{
    uint64_t echos = inet_counter(net, ICMP_ECHOS), replies = inet_counter(net, ICMP_REPLIES);
    uint64_t lost = inet_counter(net, ICMP_UNREACHABLES), sum = echos + replies + lost;
    const struct counted all[] = {
        {"InMsgs", sum},           {"InErrors", 0},           {"InCsumErrors", 0},
        {"InDestUnreachs", lost},  {"InTimeExcds", 0},        {"InParmProbs", 0},
        {"InSrcQuenchs", 0},       {"InRedirects", 0},        {"InEchos", echos},
        {"InEchoReps", replies},   {"InTimestamps", 0},       {"InTimestampReps", 0},
        {"InAddrMasks", 0},        {"InAddrMaskReps", 0},     {"OutMsgs", sum},
        {"OutErrors", 0},          {"OutRateLimitGlobal", 0}, {"OutRateLimitHost", 0},
        {"OutDestUnreachs", lost}, {"OutTimeExcds", 0},       {"OutParmProbs", 0},
        {"OutSrcQuenchs", 0},      {"OutRedirects", 0},       {"OutEchos", echos},
        {"OutEchoReps", replies},  {"OutTimestamps", 0},      {"OutTimestampReps", 0},
        {"OutAddrMasks", 0},       {"OutAddrMaskReps", 0},
    };

    put_lines(text, "Icmp", all, ARRAY_COUNT(all));
}

static void put_ip(struct proc_text *text, struct net_ns *net)
{
    uint64_t n = inet_counter(net, IP_PACKETS);
    const struct counted all[] = {
        {"Forwarding", 2},   {"DefaultTTL", 64},   {"InReceives", n},      {"InHdrErrors", 0},
        {"InAddrErrors", 0}, {"ForwDatagrams", 0}, {"InUnknownProtos", 0}, {"InDiscards", 0},
        {"InDelivers", n},   {"OutRequests", n},   {"OutDiscards", 0},     {"OutNoRoutes", 0},
        {"ReasmTimeout", 0}, {"ReasmReqds", 0},    {"ReasmOKs", 0},        {"ReasmFails", 0},
        {"FragOKs", 0},      {"FragFails", 0},     {"FragCreates", 0},     {"OutTransmits", n},
    };

    put_lines(text, "Ip", all, ARRAY_COUNT(all));
}

static void put_tcp(struct proc_text *text, struct net_ns *net)
{
    uint64_t segments = inet_counter(net, TCP_SEGMENTS);

    proc_printf(text,
                "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails "
                "EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts "
                "InCsumErrors\nTcp: 1 200 120000 -1");
    proc_printf(text, " %lu %lu %lu %lu %lu %lu %lu 0 0 %lu 0\n",
                inet_counter(net, TCP_ACTIVE_OPENS), inet_counter(net, TCP_PASSIVE_OPENS),
                inet_counter(net, TCP_ATTEMPT_FAILS), inet_counter(net, TCP_RESETS),
                established(net), segments, segments, inet_counter(net, TCP_RESETS));
}

ssize_t proc_net_snmp_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    put_ip(&text, net);
    put_icmp(&text, net);
    put_tcp(&text, net);
    put_udp(&text, "Udp", inet_counter(net, UDP_IN), inet_counter(net, UDP_NO_PORT),
            inet_counter(net, UDP_RECEIVE_FULL), inet_counter(net, UDP_OUT));
    put_udp(&text, "UdpLite", 0, 0, 0, 0);
    ns_unref(ns);
    return (ssize_t)text.length;
}

ssize_t proc_net_netstat_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);
    struct counted tcp[] = {
        {"SyncookiesSent", 0},   {"SyncookiesRecv", 0},
        {"SyncookiesFailed", 0}, {"EmbryonicRsts", 0},
        {"PruneCalled", 0},      {"RcvPruned", 0},
        {"OfoPruned", 0},        {"TW", 0},
        {"TWRecycled", 0},       {"TWKilled", 0},
        {"DelayedACKs", 0},      {"ListenOverflows", 0},
        {"ListenDrops", 0},      {"TCPHPHits", 0},
        {"TCPPureAcks", 0},      {"TCPHPAcks", 0},
        {"TCPTimeouts", 0},      {"TCPLossProbes", 0},
        {"TCPAbortOnData", 0},   {"TCPAbortOnClose", 0},
        {"TCPAbortOnMemory", 0}, {"TCPAbortOnTimeout", 0},
        {"TCPBacklogDrop", 0},   {"TCPRetransFail", 0},
        {"TCPSynRetrans", 0},    {"TCPOrigDataSent", 0},
        {"TCPKeepAlive", 0},     {"TCPDelivered", 0},
    };
    struct counted ip[] = {
        {"InNoRoutes", 0},    {"InTruncatedPkts", 0}, {"InMcastPkts", 0},   {"OutMcastPkts", 0},
        {"InBcastPkts", 0},   {"OutBcastPkts", 0},    {"InOctets", 0},      {"OutOctets", 0},
        {"InMcastOctets", 0}, {"OutMcastOctets", 0},  {"InBcastOctets", 0}, {"OutBcastOctets", 0},
        {"InCsumErrors", 0},  {"InNoECTPkts", 0},     {"InECT1Pkts", 0},    {"InECT0Pkts", 0},
        {"InCEPkts", 0},      {"ReasmOverlaps", 0},
    };

    if (!net)
        return -ESRCH;
    for (size_t i = 0; i < ARRAY_COUNT(tcp); i++)
        if (strcmp(tcp[i].name, "ListenOverflows") == 0 || strcmp(tcp[i].name, "ListenDrops") == 0)
            tcp[i].value = inet_counter(net, TCP_LISTEN_OVERFLOWS);
    for (size_t i = 0; i < ARRAY_COUNT(ip); i++)
        if (strcmp(ip[i].name, "InOctets") == 0 || strcmp(ip[i].name, "OutOctets") == 0)
            ip[i].value = inet_counter(net, IP_BYTES);
        else if (strcmp(ip[i].name, "InNoECTPkts") == 0)
            ip[i].value = inet_counter(net, IP_PACKETS);
    ns_unref(ns);
    put_lines(&text, "TcpExt", tcp, ARRAY_COUNT(tcp));
    put_lines(&text, "IpExt", ip, ARRAY_COUNT(ip));
    return (ssize_t)text.length;
}

/* ---- IPv6, a line for each --------------------------------------------------------------------
 */

static const char names6[] =
    "Ip6InReceives Ip6InHdrErrors Ip6InTooBigErrors Ip6InNoRoutes Ip6InAddrErrors "
    "Ip6InUnknownProtos Ip6InTruncatedPkts Ip6InDiscards Ip6InDelivers Ip6OutForwDatagrams "
    "Ip6OutRequests Ip6OutDiscards Ip6OutNoRoutes Ip6ReasmTimeout Ip6ReasmReqds Ip6ReasmOKs "
    "Ip6ReasmFails Ip6FragOKs Ip6FragFails Ip6FragCreates Ip6InMcastPkts Ip6OutMcastPkts "
    "Ip6InOctets Ip6OutOctets Icmp6InMsgs Icmp6InErrors Icmp6OutMsgs Icmp6OutErrors "
    "Icmp6InCsumErrors Udp6InDatagrams Udp6NoPorts Udp6InErrors Udp6OutDatagrams "
    "Udp6RcvbufErrors Udp6SndbufErrors Udp6InCsumErrors Udp6IgnoredMulti Udp6MemErrors";

static uint64_t value6(struct net_ns *net, const char *name, size_t length)
{
    static const struct {
        const char *name;
        enum inet_counter which;
    } known[] = {
        {"Ip6InReceives", IP6_PACKETS},  {"Ip6InDelivers", IP6_PACKETS},
        {"Ip6OutRequests", IP6_PACKETS}, {"Ip6InOctets", IP6_BYTES},
        {"Ip6OutOctets", IP6_BYTES},     {"Udp6InDatagrams", UDP6_IN},
        {"Udp6NoPorts", UDP6_NO_PORT},   {"Udp6InErrors", UDP6_RECEIVE_FULL},
        {"Udp6OutDatagrams", UDP6_OUT},  {"Udp6RcvbufErrors", UDP6_RECEIVE_FULL},
    };

    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0)
            return inet_counter(net, known[i].which);
    return 0;
}

ssize_t proc_net_snmp6_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    for (const char *at = names6; *at;) {
        size_t length = strcspn(at, " ");

        proc_printf(&text, "%-32.*s\t%lu\n", (int)length, at, value6(net, at, length));
        at += length + (at[length] == ' ');
    }
    ns_unref(ns);
    return (ssize_t)text.length;
}

/* ---- groups -----------------------------------------------------------------------------------
 */

struct groups {
    struct proc_text text;
    struct net_device device;
    bool v4;
    int count;
};

static void count_group(void *arg, const struct in6_addr *group, uint32_t count)
{
    struct groups *g = arg;

    g->count += IN6_IS_ADDR_V4MAPPED(group);
}

static void show_group(void *arg, const struct in6_addr *group, uint32_t count)
{
    struct groups *g = arg;
    uint32_t word[4];

    if (IN6_IS_ADDR_V4MAPPED(group) != g->v4)
        return;
    memcpy(word, group, sizeof(word));
    if (g->v4)
        proc_printf(&g->text, "\t\t\t\t%08X %5u 0:%08X\t\t0\n", word[3], count, 0);
    else
        proc_printf(&g->text, "%-4d %-15s %08x%08x%08x%08x %5u %08X 0\n", g->device.index,
                    g->device.name, ntohl(word[0]), ntohl(word[1]), ntohl(word[2]), ntohl(word[3]),
                    count, 4);
}

/* One interface: the groups of sockets, and those that every host is in. */
static void show_groups(struct net_ns *net, struct groups *g)
{
    static const char *const everybody[] = {"::ffff:224.0.0.1", "ff02::1", "ff01::1"};
    const bool lo = g->device.index == LO_INDEX;

    g->count = 1;
    if (g->v4)
        groups_each(net, g->device.index, count_group, g);
    if (g->v4)
        proc_printf(&g->text, "%d\t%-10s: %5d %7s\n", g->device.index, g->device.name, g->count,
                    lo ? "V3" : "V2");
    groups_each(net, g->device.index, show_group, g);
    for (size_t i = 0; (!lo || net_ns_lo_is_up(net)) && i < ARRAY_COUNT(everybody); i++) {
        struct in6_addr all;

        inet_pton(AF_INET6, everybody[i], &all);
        show_group(g, &all, 1);
    }
}

static ssize_t groups_text(uint64_t tid, bool v4, char *buf, size_t size)
{
    struct groups g = {.text = {buf, size, 0}, .v4 = v4};
    const struct net_outward *outward;
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    if (v4)
        proc_printf(&g.text, "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
    if (net_ns_device(net, LO_INDEX, &g.device) == 0)
        show_groups(net, &g);
    outward = net_ns_outward(net);
    if (outward && outward->device) {
        outward->device(&g.device);
        show_groups(net, &g);
    }
    ns_unref(ns);
    return (ssize_t)g.text.length;
}

ssize_t proc_net_igmp_text(uint64_t tid, char *buf, size_t size)
{
    return groups_text(tid, true, buf, size);
}

ssize_t proc_net_igmp6_text(uint64_t tid, char *buf, size_t size)
{
    return groups_text(tid, false, buf, size);
}

/* ---- routes -----------------------------------------------------------------------------------
 */

/* What the kernel does with what nothing else fits: reject it, over lo. */
#define NO_ROUTE6 "%032d 00 %032d 00 %032d ffffffff 00000001 00000000 00200200 %8s\n"

ssize_t proc_net_ipv6_route_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&text, NO_ROUTE6, 0, 0, 0, LO_NAME);
    if (net_ns_lo_is_up(net))
        proc_printf(&text, "%032d 80 %032d 00 %032d 00000000 00000002 00000000 80200001 %8s\n", 1,
                    0, 0, LO_NAME);
    proc_printf(&text, NO_ROUTE6, 0, 0, 0, LO_NAME);
    ns_unref(ns);
    return (ssize_t)text.length;
}

ssize_t proc_net_fib_trie_text(uint64_t tid, char *buf, size_t size)
{
    static const char *const tables[] = {"Main", "Local"};
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    for (size_t i = 0; net_ns_lo_is_up(net) && i < ARRAY_COUNT(tables); i++)
        proc_printf(&text,
                    "%s:\n  +-- 127.0.0.0/8 2 0 2\n     +-- 127.0.0.0/31 1 0 0\n"
                    "        |-- 127.0.0.0\n           /8 host LOCAL\n        |-- 127.0.0.1\n"
                    "           /32 host LOCAL\n     |-- 127.255.255.255\n"
                    "        /32 link BROADCAST\n",
                    tables[i]);
    ns_unref(ns);
    return (ssize_t)text.length;
}
