/*
 * A network namespace: what names and numbers of sockets belong to. Each family keeps its own part.
 */
#ifndef SENTRY_NET_NETNS_H
#define SENTRY_NET_NETNS_H

#include "base/refcount.h"

struct net_ns;

/* With every registered family's part in its first state. -ENOMEM. */
int net_ns_create(struct net_ns **ret);
struct net_ns *net_ns_ref(struct net_ns *net);
struct net_ns *net_ns_unref(struct net_ns *net); /* takes NULL, returns NULL */
/* What the family's ns_init() made. */
void *net_ns_family(struct net_ns *net, int family);

#endif
