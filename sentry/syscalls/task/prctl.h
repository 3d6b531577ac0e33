/* prctl(2) is spread over three files. */
#ifndef SENTRY_SYSCALLS_PRCTL_H
#define SENTRY_SYSCALLS_PRCTL_H

#include "base/compiler.h"

struct task;

/* `a`: the arguments behind the option. -EINVAL as well for an option that nobody knows. */
long prctl_policy(struct task *task, int option, const uint64_t a[4]);
/* PR_SET_MM. */
long prctl_set_mm(struct task *task, const uint64_t a[4]);

#endif
