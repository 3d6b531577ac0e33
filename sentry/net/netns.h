/*
 * A network namespace: what names and numbers of sockets belong to. Each family keeps its own part.
 */
#ifndef SENTRY_NET_NETNS_H
#define SENTRY_NET_NETNS_H

#include <sys/types.h>

#include "base/refcount.h"

struct mm;
struct net_ns;
struct nlmsghdr;
struct socket;

/* An interface, and what has passed it. */
struct net_device {
    char name[16];
    int index, mtu;
    uint16_t type; /* ARPHRD_* */
    uint8_t address[6];
    bool raw; /* packet sockets may see and send its frames */
    uint64_t in_frames, in_bytes, in_dropped, out_frames, out_bytes;
};

/*
 * What the first namespace has beyond a loopback in memory: the host's network, or a stack of our
 * own. It makes the sockets of the internet families there, and tells of interfaces and routes;
 * namespaces that programs make have their loopback alone.
 */
struct net_outward {
    /* The namespace is made. May be NULL. */
    void (*attach)(struct net_ns *net);
    /* socket(2) of AF_INET, AF_INET6 and AF_PACKET. NULL: the families make them themselves. */
    int (*create)(struct net_ns *net, int domain, int type, int protocol, struct socket **ret);
    /* Requests of netdevice(7); -ENOTTY: none of them. */
    long (*interface_ioctl)(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg);
    /*
     * The answers to one question of rtnetlink(7), which only asks: each message to `each`, without
     * NLMSG_DONE. Types that it does not answer: -EOPNOTSUPP.
     */
    int (*route)(const struct nlmsghdr *question,
                 void (*each)(void *arg, const struct nlmsghdr *answer), void *arg);
    bool adds_to_loopback; /* its answers come beside those for the loopback in memory */
    /* A file of /proc/net by its name: bytes; -ENOENT: as with the loopback alone. */
    ssize_t (*proc_text)(const char *name, char *buf, size_t size);
    /* Its interface beside lo. NULL: there is none that could be told of here. */
    void (*device)(struct net_device *ret);
    /* A whole frame leaves by it. -EPERM, -ENOBUFS, -EMSGSIZE. NULL where `device` is. */
    int (*send_frame)(const void *bytes, size_t size);
};
/* Before the first namespace is made; static. */
void net_set_outward(const struct net_outward *outward);
/* NULL: the loopback alone. */
const struct net_outward *net_ns_outward(const struct net_ns *net);

/* With every registered family's part in its first state, and its loopback interface up or down.
 * -ENOMEM. */
int net_ns_create(bool lo_up, struct net_ns **ret);
struct net_ns *net_ns_ref(struct net_ns *net);
struct net_ns *net_ns_unref(struct net_ns *net);  /* takes NULL, returns NULL */
uint64_t net_ns_cookie(const struct net_ns *net); /* a number that no other one has */
/* What the family's ns_init() made. */
void *net_ns_family(struct net_ns *net, int family);

/*
 * The loopback interface (abi/loopback.h). IPv4's address comes when it is up for the first time,
 * or is added before, and stays; IPv6's comes and goes.
 */
bool net_ns_lo_is_up(const struct net_ns *net);
bool net_ns_lo_has_address(const struct net_ns *net, int family);
unsigned net_ns_lo_flags(const struct net_ns *net); /* IFF_* */
int net_ns_lo_mtu(const struct net_ns *net);        /* bytes */
bool net_ns_lo_add_v4(struct net_ns *net);          /* false: it was there */
void net_ns_lo_set_up(struct net_ns *net, bool up);
int net_ns_lo_set_mtu(struct net_ns *net, int mtu); /* -EINVAL */
/* Packets went over it, with so many bytes in all, their IP headers counted. */
void net_ns_lo_count(struct net_ns *net, uint64_t packets, uint64_t bytes);
/* lo, or what lies outward. -ENODEV. */
int net_ns_device(const struct net_ns *net, int index, struct net_device *ret);
int net_ns_device_named(const struct net_ns *net, const char *name, struct net_device *ret);

/*
 * The tags of /proc/sys/net/ipv4/conf: numbers that programs keep there for themselves. A new
 * namespace begins with those of the first one, its lo with the default.
 */
enum net_tag { NET_TAG_ALL, NET_TAG_DEFAULT, NET_TAG_LO, NET_TAGS };
int net_ns_tag(const struct net_ns *net, enum net_tag which);
void net_ns_set_tag(struct net_ns *net, enum net_tag which, int value);

#endif
