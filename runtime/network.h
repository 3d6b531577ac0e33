/*
 * --network: what the sandbox's first network namespace has beside its loopback, set up while host
 * paths can be opened and sockets of any kind made.
 */
#ifndef RUNTIME_NETWORK_H
#define RUNTIME_NETWORK_H

#include "runtime/options.h"

/* Before the kernel is made. -errno, and a line in the log. */
int network_start(const struct options *options);
/* Once the kernel and its first network namespace are made. -errno. */
int network_run(const struct options *options);
/* The program has ended: what it sent still leaves. */
void network_finish(const struct options *options);
/* What of the jail's list it needs: enum jail_role bits. */
uint32_t network_roles(const struct options *options);

#endif
