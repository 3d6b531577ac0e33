/*
 * Clocks and sleeps. Nothing here measures speed: only that time is not earlier than it must be,
 * and not absurdly late (a loaded machine is no fault).
 */
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

#include "check.h"
#include "clock.h"

#define LATE (30 * SECOND)

static const clockid_t clocks[] = {
    CLOCK_REALTIME,          CLOCK_MONOTONIC,     CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
    CLOCK_MONOTONIC_COARSE,  CLOCK_BOOTTIME,      CLOCK_TAI,
};

static int64_t now_raw(clockid_t clock)
{
    struct timespec ts = {-1, -1};

    CHECK_EQ(RAW(SYS_clock_gettime, clock, &ts), 0);
    CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < SECOND);
    return in_ns(&ts);
}

/* The C library's clock (the vDSO's) and the system call's are one clock. */
static void test_agreement(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(clocks); i++) {
        bool coarse = clocks[i] == CLOCK_REALTIME_COARSE || clocks[i] == CLOCK_MONOTONIC_COARSE;
        int64_t slack = coarse ? SECOND / 50 : 0;
        int64_t last = now(clocks[i]);

        for (int j = 0; j < 200; j++) {
            int64_t t = j % 2 ? now_raw(clocks[i]) : now(clocks[i]);
            if (!CHECK(t >= last - slack) || !CHECK(t - last < LATE))
                break;
            last = t;
        }
    }
}

static void test_relations(void)
{
    int64_t real = now(CLOCK_REALTIME), real_coarse = now(CLOCK_REALTIME_COARSE);
    int64_t mono = now(CLOCK_MONOTONIC), boot = now(CLOCK_BOOTTIME);
    struct timeval tv;
    struct tms tms;

    CHECK(real > 1700000000 * SECOND);
    CHECK(llabs(real - real_coarse) < LATE);
    CHECK(boot >= mono - SECOND);
    CHECK(mono > 0);
    CHECK_EQ(gettimeofday(&tv, NULL), 0);
    CHECK(tv.tv_usec >= 0 && tv.tv_usec < 1000000);
    CHECK(llabs(tv.tv_sec * SECOND + tv.tv_usec * 1000 - real) < LATE);
    CHECK(llabs(time(NULL) - tv.tv_sec) <= 30);
    CHECK_EQ(RAW(SYS_gettimeofday, &tv, NULL), 0);
    CHECK(llabs(tv.tv_sec * SECOND + tv.tv_usec * 1000 - real) < LATE);
    time_t stored = 0;
    long t = RAW(SYS_time, &stored);
    CHECK_EQ(t, stored);
    CHECK(labs(t - tv.tv_sec) <= 30);
    CHECK(times(&tms) > 0);
    CHECK(llabs(now(CLOCK_TAI) - real) < LATE + 40 * SECOND);
}

static void test_resolution(void)
{
    struct timespec ts;

    for (size_t i = 0; i < ARRAY_COUNT(clocks); i++) {
        CHECK_EQ(clock_getres(clocks[i], &ts), 0);
        CHECK_EQ(ts.tv_sec, 0);
        if (clocks[i] == CLOCK_REALTIME_COARSE || clocks[i] == CLOCK_MONOTONIC_COARSE)
            CHECK(ts.tv_nsec >= 1000000 && ts.tv_nsec <= 10000000);
        else
            CHECK_EQ(ts.tv_nsec, 1);
        CHECK_EQ(RAW(SYS_clock_getres, clocks[i], NULL), 0);
    }
}

static void test_errors(void)
{
    struct timespec ts;

    CHECK_ERRNO(clock_gettime(77, &ts), EINVAL);
    CHECK_ERRNO(clock_getres(77, &ts), EINVAL);
    CHECK_EQ(RAW(SYS_clock_gettime, 77, &ts), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_gettime, CLOCK_REALTIME, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_gettimeofday, 8, NULL), -EFAULT);
    CHECK_EQ(RAW(SYS_gettimeofday, NULL, NULL), 0);
    ts = (struct timespec){0, SECOND};
    CHECK_ERRNO(nanosleep(&ts, NULL), EINVAL);
    ts = (struct timespec){-1, 0};
    CHECK_ERRNO(nanosleep(&ts, NULL), EINVAL);
    CHECK_EQ(RAW(SYS_nanosleep, 8, NULL), -EFAULT);
    ts = (struct timespec){0, 1};
    CHECK_EQ(clock_nanosleep(77, 0, &ts, NULL), EINVAL);
    CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), EINVAL);
}

static void test_sleep(void)
{
    static const clockid_t sleepers[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    struct timespec ts = from_ns(SECOND / 50), zero = {0, 0};

    int64_t begin = now(CLOCK_MONOTONIC);
    CHECK_EQ(nanosleep(&ts, NULL), 0);
    int64_t slept = now(CLOCK_MONOTONIC) - begin;
    CHECK(slept >= SECOND / 50 && slept < LATE);
    CHECK_EQ(nanosleep(&zero, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(sleepers); i++) {
        begin = now(sleepers[i]);
        CHECK_EQ(clock_nanosleep(sleepers[i], 0, &ts, NULL), 0);
        slept = now(sleepers[i]) - begin;
        CHECK(slept >= SECOND / 50 - 1000 && slept < LATE);

        begin = now(sleepers[i]);
        struct timespec limit = from_ns(begin + SECOND / 50);
        CHECK_EQ(clock_nanosleep(sleepers[i], TIMER_ABSTIME, &limit, NULL), 0);
        slept = now(sleepers[i]) - begin;
        CHECK(slept >= SECOND / 50 - 1000 && slept < LATE);
        /* A point in the past is no sleep at all. */
        limit = from_ns(begin - SECOND);
        CHECK_EQ(clock_nanosleep(sleepers[i], TIMER_ABSTIME, &limit, NULL), 0);
    }
}

static void test_cpu_time(void)
{
    struct timespec ts = from_ns(SECOND / 20);
    int64_t process = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);

    nanosleep(&ts, NULL);
    CHECK(now(CLOCK_THREAD_CPUTIME_ID) - thread < LATE);
    int64_t begin = now(CLOCK_MONOTONIC);
    while (now(CLOCK_THREAD_CPUTIME_ID) - thread < SECOND / 20) {
        if (!CHECK(now(CLOCK_MONOTONIC) - begin < LATE))
            break; /* the thread's time stands still */
    }
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - process >= SECOND / 20);
}

/* Time that one thread has seen is never later than what another sees after it. */
static atomic_llong latest;
static atomic_int backwards;

static void *watch(void *argument)
{
    (void)argument;
    for (int i = 0; i < 5000; i++) {
        long long seen = latest;
        long long t = now(CLOCK_MONOTONIC);
        if (t < seen)
            atomic_fetch_add(&backwards, 1);
        while (t > seen && !atomic_compare_exchange_weak(&latest, &seen, t))
            ;
    }
    return NULL;
}

static void test_monotonic_threads(void)
{
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, watch, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(backwards, 0);
}

int main(void)
{
    test_agreement();
    test_relations();
    test_resolution();
    test_errors();
    test_sleep();
    test_cpu_time();
    test_monotonic_threads();
    return check_done();
}
