/* What programs may know of the device: as the namespace that it comes from told it at the start.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/inet/lwip/bridge.h"
#include "sentry/net/inet/lwip/stack.h"
#include "sentry/net/interface.h"
#include "sentry/net/netns.h"
#include "sentry/net/socket.h"
#include "sentry/net/nlattr.h"

/* ---- rtnetlink(7) -----------------------------------------------------------------------------
 */

/* The device as it was told, but with what has passed it since. */
static void tell_link(const struct nlmsghdr *m, void (*each)(void *, const struct nlmsghdr *),
                      void *arg)
{
    uint8_t copy[4096] __aligned_to(4);
    struct rtnl_link_stats64 all;
    struct rtnl_link_stats words;
    struct nlmsghdr *told = (struct nlmsghdr *)(void *)copy;
    struct net_device d;
    const void *at;
    size_t size;

    if (m->nlmsg_len > sizeof(copy)) {
        each(arg, m);
        return;
    }
    memcpy(copy, m, m->nlmsg_len);
    about_device(&d);
    interface_statistics(&d, &all, &words);
    at = nlattr_find(told, sizeof(struct ifinfomsg), IFLA_STATS64, &size);
    if (at)
        memcpy(copy + ((const uint8_t *)at - copy), &all, MIN(size, sizeof(all)));
    at = nlattr_find(told, sizeof(struct ifinfomsg), IFLA_STATS, &size);
    if (at)
        memcpy(copy + ((const uint8_t *)at - copy), &words, MIN(size, sizeof(words)));
    each(arg, told);
}

static void all_of(uint16_t type, uint8_t family, void (*each)(void *, const struct nlmsghdr *),
                   void *arg)
{
    const struct lwip_config *config = stack_config();
    uint32_t at = 0;

    while (config->messages_size - at >= NLMSG_HDRLEN) {
        const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)(config->messages + at);

        if (m->nlmsg_type == type &&
            (family == AF_UNSPEC || family == *(const uint8_t *)NLMSG_DATA(m))) {
            if (type == RTM_NEWLINK)
                tell_link(m, each, arg);
            else
                each(arg, m);
        }
        at += NLMSG_ALIGN(m->nlmsg_len);
    }
}

static int one_link(const struct nlmsghdr *q, void (*each)(void *, const struct nlmsghdr *),
                    void *arg)
{
    const struct lwip_config *config = stack_config();
    struct ifinfomsg info;
    const char *name;
    size_t size;

    if (q->nlmsg_len < NLMSG_LENGTH(sizeof(info)))
        return -EINVAL;
    memcpy(&info, NLMSG_DATA(q), sizeof(info));
    name = nlattr_find(q, sizeof(info), IFLA_IFNAME, &size);
    if (info.ifi_index ? info.ifi_index != config->index
                       : !name || strncmp(name, config->name, MIN(size, sizeof(config->name))) != 0)
        return -ENODEV;
    all_of(RTM_NEWLINK, AF_UNSPEC, each, arg);
    return 0;
}

/* Which way to one address: a message made for it. */
static int one_route(const struct nlmsghdr *q, void (*each)(void *, const struct nlmsghdr *),
                     void *arg)
{
    struct {
        struct nlmsghdr head;
        struct rtmsg route;
        uint8_t attributes[96];
    } m = {.head = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_len = NLMSG_LENGTH(sizeof(m.route))}};
    struct in6_addr to = {.s6_addr32 = {0, 0, htonl(0xffff)}}, from, hop;
    const int index = stack_config()->index;
    struct rtmsg info;
    const void *dst;
    size_t size, bytes;

    if (q->nlmsg_len < NLMSG_LENGTH(sizeof(info)))
        return -EINVAL;
    memcpy(&info, NLMSG_DATA(q), sizeof(info));
    bytes = info.rtm_family == AF_INET ? 4 : 16;
    dst = nlattr_find(q, sizeof(info), RTA_DST, &size);
    if (!dst || size != bytes || (bytes == 16 && info.rtm_family != AF_INET6))
        return -EINVAL;
    memcpy((uint8_t *)&to + 16 - bytes, dst, bytes);
    if (stack_owns(&to) || stack_route(&to, &from) < 0)
        return stack_owns(&to) ? -EOPNOTSUPP : -ENETUNREACH;
    m.route = (struct rtmsg){.rtm_family = info.rtm_family,
                             .rtm_dst_len = (uint8_t)(bytes * 8),
                             .rtm_table = RT_TABLE_MAIN,
                             .rtm_type = RTN_UNICAST};
    if (stack_next_hop(&to, &hop) < 0)
        hop = to;
    nlattr_put(&m.head, sizeof(m), RTA_DST, dst, bytes);
    nlattr_put(&m.head, sizeof(m), RTA_PREFSRC, (uint8_t *)&from + 16 - bytes, bytes);
    nlattr_put(&m.head, sizeof(m), RTA_OIF, &index, sizeof(index));
    if (!IN6_ARE_ADDR_EQUAL(&hop, &to))
        nlattr_put(&m.head, sizeof(m), RTA_GATEWAY, (uint8_t *)&hop + 16 - bytes, bytes);
    each(arg, &m.head);
    return 0;
}

int about_route(const struct nlmsghdr *q, void (*each)(void *arg, const struct nlmsghdr *answer),
                void *arg)
{
    uint8_t family = *(const uint8_t *)NLMSG_DATA(q);
    bool dump = q->nlmsg_flags & NLM_F_DUMP;

    switch (q->nlmsg_type) {
    case RTM_GETLINK:
        if (!dump)
            return one_link(q, each, arg);
        all_of(RTM_NEWLINK, AF_UNSPEC, each, arg);
        return 0;
    case RTM_GETADDR:
    case RTM_GETROUTE:
        if (!dump)
            return q->nlmsg_type == RTM_GETROUTE ? one_route(q, each, arg) : -EOPNOTSUPP;
        all_of(q->nlmsg_type - 2, family, each, arg);
        return 0;
    case RTM_GETNEIGH:
        return about_neighbours(q, each, arg);
    default:
        return -EOPNOTSUPP;
    }
}

/* ---- netdevice(7) -----------------------------------------------------------------------------
 */

static void put_v4(struct ifreq *r, uint32_t address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = address};

    memset(&r->ifr_ifru, 0, sizeof(r->ifr_ifru));
    memcpy(&r->ifr_addr, &name, sizeof(name));
}

static struct lwip_address own_v4(uint32_t i)
{
    return stack_config()->addresses[i];
}

static uint32_t mask_of(const struct lwip_address *a)
{
    return a->bits > 96 ? htonl(UINT32_MAX << (128 - a->bits)) : 0;
}

static long list_interfaces(struct mm *mm, uint64_t arg)
{
    const struct lwip_config *config = stack_config();
    struct {
        int32_t size, pad;
        uint64_t requests;
    } conf;
    struct ifreq list[1 + LWIP_V4_MAX] = {{.ifr_name = LO_NAME}};
    int32_t count = 1 + (int32_t)config->v4_count;

    if (copy_struct_from_user(mm, &conf, arg) < 0)
        return -EFAULT;
    put_v4(&list[0], htonl(LO_ADDRESS));
    for (uint32_t i = 0; i < config->v4_count; i++) {
        memcpy(list[1 + i].ifr_name, config->name, sizeof(config->name));
        put_v4(&list[1 + i], own_v4(i).addr.s6_addr32[3]);
    }
    if (conf.requests)
        count = MIN(count, MAX(conf.size, 0) / (int32_t)sizeof(list[0]));
    conf.size = count * (int32_t)sizeof(list[0]);
    if (conf.requests && copy_to_user(mm, conf.requests, list, (size_t)conf.size) < 0)
        return -EFAULT;
    return copy_struct_to_user(mm, arg, &conf);
}

static int answer(const struct socket *s, uint32_t cmd, struct ifreq *r)
{
    const struct lwip_config *config = stack_config();
    const bool v4 = cmd == SIOCGIFADDR || cmd == SIOCGIFDSTADDR || cmd == SIOCGIFBRDADDR ||
                    cmd == SIOCGIFNETMASK;

    const struct lwip_address first = own_v4(0);

    if (v4 && s->domain != AF_INET)
        return -ENOTTY;
    if (v4 && !config->v4_count)
        return -EADDRNOTAVAIL;
    switch (cmd) {
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
        put_v4(r, first.addr.s6_addr32[3]);
        return 0;
    case SIOCGIFBRDADDR:
        put_v4(r, first.addr.s6_addr32[3] | ~mask_of(&first));
        return 0;
    case SIOCGIFNETMASK:
        put_v4(r, mask_of(&first));
        return 0;
    case SIOCGIFFLAGS:
        r->ifr_flags = IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST;
        return 0;
    case SIOCGIFINDEX:
        r->ifr_ifindex = config->index;
        return 0;
    case SIOCGIFMETRIC:
        r->ifr_metric = 0;
        return 0;
    case SIOCGIFMTU:
        r->ifr_mtu = (int)config->mtu;
        return 0;
    case SIOCGIFTXQLEN:
        r->ifr_qlen = LO_TX_QUEUE;
        return 0;
    case SIOCGIFHWADDR:
        memset(&r->ifr_ifru, 0, sizeof(r->ifr_ifru));
        r->ifr_hwaddr.sa_family = ARPHRD_ETHER;
        memcpy(r->ifr_hwaddr.sa_data, config->hardware, sizeof(config->hardware));
        return 0;
    case SIOCETHTOOL:
        return -EOPNOTSUPP;
    default:
        return -EPERM; /* nothing of it can be changed */
    }
}

long about_interface_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    const struct lwip_config *config = stack_config();
    struct ifreq r;
    int err;

    if (cmd == SIOCGIFCONF)
        return list_interfaces(mm, arg);
    /* Those that begin with a name, and the one that asks for it. */
    if ((cmd < SIOCGIFNAME || cmd > SIOCSIFTXQLEN) && cmd != SIOCETHTOOL)
        return interface_ioctl(s, mm, cmd, arg);
    if (copy_struct_from_user(mm, &r, arg) < 0)
        return -EFAULT;
    if (cmd == SIOCGIFNAME) {
        if (r.ifr_ifindex != config->index)
            return interface_ioctl(s, mm, cmd, arg);
        memcpy(r.ifr_name, config->name, sizeof(config->name));
        return copy_struct_to_user(mm, arg, &r);
    }
    r.ifr_name[IFNAMSIZ - 1] = '\0';
    if (strcmp(r.ifr_name, config->name) != 0)
        return interface_ioctl(s, mm, cmd, arg);
    err = answer(s, cmd, &r);
    return err < 0 ? err : copy_struct_to_user(mm, arg, &r);
}

/* ---- /proc/net --------------------------------------------------------------------------------
 */

static uint64_t counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void about_device(struct net_device *ret)
{
    const struct lwip_config *config = stack_config();

    *ret = (struct net_device){
        .index = config->index,
        .mtu = (int)config->mtu,
        .type = ARPHRD_ETHER,
        .raw = config->raw,
        .in_frames = counted(&stack_counts.in_frames),
        .in_bytes = counted(&stack_counts.in_bytes),
        .in_dropped = counted(&stack_counts.dropped),
        .out_frames = counted(&stack_counts.out_frames),
        .out_bytes = counted(&stack_counts.out_bytes),
    };
    memcpy(ret->name, config->name, sizeof(ret->name));
    memcpy(ret->address, config->hardware, sizeof(ret->address));
}

static int route_line(char *buf, size_t size, const struct lwip_route *r)
{
    uint32_t gateway = r->has_gateway ? r->gateway.s6_addr32[3] : 0;
    unsigned flags = 1U | (gateway ? 2U : 0) | (r->to.bits == 128 ? 4U : 0); /* RTF_UP, ... */

    return snprintf(buf, size, "%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0\n",
                    stack_config()->name, r->to.addr.s6_addr32[3], gateway, flags, r->metric,
                    mask_of(&r->to));
}

static ssize_t route_text(char *buf, size_t size)
{
    const struct lwip_config *config = stack_config();
    char line[192];
    int n = snprintf(line, sizeof(line), "%-127s\n",
                     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow"
                     "\tIRTT");
    size_t at = 0, total = 0;

    for (uint32_t i = 0;; i++) {
        memcpy(buf + at, line, MIN((size_t)n, size - at));
        at += MIN((size_t)n, size - at);
        total += (size_t)n;
        while (i < config->route_count && !IN6_IS_ADDR_V4MAPPED(&config->routes[i].to.addr))
            i++;
        if (i == config->route_count)
            return (ssize_t)total;
        n = route_line(line, sizeof(line), &config->routes[i]);
    }
}

static ssize_t if_inet6_text(char *buf, size_t size)
{
    const struct lwip_config *config = stack_config();
    char lines[1024];
    int n = snprintf(lines, sizeof(lines), "%031d1 %02x %02x %02x %02x %8s\n", 0, LO_INDEX, 128,
                     0x10, 0x80, LO_NAME);

    for (uint32_t i = 0; i < config->v6_count; i++) {
        const struct lwip_address *a = &config->addresses[config->v4_count + i];
        const uint32_t *w = a->addr.s6_addr32;

        n += snprintf(lines + n, sizeof(lines) - (size_t)n,
                      "%08x%08x%08x%08x %02x %02x %02x %02x %8s\n", ntohl(w[0]), ntohl(w[1]),
                      ntohl(w[2]), ntohl(w[3]), (unsigned)config->index, a->bits,
                      IN6_IS_ADDR_LINKLOCAL(&a->addr) ? 0x20 : 0, 0x80, config->name);
    }
    memcpy(buf, lines, MIN((size_t)n, size));
    return n;
}

ssize_t about_proc_text(const char *name, char *buf, size_t size)
{
    if (strcmp(name, "route") == 0)
        return route_text(buf, size);
    if (strcmp(name, "if_inet6") == 0)
        return if_inet6_text(buf, size);
    if (strcmp(name, "arp") == 0)
        return about_arp_text(buf, size);
    return -ENOENT;
}
