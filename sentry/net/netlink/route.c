/*
 * NETLINK_ROUTE: rtnetlink(7). There is one link, lo, with its two addresses and the routes that
 * come with them; what can be changed is whether it is up, and its MTU. Its own addresses can be
 * added before they come by themselves, others not.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/net/interface.h"
#include "sentry/net/netlink/internal.h"
#include "sentry/net/netns.h"
#include "sentry/net/nlattr.h"

#define ROUTE_LOCAL 0x80000000U /* RTCF_LOCAL */
#define KIND_GET    2           /* of a message type's lowest two bits */

static const uint8_t localhost6[16] = {[15] = 1};

static const void *payload(const struct netlink_reply *r)
{
    return (const uint8_t *)r->question + NLMSG_HDRLEN;
}

static size_t payload_size(const struct netlink_reply *r)
{
    return r->question->nlmsg_len - NLMSG_HDRLEN;
}

static uint8_t family_of(const struct netlink_reply *r)
{
    return *(const uint8_t *)payload(r);
}

/* ---- links ------------------------------------------------------------------------------------
 */

static void put_statistics(struct netlink_reply *r)
{
    struct rtnl_link_stats64 all;
    struct rtnl_link_stats words;
    struct net_device lo;

    if (net_ns_device(r->to->sock.net, LO_INDEX, &lo) < 0)
        return;
    interface_statistics(&lo, &all, &words);
    reply_attribute(r, IFLA_STATS64, &all, sizeof(all));
    reply_attribute(r, IFLA_STATS, &words, sizeof(words));
}

static void put_link(struct netlink_reply *r)
{
    static const uint8_t zeros[6];
    struct ifinfomsg *info = reply_begin(r, RTM_NEWLINK, sizeof(*info));
    const struct net_ns *net = r->to->sock.net;
    bool up = net_ns_lo_is_up(net);

    if (!info)
        return;
    info->ifi_family = AF_UNSPEC;
    info->ifi_type = LO_TYPE;
    info->ifi_index = LO_INDEX;
    info->ifi_flags = net_ns_lo_flags(net) | (up ? LO_LOWER_UP : 0);
    reply_attribute_string(r, IFLA_IFNAME, LO_NAME);
    reply_attribute_u32(r, IFLA_TXQLEN, LO_TX_QUEUE);
    reply_attribute_u8(r, IFLA_OPERSTATE, up ? IF_OPER_UNKNOWN : IF_OPER_DOWN);
    reply_attribute_u8(r, IFLA_LINKMODE, 0);
    reply_attribute_u32(r, IFLA_MTU, (uint32_t)net_ns_lo_mtu(net));
    reply_attribute_u32(r, IFLA_MIN_MTU, 0);
    reply_attribute_u32(r, IFLA_MAX_MTU, 0);
    reply_attribute_u32(r, IFLA_GROUP, 0);
    reply_attribute_u32(r, IFLA_PROMISCUITY, 0);
    reply_attribute_u32(r, IFLA_NUM_TX_QUEUES, 1);
    reply_attribute_u32(r, IFLA_NUM_RX_QUEUES, 1);
    reply_attribute_u8(r, IFLA_CARRIER, 1);
    reply_attribute_string(r, IFLA_QDISC, up ? "noqueue" : "noop");
    reply_attribute_u32(r, IFLA_CARRIER_CHANGES, 0);
    reply_attribute_u8(r, IFLA_PROTO_DOWN, 0);
    reply_attribute(r, IFLA_ADDRESS, zeros, 6);
    reply_attribute(r, IFLA_BROADCAST, zeros, 6);
    put_statistics(r);
}

/* The link that is asked for by number or by name. */
static int find_link(const struct netlink_reply *r)
{
    struct ifinfomsg info;
    const char *name;
    size_t size;

    if (payload_size(r) < sizeof(info))
        return -EINVAL;
    memcpy(&info, payload(r), sizeof(info));
    if (info.ifi_index)
        return info.ifi_index == LO_INDEX ? 0 : -ENODEV;
    name = nlattr_find(r->question, sizeof(info), IFLA_IFNAME, &size);
    if (!name)
        name = nlattr_find(r->question, sizeof(info), IFLA_ALT_IFNAME, &size);
    if (!name)
        return -EINVAL;
    return size >= sizeof(LO_NAME) - 1 && strncmp(name, LO_NAME, MIN(size, sizeof(LO_NAME))) == 0
               ? 0
               : -ENODEV;
}

static int get_link(struct netlink_reply *r)
{
    int err = find_link(r);

    if (!err)
        put_link(r);
    return err;
}

/* Attributes of a link that can be set, before any is. */
static int check_link_change(const struct netlink_reply *r, const struct ifinfomsg *info)
{
    const uint8_t *base = payload(r);
    size_t size = payload_size(r), at = NLMSG_ALIGN(sizeof(*info));

    if (info->ifi_change & ~(unsigned)IFF_UP)
        return -EOPNOTSUPP;
    while (at + NLA_HDRLEN <= size) {
        struct nlattr a;

        memcpy(&a, base + at, sizeof(a));
        if (a.nla_len < NLA_HDRLEN || a.nla_len > size - at)
            return -EINVAL;
        if (a.nla_type != IFLA_IFNAME && a.nla_type != IFLA_ALT_IFNAME && a.nla_type != IFLA_MTU &&
            a.nla_type != IFLA_EXT_MASK)
            return -EOPNOTSUPP;
        at += NLA_ALIGN(a.nla_len);
    }
    return 0;
}

/* Up or down, and its MTU. */
static int set_link(struct netlink_reply *r)
{
    struct net_ns *net = r->to->sock.net;
    struct ifinfomsg info;
    const void *mtu;
    size_t size;
    int number, err = find_link(r);

    if (err < 0 && r->question->nlmsg_type == RTM_NEWLINK)
        return r->question->nlmsg_flags & NLM_F_CREATE ? -EOPNOTSUPP : -ENODEV;
    if (err < 0)
        return err;
    memcpy(&info, payload(r), sizeof(info));
    err = check_link_change(r, &info);
    if (err < 0)
        return err;
    mtu = nlattr_find(r->question, sizeof(info), IFLA_MTU, &size);
    if (mtu && size >= sizeof(number)) {
        memcpy(&number, mtu, sizeof(number));
        err = net_ns_lo_set_mtu(net, number);
    }
    if (!err && (info.ifi_change & IFF_UP))
        net_ns_lo_set_up(net, info.ifi_flags & IFF_UP);
    return err;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static void put_address(struct netlink_reply *r, uint8_t family)
{
    const uint32_t address = htonl(LO_ADDRESS);
    const struct ifa_cacheinfo forever = {UINT32_MAX, UINT32_MAX, 0, 0};
    struct ifaddrmsg *info = reply_begin(r, RTM_NEWADDR, sizeof(*info));

    if (!info)
        return;
    info->ifa_family = family;
    info->ifa_prefixlen = family == AF_INET ? LO_PREFIX : 128;
    info->ifa_flags = IFA_F_PERMANENT;
    info->ifa_scope = RT_SCOPE_HOST;
    info->ifa_index = LO_INDEX;
    if (family == AF_INET) {
        reply_attribute(r, IFA_ADDRESS, &address, sizeof(address));
        reply_attribute(r, IFA_LOCAL, &address, sizeof(address));
        reply_attribute_string(r, IFA_LABEL, LO_NAME);
    } else {
        reply_attribute(r, IFA_ADDRESS, localhost6, sizeof(localhost6));
    }
    reply_attribute(r, IFA_CACHEINFO, &forever, sizeof(forever));
    reply_attribute_u32(r, IFA_FLAGS, IFA_F_PERMANENT);
}

static void dump_addresses(struct netlink_reply *r)
{
    uint8_t family = family_of(r);

    if ((family == AF_UNSPEC || family == AF_INET) &&
        net_ns_lo_has_address(r->to->sock.net, AF_INET))
        put_address(r, AF_INET);
    if ((family == AF_UNSPEC || family == AF_INET6) &&
        net_ns_lo_has_address(r->to->sock.net, AF_INET6))
        put_address(r, AF_INET6);
}

/* rtm_to_ifaddr(): 127.0.0.1/8. False: it is another one. */
static int is_own_v4(const struct netlink_reply *r, bool *ret)
{
    const uint32_t address = htonl(LO_ADDRESS);
    const uint8_t *local, *peer;
    struct ifaddrmsg info;
    size_t size, peer_size;

    memcpy(&info, payload(r), sizeof(info));
    local = nlattr_find(r->question, sizeof(info), IFA_LOCAL, &size);
    peer = nlattr_find(r->question, sizeof(info), IFA_ADDRESS, &peer_size);
    if (info.ifa_prefixlen > 32 || !local || size != 4 || (peer && peer_size != 4))
        return -EINVAL;
    *ret = info.ifa_prefixlen == LO_PREFIX && memcmp(local, &address, 4) == 0 &&
           (!peer || memcmp(peer, &address, 4) == 0);
    return 0;
}

/* inet6_rtm_newaddr(): ::1/128, which is there while the interface is up. */
static int is_own_v6(const struct netlink_reply *r, bool *ret)
{
    const uint8_t *local;
    struct ifaddrmsg info;
    size_t size;

    memcpy(&info, payload(r), sizeof(info));
    local = nlattr_find(r->question, sizeof(info), IFA_LOCAL, &size);
    if (!local)
        local = nlattr_find(r->question, sizeof(info), IFA_ADDRESS, &size);
    if (!local || size != 16)
        return -EINVAL;
    *ret = info.ifa_prefixlen == 128 && memcmp(local, localhost6, 16) == 0 &&
           net_ns_lo_has_address(r->to->sock.net, AF_INET6);
    return 0;
}

static int new_address(const struct netlink_reply *r)
{
    struct net_ns *net = r->to->sock.net;
    struct ifaddrmsg info;
    bool own = false;
    int err;

    if (payload_size(r) < sizeof(info))
        return -EINVAL;
    memcpy(&info, payload(r), sizeof(info));
    if (info.ifa_family != AF_INET && info.ifa_family != AF_INET6)
        return -EOPNOTSUPP;
    err = info.ifa_family == AF_INET ? is_own_v4(r, &own) : is_own_v6(r, &own);
    if (err < 0)
        return err;
    if (info.ifa_index != LO_INDEX)
        return -ENODEV;
    if (!own)
        return -EOPNOTSUPP;
    if (info.ifa_family == AF_INET && net_ns_lo_add_v4(net))
        return 0;
    /* Its lifetime, which is all that could be replaced, is endless. */
    return (r->question->nlmsg_flags & (NLM_F_EXCL | NLM_F_REPLACE)) == NLM_F_REPLACE ? 0 : -EEXIST;
}

/* ---- routes -----------------------------------------------------------------------------------
 */

struct route {
    uint8_t family, prefix, table, type, scope;
    uint8_t to[16];
    uint32_t priority; /* 0: none */
};

static const struct route routes[] = {
    {AF_INET, 8, RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_HOST, {127}, 0},
    {AF_INET, 32, RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_HOST, {127, 0, 0, 1}, 0},
    {AF_INET, 32, RT_TABLE_LOCAL, RTN_BROADCAST, RT_SCOPE_LINK, {127, 255, 255, 255}, 0},
    {AF_INET6, 128, RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_UNIVERSE, {[15] = 1}, 0},
};

static void put_route(struct netlink_reply *r, const struct route *route, uint8_t prefix,
                      const uint8_t *to)
{
    const uint32_t address = htonl(LO_ADDRESS);
    size_t size = route->family == AF_INET ? 4 : 16;
    struct rtmsg *info = reply_begin(r, RTM_NEWROUTE, sizeof(*info));

    if (!info)
        return;
    info->rtm_family = route->family;
    info->rtm_dst_len = prefix;
    info->rtm_table = route->table;
    info->rtm_protocol = RTPROT_KERNEL;
    info->rtm_scope = route->scope;
    info->rtm_type = route->type;
    reply_attribute_u32(r, RTA_TABLE, route->table);
    reply_attribute(r, RTA_DST, to, size);
    if (route->family == AF_INET)
        reply_attribute(r, RTA_PREFSRC, &address, sizeof(address));
    if (route->family == AF_INET6)
        reply_attribute_u32(r, RTA_PRIORITY, route->priority);
    reply_attribute_u32(r, RTA_OIF, LO_INDEX);
    if (route->family == AF_INET6)
        reply_attribute_u8(r, RTA_PREF, 0 /* medium */);
}

/* The way to ::1, with what was asked for. */
static void put_way_v6(struct netlink_reply *r)
{
    static const uint8_t any[16];
    struct rta_cacheinfo cache = {.rta_clntref = 2};
    struct rtmsg *info = reply_begin(r, RTM_NEWROUTE, sizeof(*info));

    if (!info)
        return;
    info->rtm_family = AF_INET6;
    info->rtm_dst_len = info->rtm_src_len = 128;
    info->rtm_table = RT_TABLE_LOCAL;
    info->rtm_protocol = RTPROT_KERNEL;
    info->rtm_type = RTN_LOCAL;
    reply_attribute_u32(r, RTA_TABLE, RT_TABLE_LOCAL);
    reply_attribute(r, RTA_DST, localhost6, sizeof(localhost6));
    reply_attribute(r, RTA_SRC, any, sizeof(any));
    reply_attribute(r, RTA_PREFSRC, localhost6, sizeof(localhost6));
    reply_attribute_u32(r, RTA_PRIORITY, 0);
    reply_attribute_u32(r, RTA_OIF, LO_INDEX);
    reply_attribute(r, RTA_CACHEINFO, &cache, sizeof(cache));
    reply_attribute_u8(r, RTA_PREF, 0 /* medium */);
}

/* The way to one address of IPv4, which is no entry of a table: rt_fill_info(). */
static void put_way_v4(struct netlink_reply *r, const uint8_t *to)
{
    struct rta_cacheinfo cache = {.rta_clntref = 2};
    struct rtmsg *info = reply_begin(r, RTM_NEWROUTE, sizeof(*info));

    if (!info)
        return;
    info->rtm_family = AF_INET;
    info->rtm_dst_len = 32;
    info->rtm_table = RT_TABLE_MAIN;
    info->rtm_type = RTN_LOCAL;
    info->rtm_flags = RTM_F_CLONED | ROUTE_LOCAL;
    reply_attribute_u32(r, RTA_TABLE, RT_TABLE_MAIN);
    reply_attribute(r, RTA_DST, to, 4);
    reply_attribute_u32(r, RTA_OIF, LO_INDEX);
    reply_attribute(r, RTA_PREFSRC, to, 4);
    reply_attribute_u32(r, RTA_UID, 0);
    reply_attribute(r, RTA_CACHEINFO, &cache, sizeof(cache));
}

static void dump_routes(struct netlink_reply *r)
{
    uint8_t family = family_of(r);

    for (size_t i = 0; net_ns_lo_is_up(r->to->sock.net) && i < ARRAY_COUNT(routes); i++) {
        if (family == AF_UNSPEC || family == routes[i].family)
            put_route(r, &routes[i], routes[i].prefix, routes[i].to);
    }
}

/* Which way to one address: over lo to what is ours, else nowhere. */
static int get_route(struct netlink_reply *r)
{
    struct rtmsg info;
    const uint8_t *to;
    size_t size;

    if (payload_size(r) < sizeof(info))
        return -EINVAL;
    memcpy(&info, payload(r), sizeof(info));
    to = nlattr_find(r->question, sizeof(info), RTA_DST, &size);
    if (info.rtm_family == AF_INET && to && size == 4) {
        if (to[0] != 127 || !net_ns_lo_is_up(r->to->sock.net))
            return -ENETUNREACH;
        put_way_v4(r, to);
        return 0;
    }
    if (info.rtm_family == AF_INET6 && to && size == 16) {
        if (memcmp(to, localhost6, sizeof(localhost6)) != 0 || !net_ns_lo_is_up(r->to->sock.net))
            return -ENETUNREACH;
        put_way_v6(r);
        return 0;
    }
    return -EINVAL;
}

/* The three rules that there always are, of IPv6 two. */
static void dump_rules(struct netlink_reply *r)
{
    static const uint8_t tables[] = {RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT};
    static const uint32_t priorities[] = {0, 32766, 32767};
    uint8_t family = family_of(r) == AF_UNSPEC ? AF_INET : family_of(r);

    for (int i = 0; i < (family == AF_INET ? 3 : 2); i++) {
        struct fib_rule_hdr *info = reply_begin(r, RTM_NEWRULE, sizeof(*info));

        if (!info)
            return;
        info->family = family;
        info->table = tables[i];
        info->action = FR_ACT_TO_TBL;
        reply_attribute_u32(r, FRA_TABLE, tables[i]);
        reply_attribute_u32(r, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
        if (priorities[i])
            reply_attribute_u32(r, FRA_PRIORITY, priorities[i]);
    }
}

/* neigh_get(): the loopback has no neighbours, and is the only interface here. */
static int get_neighbour(const struct netlink_reply *r)
{
    const void *to;
    struct ndmsg info;
    size_t size;

    if (payload_size(r) < sizeof(info))
        return -EINVAL;
    memcpy(&info, payload(r), sizeof(info));
    if (info.ndm_pad1 || info.ndm_pad2 || info.ndm_state || info.ndm_type ||
        (info.ndm_flags & ~NTF_PROXY) || !(info.ndm_ifindex || (info.ndm_flags & NTF_PROXY)))
        return -EINVAL;
    if (info.ndm_family != AF_INET && info.ndm_family != AF_INET6)
        return -EAFNOSUPPORT;
    to = nlattr_find(r->question, sizeof(info), NDA_DST, &size);
    if (to && size != (info.ndm_family == AF_INET ? 4 : 16))
        return -EINVAL;
    if (info.ndm_ifindex && info.ndm_ifindex != LO_INDEX)
        return -ENODEV;
    return to ? -ENOENT : -EINVAL;
}

/* ---- one question -----------------------------------------------------------------------------
 */

static int dump(struct netlink_reply *r, uint16_t type, const struct net_outward *beside)
{
    r->multi = true;
    switch (type) {
    case RTM_GETLINK:
        put_link(r);
        break;
    case RTM_GETADDR:
        dump_addresses(r);
        break;
    case RTM_GETROUTE:
        dump_routes(r);
        break;
    case RTM_GETRULE:
        dump_rules(r);
        break;
    case RTM_GETNEIGH:
    case RTM_GETNEIGHTBL:
    case RTM_GETADDRLABEL:
    case RTM_GETQDISC:
    case RTM_GETNETCONF:
    case RTM_GETMULTICAST:
    case RTM_GETANYCAST:
    case RTM_GETNSID:
        break; /* there are none */
    default:
        r->multi = false;
        return -EOPNOTSUPP;
    }
    if (beside)
        (void)beside->route(r->question, reply_copy, r); /* of some it knows nothing */
    reply_done(r);
    return r->error;
}

static int one(struct netlink_reply *r, uint16_t type)
{
    switch (type) {
    case RTM_GETLINK:
        return get_link(r);
    case RTM_NEWLINK:
    case RTM_SETLINK:
        return set_link(r);
    case RTM_NEWADDR:
        return new_address(r);
    case RTM_GETROUTE:
        return get_route(r);
    case RTM_GETNEIGH:
        return get_neighbour(r);
    case RTM_GETNSID:
        return netnsid_answer(r);
    default:
        return -EOPNOTSUPP;
    }
}

/* ---- any --------------------------------------------------------------------------------------
 */

/* What the namespace's network knows better. -EOPNOTSUPP: it does not answer that. */
static int ask_outward(const struct net_outward *outward, struct netlink_reply *r, bool dump,
                       bool *ret_dump)
{
    int err;

    r->multi = dump;
    err = outward->route(r->question, reply_copy, r);
    if (err < 0) {
        r->multi = false;
        return err;
    }
    if (dump)
        reply_done(r);
    *ret_dump = dump && r->error == 0;
    return r->error;
}

int route_answer(struct netlink_reply *r, bool *ret_dump)
{
    const struct net_outward *outward = net_ns_outward(r->to->sock.net), *instead;
    uint16_t type = r->question->nlmsg_type;
    bool asks, dumps;
    int err;

    *ret_dump = false;
    if (type < RTM_BASE || type > RTM_MAX)
        return -EOPNOTSUPP;
    if (payload_size(r) < sizeof(struct rtgenmsg))
        return 0;
    asks = ((type - RTM_BASE) & 3) == KIND_GET;
    dumps = asks && (r->question->nlmsg_flags & NLM_F_DUMP);
    instead = outward && !outward->adds_to_loopback ? outward : NULL;
    if (!asks && (instead || !net_capable(r->to->sock.net, CAP_NET_ADMIN)))
        return -EPERM;
    if (instead) {
        err = ask_outward(instead, r, dumps, ret_dump);
        if (err != -EOPNOTSUPP)
            return err;
    }
    if (dumps) {
        err = dump(r, type, outward);
        *ret_dump = err == 0;
        return err;
    }
    err = one(r, type);
    if (asks && outward && (err == -ENODEV || err == -ENETUNREACH)) {
        int other = ask_outward(outward, r, false, ret_dump);

        err = other == -EOPNOTSUPP ? err : other;
    }
    return err ? err : r->error;
}
