/* What prctl(2) and ptrace(2) have of seccomp(2). */
#ifndef SENTRY_SYSCALLS_SECCOMP_H
#define SENTRY_SYSCALLS_SECCOMP_H

#include "base/compiler.h"

struct task;

/* PR_SET_SECCOMP. */
long prctl_set_seccomp(struct task *task, uint64_t mode, uaddr_t filter);
/* PTRACE_SECCOMP_GET_FILTER, PTRACE_SECCOMP_GET_METADATA. */
long ptrace_get_filter(struct task *task, struct task *tracee, uint64_t index, uaddr_t data);
long ptrace_get_filter_metadata(struct task *task, struct task *tracee, uint64_t size,
                                uaddr_t data);

#endif
