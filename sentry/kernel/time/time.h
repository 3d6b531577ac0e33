/*
 * Guest time. The monotonic and real-time clocks are the host's own, so that times mean the same on
 * both sides, until a program sets the latter: then it keeps its distance from the host's. They are
 * read through the vDSO's parameter page, as the guest does, or from the host
 * while the TSC is not trusted.
 */
#ifndef SENTRY_KERNEL_TIME_H
#define SENTRY_KERNEL_TIME_H

#include <time.h>

#include "base/list.h"

struct task;
struct timepage;

#define NSEC_PER_SEC 1000000000UL
#define TIME_NEVER   UINT64_MAX
/* What an absolute time saturates to: KTIME_MAX. */
#define TIME_MAX ((uint64_t)INT64_MAX)

/* What is left, or when; and the interval. Nanoseconds; value_ns 0: not armed. */
struct timer_setting {
    uint64_t value_ns, interval_ns;
};

/* Starts to keep `page` (NULL: one of the Sentry's own) in step with the host. -EAGAIN. */
int time_start(struct timepage *page);

/* A clock without an owner (not a CPU clock), in nanoseconds; false: there is no such clock. */
bool time_read(clockid_t clock, uint64_t *ret_ns);
uint64_t time_monotonic_ns(void);
uint64_t time_realtime_ns(void);
/* Nanoseconds that clock_getres(2) tells. */
uint64_t time_resolution_ns(clockid_t clock);
/*
 * Sets the sandbox's real-time clock, from now on so far from the host's, and tells who watches.
 * -EINVAL: the machine would have started before 1970.
 */
int time_set_realtime(uint64_t ns);

/* Any clock that clock_gettime(2) knows, as the task's time namespace has it, CPU clocks of tasks
 * and processes included. -EINVAL. */
int clock_read(struct task *task, clockid_t clock, uint64_t *ret_ns);

/* `ns` on CLOCK_MONOTONIC for an absolute time of `clock` (real-time family or monotonic). */
uint64_t time_to_monotonic(clockid_t clock, uint64_t ns);

/* Who wants to know that real time was set: a jump, not a correction of its rate. */
struct time_watch {
    struct list node;
    /* Called with a lock held under which no other is taken but the timers' and wait queues'. */
    void (*fn)(struct time_watch *watch);
};
void time_watch_init(struct time_watch *watch, void (*fn)(struct time_watch *watch));
void time_watch_add(struct time_watch *watch);
/* Afterwards fn is not running; may be called when it is not on the list. */
void time_watch_remove(struct time_watch *watch);
/* The time keeper has seen it. */
void time_was_set(void);

bool timespec_valid(const struct timespec *ts);
/* Saturates at TIME_MAX. */
uint64_t timespec_ns(const struct timespec *ts);
struct timespec ns_timespec(uint64_t ns);
uint64_t time_add(uint64_t a, uint64_t b);

#endif
