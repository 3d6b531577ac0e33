/* struct rusage, which several calls fill. */
#ifndef SENTRY_SYSCALLS_USAGE_H
#define SENTRY_SYSCALLS_USAGE_H

#include "base/compiler.h"

struct task;
struct usage;

/* -EFAULT */
long put_usage(struct task *task, uaddr_t ptr, const struct usage *usage);

#endif
