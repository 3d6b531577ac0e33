/*
 * The jail: what the Sentry and the gofer lock themselves into before any guest instruction runs.
 * No new privileges, empty capability sets, and a seccomp filter whose default action kills the
 * process, built from host/calls.def. See docs/SECURITY.md.
 */
#ifndef HOST_JAIL_H
#define HOST_JAIL_H

#include "base/compiler.h"

enum jail_role {
    JAIL_SENTRY = 1,
    JAIL_KVM = 2,
    JAIL_PTRACE = 4,
    JAIL_GOFER = 8,
};

/* Collected from the parts of the sandbox before the jail closes. */
struct jail_request {
    uint32_t roles; /* enum jail_role bits: rows of calls.def with any of them are allowed */
};

/*
 * Closes the jail around all threads of the process (SECCOMP_FILTER_FLAG_TSYNC); final. Each rule
 * is logged at debug level. -errno when any layer could not be put up: the caller must not go on.
 */
int jail_enter(const struct jail_request *req);

#endif
