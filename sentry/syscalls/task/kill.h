/* What the calls that send signals share. */
#ifndef SENTRY_SYSCALLS_KILL_H
#define SENTRY_SYSCALLS_KILL_H

#include "sentry/kernel/task.h"

/* What the receiver is told of the caller, with `code` SI_USER or SI_TKILL. */
siginfo_t kill_info(const struct task *task, int signo, int code);
/* What a program made up itself, with the kernel's ids in place of those of its namespaces. */
void kill_take_ids(const struct task *task, siginfo_t *info);
/* kill(2): EINVAL for what is no signal, EPERM; takes the target's process->lock. */
int kill_check_permission(struct task *task, struct task *target, int signo);
/* To pid 1, our own "init": it takes no signal, like Linux's that handles none. EPERM, EINVAL. */
int kill_sentry(const struct task *task, int signo);
/* To every process of a group, by its global number. -ESRCH: there is none. */
long kill_group(struct task *task, int pgid, int signo, const siginfo_t *info);

#endif
