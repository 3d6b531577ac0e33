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

static void take_address(struct asked *asked, const struct nlmsghdr *m)
{
    struct lwip_config *config = asked->config;
    struct ifaddrmsg info;
    const void *data;

    memcpy(&info, NLMSG_DATA(m), sizeof(info));
    if ((int)info.ifa_index != config->index || !asked->own_addresses)
        return;
    data = find_attribute(m, sizeof(info), IFA_LOCAL, info.ifa_family == AF_INET ? 4 : 16);
    if (!data)
        data = find_attribute(m, sizeof(info), IFA_ADDRESS, info.ifa_family == AF_INET ? 4 : 16);
    if (!data)
        return;
    if (info.ifa_family == AF_INET && !config->has_v4) {
        config->has_v4 = true;
        memcpy(&config->address, data, sizeof(config->address));
        config->mask.s_addr =
            info.ifa_prefixlen ? htonl(UINT32_MAX << (32 - info.ifa_prefixlen)) : 0;
    } else if (info.ifa_family == AF_INET6 && config->v6_count < LWIP_ADDRESSES_MAX) {
        memcpy(&config->v6[config->v6_count], data, sizeof(config->v6[0]));
        config->v6_prefix[config->v6_count++] = info.ifa_prefixlen;
    } else {
        char text[INET6_ADDRSTRLEN];

        log_warning("--network=sandbox: %s: %s is one address too many for the stack: not used",
                    config->name,
                    inet_ntop(info.ifa_family, data, text, sizeof(text)) ? text : "?");
        return;
    }
    keep(config, m);
}

static void take_route(struct asked *asked, const struct nlmsghdr *m)
{
    struct lwip_config *config = asked->config;
    const void *data, *gateway;
    struct rtmsg info;
    int index = 0;

    memcpy(&info, NLMSG_DATA(m), sizeof(info));
    data = find_attribute(m, sizeof(info), RTA_OIF, sizeof(index));
    if (data)
        memcpy(&index, data, sizeof(index));
    if (index != config->index || info.rtm_table != RT_TABLE_MAIN || !asked->own_addresses)
        return;
    gateway = find_attribute(m, sizeof(info), RTA_GATEWAY, info.rtm_family == AF_INET ? 4 : 16);
    if (gateway && info.rtm_dst_len == 0 && info.rtm_family == AF_INET && !config->gateway.s_addr) {
        memcpy(&config->gateway, gateway, sizeof(config->gateway));
    } else if (gateway && info.rtm_dst_len == 0 && info.rtm_family == AF_INET6) {
        config->has_gateway6 = true;
        memcpy(&config->gateway6, gateway, sizeof(config->gateway6));
    } else if (gateway) {
        log_warning("--network=sandbox: %s: the stack knows one gateway for all that is not near: "
                    "another route is not used",
                    config->name);
        return;
    }
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

static int give_address(struct lwip_config *config, const char *text)
{
    struct ifaddrmsg info = {.ifa_flags = IFA_F_PERMANENT, .ifa_index = (unsigned)config->index};
    const struct nlattr attributes[] = {{NLA_HDRLEN + 4, IFA_ADDRESS}, {NLA_HDRLEN + 4, IFA_LOCAL}};
    const struct nlattr attribute6 = {NLA_HDRLEN + 16, IFA_ADDRESS};
    char copy[INET6_ADDRSTRLEN + 8], *bits, *end;
    unsigned long prefix;

    if (strlen(text) >= sizeof(copy))
        return -EINVAL;
    strcpy(copy, text);
    bits = strchr(copy, '/');
    if (!bits)
        return -EINVAL;
    *bits++ = '\0';
    prefix = strtoul(bits, &end, 10);
    if (end == bits || *end)
        return -EINVAL;
    info.ifa_prefixlen = (uint8_t)prefix;
    if (inet_pton(AF_INET, copy, &config->address) == 1 && prefix <= 32 && !config->has_v4) {
        const void *data[] = {&config->address, &config->address};

        config->has_v4 = true;
        config->mask.s_addr = prefix ? htonl(UINT32_MAX << (32 - prefix)) : 0;
        info.ifa_family = AF_INET;
        keep_made(config, RTM_NEWADDR, &info, sizeof(info), attributes, data, 2);
        return 0;
    }
    if (config->v6_count == LWIP_ADDRESSES_MAX || prefix > 128 ||
        inet_pton(AF_INET6, copy, &config->v6[config->v6_count]) != 1)
        return -EINVAL;
    config->v6_prefix[config->v6_count] = (uint8_t)prefix;
    info.ifa_family = AF_INET6;
    keep_made(config, RTM_NEWADDR, &info, sizeof(info), &attribute6,
              (const void *[]){&config->v6[config->v6_count]}, 1);
    config->v6_count++;
    return 0;
}

static int give_gateway(struct lwip_config *config, const char *text)
{
    struct rtmsg info = {
        .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST};
    struct nlattr attributes[] = {{NLA_HDRLEN + 4, RTA_GATEWAY},
                                  {NLA_HDRLEN + sizeof(config->index), RTA_OIF}};
    const void *data[] = {&config->gateway, &config->index};

    info.rtm_family = AF_INET;
    if (inet_pton(AF_INET, text, &config->gateway) != 1) {
        if (inet_pton(AF_INET6, text, &config->gateway6) != 1)
            return -EINVAL;
        config->has_gateway6 = true;
        info.rtm_family = AF_INET6;
        attributes[0].nla_len = NLA_HDRLEN + 16;
        data[0] = &config->gateway6;
    }
    keep_made(config, RTM_NEWROUTE, &info, sizeof(info), attributes, data, 2);
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

/* What gives everything back: addresses before the routes that need them. */
static size_t make_restoring(const struct lwip_config *config, uint8_t *ret)
{
    static const uint16_t types[] = {RTM_NEWADDR, RTM_NEWROUTE};
    size_t size = 0;

    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        for (uint32_t at = 0; config->messages_size - at >= NLMSG_HDRLEN;) {
            const struct nlmsghdr *m =
                (const struct nlmsghdr *)(const void *)(config->messages + at);
            struct nlmsghdr *copy = (struct nlmsghdr *)(void *)(ret + size);

            at += NLMSG_ALIGN(m->nlmsg_len);
            if (m->nlmsg_type != types[i])
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
        if (err < 0 || !asked->own_addresses || config->has_v4 || config->v6_count ||
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
    if (!ret->has_v4 && !ret->v6_count)
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
