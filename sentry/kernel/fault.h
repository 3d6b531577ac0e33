/* Page faults of the guest: memory, the legacy vsyscall page, or a signal. */
#ifndef SENTRY_KERNEL_FAULT_H
#define SENTRY_KERNEL_FAULT_H

#include "platform/platform.h"

struct task;

void fault_handle(struct task *task, const struct trap_info *info);

#endif
