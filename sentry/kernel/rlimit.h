/* Resource limits: getrlimit(2). */
#ifndef SENTRY_KERNEL_RLIMIT_H
#define SENTRY_KERNEL_RLIMIT_H

#include "base/compiler.h"

struct mm;
struct process;
struct rlimit64;
struct task;

/* `limits`: RLIM_NLIMITS of them, or NULL for Linux's defaults. */
void rlimits_init(struct process *process, const struct rlimit64 *limits);
/* Tells `mm` which limits of the task's process concern it. */
void rlimits_apply(struct task *task, struct mm *mm);

#endif
