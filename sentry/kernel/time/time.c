#include "sentry/kernel/time/time.h"

#include <errno.h>

#include "base/lock.h"
#include "host/clock.h"
#include "sentry/kernel/time/timekeeper.h"
#include "vdso/timepage.h"

uint64_t time_add(uint64_t a, uint64_t b)
{
    uint64_t sum = a + MIN(b, TIME_MAX);

    return MIN(sum, TIME_MAX);
}

bool timespec_valid(const struct timespec *ts)
{
    return ts->tv_sec >= 0 && (uint64_t)ts->tv_nsec < NSEC_PER_SEC;
}

uint64_t timespec_ns(const struct timespec *ts)
{
    if ((uint64_t)ts->tv_sec >= TIME_MAX / NSEC_PER_SEC)
        return TIME_MAX;
    return (uint64_t)ts->tv_sec * NSEC_PER_SEC + (uint64_t)ts->tv_nsec;
}

struct timespec ns_timespec(uint64_t ns)
{
    return (struct timespec){
        .tv_sec = (time_t)(ns / NSEC_PER_SEC),
        .tv_nsec = (long)(ns % NSEC_PER_SEC),
    };
}

static bool can_be_set(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

bool time_read(clockid_t clock, uint64_t *ret_ns)
{
    uint64_t sec, ns;

    switch (clock) {
    case CLOCK_REALTIME_ALARM:
        clock = CLOCK_REALTIME;
        break;
    case CLOCK_BOOTTIME_ALARM:
        clock = CLOCK_BOOTTIME;
        break;
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_TAI:
        break;
    default:
        return false;
    }
    if (timepage_read(timekeeper_page(), clock, &sec, &ns))
        *ret_ns = sec * NSEC_PER_SEC + ns;
    else
        *ret_ns =
            host_clock_ns(clock) + (can_be_set(clock) ? (uint64_t)host_sandbox_clock_ahead() : 0);
    return true;
}

uint64_t time_monotonic_ns(void)
{
    uint64_t ns = 0;

    time_read(CLOCK_MONOTONIC, &ns);
    return ns;
}

uint64_t time_realtime_ns(void)
{
    uint64_t ns = 0;

    time_read(CLOCK_REALTIME, &ns);
    return ns;
}

uint64_t time_resolution_ns(clockid_t clock)
{
    if (clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE)
        return TIMEPAGE_COARSE_NS;
    return 1;
}

uint64_t time_to_monotonic(clockid_t clock, uint64_t ns)
{
    uint64_t now = 0, monotonic;

    if (clock == CLOCK_MONOTONIC || !time_read(clock, &now))
        return ns;
    monotonic = time_monotonic_ns();
    return ns <= now ? monotonic : time_add(monotonic, ns - now);
}

static struct {
    struct lock lock;
    struct list list __guarded_by(lock);
} watches = {.lock = LOCK_INIT, .list = LIST_INIT(watches.list)};

void time_watch_init(struct time_watch *watch, void (*fn)(struct time_watch *watch))
{
    list_init(&watch->node);
    watch->fn = fn;
}

void time_watch_add(struct time_watch *watch)
{
    lock_acquire(&watches.lock);
    list_del_init(&watch->node);
    list_add(&watches.list, &watch->node);
    lock_release(&watches.lock);
}

void time_watch_remove(struct time_watch *watch)
{
    lock_acquire(&watches.lock);
    list_del_init(&watch->node);
    lock_release(&watches.lock);
}

void time_was_set(void)
{
    struct time_watch *watch;

    lock_acquire(&watches.lock);
    list_for_each (watch, &watches.list, node)
        watch->fn(watch);
    lock_release(&watches.lock);
}
