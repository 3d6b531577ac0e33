#include "runtime/device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "host/io.h"
#include "host/packet.h"
#include "host/poll.h"
#include "host/socket.h"
#include "sentry/net/inet/lwip/lwip.h"

#define ANSWER_MAX   32768
#define DUPLICATE_MS 10
#define PATIENCE_MS  1000 /* for the addresses that another sandbox is about to give back */

struct asked {
    struct lwip_config *config;
    int route;
    bool is_ethernet;
    bool own_addresses; /* the device's count, none were given */
};

static int failed(const char *device, const char *what, int err)
{
    log_error("--network=sandbox: %s: %s: %s", device, what, strerror(-err));
    return err;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static const void *find_attribute(const struct nlmsghdr *m, size_t fixed, uint16_t type,
                                  size_t size)
{
    const uint8_t *at = (const uint8_t *)NLMSG_DATA(m) + NLMSG_ALIGN(fixed);
    const uint8_t *end = (const uint8_t *)m + m->nlmsg_len;

    while (end - at >= NLA_HDRLEN) {
        struct nlattr a;

        memcpy(&a, at, sizeof(a));
        if (a.nla_len < NLA_HDRLEN || a.nla_len > end - at)
            return NULL;
        if ((a.nla_type & NLA_TYPE_MASK) == type)
            return a.nla_len - NLA_HDRLEN >= (int)size ? at + NLA_HDRLEN : NULL;
        at += MIN((long)NLA_ALIGN(a.nla_len), end - at);
    }
    return NULL;
}

static void keep(struct lwip_config *config, const struct nlmsghdr *m)
{
    if (LWIP_MESSAGES_MAX - config->messages_size < NLMSG_ALIGN(m->nlmsg_len))
        return;
    memcpy(config->messages + config->messages_size, m, m->nlmsg_len);
    config->messages_size += (uint32_t)NLMSG_ALIGN(m->nlmsg_len);
}

/* Builds a message and keeps it: what was given on the command line is shown like the rest. */
static void keep_made(struct lwip_config *config, uint16_t type, const void *fixed, size_t size,
                      const struct nlattr *attributes, const void *const *data, int count)
{
    uint8_t buf[256] __aligned_to(4) = {0};
    struct nlmsghdr *m = (struct nlmsghdr *)(void *)buf;

    m->nlmsg_type = type;
    m->nlmsg_len = NLMSG_LENGTH((uint32_t)size);
    memcpy(NLMSG_DATA(m), fixed, size);
    for (int i = 0; i < count; i++) {
        uint8_t *at = buf + NLMSG_ALIGN(m->nlmsg_len);

        memcpy(at, &attributes[i], sizeof(attributes[i]));
        memcpy(at + NLA_HDRLEN, data[i], attributes[i].nla_len - NLA_HDRLEN);
        m->nlmsg_len = NLMSG_ALIGN(m->nlmsg_len) + attributes[i].nla_len;
    }
    keep(config, m);
}

/* An address of either family with the bits of its network. */
static struct lwip_address network_of(int family, const void *data, uint8_t bits)
{
    struct lwip_address a = {.bits = bits};

    if (family == AF_INET6) {
        memcpy(&a.addr, data, sizeof(a.addr));
        return a;
    }
    a.bits = (uint8_t)(bits + 96);
    a.addr.s6_addr32[2] = htonl(0xffff);
    memcpy(&a.addr.s6_addr32[3], data, 4);
    return a;
}

/* ---- what there is ----------------------------------------------------------------------------
 */

static void take_link(struct asked *asked, const struct nlmsghdr *m)
{
    struct lwip_config *config = asked->config;
    struct ifinfomsg info;
    const void *data;

    memcpy(&info, NLMSG_DATA(m), sizeof(info));
    if (info.ifi_index != config->index)
        return;
    asked->is_ethernet = info.ifi_type == ARPHRD_ETHER;
    data = find_attribute(m, sizeof(info), IFLA_ADDRESS, sizeof(config->hardware));
    if (data)
        memcpy(config->hardware, data, sizeof(config->hardware));
    data = find_attribute(m, sizeof(info), IFLA_MTU, sizeof(config->mtu));
    if (data)
        memcpy(&config->mtu, data, sizeof(config->mtu));
    keep(config, m);
}

/* IPv4's come first. False: there is no room. */
static bool add_address(struct lwip_config *config, int family, const void *data, uint8_t bits)
{
    uint32_t *count = family == AF_INET ? &config->v4_count : &config->v6_count;
    struct lwip_address *end = &config->addresses[config->v4_count + config->v6_count], *at = end;

    if (*count == (family == AF_INET ? LWIP_V4_MAX : LWIP_V6_MAX))
        return false;
    if (family == AF_INET) {
        at = &config->addresses[config->v4_count];
        memmove(at + 1, at, (size_t)(end - at) * sizeof(*at));
    }
    *at = network_of(family, data, bits);
    ++*count;
    return true;
}

static void take_address(struct asked *asked, const struct nlmsghdr *m)
{
    struct lwip_config *config = asked->config;
    struct ifaddrmsg info;
    const void *data;
    char text[INET6_ADDRSTRLEN];

    memcpy(&info, NLMSG_DATA(m), sizeof(info));
    if ((int)info.ifa_index != config->index || !asked->own_addresses ||
        (info.ifa_family != AF_INET && info.ifa_family != AF_INET6))
        return;
    data = find_attribute(m, sizeof(info), IFA_LOCAL, info.ifa_family == AF_INET ? 4 : 16);
    if (!data)
        data = find_attribute(m, sizeof(info), IFA_ADDRESS, info.ifa_family == AF_INET ? 4 : 16);
    if (!data)
        return;
    if (add_address(config, info.ifa_family, data, info.ifa_prefixlen))
        keep(config, m);
    else
        log_warning("--network=sandbox: %s: %s is one address too many for the stack: not used",
                    config->name,
                    inet_ntop(info.ifa_family, data, text, sizeof(text)) ? text : "?");
}

static void take_route(struct asked *asked, const struct nlmsghdr *m)
{
    struct lwip_config *config = asked->config;
    struct lwip_route route = {0};
    static const uint8_t any[16];
    const void *data;
    struct rtmsg info;
    size_t bytes;
    int index = 0;

    memcpy(&info, NLMSG_DATA(m), sizeof(info));
    data = find_attribute(m, sizeof(info), RTA_OIF, sizeof(index));
    if (data)
        memcpy(&index, data, sizeof(index));
    if (index != config->index || info.rtm_table != RT_TABLE_MAIN || !asked->own_addresses ||
        info.rtm_type != RTN_UNICAST || (info.rtm_family != AF_INET && info.rtm_family != AF_INET6))
        return;
    bytes = info.rtm_family == AF_INET ? 4 : 16;
    data = find_attribute(m, sizeof(info), RTA_DST, bytes);
    route.to = network_of(info.rtm_family, data ? data : any, info.rtm_dst_len);
    data = find_attribute(m, sizeof(info), RTA_GATEWAY, bytes);
    route.has_gateway = data != NULL;
    route.gateway = network_of(info.rtm_family, data ? data : any, 0).addr;
    data = find_attribute(m, sizeof(info), RTA_PREFSRC, bytes);
    route.has_source = data != NULL;
    route.source = network_of(info.rtm_family, data ? data : any, 0).addr;
    data = find_attribute(m, sizeof(info), RTA_PRIORITY, sizeof(route.metric));
    if (data)
        memcpy(&route.metric, data, sizeof(route.metric));
    if (config->route_count == LWIP_ROUTES_MAX ||
        find_attribute(m, sizeof(info), RTA_VIA, sizeof(uint16_t))) {
        log_warning("--network=sandbox: %s: a route is one too many for the stack, or leads by the "
                    "other family: not used",
                    config->name);
        return;
    }
    config->routes[config->route_count++] = route;
    keep(config, m);
}

/* All answers to one question, each to `take`. */
static int ask_all(struct asked *asked, uint16_t type, size_t fixed,
                   void (*take)(struct asked *asked, const struct nlmsghdr *m))
{
    static uint8_t answer[ANSWER_MAX] __aligned_to(8);
    struct {
        struct nlmsghdr head;
        struct rtgenmsg any;
        uint8_t rest[32];
    } question = {.head = {.nlmsg_len = NLMSG_LENGTH((uint32_t)fixed),
                           .nlmsg_type = type,
                           .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    struct iovec out = {&question, question.head.nlmsg_len};
    struct msghdr hdr = {.msg_iov = &out, .msg_iovlen = 1};
    ssize_t n = host_socket_send(asked->route, &hdr, 0);

    while (n >= 0) {
        struct iovec in = {answer, sizeof(answer)};
        size_t at = 0;

        hdr = (struct msghdr){.msg_iov = &in, .msg_iovlen = 1};
        n = host_socket_receive(asked->route, &hdr, 0);
        while (n >= 0 && (size_t)n - at >= NLMSG_HDRLEN) {
            const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)(answer + at);

            if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR)
                return 0;
            if (m->nlmsg_len < NLMSG_LENGTH(fixed) || m->nlmsg_len > (size_t)n - at)
                return -EIO;
            take(asked, m);
            at += MIN((size_t)NLMSG_ALIGN(m->nlmsg_len), (size_t)n - at);
        }
    }
    return (int)n;
}

/* ---- what was given instead -------------------------------------------------------------------
 */

/* The route to an address's own network, as Linux makes it. */
static void give_near(struct lwip_config *config, int family, const uint8_t *data, uint8_t prefix)
{
    const uint8_t size = family == AF_INET ? 4 : 16;
    struct rtmsg info = {.rtm_family = (uint8_t)family,
                         .rtm_dst_len = prefix,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_KERNEL,
                         .rtm_scope = RT_SCOPE_LINK,
                         .rtm_type = RTN_UNICAST};
    const struct nlattr attributes[] = {{(uint16_t)(NLA_HDRLEN + size), RTA_DST},
                                        {NLA_HDRLEN + sizeof(config->index), RTA_OIF}};
    uint8_t to[16] = {0};
    const void *list[] = {to, &config->index};

    if (config->route_count == LWIP_ROUTES_MAX)
        return;
    memcpy(to, data, prefix / 8);
    if (prefix % 8)
        to[prefix / 8] = (uint8_t)(data[prefix / 8] & 0xff << (8 - prefix % 8));
    config->routes[config->route_count++].to = network_of(family, to, prefix);
    keep_made(config, RTM_NEWROUTE, &info, sizeof(info), attributes, list, 2);
}

static int give_address(struct lwip_config *config, const char *text)
{
    struct ifaddrmsg info = {.ifa_flags = IFA_F_PERMANENT, .ifa_index = (unsigned)config->index};
    char copy[INET6_ADDRSTRLEN + 8], *bits, *end;
    uint8_t data[16], size;
    unsigned long prefix;

    if (strlen(text) >= sizeof(copy))
        return -EINVAL;
    strcpy(copy, text);
    bits = strchr(copy, '/');
    if (!bits)
        return -EINVAL;
    *bits++ = '\0';
    prefix = strtoul(bits, &end, 10);
    info.ifa_family = inet_pton(AF_INET, copy, data) == 1 ? AF_INET : AF_INET6;
    size = info.ifa_family == AF_INET ? 4 : 16;
    if (end == bits || *end || prefix > size * 8U ||
        (size == 16 && inet_pton(AF_INET6, copy, data) != 1))
        return -EINVAL;
    info.ifa_prefixlen = (uint8_t)prefix;
    if (!add_address(config, info.ifa_family, data, info.ifa_prefixlen))
        return -EINVAL;
    const struct nlattr attributes[] = {{(uint16_t)(NLA_HDRLEN + size), IFA_ADDRESS},
                                        {(uint16_t)(NLA_HDRLEN + size), IFA_LOCAL}};
    const void *list[] = {data, data};

    keep_made(config, RTM_NEWADDR, &info, sizeof(info), attributes, list, size == 4 ? 2 : 1);
    give_near(config, info.ifa_family, data, info.ifa_prefixlen);
    return 0;
}

static int give_gateway(struct lwip_config *config, const char *text)
{
    struct rtmsg info = {.rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_BOOT,
                         .rtm_type = RTN_UNICAST,
                         .rtm_family = strchr(text, ':') ? AF_INET6 : AF_INET};
    const uint8_t size = info.rtm_family == AF_INET ? 4 : 16;
    const struct nlattr attributes[] = {{(uint16_t)(NLA_HDRLEN + size), RTA_GATEWAY},
                                        {NLA_HDRLEN + sizeof(config->index), RTA_OIF}};
    uint8_t data[16];
    const void *list[] = {data, &config->index};
    static const uint8_t any[16];

    if (config->route_count == LWIP_ROUTES_MAX || inet_pton(info.rtm_family, text, data) != 1)
        return -EINVAL;
    config->routes[config->route_count++] =
        (struct lwip_route){.to = network_of(info.rtm_family, any, 0),
                            .has_gateway = true,
                            .gateway = network_of(info.rtm_family, data, 0).addr};
    keep_made(config, RTM_NEWROUTE, &info, sizeof(info), attributes, list, 2);
    return 0;
}

static int take_given(const struct option_device *option, struct lwip_config *config)
{
    int err = 0;

    for (size_t i = 0; i < option->address_count && !err; i++) {
        err = give_address(config, option->addresses[i]);
        if (err < 0)
            failed(option->name, option->addresses[i], err);
    }
    for (size_t i = 0; i < option->gateway_count && !err; i++) {
        err = give_gateway(config, option->gateways[i]);
        if (err < 0)
            failed(option->name, option->gateways[i], err);
    }
    return err;
}

/* ---- taking over ------------------------------------------------------------------------------
 */

static int change(int route, const struct nlmsghdr *m, uint16_t type, uint16_t flags)
{
    uint8_t buf[4096] __aligned_to(8);
    struct nlmsghdr *copy = (struct nlmsghdr *)(void *)buf;
    struct iovec iov = {buf, m->nlmsg_len};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    struct nlmsgerr result;
    ssize_t n;

    if (m->nlmsg_len > sizeof(buf))
        return -EMSGSIZE;
    memcpy(buf, m, m->nlmsg_len);
    copy->nlmsg_type = type;
    copy->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    copy->nlmsg_pid = 0;
    n = host_socket_send(route, &hdr, 0);
    if (n < 0)
        return (int)n;
    iov.iov_len = sizeof(buf);
    n = host_socket_receive(route, &hdr, 0);
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(result)))
        return n < 0 ? (int)n : -EIO;
    memcpy(&result, NLMSG_DATA(copy), sizeof(result));
    return result.error;
}

/* 0: an address, 1: a route on the network, 2: one by a gateway; -1: none of these. */
static int kind_of(const struct nlmsghdr *m)
{
    if (m->nlmsg_type == RTM_NEWADDR)
        return 0;
    if (m->nlmsg_type != RTM_NEWROUTE)
        return -1;
    return find_attribute(m, sizeof(struct rtmsg), RTA_GATEWAY, 4) ? 2 : 1;
}

/* What gives everything back: each kind before those that need it. */
static size_t make_restoring(const struct lwip_config *config, uint8_t *ret)
{
    size_t size = 0;

    for (int kind = 0; kind < 3; kind++)
        for (uint32_t at = 0; config->messages_size - at >= NLMSG_HDRLEN;) {
            const struct nlmsghdr *m =
                (const struct nlmsghdr *)(const void *)(config->messages + at);
            struct nlmsghdr *copy = (struct nlmsghdr *)(void *)(ret + size);

            at += NLMSG_ALIGN(m->nlmsg_len);
            if (kind_of(m) != kind)
                continue;
            memcpy(copy, m, m->nlmsg_len);
            copy->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE;
            copy->nlmsg_pid = 0;
            size += NLMSG_ALIGN(m->nlmsg_len);
        }
    return size;
}

static int take_over(struct asked *asked)
{
    static uint8_t restoring[LWIP_MESSAGES_MAX] __aligned_to(4);
    const struct lwip_config *config = asked->config;
    int err = host_route_restore_at_exit(restoring, make_restoring(config, restoring));

    for (uint32_t at = 0; config->messages_size - at >= NLMSG_HDRLEN && !err;) {
        const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)(config->messages + at);

        if (m->nlmsg_type == RTM_NEWADDR)
            err = change(asked->route, m, RTM_DELADDR, 0);
        if (err == -EADDRNOTAVAIL)
            err = 0; /* a secondary one went with the first of its network */
        at += NLMSG_ALIGN(m->nlmsg_len);
    }
    return err;
}

/* ---- any --------------------------------------------------------------------------------------
 */

static int ask_device(struct asked *asked)
{
    struct lwip_config *config = asked->config;
    const uint32_t before = config->messages_size;
    int err;

    for (int tries = 0;; tries++) {
        config->messages_size = before;
        err = ask_all(asked, RTM_GETLINK, sizeof(struct ifinfomsg), take_link);
        if (!err)
            err = ask_all(asked, RTM_GETADDR, sizeof(struct ifaddrmsg), take_address);
        if (err < 0 || !asked->own_addresses || config->v4_count || config->v6_count ||
            tries == PATIENCE_MS / DUPLICATE_MS)
            break;
        host_poll(NULL, 0, DUPLICATE_MS);
    }
    if (!err)
        err = ask_all(asked, RTM_GETROUTE, sizeof(struct rtmsg), take_route);
    return err;
}

/* One attribute of the link's message, if it is there, gets other bytes of the same size. */
static void change_link(struct nlmsghdr *m, uint16_t type, const void *data, size_t size)
{
    void *at = (void *)find_attribute(m, sizeof(struct ifinfomsg), type, size);

    if (at)
        memcpy(at, data, size);
}

/*
 * A tap's own hardware address is that of the host's side, and it has a carrier once it is open: so
 * much is not as its message says, the first that was kept.
 */
static void become_other_side(struct lwip_config *config)
{
    struct nlmsghdr *m = (struct nlmsghdr *)(void *)config->messages;
    struct ifinfomsg *info = NLMSG_DATA(m);
    const uint8_t up = 6 /* IF_OPER_UP */, carrier = 1;

    host_random(config->hardware, sizeof(config->hardware));
    config->hardware[0] = (uint8_t)((config->hardware[0] & 0xfc) | 2);
    info->ifi_flags |= IFF_UP | IFF_RUNNING | LO_LOWER_UP;
    change_link(m, IFLA_ADDRESS, config->hardware, sizeof(config->hardware));
    change_link(m, IFLA_OPERSTATE, &up, sizeof(up));
    change_link(m, IFLA_CARRIER, &carrier, sizeof(carrier));
}

int device_open(const struct option_device *option, struct lwip_config *ret)
{
    struct asked asked = {.config = ret, .own_addresses = option->address_count == 0};
    bool tap;
    int err = host_device_find(option->name, &ret->index, &tap);

    if (err < 0)
        return failed(option->name, "no such device", err);
    strncpy(ret->name, option->name, sizeof(ret->name) - 1);
    ret->raw = option->raw;
    if (tap && asked.own_addresses)
        return failed(option->name,
                      "a tap's addresses are those of its other side; give address=", -EINVAL);
    asked.route = host_route_socket();
    if (asked.route < 0)
        return failed(option->name, "rtnetlink", asked.route);
    err = ask_device(&asked);
    if (err < 0)
        return failed(option->name, "rtnetlink", err);
    if (!asked.is_ethernet)
        return failed(option->name, "it is no Ethernet device", -EINVAL);
    err = take_given(option, ret);
    if (err < 0)
        return err;
    if (!ret->v4_count && !ret->v6_count)
        return failed(option->name, "it has no address; give one with address=", -EADDRNOTAVAIL);
    if (tap)
        become_other_side(ret);
    ret->fd = tap ? host_tap_open(option->name) : host_packet_open(ret->index);
    if (ret->fd < 0)
        return failed(option->name, tap ? "tap" : "packets (CAP_NET_RAW)", ret->fd);
    err = asked.own_addresses ? take_over(&asked) : 0;
    host_close(asked.route);
    return err < 0 ? failed(option->name, "taking its addresses over (CAP_NET_ADMIN)", err) : 0;
}
