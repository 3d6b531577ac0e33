/*
 * POSIX timers: timer_create(2) and its family.
 *
 *            set                  due, with an interval
 *   DISARMED ----> ARMED -----------------------------> PENDING
 *       ^            |  ^                                  | its signal is taken, or would be:
 *       +-- due -----+  +------- the next expiry ----------+ expiries missed meanwhile are counted
 *
 * An interval timer whose signal nobody takes is not armed, so it costs nothing (Linux
 * kernel/time/posix-timers.c). A timer that only counts (SIGEV_NONE) is never armed: what is left
 * follows from the clock.
 *
 * All of it is guarded by the lock of the process that made the timer.
 */
#ifndef SENTRY_KERNEL_POSIXTIMER_H
#define SENTRY_KERNEL_POSIXTIMER_H

#include <signal.h>

#include "base/compiler.h"

struct posix_timer;
struct process;
struct task;
struct timer_setting;

/*
 * `event` may be NULL: SIGALRM with the timer's number. `wanted`: the number that it shall have, or
 * -1. -EINVAL, -EAGAIN (RLIMIT_SIGPENDING), -EOPNOTSUPP (a clock without timers), -EPERM (an alarm
 * clock), -EBUSY (the number is taken), -ENOMEM.
 */
int posix_timer_create(struct task *task, clockid_t clock, const struct sigevent *event,
                       int32_t wanted, int32_t *ret_id);
/* All -EINVAL when there is no such timer. `flags`: TIMER_ABSTIME. */
int posix_timer_delete(struct process *process, int32_t id);
int posix_timer_set(struct process *process, int32_t id, int flags,
                    const struct timer_setting *setting, struct timer_setting *ret_old);
int posix_timer_get(struct process *process, int32_t id, struct timer_setting *ret);
int posix_timer_overrun(struct process *process, int32_t id);
/* execve(2), and the end of the process; called without locks. */
void posix_timers_delete_all(struct process *process);

/* What /proc/PID/timers tells: numbers are those of the first pid namespace. */
struct posix_timer_view {
    int32_t id, pid, tid; /* tid: SIGEV_THREAD_ID; or 0 */
    int signo, notify;    /* SIGEV_SIGNAL, SIGEV_NONE; SIGEV_THREAD is libc's affair */
    uint64_t value;
    clockid_t clock;
};
/* In the order of their numbers; called without locks, and so is fn. */
void posix_timers_each(struct process *process,
                       void (*fn)(const struct posix_timer_view *timer, void *arg), void *arg);

/* The timer's signal was taken off its queue: completes `info`, and goes on. */
void posix_timer_taken_locked(struct posix_timer *timer, siginfo_t *info);
/* The signal has an action again: timers that were due meanwhile send it. */
void posix_timers_unignored_locked(struct process *process, int signo);
/* Threads run again: CPU timers have to be looked at (cputimer.h). */
void posix_timers_unpark_locked(struct process *process);

#endif
