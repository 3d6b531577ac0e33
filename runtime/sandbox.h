/*
 * One sandbox from start to end. The order of its making is in sandbox.c.
 */
#ifndef RUNTIME_SANDBOX_H
#define RUNTIME_SANDBOX_H

#include "runtime/options.h"

/*
 * Runs the program and ends this process as the program ended: with its exit status, or by the
 * same signal. Returns only when the program could not be started: an exit code of options.h, the
 * reason has been logged.
 */
int sandbox_run(const struct options *options);

#endif
