/* Interval timers of a process: setitimer(2), alarm(2). */
#ifndef SENTRY_KERNEL_ITIMER_H
#define SENTRY_KERNEL_ITIMER_H

#include "base/compiler.h"

struct process;
struct timer;

/* What is left and the interval, in nanoseconds; both 0: not armed. */
struct itimer_value {
    uint64_t left_ns, interval_ns;
};

/* ITIMER_REAL: SIGALRM after left_ns, then at each interval. -EAGAIN without memory. */
int itimer_set_real(struct process *process, const struct itimer_value *value,
                    struct itimer_value *ret_old);
void itimer_get_real(struct process *process, struct itimer_value *ret_value);
void itimer_real_expired(struct timer *timer);
/* SIGALRM was taken: an interval timer goes on. process->lock held. */
void itimer_real_taken_locked(struct process *process);

#endif
