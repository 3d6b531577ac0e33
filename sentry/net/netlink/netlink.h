/*
 * AF_NETLINK: netlink(7). The kernel's side answers questions about the network (route.c); programs
 * send each other messages over NETLINK_USERSOCK and by their port numbers.
 */
#ifndef SENTRY_NET_NETLINK_NETLINK_H
#define SENTRY_NET_NETLINK_NETLINK_H

#include "sentry/net/socket.h"

extern const struct socket_family netlink_family;

bool netlink_is(const struct socket *s);
/*
 * A message from the kernel into the socket's queue: what mq_notify(3) of a SIGEV_THREAD sends.
 * -ENOBUFS when it is full, -ENOMEM.
 */
int netlink_deliver(struct socket *s, const void *data, size_t size);

/* What /proc/net/netlink shows of one socket. */
struct netlink_info {
    uint64_t ino;
    uint32_t protocol, port, groups, queued, refs, drops;
    uint8_t type;
    uint32_t to_port, to_groups, rcvbuf, sndbuf;
    uint32_t options; /* bits by NETLINK_* option number */
};
void netlink_list(struct net_ns *net, bool (*show)(void *arg, const struct netlink_info *info),
                  void *arg);

#endif
