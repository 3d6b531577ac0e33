/*
 * A timer on one of the clocks that programs know. It stands on the host's CLOCK_MONOTONIC
 * (sentry/wait/timer.h) and follows real time when that is set.
 */
#ifndef SENTRY_KERNEL_CLOCKTIMER_H
#define SENTRY_KERNEL_CLOCKTIMER_H

#include <time.h>

#include "base/list.h"
#include "sentry/kernel/time/time.h"
#include "sentry/wait/timer.h"

struct clock_timer {
    struct timer timer; /* its function starts with clock_timer_due() */
    clockid_t clock;
    uint64_t expires_ns; /* on `clock` */
    struct time_watch watch;
};

void clock_timer_init(struct clock_timer *t, void (*fn)(struct timer *timer));
/*
 * Calls fn soon after `clock` (not a CPU clock) reads `expires_ns`. The caller serialises this and
 * the calls below but for clock_timer_cancel(); allowed with locks held that fn takes. -ENOMEM.
 */
int clock_timer_arm(struct clock_timer *t, clockid_t clock, uint64_t expires_ns);
/* In fn: true when it is time; else the host came too early, and fn will be called again. */
bool clock_timer_due(struct clock_timer *t);
void clock_timer_disarm(struct clock_timer *t);
/* Disarms and waits until fn is not running: before the memory is freed. Not from fn. */
void clock_timer_cancel(struct clock_timer *t);

/*
 * The clock that a time for timer_settime(2) or timerfd_settime(2) is counted on: what lies ahead
 * by a difference is not touched when real time is set, so it goes by CLOCK_MONOTONIC.
 */
clockid_t clock_timer_base(clockid_t clock, bool absolute);

#endif
