/* AF_UNIX: unix(7), all of it inside the Sentry. */
#ifndef SENTRY_NET_UNIX_UNIX_H
#define SENTRY_NET_UNIX_UNIX_H

#include "sentry/net/socket.h"

#define UNIX_DGRAM_QUEUE 10 /* /proc/sys/net/unix/max_dgram_qlen */

extern const struct socket_family unix_family;

/* What /proc/net/unix shows of one socket. */
struct unix_info {
    uint64_t ino;
    uint32_t refs, flags, type, state;
    char name[SOCKET_ADDRESS_MAX + 2]; /* '@' for each NUL of an abstract one; "": none */
};
/* The sockets of a namespace, one after the other; false when `show` says to stop. */
void unix_list(struct net_ns *net, bool (*show)(void *arg, const struct unix_info *info),
               void *arg);

#endif
