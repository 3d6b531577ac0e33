/*
 * --network=sandbox: a TCP/IP stack of the sandbox's own on a network device that is given to it.
 *
 * The stack is lwIP, Debian's shared library, as it is. It does what a kernel does between a
 * device and sockets: ARP and neighbour discovery, IP, fragments, ICMP, TCP's segments and timers.
 * Sockets are those of sentry/net/inet, in memory, whether their peers are inside or not: a
 * connection that leads out has a socket at its other end that no program has, and its bytes are
 * carried between that and lwIP (bridge.c). So what programs see of sockets is the same in all
 * directions, and what does not lead out never meets lwIP.
 *
 *      device <-> device.c <-> lwIP <-> stream.c <-> bridge.c <-> sockets of sentry/net/inet
 *                                   <-> datagram.c           <->
 *
 * lwIP runs under one lock, in one thread of the Sentry and in those of tasks that send.
 */
#ifndef SENTRY_NET_INET_LWIP_LWIP_H
#define SENTRY_NET_INET_LWIP_LWIP_H

#include <netinet/in.h>

#include "base/compiler.h"

#define LWIP_V4_MAX       16
#define LWIP_V6_MAX       5 /* LWIP_IPV6_NUM_ADDRESSES of the library, but for one */
#define LWIP_ROUTES_MAX   256
#define LWIP_MESSAGES_MAX 65536

/* Of both families, as in all of sentry/net/inet: IPv4 is ::ffff:a.b.c.d. */
struct lwip_address {
    struct in6_addr addr;
    uint8_t bits; /* of its network, of 128: IPv4's are 96 more */
};

struct lwip_route {
    struct lwip_address to;
    bool has_gateway, has_source;
    struct in6_addr gateway; /* else what it leads to is on the device's own network */
    struct in6_addr source;  /* what sockets without an address of their own send from */
    uint32_t metric;
};

/* What the device is and which addresses it has, as told by the namespace that it comes from. */
struct lwip_config {
    int fd; /* frames with virtio headers: host/packet.h; taken over */
    char name[16];
    int index;
    uint8_t hardware[6];
    uint32_t mtu;
    bool raw;                    /* raw sockets reach the device: --net-raw */
    uint32_t v4_count, v6_count; /* of the addresses: IPv4's come first */
    struct lwip_address addresses[LWIP_V4_MAX + LWIP_V6_MAX];
    uint32_t route_count;
    struct lwip_route routes[LWIP_ROUTES_MAX];
    /* Messages of rtnetlink(7) that describe all this, one after the other, aligned. */
    uint32_t messages_size;
    uint8_t messages[LWIP_MESSAGES_MAX] __aligned_to(4);
};

/* Before the jail closes: loads the library, which has no other users. -errno; *ret_why in words.
 */
int lwip_prepare(const struct lwip_config *config, const char **ret_why);
/* Once the first network namespace is there: the thread starts. */
int lwip_start(void);
/* What programs have sent before they ended leaves, as from a kernel that goes on; not for ever. */
void lwip_finish(void);

#endif
