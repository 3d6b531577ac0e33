/*
 * The vDSO's parameter page ([vvar]): what guest time is computed from, under a seqlock.
 *
 *   now = base + (((tsc - base_tsc) * mult) >> shift)        in nanoseconds
 *
 * Written by the Sentry (sentry/kernel/time/time.c), read by vdso/ in guest ring 3 and by the
 * Sentry itself through the same inline functions, so that a vDSO call and a system call never
 * disagree. Mapped read-only in the guest. `mode` 0 sends readers to the system call (TSC not
 * trusted).
 *
 * Time never goes back: a reader whose TSC lies before base_tsc (another CPU published meanwhile)
 * takes the base, and a writer chooses its base not before what the old formula gives.
 *
 * The writer fills the upper fields; timepage_publish() derives the lower ones from them, which
 * spare the reader a choice, a division and, for some seconds after base_tsc, the 128-bit product.
 */
#ifndef VDSO_TIMEPAGE_H
#define VDSO_TIMEPAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define TIMEPAGE_NSEC 1000000000UL
/* clock_getres() of the coarse clocks, Linux's tick at HZ=250; they are as fine as the others. */
#define TIMEPAGE_COARSE_NS 4000000U
#define TIMEPAGE_CLOCKS    12 /* CLOCK_REALTIME..CLOCK_TAI */

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

    /* Derived. */
    uint64_t known;          /* bit n: clock n is answered from here */
    uint64_t rng_generation; /* getrandom() seeds itself anew when it changes; 0: ask the Sentry */
    uint64_t max_delta;      /* ticks from base_tsc for which delta * mult fits 64 bits */
    struct {
        uint64_t sec, ns; /* at base_tsc; ns < 1e9 */
    } base[TIMEPAGE_CLOCKS];
};
/* No holes: they would carry bytes of the Sentry's stack to the guest. */
_Static_assert(sizeof(struct timepage) == 4 * 6 + 8 * 12 + 16 * TIMEPAGE_CLOCKS, "time page");

/*
 * Readers look while a writer may write, and find out afterwards: so each word is loaded and stored
 * at once, which costs nothing, and says so to the compiler and to ThreadSanitizer.
 */
#define TIMEPAGE_LOAD(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)

/*
 * The TSC, read after all earlier loads (SDM vol. 2: RDTSC does not wait for them by itself).
 * RDTSCP was measured to be no faster, and not every guest has it.
 */
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

/* Nanoseconds from the base to `tsc` at the rate `mult`. */
static inline uint64_t timepage_elapsed(const struct timepage *page, uint64_t tsc, uint64_t mult)
{
    uint64_t delta = tsc - TIMEPAGE_LOAD(page->base_tsc);
    uint32_t shift = TIMEPAGE_LOAD(page->shift);

    if (__builtin_expect(delta <= TIMEPAGE_LOAD(page->max_delta), 1))
        return (delta * mult) >> (shift & 63);
    return (int64_t)delta > 0 ? timepage_scale(delta, mult, shift) : 0;
}

/*
 * `clock` at `tsc` by the page's present contents, for a caller that holds the page still. False:
 * not a clock of this page.
 */
static inline bool timepage_at(const struct timepage *page, clockid_t clock, uint64_t tsc,
                               uint64_t *ret_sec, uint64_t *ret_ns)
{
    uint64_t mult, sec, ns;

    if ((uint32_t)clock >= TIMEPAGE_CLOCKS || !(TIMEPAGE_LOAD(page->known) >> clock & 1))
        return false;
    mult = clock == CLOCK_MONOTONIC_RAW ? TIMEPAGE_LOAD(page->raw_mult) : TIMEPAGE_LOAD(page->mult);
    ns = TIMEPAGE_LOAD(page->base[clock].ns) + timepage_elapsed(page, tsc, mult);
    sec = TIMEPAGE_LOAD(page->base[clock].sec);
    if (__builtin_expect(ns >= TIMEPAGE_NSEC, 0)) {
        /* By a constant: a multiplication. */
        sec += ns / TIMEPAGE_NSEC;
        ns %= TIMEPAGE_NSEC;
    }
    *ret_sec = sec;
    *ret_ns = ns;
    return true;
}

/*
 * `clock` now. False, with nothing of use written, when the page does not know: another clock, or
 * no usable TSC. Any thread, guest or Sentry; waits only while a writer is between its two steps.
 */
static inline bool timepage_read(const struct timepage *page, clockid_t clock, uint64_t *ret_sec,
                                 uint64_t *ret_ns)
{
    uint64_t tsc;
    uint32_t seq;

    for (;;) {
        seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);
        if (__builtin_expect(seq & 1, 0)) {
            __builtin_ia32_pause();
            continue;
        }
        if (__builtin_expect(TIMEPAGE_LOAD(page->mode) == 0, 0))
            return false;
        tsc = timepage_tsc();
        if (__builtin_expect(!timepage_at(page, clock, tsc, ret_sec, ret_ns), 0))
            return false;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__builtin_expect(__atomic_load_n(&page->seq, __ATOMIC_RELAXED) == seq, 1))
            return true;
    }
}

static inline void timepage_set_base(struct timepage *page, clockid_t clock, uint64_t sec,
                                     uint64_t ns)
{
    page->base[clock].sec = sec + ns / TIMEPAGE_NSEC;
    page->base[clock].ns = ns % TIMEPAGE_NSEC;
    page->known |= 1UL << clock;
}

/* Fills the derived fields from the others. */
static inline void timepage_derive(struct timepage *page)
{
    uint64_t real_sec = page->realtime_sec, real_ns = page->realtime_ns;
    uint64_t mult = page->mult > page->raw_mult ? page->mult : page->raw_mult;

    page->known = 0;
    /* Like Linux's random number generator, once in about a minute (2^36 ns). */
    page->rng_generation = (page->monotonic_ns >> 36) + 1;
    page->max_delta = mult ? UINT64_MAX / mult : 0;
    timepage_set_base(page, CLOCK_REALTIME, real_sec, real_ns);
    timepage_set_base(page, CLOCK_REALTIME_COARSE, real_sec, real_ns);
    timepage_set_base(page, CLOCK_TAI, real_sec + (uint64_t)page->tai_offset_sec, real_ns);
    timepage_set_base(page, CLOCK_MONOTONIC, 0, page->monotonic_ns);
    timepage_set_base(page, CLOCK_MONOTONIC_COARSE, 0, page->monotonic_ns);
    timepage_set_base(page, CLOCK_BOOTTIME, 0, page->monotonic_ns + page->boottime_off_ns);
    if (page->raw_mult)
        timepage_set_base(page, CLOCK_MONOTONIC_RAW, 0, page->raw_ns);
}

/*
 * Puts `next` in place of the page's contents: its seq and derived fields are ignored. Writers
 * exclude each other.
 */
static inline void timepage_publish(struct timepage *page, const struct timepage *next)
{
    struct timepage copy = *next;
    const uint64_t *from = (const uint64_t *)&copy;
    uint64_t *to = (uint64_t *)page;
    uint32_t seq = page->seq;

    timepage_derive(&copy);
    copy.seq = seq + 1;
    __atomic_store_n(&page->seq, seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (size_t i = 0; i < sizeof(copy) / sizeof(*to); i++)
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
    __atomic_store_n(&page->seq, seq + 2, __ATOMIC_RELEASE);
}

#endif
