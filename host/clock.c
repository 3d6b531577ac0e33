#include "host/clock.h"

uint64_t host_clock_ns(clockid_t clock)
{
    struct timespec ts = {0};

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t host_process_clock_ns(pid_t pid)
{
    /* As clock_getcpuclockid(3) makes it, which would ask the host whether the process exists. */
    return host_clock_ns((clockid_t)(~(unsigned)pid << 3 | 2));
}

uint64_t host_monotonic_ns(void)
{
    return host_clock_ns(CLOCK_MONOTONIC);
}

uint64_t host_clock_resolution_ns(clockid_t clock)
{
    struct timespec ts = {.tv_nsec = 1};

    clock_getres(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int host_tai_offset(void)
{
    int64_t real = (int64_t)host_clock_ns(CLOCK_REALTIME);
    int64_t tai = (int64_t)host_clock_ns(CLOCK_TAI);

    return (int)((tai - real + 500000000) / 1000000000);
}
