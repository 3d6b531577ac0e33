/* What the families of scheduling calls share. */
#ifndef SENTRY_SYSCALLS_SCHED_H
#define SENTRY_SYSCALLS_SCHED_H

#include "sentry/kernel/task.h"

struct sched_change {
    int policy, priority, nice;
    bool set_nice; /* else `nice` is not looked at */
    bool reset_on_fork;
    bool keep_policy;                      /* policy and reset_on_fork stay as they are */
    bool keep_params;                      /* priority, nice and deadline stay */
    const struct sched_deadline *deadline; /* for LINUX_SCHED_DEADLINE, which needs one; valid */
};

/* Checks and applies, for the task that `pid` means (0: the caller). EINVAL, EPERM, ESRCH. */
int sched_change(struct task *task, int pid, const struct sched_change *change);
/* A copy of the target's settings. -EINVAL, -ESRCH. */
int sched_read(struct task *task, int pid, struct task_sched *ret_sched);

#endif
