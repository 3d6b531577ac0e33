/* What the calls that set timers share. */
#ifndef SENTRY_SYSCALLS_TIMERS_H
#define SENTRY_SYSCALLS_TIMERS_H

#include <time.h>

#include "sentry/kernel/time/time.h"

/* False: one of the two times is none. */
static inline bool itimerspec_get(const struct itimerspec *in, struct timer_setting *ret)
{
    if (!timespec_valid(&in->it_value) || !timespec_valid(&in->it_interval))
        return false;
    *ret = (struct timer_setting){timespec_ns(&in->it_value), timespec_ns(&in->it_interval)};
    return true;
}

static inline struct itimerspec itimerspec_put(const struct timer_setting *setting)
{
    return (struct itimerspec){
        .it_value = ns_timespec(setting->value_ns),
        .it_interval = ns_timespec(setting->interval_ns),
    };
}

#endif
