/* What programs may know of the neighbours on the device's network: RTM_GETNEIGH, /proc/net/arp. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include "sentry/net/inet/lwip/bridge.h"
#include "sentry/net/inet/lwip/stack.h"
#include "sentry/net/nlattr.h"

static int family_of(const struct stack_neighbour *n)
{
    return IN6_IS_ADDR_V4MAPPED(&n->addr) ? AF_INET : AF_INET6;
}

/* The bytes of an address of its family, at the end of ours. */
static const uint8_t *address_of(const struct in6_addr *addr, size_t size)
{
    return addr->s6_addr + sizeof(*addr) - size;
}

static void tell(const struct stack_neighbour *n, void (*each)(void *, const struct nlmsghdr *),
                 void *arg)
{
    struct {
        struct nlmsghdr head;
        struct ndmsg info;
        uint8_t attributes[64];
    } m = {.head = {.nlmsg_type = RTM_NEWNEIGH, .nlmsg_len = NLMSG_LENGTH(sizeof(m.info))},
           .info = {.ndm_family = (uint8_t)family_of(n),
                    .ndm_ifindex = stack_config()->index,
                    .ndm_state = n->state,
                    .ndm_flags = n->is_router ? NTF_ROUTER : 0,
                    .ndm_type = RTN_UNICAST}};
    size_t size = m.info.ndm_family == AF_INET ? 4 : 16;

    nlattr_put(&m.head, sizeof(m), NDA_DST, address_of(&n->addr, size), size);
    if (n->has_hardware)
        nlattr_put(&m.head, sizeof(m), NDA_LLADDR, n->hardware, sizeof(n->hardware));
    each(arg, &m.head);
}

/* The interface that an attribute names; 0: there is none such. */
static int index_in(const struct nlmsghdr *q, uint16_t type)
{
    size_t size;
    const void *at = nlattr_find(q, sizeof(struct ndmsg), type, &size);
    int index = 0;

    if (at && size == sizeof(index))
        memcpy(&index, at, sizeof(index));
    return index;
}

static void tell_all(const struct nlmsghdr *q, void (*each)(void *, const struct nlmsghdr *),
                     void *arg)
{
    struct stack_neighbour list[STACK_NEIGHBOURS_MAX];
    const uint8_t family = *(const uint8_t *)NLMSG_DATA(q);
    int index = 0, master = 0;

    if (q->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ndmsg))) {
        struct ndmsg info;

        memcpy(&info, NLMSG_DATA(q), sizeof(info));
        if (info.ndm_flags == NTF_PROXY)
            return; /* we answer for nobody else */
        index = index_in(q, NDA_IFINDEX);
        master = index_in(q, NDA_MASTER);
    }
    if ((index && index != stack_config()->index) || master)
        return;
    for (uint32_t i = 0, n = stack_neighbours(list); i < n; i++)
        if (family == AF_UNSPEC || family == family_of(&list[i]))
            tell(&list[i], each, arg);
}

/* neigh_get(): what is asked was looked at already, as far as any namespace's is. */
static int tell_one(const struct nlmsghdr *q, void (*each)(void *, const struct nlmsghdr *),
                    void *arg)
{
    struct stack_neighbour list[STACK_NEIGHBOURS_MAX];
    struct ndmsg info;
    const void *to;
    size_t size, bytes;

    memcpy(&info, NLMSG_DATA(q), sizeof(info));
    bytes = info.ndm_family == AF_INET ? 4 : 16;
    to = nlattr_find(q, sizeof(info), NDA_DST, &size);
    if (info.ndm_ifindex != stack_config()->index)
        return -ENODEV;
    if (!to)
        return -EINVAL;
    for (uint32_t i = 0, n = stack_neighbours(list); i < n; i++)
        if (family_of(&list[i]) == info.ndm_family && !(info.ndm_flags & NTF_PROXY) &&
            memcmp(address_of(&list[i].addr, bytes), to, bytes) == 0) {
            tell(&list[i], each, arg);
            return 0;
        }
    return -ENOENT;
}

int about_neighbours(const struct nlmsghdr *q,
                     void (*each)(void *arg, const struct nlmsghdr *answer), void *arg)
{
    if (!(q->nlmsg_flags & NLM_F_DUMP))
        return tell_one(q, each, arg);
    tell_all(q, each, arg);
    return 0;
}

ssize_t about_arp_text(char *buf, size_t size)
{
    struct stack_neighbour list[STACK_NEIGHBOURS_MAX];
    char lines[(STACK_NEIGHBOURS_MAX + 1) * 100];
    int n = snprintf(lines, sizeof(lines),
                     "IP address       HW type     Flags       HW address            Mask     "
                     "Device\n");

    for (uint32_t i = 0, count = stack_neighbours(list); i < count; i++) {
        const uint8_t *h = list[i].hardware;
        char addr[INET_ADDRSTRLEN], hardware[18] = "00:00:00:00:00:00";

        if (family_of(&list[i]) != AF_INET)
            continue;
        inet_ntop(AF_INET, address_of(&list[i].addr, 4), addr, sizeof(addr));
        if (list[i].has_hardware)
            snprintf(hardware, sizeof(hardware), "%02x:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2],
                     h[3], h[4], h[5]);
        n += snprintf(lines + n, sizeof(lines) - (size_t)n,
                      "%-16s 0x%-10x0x%-10x%-17s     *        %s\n", addr, ARPHRD_ETHER,
                      list[i].has_hardware ? 2 /* ATF_COM */ : 0, hardware, stack_config()->name);
    }
    memcpy(buf, lines, MIN((size_t)n, size));
    return n;
}
