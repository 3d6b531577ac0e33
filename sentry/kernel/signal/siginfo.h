/* Which of a siginfo_t's unions is meant: follows from signal and code (sigaction(2)). */
#ifndef SENTRY_KERNEL_SIGINFO_H
#define SENTRY_KERNEL_SIGINFO_H

#include <signal.h>

#include "base/compiler.h"

#define SIGINFO_USED 48 /* bytes that any union reaches; the rest is zero */

enum siginfo_layout {
    SIGINFO_KILL,         /* si_pid, si_uid */
    SIGINFO_TIMER,        /* si_timerid, si_overrun, si_value */
    SIGINFO_POLL,         /* si_band, si_fd */
    SIGINFO_FAULT,        /* si_addr */
    SIGINFO_MEMORY_ERROR, /* and si_addr_lsb */
    SIGINFO_CHILD,        /* si_pid, si_uid, si_status, si_utime, si_stime */
    SIGINFO_QUEUE,        /* si_pid, si_uid, si_value */
    SIGINFO_SYSTEM_CALL,  /* si_call_addr, si_syscall, si_arch */
};

enum siginfo_layout siginfo_layout(const siginfo_t *info);
/*
 * What a program passes to rt_sigqueueinfo(2): clears what no union reaches. False: the code is of
 * no kind that is known, and there is something beyond.
 */
bool siginfo_accept(siginfo_t *info);

#endif
