/* Exceptions of the guest's processor become signals (SDM vol. 3, ch. 6; Linux
 * arch/x86/kernel/traps.c). */
#ifndef SENTRY_KERNEL_EXCEPTION_H
#define SENTRY_KERNEL_EXCEPTION_H

#include "platform/platform.h"

struct task;

void exception_handle(struct task *task, const struct trap_info *info);
/* The si_code of SIGFPE for x87 or SSE exception flags that are raised and not masked; 0: none. */
int exception_fpe_code(uint32_t raised);

#endif
