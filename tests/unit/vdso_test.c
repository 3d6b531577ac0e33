/*
 * The vDSO as a C library meets it: found through PT_DYNAMIC, looked up by hash and version, called
 * in this very process over a parameter page that the test fills, compared with the host's clocks.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "tests/unit/vdso_lookup.h"
#include "vdso/timepage.h"

#define SHIFT      32
#define find(name) vdso_symbol(image, name)

typedef int (*clock_fn)(clockid_t, struct timespec *);

static struct timepage *page;
static const uint8_t *image;
static clock_fn vdso_gettime, vdso_getres;

/* --- a parameter page with the host's time --- */

static uint64_t host_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * TIMEPAGE_NSEC + (uint64_t)ts.tv_nsec;
}

/* The TSC at the moment of `clock`'s value: the middle of the narrowest of some tries. */
static uint64_t sample(clockid_t clock, uint64_t *ret_tsc)
{
    uint64_t best = UINT64_MAX, ns = 0;

    for (int i = 0; i < 50; i++) {
        uint64_t before = timepage_tsc(), now = host_ns(clock), after = timepage_tsc();

        if (after - before < best) {
            best = after - before;
            ns = now;
            *ret_tsc = before + best / 2;
        }
    }
    return ns;
}

static uint64_t at_base(clockid_t clock, const struct timepage *tp)
{
    uint64_t tsc, ns = sample(clock, &tsc);

    return ns - timepage_scale(tsc - tp->base_tsc, tp->mult, SHIFT);
}

static uint64_t rate(clockid_t clock)
{
    uint64_t tsc[2], ns[2];

    ns[0] = sample(clock, &tsc[0]);
    usleep(50000);
    ns[1] = sample(clock, &tsc[1]);
    return (uint64_t)(((unsigned __int128)(ns[1] - ns[0]) << SHIFT) / (tsc[1] - tsc[0]));
}

static void fill_page(void)
{
    struct timepage tp = {.mode = 1, .shift = SHIFT, .resolution_ns = 1};
    uint64_t real;

    tp.mult = rate(CLOCK_MONOTONIC);
    tp.raw_mult = rate(CLOCK_MONOTONIC_RAW);
    tp.base_tsc = timepage_tsc();
    tp.monotonic_ns = at_base(CLOCK_MONOTONIC, &tp);
    tp.boottime_off_ns = at_base(CLOCK_BOOTTIME, &tp) - tp.monotonic_ns;
    tp.raw_ns = at_base(CLOCK_MONOTONIC_RAW, &tp);
    real = at_base(CLOCK_REALTIME, &tp);
    tp.realtime_sec = real / TIMEPAGE_NSEC;
    tp.realtime_ns = real % TIMEPAGE_NSEC;
    tp.tai_offset_sec = 37;
    timepage_publish(page, &tp);
}

static void setup(void)
{
    image = vdso_in_process(&page);
    vdso_gettime = find("__vdso_clock_gettime");
    vdso_getres = find("__vdso_clock_getres");
    cr_assert(vdso_gettime && vdso_getres);
}

TestSuite(vdso, .init = setup);

Test(vdso, symbols_and_shape)
{
    static const char *const names[] = {"clock_gettime", "gettimeofday", "time",
                                        "getcpu",        "clock_getres", "getrandom"};
    const Elf64_Ehdr *eh = (const void *)image;
    const Elf64_Phdr *ph = (const void *)(image + eh->e_phoff);
    struct dynamic d = read_dynamic(image);
    bool unwind = false;

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char prefixed[32] = "__vdso_";

        strcat(prefixed, names[i]);
        cr_assert_not_null(find(names[i]));
        cr_assert_eq(find(prefixed), find(names[i]));
    }
    cr_assert_null(find("vdso_timepage"));
    cr_assert(!d.has_relocations);
    cr_assert_not_null(d.gnu_hash);
    for (int i = 0; i < eh->e_phnum; i++) {
        cr_assert(!(ph[i].p_flags & PF_W));
        unwind |= ph[i].p_type == PT_GNU_EH_FRAME;
    }
    cr_assert(unwind);
}

static uint64_t vdso_ns(clockid_t clock)
{
    struct timespec ts = {-1, -1};

    cr_assert_eq(vdso_gettime(clock, &ts), 0);
    cr_assert(ts.tv_nsec >= 0 && ts.tv_nsec < (long)TIMEPAGE_NSEC);
    return (uint64_t)ts.tv_sec * TIMEPAGE_NSEC + (uint64_t)ts.tv_nsec;
}

/* Between two looks at the host's clock, give or take a microsecond. */
static bool agrees(clockid_t clock)
{
    for (int i = 0; i < 200; i++) {
        uint64_t before = host_ns(clock), now = vdso_ns(clock), after = host_ns(clock);

        if (now + 1000 >= before && now <= after + 1000)
            continue;
        fprintf(stderr, "clock %d: %ld ns before, %ld ns after\n", clock, (long)(now - before),
                (long)(after - now));
        return false;
    }
    return true;
}

Test(vdso, within_a_microsecond_of_the_host)
{
    struct timespec tai;
    uint64_t real;

    fill_page();
    cr_assert(agrees(CLOCK_MONOTONIC));
    cr_assert(agrees(CLOCK_REALTIME));
    cr_assert(agrees(CLOCK_BOOTTIME));
    cr_assert(agrees(CLOCK_MONOTONIC_RAW));
    real = vdso_ns(CLOCK_REALTIME);
    cr_assert_eq(vdso_gettime(CLOCK_TAI, &tai), 0);
    cr_assert_leq((uint64_t)tai.tv_sec - 37 - real / TIMEPAGE_NSEC, 1);
    cr_assert_leq(real, vdso_ns(CLOCK_REALTIME_COARSE));
    cr_assert_leq(vdso_ns(CLOCK_MONOTONIC), vdso_ns(CLOCK_MONOTONIC_COARSE));
}

/* What the Sentry's system call computes is what the vDSO computes. */
Test(vdso, same_as_the_inline_reader)
{
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,
                                       CLOCK_BOOTTIME, CLOCK_TAI};

    fill_page();
    for (size_t i = 0; i < ARRAY_COUNT(clocks); i++) {
        uint64_t before = vdso_ns(clocks[i]), sec, ns;

        cr_assert(timepage_read(page, clocks[i], &sec, &ns));
        cr_assert_leq(before, sec * TIMEPAGE_NSEC + ns);
        cr_assert_leq(sec * TIMEPAGE_NSEC + ns, vdso_ns(clocks[i]));
    }
}

Test(vdso, arithmetic_at_the_edges)
{
    struct timepage tp = {.mode = 1, .mult = 3, .shift = 1, .base_tsc = 1000};
    uint64_t sec, ns;

    tp.monotonic_ns = 5 * TIMEPAGE_NSEC - 1;
    tp.realtime_sec = 1700000000;
    tp.realtime_ns = TIMEPAGE_NSEC - 1;
    timepage_derive(&tp);
    cr_assert(timepage_at(&tp, CLOCK_MONOTONIC, 1000, &sec, &ns));
    cr_assert(sec == 4 && ns == TIMEPAGE_NSEC - 1);
    cr_assert(timepage_at(&tp, CLOCK_MONOTONIC, 1001, &sec, &ns));
    cr_assert(sec == 5 && ns == 0);
    cr_assert(timepage_at(&tp, CLOCK_REALTIME, 1002, &sec, &ns));
    cr_assert(sec == 1700000001 && ns == 2);
    /* Behind the base: another CPU's TSC, or a page published meanwhile. */
    cr_assert(timepage_at(&tp, CLOCK_MONOTONIC, 0, &sec, &ns));
    cr_assert(sec == 4 && ns == TIMEPAGE_NSEC - 1);
    /* 2^62 ticks: 64-bit products would wrap. */
    cr_assert(timepage_at(&tp, CLOCK_MONOTONIC, 1000 + (1UL << 62), &sec, &ns));
    cr_assert_eq(sec, ((3UL << 61) + 5 * TIMEPAGE_NSEC - 1) / TIMEPAGE_NSEC);
    cr_assert(!timepage_at(&tp, CLOCK_MONOTONIC_RAW, 1000, &sec, &ns));
    cr_assert(!timepage_at(&tp, CLOCK_PROCESS_CPUTIME_ID, 1000, &sec, &ns));
    cr_assert(!timepage_at(&tp, 12, 1000, &sec, &ns));
    cr_assert(!timepage_at(&tp, -1, 1000, &sec, &ns));
    /* The last delta whose product fits 64 bits, and the next. */
    for (uint64_t delta = tp.max_delta - 1; delta != tp.max_delta + 2; delta++) {
        cr_assert(timepage_at(&tp, CLOCK_MONOTONIC, 1000 + delta, &sec, &ns));
        cr_assert_eq(sec * TIMEPAGE_NSEC + ns, timepage_scale(delta, 3, 1) + 5 * TIMEPAGE_NSEC - 1);
    }
}

/* In this process the system call goes to the host, so the fallback can be told by its answer. */
Test(vdso, falls_back_to_the_system_call)
{
    int (*vdso_gettimeofday)(struct timeval *, struct timezone *) = find("gettimeofday");
    time_t (*vdso_time)(time_t *) = find("time");
    int (*vdso_getcpu)(unsigned *, unsigned *, void *) = find("getcpu");
    struct timespec ts;
    struct timeval tv;
    unsigned cpu = 9999, node = 9999;
    time_t t = 0;

    cr_assert(agrees(CLOCK_MONOTONIC), "mode 0");
    cr_assert_eq(vdso_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts), 0);
    cr_assert_eq(vdso_gettime(9999, &ts), -EINVAL);
    cr_assert_eq(vdso_getres(9999, &ts), -EINVAL);
    cr_assert_eq(vdso_getres(CLOCK_MONOTONIC, &ts), 0);
    cr_assert_eq(ts.tv_nsec, 1);
    cr_assert_eq(vdso_gettimeofday(&tv, NULL), 0);
    cr_assert_leq(time(NULL) - tv.tv_sec, 1);
    cr_assert_eq(vdso_time(&t), t);
    cr_assert_leq(time(NULL) - t, 1);
    cr_assert_eq(vdso_getcpu(&cpu, &node, NULL), 0);
    cr_assert_lt(cpu, 4096);
    cr_assert_lt(node, 1024);
}

Test(vdso, the_other_calls)
{
    int (*vdso_gettimeofday)(struct timeval *, struct timezone *) = find("__vdso_gettimeofday");
    time_t (*vdso_time)(time_t *) = find("__vdso_time");
    struct timezone tz = {1, 1};
    struct timespec ts;
    struct timeval tv;
    time_t t = 0;

    fill_page();
    cr_assert_eq(vdso_gettimeofday(&tv, &tz), 0);
    cr_assert_lt(host_ns(CLOCK_REALTIME) / 1000 -
                     ((uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec),
                 100000);
    cr_assert(tz.tz_minuteswest == 0 && tz.tz_dsttime == 0);
    cr_assert_eq(vdso_gettimeofday(NULL, NULL), 0);
    cr_assert_eq(vdso_time(NULL), vdso_time(&t));
    cr_assert_leq(time(NULL) - t, 1);
    cr_assert_eq(vdso_getres(CLOCK_TAI, &ts), 0);
    cr_assert_eq(ts.tv_nsec, 1);
    cr_assert_eq(vdso_getres(CLOCK_MONOTONIC_COARSE, &ts), 0);
    cr_assert_eq(ts.tv_nsec, 4000000);
    cr_assert_eq(vdso_getres(CLOCK_MONOTONIC, NULL), 0);
}

/* rdtscp's TSC_AUX is Linux's on the host too. */
Test(vdso, getcpu_by_rdtscp)
{
    int (*vdso_getcpu)(unsigned *, unsigned *, void *) = find("getcpu");
    struct timepage tp = {.has_rdtscp_cpu = 1};
    cpu_set_t one;
    unsigned cpu, node;

    timepage_publish(page, &tp);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    cr_assert_eq(vdso_getcpu(&cpu, &node, NULL), 0);
    cr_assert_eq((int)cpu, sched_getcpu());
    cr_assert_eq(vdso_getcpu(NULL, NULL, NULL), 0);
}

/* A writer that republishes all the time, by the rule of timepage.h; time never goes back. */
static void *republish(void *stop)
{
    while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED)) {
        struct timepage next = *page;
        uint64_t tsc = timepage_tsc();

        next.monotonic_ns += timepage_elapsed(page, tsc, page->mult);
        next.base_tsc = tsc;
        next.mult = page->mult + (tsc & 1 ? 1000 : (uint64_t)-1000);
        timepage_publish(page, &next);
    }
    return NULL;
}

Test(vdso, monotonic_across_updates)
{
    static bool stop;
    pthread_t writer;
    uint64_t last = 0;

    fill_page();
    cr_assert_eq(pthread_create(&writer, NULL, republish, &stop), 0);
    for (int i = 0; i < 300000; i++) {
        uint64_t now = vdso_ns(CLOCK_MONOTONIC);

        cr_assert_geq(now, last);
        last = now;
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(writer, NULL);
}
