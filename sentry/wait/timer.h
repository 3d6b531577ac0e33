/*
 * Timers on the host's CLOCK_MONOTONIC: one thread sleeps until the earliest deadline and calls its
 * function. What guests know as timers (itimers, POSIX timers, timerfd) stands on these.
 */
#ifndef SENTRY_WAIT_TIMER_H
#define SENTRY_WAIT_TIMER_H

#include "base/compiler.h"

struct timer {
    uint64_t deadline_ns; /* guarded by the timers' lock, like `slot` */
    size_t slot;          /* place in the heap + 1; 0: not armed */
    /* Called by the timers' thread with none of their locks that timer_arm() takes. */
    void (*fn)(struct timer *timer);
};

/* Starts the thread. -EAGAIN. */
int timers_start(void);
void timer_init(struct timer *timer, void (*fn)(struct timer *timer));
/*
 * Calls fn once, soon after CLOCK_MONOTONIC `deadline_ns`; an earlier arming is replaced. May be
 * called from fn, and with locks held that fn takes. -ENOMEM.
 */
int timer_arm(struct timer *timer, uint64_t deadline_ns);
/* Disarms; fn may still be running on the timers' thread. */
void timer_disarm(struct timer *timer);
/*
 * Disarms and waits until its fn is not running: before the timer is freed. Not from fn, and with
 * no lock held that fn takes.
 */
void timer_cancel(struct timer *timer);
/* Returns when all timers that were armed with deadline 0 have run; with no lock held that they
 * take. */
void timers_settle(void);

#endif
