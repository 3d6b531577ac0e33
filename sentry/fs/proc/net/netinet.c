/* /proc/PID/net/{tcp,udp}{,6} and sockstat: the sockets of the internet families. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/net/inet/inet.h"

/* A table while it is written. */
struct table {
    struct proc_text text;
    int family, protocol;
    unsigned line;
};

static void put_address(struct proc_text *text, int family, const struct in6_addr *addr,
                        uint16_t port)
{
    uint32_t word[4];

    memcpy(word, addr, sizeof(word));
    if (family == AF_INET)
        proc_printf(text, " %08X:%04X", word[3], port);
    else
        proc_printf(text, " %08X%08X%08X%08X:%04X", word[0], word[1], word[2], word[3], port);
}

/* Lines of IPv4 all have the same width, as on Linux. */
static void pad(struct proc_text *text, size_t begin, size_t width)
{
    size_t length = text->length - begin;

    proc_printf(text, "%*s\n", (int)(length < width ? width - length : 0), "");
}

static size_t width_of(const struct table *t)
{
    if (t->family != AF_INET || t->protocol == IPPROTO_RAW)
        return 0;
    return t->protocol == IPPROTO_TCP ? 149 : 127;
}

static bool show(const struct inet_report *r, void *arg)
{
    struct table *t = arg;
    struct proc_text *text = &t->text;
    size_t begin = text->length;
    bool listens = t->protocol == IPPROTO_TCP && r->state == TCP_LISTEN;

    proc_printf(text, t->protocol == IPPROTO_TCP || t->protocol == IPPROTO_RAW ? "%4u:" : "%5u:",
                t->protocol == IPPROTO_RAW ? r->local_port : t->line++);
    put_address(text, t->family, &r->local, r->local_port);
    put_address(text, t->family, &r->remote, r->remote_port);
    proc_printf(text, " %02X %08X:%08X %02X:%08X %08X %5u %8d %lu", r->state,
                listens ? 0 : r->unsent, r->unread, 0, 0, 0, r->uid, 0, r->ino);
    if (t->protocol == IPPROTO_TCP)
        proc_printf(text, " %d %016x %d %d %d %d %d", 1, 0, listens ? 100 : 20, 0, 0, 10,
                    listens ? 0 : -1);
    else
        proc_printf(text, " %d %016x %d", 2, 0, 0);
    pad(text, begin, width_of(t));
    return true;
}

static const char *title(const struct table *t)
{
    if (t->family == AF_INET6)
        return t->protocol == IPPROTO_TCP
                   ? "  sl  local_address                         remote_address                  "
                     "      st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
                   : "  sl  local_address                         remote_address                  "
                     "      st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
                     "pointer drops";
    if (t->protocol == IPPROTO_RAW)
        return "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid "
               " timeout inode ref pointer drops";
    return t->protocol == IPPROTO_TCP
               ? "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   "
                 "uid "
                 " timeout inode"
               : "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   "
                 "uid  timeout inode ref pointer drops";
}

static ssize_t table_text(uint64_t tid, int family, int protocol, char *buf, size_t size)
{
    struct table t = {{buf, size, 0}, family, protocol, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&t.text, "%s", title(&t));
    pad(&t.text, 0, width_of(&t));
    inet_for_each(net, family, protocol, show, &t);
    ns_unref(ns);
    return (ssize_t)t.text.length;
}

#define TABLE(name, family, protocol)                                                              \
    ssize_t proc_net_##name##_text(uint64_t tid, char *buf, size_t size)                           \
    {                                                                                              \
        return table_text(tid, family, protocol, buf, size);                                       \
    }
TABLE(tcp, AF_INET, IPPROTO_TCP)
TABLE(tcp6, AF_INET6, IPPROTO_TCP)
TABLE(udp, AF_INET, IPPROTO_UDP)
TABLE(udp6, AF_INET6, IPPROTO_UDP)
TABLE(udplite, AF_INET, IPPROTO_UDPLITE)
TABLE(udplite6, AF_INET6, IPPROTO_UDPLITE)
TABLE(raw, AF_INET, IPPROTO_RAW)
TABLE(raw6, AF_INET6, IPPROTO_RAW)

static bool count(const struct inet_report *report, void *arg)
{
    ++*(unsigned *)arg;
    return true;
}

static unsigned sockets_of(struct net_ns *net, int family, int protocol)
{
    unsigned n = 0;

    inet_for_each(net, family, protocol, count, &n);
    return n;
}

ssize_t proc_net_sockstat_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);
    unsigned tcp, all;

    if (!net)
        return -ESRCH;
    tcp = sockets_of(net, AF_INET, IPPROTO_TCP);
    all = tcp + sockets_of(net, AF_INET6, IPPROTO_TCP);
    proc_printf(&text, "sockets: used %u\n", socket_sockets_alive());
    proc_printf(&text, "TCP: inuse %u orphan 0 tw 0 alloc %u mem 0\n", tcp, all);
    proc_printf(&text, "UDP: inuse %u mem 0\n", sockets_of(net, AF_INET, IPPROTO_UDP));
    proc_printf(&text, "UDPLITE: inuse %u\n", sockets_of(net, AF_INET, IPPROTO_UDPLITE));
    proc_printf(&text, "RAW: inuse %u\nFRAG: inuse 0 memory 0\n",
                sockets_of(net, AF_INET, IPPROTO_RAW));
    ns_unref(ns);
    return (ssize_t)text.length;
}

ssize_t proc_net_sockstat6_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct ns *ns;
    struct net_ns *net = proc_find_net(tid, &ns);

    if (!net)
        return -ESRCH;
    proc_printf(&text, "TCP6: inuse %u\n", sockets_of(net, AF_INET6, IPPROTO_TCP));
    proc_printf(&text, "UDP6: inuse %u\n", sockets_of(net, AF_INET6, IPPROTO_UDP));
    proc_printf(&text, "UDPLITE6: inuse %u\n", sockets_of(net, AF_INET6, IPPROTO_UDPLITE));
    proc_printf(&text, "RAW6: inuse %u\nFRAG6: inuse 0 memory 0\n",
                sockets_of(net, AF_INET6, IPPROTO_RAW));
    ns_unref(ns);
    return (ssize_t)text.length;
}
