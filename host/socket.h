/*
 * Sockets of the host's internet families, for --network=host: each socket of the program is one of
 * these, held by the Sentry. They never block. All return -errno.
 */
#ifndef HOST_SOCKET_H
#define HOST_SOCKET_H

#include <sys/socket.h>

#include "base/compiler.h"

/* socket(2), SOCK_CLOEXEC | SOCK_NONBLOCK: a descriptor. */
int host_socket(int domain, int type, int protocol);
int host_socket_bind(int fd, const void *addr, socklen_t size);
int host_socket_listen(int fd, int backlog);
/* The new descriptor, close-on-exec and nonblocking. */
int host_socket_accept(int fd);
int host_socket_connect(int fd, const void *addr, socklen_t size);
/* *size: room, and the real length afterwards, which may be more. */
int host_socket_name(int fd, bool peer, void *addr, socklen_t *size);
int host_socket_shutdown(int fd, int how);
/* MSG_DONTWAIT, and for sending MSG_NOSIGNAL, are added. */
ssize_t host_socket_send(int fd, const struct msghdr *msg, int flags);
ssize_t host_socket_receive(int fd, struct msghdr *msg, int flags);
int host_socket_set(int fd, int level, int name, const void *value, socklen_t size);
int host_socket_get(int fd, int level, int name, void *value, socklen_t *size);

/* Options of host/sockopts.def: what the jail lets through. */
enum { HOST_SOCKOPT_GET = 1, HOST_SOCKOPT_SET = 2, HOST_SOCKOPT_BOTH = 3 };
struct host_sockopt {
    int level, name;
    uint32_t max; /* bytes that the host is given at most */
    uint32_t ways;
};
/* NULL: not on the list. */
const struct host_sockopt *host_sockopt_find(int level, int name);

/* A NETLINK_ROUTE socket, before the jail closes; it asks as nobody in particular. */
int host_route_socket(void);

#endif
