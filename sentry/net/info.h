/* What is told of one socket to those who look on: /proc/net, NETLINK_SOCK_DIAG. */
#ifndef SENTRY_NET_INFO_H
#define SENTRY_NET_INFO_H

#include "base/compiler.h"

struct net_ns;

/* tcp(7)'s numbers of states, which all families use. */
enum { SOCKET_ESTABLISHED = 1, SOCKET_CLOSED = 7, SOCKET_LISTENING = 10 };

struct socket_info {
    uint64_t ino, peer_ino; /* peer_ino 0: none */
    uint32_t refs, uid;
    uint8_t type, state, shutdown;
    uint32_t reading, writing; /* bytes queued; of a listener: who waits, and its backlog */
    uint32_t name_size;
    char name[128]; /* of AF_UNIX: a path without its NUL, or an abstract name that begins with one
                     */
};

typedef bool (*socket_info_fn)(void *arg, const struct socket_info *info);

#endif
