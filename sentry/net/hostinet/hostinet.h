/*
 * --network=host: AF_INET and AF_INET6 of the first network namespace are the host's, each socket
 * of a program one of the host's that the Sentry holds. Names, options, ancillary data and answers
 * all go through lists here; what is on none of them is refused, and never reaches the host.
 */
#ifndef SENTRY_NET_HOSTINET_HOSTINET_H
#define SENTRY_NET_HOSTINET_HOSTINET_H

#include "base/compiler.h"

/* Before the jail closes: takes over a NETLINK_ROUTE socket, an internet datagram socket for
 * questions, and becomes what the first network namespace has. */
void hostinet_start(int route_fd, int question_fd);
/* A file of /proc/net, open; taken over. `name` is static. */
void hostinet_add_proc(const char *name, int fd);

#endif
