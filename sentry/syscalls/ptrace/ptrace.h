/* Inside the ptrace(2) family: requests that ptrace.c hands on. -ENOTSUP: not one of them. */
#ifndef SENTRY_SYSCALLS_PTRACE_H
#define SENTRY_SYSCALLS_PTRACE_H

#include "base/compiler.h"

struct task;

/* ptrace_regs.c: registers of all kinds, memory */
long ptrace_state_request(struct task *task, struct task *tracee, long request, uaddr_t addr,
                          uaddr_t data);
/* ptrace_info.c: what the stop was about: signals, messages, calls */
long ptrace_info_request(struct task *task, struct task *tracee, long request, uaddr_t addr,
                         uaddr_t data);

#endif
