/*
 * The vDSO's parameter page ([vvar]): what guest time is computed from, under a seqlock.
 *
 *   now = base + (((tsc - base_tsc) * mult) >> shift)        in nanoseconds
 *
 * Written by the Sentry (sentry/kernel/time.c), read by vdso/ in guest ring 3 and by the Sentry
 * itself through the same inline functions, so that a vDSO call and a system call never disagree.
 * Mapped read-only in the guest. `mode` 0 sends readers to the system call (TSC not trusted).
 *
 * Time never goes back: a reader whose TSC lies before base_tsc (another CPU published meanwhile)
 * takes the base, and a writer chooses its base not before what the old formula gives.
 *
 * Nothing here divides: `/ TIMEPAGE_NSEC` is a multiplication, for it is a constant.
 */
#ifndef VDSO_TIMEPAGE_H
#define VDSO_TIMEPAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define TIMEPAGE_NSEC 1000000000UL
/* clock_getres() of the coarse clocks, Linux's tick at HZ=250; they are as fine as the others. */
#define TIMEPAGE_COARSE_NS 4000000U

struct timepage {
    uint32_t seq;
    uint32_t mode; /* 1: TSC is usable */
    uint64_t base_tsc;
    uint64_t mult;
    uint32_t shift; /* 1..63 */
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

/* The TSC, read after all earlier loads (SDM vol. 2: RDTSC does not wait for them by itself). */
static inline uint64_t timepage_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t timepage_scale(uint64_t delta, uint64_t mult, uint32_t shift)
{
    return (uint64_t)(((unsigned __int128)delta * mult) >> (shift & 63));
}

/* Nanoseconds from the base to `tsc`. */
static inline uint64_t timepage_elapsed(const struct timepage *page, uint64_t tsc, uint64_t mult)
{
    uint64_t delta = tsc - page->base_tsc;

    return (int64_t)delta > 0 ? timepage_scale(delta, mult, page->shift) : 0;
}

/* `clock` at `tsc` by the page's present contents; the caller holds the seqlock. */
static inline bool timepage_at(const struct timepage *page, clockid_t clock, uint64_t tsc,
                               uint64_t *ret_sec, uint64_t *ret_ns)
{
    uint64_t sec = 0, ns;

    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        ns = page->realtime_ns + timepage_elapsed(page, tsc, page->mult);
        sec = page->realtime_sec;
        if (clock == CLOCK_TAI)
            sec += (uint64_t)page->tai_offset_sec;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        ns = page->monotonic_ns + timepage_elapsed(page, tsc, page->mult);
        break;
    case CLOCK_BOOTTIME:
        ns = page->monotonic_ns + page->boottime_off_ns + timepage_elapsed(page, tsc, page->mult);
        break;
    case CLOCK_MONOTONIC_RAW:
        if (page->raw_mult == 0)
            return false;
        ns = page->raw_ns + timepage_elapsed(page, tsc, page->raw_mult);
        break;
    default:
        return false;
    }
    *ret_sec = sec + ns / TIMEPAGE_NSEC;
    *ret_ns = ns % TIMEPAGE_NSEC;
    return true;
}

/*
 * `clock` now. False, with nothing written, when the page does not know: another clock, or no
 * usable TSC. Any thread, guest or Sentry; waits only while a writer is between its two steps.
 */
static inline bool timepage_read(const struct timepage *page, clockid_t clock, uint64_t *ret_sec,
                                 uint64_t *ret_ns)
{
    uint64_t sec = 0, ns = 0;
    uint32_t seq;
    bool known;

    do {
        while ((seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE)) & 1)
            __builtin_ia32_pause();
        known = __atomic_load_n(&page->mode, __ATOMIC_RELAXED) != 0 &&
                timepage_at(page, clock, timepage_tsc(), &sec, &ns);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&page->seq, __ATOMIC_RELAXED) != seq);

    if (known) {
        *ret_sec = sec;
        *ret_ns = ns;
    }
    return known;
}

/* Puts `next` (its seq is ignored) in place of the page's contents; writers exclude each other. */
static inline void timepage_publish(struct timepage *page, const struct timepage *next)
{
    uint32_t seq = page->seq;
    struct timepage copy = *next;

    copy.seq = seq + 1;
    __atomic_store_n(&page->seq, seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *page = copy;
    __atomic_store_n(&page->seq, seq + 2, __ATOMIC_RELEASE);
}

#endif
