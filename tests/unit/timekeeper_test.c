/* The line that the vDSO follows: continuous, never back, and towards the host's clock. */
#include <criterion/criterion.h>
#include <time.h>

#include "sentry/kernel/time/timekeeper.h"
#include "vdso/timepage.h"

#define SECOND 1000000000UL
#define REAL   (1700000000UL * SECOND)

/* The host at `ticks` of a 2.5 GHz TSC that runs `ppm` fast, its clock `ahead` nanoseconds off. */
static struct time_sample host_at(uint64_t ticks, int64_t ahead)
{
    return (struct time_sample){
        .tsc = 1000 + ticks,
        .monotonic_ns = 5 * SECOND + ticks * 2 / 5 + (uint64_t)ahead,
        .raw_tsc = 1000 + ticks,
        .raw_ns = 7 * SECOND + ticks * 2 / 5,
        .realtime_off_ns = REAL,
        .boottime_off_ns = 3 * SECOND,
        .tai_offset_sec = 37,
    };
}

static uint64_t read_at(const struct timepage *page, clockid_t clock, uint64_t ticks)
{
    uint64_t sec = 0, ns = 0;

    cr_assert(timepage_at(page, clock, 1000 + ticks, &sec, &ns));
    return sec * SECOND + ns;
}

static struct timepage steer(const struct timepage *old, struct time_sample before,
                             struct time_sample now)
{
    struct timepage page;

    timekeeper_steer(old, &before, &now, SECOND, &page);
    timepage_derive(&page);
    return page;
}

Test(timekeeper, first_line_is_the_hosts)
{
    struct timepage none = {0};
    struct timepage page = steer(&none, host_at(0, 0), host_at(10000000, 0));

    cr_assert_eq(page.mode, 1);
    cr_assert_eq(read_at(&page, CLOCK_MONOTONIC, 10000000), 5 * SECOND + 4000000);
    cr_assert_leq(read_at(&page, CLOCK_MONOTONIC, 2510000000) - (6 * SECOND + 4000000) + 2, 4);
    cr_assert_eq(read_at(&page, CLOCK_REALTIME, 10000000), REAL + 5 * SECOND + 4000000);
    cr_assert_eq(read_at(&page, CLOCK_BOOTTIME, 10000000), 8 * SECOND + 4000000);
    cr_assert_eq(read_at(&page, CLOCK_TAI, 10000000), REAL + 42 * SECOND + 4000000);
    cr_assert_eq(read_at(&page, CLOCK_MONOTONIC_RAW, 10000000), 7 * SECOND + 4000000);
}

Test(timekeeper, errors_are_made_good_without_a_step)
{
    static const int64_t errors[] = {300, -300, 100000, -100000, -50000000};
    struct timepage none = {0};
    struct timepage old = steer(&none, host_at(0, 0), host_at(10000000, 0));

    for (size_t i = 0; i < 5; i++) {
        uint64_t ticks = 2500000000, later = 2 * ticks;
        struct timepage page =
            steer(&old, host_at(ticks - 100, errors[i]), host_at(ticks, errors[i]));
        uint64_t then = read_at(&old, CLOCK_MONOTONIC, ticks);
        int64_t off = (int64_t)(read_at(&page, CLOCK_MONOTONIC, later) -
                                host_at(later, errors[i]).monotonic_ns);

        cr_assert_eq(read_at(&page, CLOCK_MONOTONIC, ticks), then, "continuous");
        cr_assert_gt(read_at(&page, CLOCK_MONOTONIC, ticks + 1000), then, "forwards");
        if (errors[i] > -1000000)
            cr_assert(off > -100 && off < 100, "after a period: %ld off", (long)off);
        else
            cr_assert(off < -errors[i], "nearer than before");
    }
}

Test(timekeeper, a_host_that_slept_is_followed_at_once)
{
    struct timepage none = {0};
    struct timepage old = steer(&none, host_at(0, 0), host_at(10000000, 0));
    struct time_sample now = host_at(2500000000, 5 * (int64_t)SECOND);
    struct timepage page = steer(&old, host_at(2400000000, 5 * (int64_t)SECOND), now);

    cr_assert_eq(read_at(&page, CLOCK_MONOTONIC, 2500000000), now.monotonic_ns);
}

Test(timekeeper, real_time_steps_and_does_not_tremble)
{
    struct timepage none = {0};
    struct timepage old = steer(&none, host_at(0, 0), host_at(10000000, 0)), page;
    struct time_sample now = host_at(2500000000, 0);
    uint64_t then = read_at(&old, CLOCK_REALTIME, 2500000000);

    now.realtime_off_ns = REAL - 90;
    page = steer(&old, host_at(2400000000, 0), now);
    cr_assert_eq(read_at(&page, CLOCK_REALTIME, 2500000000), then);
    now.realtime_off_ns = REAL - 3600 * SECOND;
    page = steer(&old, host_at(2400000000, 0), now);
    cr_assert_eq(read_at(&page, CLOCK_REALTIME, 2500000000), then - 3600 * SECOND);
}
