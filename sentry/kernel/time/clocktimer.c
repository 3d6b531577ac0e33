#include "sentry/kernel/time/clocktimer.h"

#include "host/clock.h"

/* When the host has to look; its clock and the program's may differ by a few microseconds. */
static uint64_t host_deadline(const struct clock_timer *t)
{
    uint64_t now = 0;

    time_read(t->clock, &now);
    return time_add(host_monotonic_ns(), t->expires_ns > now ? t->expires_ns - now : 0);
}

/* Real time was set. */
static void look_again(struct time_watch *watch)
{
    struct clock_timer *t = container_of(watch, struct clock_timer, watch);

    timer_arm(&t->timer, host_deadline(t));
}

void clock_timer_init(struct clock_timer *t, void (*fn)(struct timer *timer))
{
    *t = (struct clock_timer){.clock = CLOCK_MONOTONIC};
    timer_init(&t->timer, fn);
    time_watch_init(&t->watch, look_again);
}

static bool can_be_set(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI;
}

int clock_timer_arm(struct clock_timer *t, clockid_t clock, uint64_t expires_ns)
{
    time_watch_remove(&t->watch);
    t->clock = clock;
    t->expires_ns = expires_ns;
    if (can_be_set(clock))
        time_watch_add(&t->watch);
    return timer_arm(&t->timer, host_deadline(t));
}

bool clock_timer_due(struct clock_timer *t)
{
    uint64_t now = 0;

    time_read(t->clock, &now);
    if (now < t->expires_ns) {
        timer_arm(&t->timer, host_deadline(t));
        return false;
    }
    time_watch_remove(&t->watch);
    return true;
}

void clock_timer_disarm(struct clock_timer *t)
{
    time_watch_remove(&t->watch);
    timer_disarm(&t->timer);
}

void clock_timer_cancel(struct clock_timer *t)
{
    time_watch_remove(&t->watch);
    timer_cancel(&t->timer);
}

clockid_t clock_timer_base(clockid_t clock, bool absolute)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_ALARM:
        return absolute ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    case CLOCK_BOOTTIME_ALARM:
        return CLOCK_BOOTTIME;
    default:
        return clock;
    }
}
