/* What sockets are told of tasks (sentry/net/caller.h), and the families that there are. */
#ifndef SENTRY_KERNEL_NETCALLER_H
#define SENTRY_KERNEL_NETCALLER_H

struct net_ns;
struct ns;
struct task;

/* Registers the families, before the first namespace is made. */
void net_start(void);
/* The object of a network namespace (ns.h); NULL without memory. */
struct ns *net_namespace_create(void);
/* The one that the calls of the task mean; own thread only. Borrowed from the task. */
struct net_ns *task_net(const struct task *task);

#endif
