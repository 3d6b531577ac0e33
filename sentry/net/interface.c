#include "sentry/net/interface.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/netns.h"
#include "sentry/net/socket.h"

/* struct ifreq and struct ifconf, as programs have them. */
struct guest_ifreq {
    char name[IFNAMSIZ];
    union {
        struct sockaddr_in addr;
        struct sockaddr hwaddr;
        int32_t number;
        int16_t flags;
        char other_name[IFNAMSIZ];
        uint8_t bytes[24];
    };
};
static_assert(sizeof(struct guest_ifreq) == 40, "struct ifreq");

struct guest_ifconf {
    int32_t size, pad;
    uint64_t requests;
};

static void put_address(struct guest_ifreq *r, uint32_t address)
{
    memset(r->bytes, 0, sizeof(r->bytes));
    r->addr.sin_family = AF_INET;
    r->addr.sin_addr.s_addr = htonl(address);
}

/* SIOCGIFCONF: the interfaces that have an IPv4 address; without a buffer, the room they need. */
static long list(const struct socket *s, struct mm *mm, uaddr_t arg)
{
    bool any = net_ns_lo_has_address(s->net, AF_INET);
    struct guest_ifreq r = {.name = LO_NAME};
    struct guest_ifconf conf;

    if (copy_struct_from_user(mm, &conf, arg) < 0)
        return -EFAULT;
    if (!conf.requests) {
        conf.size = any ? sizeof(r) : 0;
    } else if (!any || conf.size < (int32_t)sizeof(r)) {
        conf.size = 0;
    } else {
        put_address(&r, LO_ADDRESS);
        if (copy_struct_to_user(mm, conf.requests, &r) < 0)
            return -EFAULT;
        conf.size = sizeof(r);
    }
    return copy_struct_to_user(mm, arg, &conf);
}

/* What only IPv4's sockets are asked. */
static int get_address(const struct socket *s, uint32_t cmd, struct guest_ifreq *r)
{
    if (s->domain != AF_INET)
        return -ENOTTY;
    if (!net_ns_lo_has_address(s->net, AF_INET))
        return -EADDRNOTAVAIL;
    switch (cmd) {
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
        put_address(r, LO_ADDRESS);
        return 0;
    case SIOCGIFBRDADDR:
        put_address(r, 0);
        return 0;
    default:
        put_address(r, 0xff000000u);
        return 0;
    }
}

static int get(const struct socket *s, uint32_t cmd, struct guest_ifreq *r)
{
    switch (cmd) {
    case SIOCGIFFLAGS:
        r->flags = (int16_t)net_ns_lo_flags(s->net);
        return 0;
    case SIOCGIFMETRIC:
        r->number = 0;
        return 0;
    case SIOCGIFMTU:
        r->number = net_ns_lo_mtu(s->net);
        return 0;
    case SIOCGIFHWADDR:
        memset(r->bytes, 0, sizeof(r->bytes));
        r->hwaddr.sa_family = LO_TYPE;
        return 0;
    case SIOCGIFMAP:
        memset(r->bytes, 0, sizeof(r->bytes));
        return 0;
    case SIOCGIFINDEX:
        r->number = LO_INDEX;
        return 0;
    case SIOCGIFTXQLEN:
        r->number = LO_TX_QUEUE;
        return 0;
    case SIOCGIFSLAVE:
        return -EINVAL;
    case SIOCETHTOOL:
        return -EOPNOTSUPP;
    default:
        return get_address(s, cmd, r);
    }
}

/* Up or down, and its MTU. */
static int set(const struct socket *s, uint32_t cmd, const struct guest_ifreq *r)
{
    if (cmd == SIOCSIFMTU)
        return net_ns_lo_set_mtu(s->net, r->number);
    if (cmd != SIOCSIFFLAGS)
        return -EOPNOTSUPP;
    net_ns_lo_set_up(s->net, r->flags & IFF_UP);
    return 0;
}

static bool is_question(uint32_t cmd)
{
    switch (cmd) {
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFMAP:
    case SIOCGIFINDEX:
    case SIOCGIFTXQLEN:
    case SIOCGIFSLAVE:
    case SIOCETHTOOL:
        return true;
    default:
        return false;
    }
}

bool interface_is_change(uint32_t cmd)
{
    switch (cmd) {
    case SIOCSIFFLAGS:
    case SIOCSIFADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCSIFNAME:
    case SIOCSIFTXQLEN:
    case SIOCADDRT:
    case SIOCDELRT:
        return true;
    default:
        return false;
    }
}

static bool is_ours(const struct guest_ifreq *r)
{
    return strncmp(r->name, LO_NAME, IFNAMSIZ) == 0 ||
           strncmp(r->name, LO_NAME ":", strlen(LO_NAME) + 1) == 0;
}

long interface_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct guest_ifreq r;
    int err;

    if (cmd == SIOCGIFCONF)
        return list(s, mm, arg);
    if (cmd != SIOCGIFNAME && !is_question(cmd) && !interface_is_change(cmd))
        return -ENOTTY;
    if (copy_struct_from_user(mm, &r, arg) < 0)
        return -EFAULT;
    if (cmd == SIOCGIFNAME) {
        if (r.number != LO_INDEX)
            return -ENODEV;
        memset(r.name, 0, sizeof(r.name));
        strcpy(r.name, LO_NAME);
        return copy_struct_to_user(mm, arg, &r);
    }
    r.name[IFNAMSIZ - 1] = '\0';
    if (interface_is_change(cmd) && !net_capable(s->net, CAP_NET_ADMIN))
        return -EPERM;
    if (!is_ours(&r))
        return -ENODEV;
    if (interface_is_change(cmd))
        return set(s, cmd, &r);
    err = get(s, cmd, &r);
    return err < 0 ? err : copy_struct_to_user(mm, arg, &r);
}

void interface_statistics(const struct net_device *d, struct rtnl_link_stats64 *ret_all,
                          struct rtnl_link_stats *ret_words)
{
    *ret_all = (struct rtnl_link_stats64){
        .rx_packets = d->in_frames,
        .rx_bytes = d->in_bytes,
        .rx_dropped = d->in_dropped,
        .tx_packets = d->out_frames,
        .tx_bytes = d->out_bytes,
    };
    *ret_words = (struct rtnl_link_stats){
        .rx_packets = (uint32_t)d->in_frames,
        .rx_bytes = (uint32_t)d->in_bytes,
        .rx_dropped = (uint32_t)d->in_dropped,
        .tx_packets = (uint32_t)d->out_frames,
        .tx_bytes = (uint32_t)d->out_bytes,
    };
}
