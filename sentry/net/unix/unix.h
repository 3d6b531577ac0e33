/* AF_UNIX: unix(7), all of it inside the Sentry. */
#ifndef SENTRY_NET_UNIX_UNIX_H
#define SENTRY_NET_UNIX_UNIX_H

#include "sentry/net/socket.h"

#define UNIX_DGRAM_QUEUE 10 /* /proc/sys/net/unix/max_dgram_qlen */

extern const struct socket_family unix_family;

#endif
