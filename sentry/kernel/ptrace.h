/*
 * ptrace(2) as programs use it on each other. (The platform of that name is something else: it uses
 * the host's.) Everything here happens between tasks of the sandbox.
 */
#ifndef SENTRY_KERNEL_PTRACE_H
#define SENTRY_KERNEL_PTRACE_H

#include "base/compiler.h"

struct task;

/* Linux PTRACE_MODE_*: what is to be done, and which of the caller's ids decide. */
enum ptrace_mode {
    PTRACE_ATTACH_REALCREDS, /* ptrace(2), process_vm_readv(2): real ids, permitted capabilities */
    PTRACE_ATTACH_FSCREDS,   /* /proc: file system ids, effective capabilities */
    PTRACE_READ_FSCREDS,
};

/* May `caller` look into (or change) `target`? 0 or -EPERM (Linux __ptrace_may_access()). */
int ptrace_may_access(struct task *caller, struct task *target, enum ptrace_mode mode);

#endif
