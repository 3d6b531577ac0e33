/* What is told of one socket to those who look on: /proc/net, NETLINK_SOCK_DIAG. */
#ifndef SENTRY_NET_INFO_H
#define SENTRY_NET_INFO_H

#include <netinet/in.h>

#include "base/compiler.h"

struct net_ns;
struct socket;

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

/* A socket of the internet families. */
struct inet_report {
    struct socket *socket;         /* whose it is: as long as it is told of */
    struct in6_addr local, remote; /* of AF_INET: as ::ffff:a.b.c.d */
    uint16_t local_port, remote_port;
    uint8_t state; /* TCP_ESTABLISHED...; UDP: TCP_CLOSE, or TCP_ESTABLISHED when connected */
    uint32_t unsent, unread; /* bytes; of a listening socket: backlog, and those that wait */
    uint32_t uid;
    uint64_t ino;
    /* sock_diag(7) alone tells the rest. */
    int family, protocol, mark;
    uint8_t shutdown; /* 1: receive, 2: send */
    uint8_t tos, tclass;
    bool v6only, bound_port; /* bind(2) chose the port */
    uint32_t sndbuf, rcvbuf, read_memory, drops;
    size_t info_size;  /* bytes of `info`; 0: none */
    uint64_t info[40]; /* struct tcp_info of linux/tcp.h */
    char congestion[16];
};
typedef bool (*inet_report_fn)(const struct inet_report *report, void *arg);

typedef bool (*socket_info_fn)(void *arg, const struct socket_info *info);

#endif
