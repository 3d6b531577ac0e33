/* What sockets are told of tasks (sentry/net/caller.h), and the families that there are. */
#ifndef SENTRY_KERNEL_NETCALLER_H
#define SENTRY_KERNEL_NETCALLER_H

#include "base/compiler.h"

struct memfile;
struct net_ns;
struct ns;
struct task;

/* Registers the families, before the first namespace is made; `memfile`: for their rings. */
void net_start(struct memfile *memfile);
/* The object of a network namespace (ns.h), whose lo is up in the first one; NULL without memory.
 */
struct ns *net_namespace_create(bool first);
/* Borrowed from the object, which is of kind NS_NET. */
struct net_ns *net_of_namespace(struct ns *ns);
/* The one that the calls of the task mean; own thread only. Borrowed from the task. */
struct net_ns *task_net(const struct task *task);

#endif
