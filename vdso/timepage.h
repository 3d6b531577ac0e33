/*
 * The vDSO's parameter page ([vvar]): what guest time is computed from, under a seqlock.
 *
 *   now = base + (((tsc - base_tsc) * mult) >> shift)        in nanoseconds
 *
 * Written by the Sentry (sentry/kernel/time.c), read by vdso/ in guest ring 3 and by the Sentry
 * itself, so that a vDSO call and a system call never disagree. Mapped read-only in the guest.
 * The reader retries while `seq` is odd or has changed. `mode` 0 sends readers to the system call
 * (TSC not trusted).
 */
#ifndef VDSO_TIMEPAGE_H
#define VDSO_TIMEPAGE_H

#include <stdint.h>

struct timepage {
    uint32_t seq;
    uint32_t mode; /* 1: TSC is usable */
    uint64_t base_tsc;
    uint64_t mult;
    uint32_t shift;
    uint32_t resolution_ns;
    uint64_t monotonic_ns;    /* CLOCK_MONOTONIC at base_tsc */
    uint64_t realtime_sec;    /* CLOCK_REALTIME at base_tsc */
    uint64_t realtime_ns;     /* < 1e9 */
    uint64_t boottime_off_ns; /* CLOCK_BOOTTIME - CLOCK_MONOTONIC */
    int64_t tai_offset_sec;
    uint32_t has_rdtscp_cpu; /* getcpu can use rdtscp in the guest: TSC_AUX is node << 12 | cpu */
    uint32_t pad;
    uint64_t raw_mult; /* CLOCK_MONOTONIC_RAW: the same formula, same shift; 0: ask the Sentry */
    uint64_t raw_ns;   /* CLOCK_MONOTONIC_RAW at base_tsc */
};

#endif
