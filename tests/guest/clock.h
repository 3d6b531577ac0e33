/* Times in nanoseconds. */
#ifndef TESTS_GUEST_CLOCK_H
#define TESTS_GUEST_CLOCK_H

#include <time.h>

#include "check.h"

#define SECOND 1000000000LL
#define MS     1000000LL

__attribute__((unused)) static int64_t in_ns(const struct timespec *ts)
{
    return ts->tv_sec * SECOND + ts->tv_nsec;
}

__attribute__((unused)) static struct timespec from_ns(int64_t ns)
{
    return (struct timespec){ns / SECOND, ns % SECOND};
}

__attribute__((unused)) static int64_t now(clockid_t clock)
{
    struct timespec ts = {-1, -1};

    CHECK_EQ(clock_gettime(clock, &ts), 0);
    CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < SECOND);
    return in_ns(&ts);
}

#endif
