/* Resource limits: getrlimit(2). */
#ifndef SENTRY_KERNEL_RLIMIT_H
#define SENTRY_KERNEL_RLIMIT_H

#include "base/compiler.h"

struct process;
struct rlimit64;
struct task;

/* `limits`: RLIM_NLIMITS of them, or NULL for Linux's defaults. */
void rlimits_init(struct process *process, const struct rlimit64 *limits);
/* Tells the task's mm which of its process's limits concern it. */
void rlimits_apply(struct task *task);

#endif
