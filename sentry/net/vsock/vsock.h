/*
 * AF_VSOCK on a machine without a transport, neither a hypervisor above it nor guests below:
 * vsock(7). Sockets can be made, bound and listened on; nobody ever connects, and connect(2) is
 * ENODEV.
 */
#ifndef SENTRY_NET_VSOCK_VSOCK_H
#define SENTRY_NET_VSOCK_VSOCK_H

#include "sentry/net/socket.h"

extern const struct socket_family vsock_family;

#endif
