/*
 * Our vDSO: the calls that ask for time or CPU, answered in the program itself (vdso(7)). Built as
 * an ELF shared object of its own, without libc, relocations or writable data; its only input is
 * the parameter page that lies one page before it (vdso.lds). What the page cannot answer goes to
 * the Sentry by the ordinary system call.
 *
 * It runs in the guest as a part of the program: nothing here is trusted by anybody else.
 */
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "vdso/vdso.h"

struct getcpu_cache;
VDSO_EXPORT int __vdso_clock_gettime(clockid_t clock, struct timespec *ts);
VDSO_EXPORT int __vdso_clock_getres(clockid_t clock, struct timespec *res);
VDSO_EXPORT int __vdso_gettimeofday(struct timeval *tv, struct timezone *tz);
VDSO_EXPORT time_t __vdso_time(time_t *ret_time);
VDSO_EXPORT long __vdso_getcpu(unsigned *cpu, unsigned *node, struct getcpu_cache *unused);

int __vdso_clock_gettime(clockid_t clock, struct timespec *ts)
{
    uint64_t sec, ns;

    if (!timepage_read(&vdso_timepage, clock, &sec, &ns))
        return (int)vdso_call2(SYS_clock_gettime, clock, (long)ts);
    ts->tv_sec = (time_t)sec;
    ts->tv_nsec = (long)ns;
    return 0;
}
VDSO_ALIAS(clock_gettime);

int __vdso_clock_getres(clockid_t clock, struct timespec *res)
{
    uint32_t ns = __atomic_load_n(&vdso_timepage.resolution_ns, __ATOMIC_RELAXED);

    switch (clock) {
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
        ns = TIMEPAGE_COARSE_NS;
        break;
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
    case CLOCK_TAI:
        break;
    default:
        ns = 0;
        break;
    }
    /* 0 also says that the page was never filled. */
    if (ns == 0)
        return (int)vdso_call2(SYS_clock_getres, clock, (long)res);
    if (res) {
        res->tv_sec = 0;
        res->tv_nsec = ns;
    }
    return 0;
}
VDSO_ALIAS(clock_getres);

int __vdso_gettimeofday(struct timeval *tv, struct timezone *tz)
{
    uint64_t sec, ns;

    if (tv) {
        if (!timepage_read(&vdso_timepage, CLOCK_REALTIME, &sec, &ns))
            return (int)vdso_call2(SYS_gettimeofday, (long)tv, (long)tz);
        tv->tv_sec = (time_t)sec;
        tv->tv_usec = (suseconds_t)(ns / 1000);
    }
    /* The Sentry's time zone is always UTC (settimeofday cannot change it). */
    if (tz) {
        tz->tz_minuteswest = 0;
        tz->tz_dsttime = 0;
    }
    return 0;
}
VDSO_ALIAS(gettimeofday);

time_t __vdso_time(time_t *ret_time)
{
    uint64_t sec, ns;

    if (!timepage_read(&vdso_timepage, CLOCK_REALTIME, &sec, &ns))
        return vdso_call2(SYS_time, (long)ret_time, 0);
    if (ret_time)
        *ret_time = (time_t)sec;
    return (time_t)sec;
}
VDSO_ALIAS(time);

long __vdso_getcpu(unsigned *cpu, unsigned *node, struct getcpu_cache *unused)
{
    uint32_t low, high, aux;

    if (!__atomic_load_n(&vdso_timepage.has_rdtscp_cpu, __ATOMIC_RELAXED))
        return vdso_call3(SYS_getcpu, (long)cpu, (long)node, (long)unused);
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
    if (cpu)
        *cpu = aux & 0xfff;
    if (node)
        *node = aux >> 12;
    return 0;
}
VDSO_ALIAS(getcpu);
