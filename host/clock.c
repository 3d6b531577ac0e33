#include "host/clock.h"

uint64_t host_clock_ns(clockid_t clock)
{
    struct timespec ts = {0};

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int64_t realtime_ahead; /* atomic */

uint64_t host_sandbox_realtime_ns(void)
{
    return host_clock_ns(CLOCK_REALTIME) + (uint64_t)host_sandbox_clock_ahead();
}

int64_t host_sandbox_clock_ahead(void)
{
    return __atomic_load_n(&realtime_ahead, __ATOMIC_RELAXED);
}

void host_sandbox_clock_set_ahead(int64_t ns)
{
    __atomic_store_n(&realtime_ahead, ns, __ATOMIC_RELAXED);
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
