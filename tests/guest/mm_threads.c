/*
 * Memory and threads: one thread takes rights away while others use the pages. Afterwards none of
 * them may get through, on any CPU (TLB shootdown), and pages faulted in by two at once are one.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include "catch.h"

#define PAGE    4096UL
#define WRITERS 3
#define RW      (PROT_READ | PROT_WRITE)
#define ANON    (MAP_PRIVATE | MAP_ANONYMOUS)

static char *shared;
enum { ALLOWED, CHANGING, FORBIDDEN, CHANGING_BACK, STATES };
static atomic_int phase; /* counts up; modulo STATES it says what holds for the page */
static atomic_int stopped;
static atomic_long writes, refusals, leaks;

static void store(void *argument)
{
    *(volatile long *)argument = 1;
}

static void *write_always(void *argument)
{
    (void)argument;
    catch_setup();
    while (!stopped) {
        int before = phase;
        struct caught c = catch_signal(store, shared);
        int after = phase;

        if (c.signo == 0) {
            atomic_fetch_add(&writes, 1);
            if (before == after && before % STATES == FORBIDDEN)
                atomic_fetch_add(&leaks, 1);
        } else {
            atomic_fetch_add(&refusals, 1);
            if (before == after && before % STATES == ALLOWED)
                atomic_fetch_add(&leaks, 1);
        }
    }
    return NULL;
}

static void test_shootdown(int rounds, bool unmap)
{
    const struct timespec moment = {0, 100000};
    pthread_t threads[WRITERS];

    stopped = 0;
    phase = ALLOWED;
    writes = refusals = leaks = 0;
    shared = mmap(NULL, PAGE, RW, ANON, -1, 0);
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, write_always, NULL), 0);
    while (writes == 0)
        sched_yield();
    for (int i = 0; i < rounds; i++) {
        long seen = refusals;
        atomic_fetch_add(&phase, 1);
        if (unmap)
            CHECK_EQ(munmap(shared, PAGE), 0);
        else
            CHECK_EQ(mprotect(shared, PAGE, PROT_READ), 0);
        atomic_fetch_add(&phase, 1);
        for (int j = 0; j < 20 && refusals == seen; j++)
            nanosleep(&moment, NULL);
        atomic_fetch_add(&phase, 1);
        if (unmap)
            CHECK(mmap(shared, PAGE, RW, ANON | MAP_FIXED, -1, 0) == shared);
        else
            CHECK_EQ(mprotect(shared, PAGE, RW), 0);
        atomic_fetch_add(&phase, 1);
    }
    stopped = 1;
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK(refusals > 0);
    CHECK_EQ(leaks, 0);
    munmap(shared, PAGE);
}

/* All threads touch the same fresh pages at once; every increment must survive. */
#define TOUCH_PAGES 256

static pthread_barrier_t barrier;

static void *touch(void *argument)
{
    (void)argument;
    for (int round = 0; round < 5; round++) {
        pthread_barrier_wait(&barrier);
        for (size_t i = 0; i < TOUCH_PAGES; i++)
            atomic_fetch_add((atomic_int *)(void *)(shared + i * PAGE), 1);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void test_touch(void)
{
    pthread_t threads[WRITERS];

    pthread_barrier_init(&barrier, NULL, WRITERS + 1);
    shared = mmap(NULL, TOUCH_PAGES * PAGE, RW, ANON, -1, 0);
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, touch, NULL), 0);
    for (int round = 0; round < 5; round++) {
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        for (size_t i = 0; i < TOUCH_PAGES; i++) {
            if (!CHECK_EQ(*(int *)(void *)(shared + i * PAGE), WRITERS))
                break;
        }
        CHECK_EQ(madvise(shared, TOUCH_PAGES * PAGE, MADV_DONTNEED), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    munmap(shared, TOUCH_PAGES * PAGE);
}

/* Threads map, write, check and unmap regions of their own at the same time. */
static void *churn(void *argument)
{
    long id = (long)argument;

    for (int i = 0; i < 100; i++) {
        size_t pages = 1 + (size_t)(id * 7 + i) % 40;
        char *p = mmap(NULL, pages * PAGE, RW, ANON, -1, 0);
        if (!CHECK(p != MAP_FAILED))
            break;
        for (size_t j = 0; j < pages; j++) {
            CHECK_EQ(p[j * PAGE + 5], 0);
            p[j * PAGE + 5] = (char)(id + i);
        }
        sched_yield();
        for (size_t j = 0; j < pages; j++)
            CHECK_EQ(p[j * PAGE + 5], (char)(id + i));
        CHECK_EQ(munmap(p, pages * PAGE), 0);
    }
    return NULL;
}

static void test_churn(void)
{
    pthread_t threads[8];

    for (long i = 0; i < 8; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 150;

    test_shootdown(rounds, false);
    test_shootdown(rounds, true);
    test_touch();
    test_churn();
    return check_done();
}
