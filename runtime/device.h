/*
 * The device of --network=sandbox: what its namespace says of it, and taking it over.
 */
#ifndef RUNTIME_DEVICE_H
#define RUNTIME_DEVICE_H

#include "runtime/options.h"

struct lwip_config;

/*
 * Finds the device, its addresses and routes, opens it, and takes the addresses from the host's
 * kernel, which would answer by them too; a process of its own gives them back when the sandbox has
 * ended. -errno, and a line in the log that says which step failed.
 */
int device_open(const struct option_device *option, struct lwip_config *ret);

#endif
