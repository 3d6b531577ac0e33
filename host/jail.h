/*
 * The jail: what the Sentry and the gofer lock themselves into before any guest instruction runs.
 * See docs/SECURITY.md. In this order, because each step forbids what the next part needs:
 *
 *   jail_isolate()           an empty, private root: no path leads anywhere any more
 *   jail_drop_privileges()   every capability set empty, no new privileges; per thread in Linux,
 *                            hence before the first thread is made, or by each one made earlier
 *   jail_enter()             the seccomp filter, around all threads; its default action kills
 */
#ifndef HOST_JAIL_H
#define HOST_JAIL_H

#include "base/compiler.h"

enum jail_role {
    JAIL_SENTRY = 1,
    JAIL_KVM = 2,
    JAIL_PTRACE = 4,
    JAIL_GOFER = 8,
    JAIL_SHARE = 16,
    JAIL_HOST_NET = 32,
    JAIL_UDS = 64,
    JAIL_UDS_SHARE = 128,
};

/* Collected from the parts of the sandbox before the jail closes. */
struct jail_request {
    uint32_t roles; /* enum jail_role bits: rows of calls.def with any of them are allowed */
};

/*
 * Moves the process to the root of an empty, read-only tmpfs that is mounted nowhere else. Open
 * descriptors stay good. Where the host does not permit it (an ordinary user) nothing changes and
 * the log says so: the filter, which has no call that takes a path, is what confines.
 */
void jail_isolate(void);

/*
 * Empties the permitted, effective, inheritable, ambient and (where permitted) bounding sets of the
 * calling thread, locks the securebits, sets no_new_privs. Reads back what it set. -errno.
 */
int jail_drop_privileges(void);
/* The same, but the capabilities in `keep` (1 << CAP_*) stay permitted and effective. */
int jail_drop_privileges_but(uint64_t keep);
/* Is this capability effective now? */
bool jail_has_capability(int cap);

/*
 * Drops privileges if that has not happened yet, then closes the filter around all threads of the
 * process (SECCOMP_FILTER_FLAG_TSYNC); final. Each rule is logged at debug level. -errno when any
 * layer could not be put up: the caller must not go on.
 */
int jail_enter(const struct jail_request *req);

#endif
