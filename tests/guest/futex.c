/* futex(2): every operation of the non-PI family, by raw system calls, with its errors. */
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

#define NR SYS_futex
#define P  FUTEX_PRIVATE_FLAG

static uint32_t word, second;
static atomic_int woken;
static atomic_int ready;

struct waiter {
    pthread_t thread;
    uint32_t *address;
    uint32_t bits; /* 0: FUTEX_WAIT */
    long result;
};

static void *wait_body(void *argument)
{
    struct waiter *w = argument;

    atomic_fetch_add(&ready, 1);
    if (w->bits)
        w->result = RAW(NR, w->address, FUTEX_WAIT_BITSET | P, 0, NULL, NULL, w->bits);
    else
        w->result = RAW(NR, w->address, FUTEX_WAIT | P, 0, NULL);
    atomic_fetch_add(&woken, 1);
    return NULL;
}

static void sleep_ms(long ms)
{
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

/* Starts waiters and returns when all of them sleep, as well as can be told from outside. */
static void start_waiters(struct waiter *w, int count, uint32_t *address, const uint32_t *bits)
{
    ready = woken = 0;
    for (int i = 0; i < count; i++) {
        w[i] = (struct waiter){.address = address, .bits = bits ? bits[i] : 0, .result = -1000};
        CHECK_EQ(pthread_create(&w[i].thread, NULL, wait_body, &w[i]), 0);
    }
    while (ready != count)
        sleep_ms(1);
    sleep_ms(50);
}

static void join_waiters(struct waiter *w, int count)
{
    for (int i = 0; i < count; i++) {
        CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
        CHECK_EQ(w[i].result, 0);
    }
}

static void await_woken(int count)
{
    for (int i = 0; i < 2000 && woken < count; i++)
        sleep_ms(1);
    CHECK_EQ(woken, count);
}

static void test_wake(void)
{
    struct waiter w[5];

    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE | P, 1), 0);
    start_waiters(w, 5, &word, NULL);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE | P, 2), 2);
    await_woken(2);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE | P, 100), 3);
    join_waiters(w, 5);
}

static void test_bitset(void)
{
    const uint32_t bits[3] = {1, 2, 4};
    struct waiter w[3];

    start_waiters(w, 3, &word, bits);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_BITSET | P, 10, NULL, NULL, 8), 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_BITSET | P, 10, NULL, NULL, 2), 1);
    await_woken(1);
    CHECK_EQ(pthread_join(w[1].thread, NULL), 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_BITSET | P, 10, NULL, NULL, FUTEX_BITSET_MATCH_ANY), 2);
    CHECK_EQ(pthread_join(w[0].thread, NULL), 0);
    CHECK_EQ(pthread_join(w[2].thread, NULL), 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_BITSET | P, 1, NULL, NULL, 0), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT_BITSET | P, 0, NULL, NULL, 0), -EINVAL);
}

static void test_requeue(void)
{
    struct waiter w[6];

    start_waiters(w, 6, &word, NULL);
    CHECK_EQ(RAW(NR, &word, FUTEX_CMP_REQUEUE | P, 1, 2, &second, 99), -EAGAIN);
    CHECK_EQ(RAW(NR, &word, FUTEX_CMP_REQUEUE | P, 1, 2, &second, 0), 3);
    await_woken(1);
    /* The kernel counts those it moved, too, whatever futex(2) says. */
    CHECK_EQ(RAW(NR, &word, FUTEX_REQUEUE | P, 1, 1, &second), 2);
    await_woken(2);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE | P, 100), 1);
    await_woken(3);
    CHECK_EQ(RAW(NR, &second, FUTEX_WAKE | P, 100), 3);
    join_waiters(w, 6);
}

static void test_wake_op(void)
{
    struct waiter w[2];

    word = second = 0;
    start_waiters(w, 2, &word, NULL);
    /* second += 5; its old value 0 is not > 0, so only `word` is woken. */
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_OP | P, 1, 1, &second,
                 FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_GT, 0)),
             1);
    CHECK_EQ(second, 5);
    CHECK_EQ(RAW(NR, &second, FUTEX_WAKE_OP | P, 1, 1, &word,
                 FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0)),
             1);
    CHECK_EQ(word, 7);
    join_waiters(w, 2);

    static const struct {
        int op;
        uint32_t arg, before, after;
    } ops[] = {
        {FUTEX_OP_SET, 3, 12, 3}, {FUTEX_OP_ADD, 3, 12, 15},
        {FUTEX_OP_OR, 3, 12, 15}, {FUTEX_OP_ANDN, 4, 12, 8},
        {FUTEX_OP_XOR, 5, 12, 9}, {FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 5, 1, 33},
    };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        second = ops[i].before;
        CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_OP | P, 1, 1, &second,
                     FUTEX_OP(ops[i].op, ops[i].arg, FUTEX_OP_CMP_EQ, 0)),
                 0);
        CHECK_EQ(second, ops[i].after);
    }
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE_OP | P, 1, 1, &second, FUTEX_OP(7, 0, 0, 0)), -ENOSYS);
    word = second = 0;
}

static int64_t elapsed_ms(const struct timespec *begin, clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (now.tv_sec - begin->tv_sec) * 1000 + (now.tv_nsec - begin->tv_nsec) / 1000000;
}

static void test_timeouts(void)
{
    struct timespec begin, limit = {0, 30000000};
    const struct timespec negative = {-1, 0}, large = {0, 1000000000}, zero = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &begin);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT | P, 0, &limit), -ETIMEDOUT);
    CHECK(elapsed_ms(&begin, CLOCK_MONOTONIC) >= 29);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT | P, 0, &zero), -ETIMEDOUT);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT | P, 0, &negative), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT | P, 0, &large), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT | P, 0, (void *)8), -EFAULT);

    /* FUTEX_WAIT_BITSET takes a point in time, of one clock or the other. */
    static const struct {
        clockid_t clock;
        int flag;
    } clocks[] = {{CLOCK_MONOTONIC, 0}, {CLOCK_REALTIME, FUTEX_CLOCK_REALTIME}};
    for (size_t i = 0; i < ARRAY_COUNT(clocks); i++) {
        clock_gettime(clocks[i].clock, &begin);
        limit = begin;
        limit.tv_nsec += 30000000;
        if (limit.tv_nsec >= 1000000000) {
            limit.tv_nsec -= 1000000000;
            limit.tv_sec++;
        }
        CHECK_EQ(RAW(NR, &word, FUTEX_WAIT_BITSET | P | clocks[i].flag, 0, &limit, NULL, 1),
                 -ETIMEDOUT);
        CHECK(elapsed_ms(&begin, clocks[i].clock) >= 29);
        CHECK_EQ(RAW(NR, &word, FUTEX_WAIT_BITSET | P | clocks[i].flag, 0, &begin, NULL, 1),
                 -ETIMEDOUT);
    }
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE | P | FUTEX_CLOCK_REALTIME, 1), -ENOSYS);
}

static void test_errors(void)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    word = 1;
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT | P, 0, NULL), -EAGAIN);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT, 0, NULL), -EAGAIN);
    word = 0;
    CHECK_EQ(RAW(NR, (char *)&word + 1, FUTEX_WAIT | P, 0, NULL), -EINVAL);
    CHECK_EQ(RAW(NR, (char *)&word + 2, FUTEX_WAKE | P, 1), -EINVAL);
    CHECK_EQ(RAW(NR, page, FUTEX_WAIT | P, 0, NULL), -EFAULT);
    CHECK_EQ(RAW(NR, NULL, FUTEX_WAIT | P, 0, NULL), -EFAULT);
    CHECK_EQ(RAW(NR, 0xffff800000000000, FUTEX_WAIT | P, 0, NULL), -EFAULT);
    CHECK_EQ(RAW(NR, 0xffff800000000000, FUTEX_WAKE | P, 1), -EFAULT);
    CHECK_EQ(RAW(NR, &word, 77, 0, NULL), -ENOSYS);
    CHECK_EQ(RAW(NR, &word, FUTEX_REQUEUE | P, -1, 1, &second), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_CMP_REQUEUE | P, 1, -1, &second, 0), -EINVAL);
    /* Waking needs no access to the word of a private futex. */
    CHECK_EQ(RAW(NR, page, FUTEX_WAKE | P, 1), 0);
    munmap(page, 4096);
}

/* Without the private flag the key is the page itself: two mappings of one page meet. */
static void *wait_shared(void *argument)
{
    atomic_fetch_add(&ready, 1);
    return (void *)RAW(NR, argument, FUTEX_WAIT, 0, NULL);
}

static void test_shared(void)
{
    uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t thread;
    void *result;

    if (!CHECK(page != MAP_FAILED))
        return;
    ready = 0;
    CHECK_EQ(pthread_create(&thread, NULL, wait_shared, page), 0);
    while (ready == 0)
        sleep_ms(1);
    long count = 0;
    for (int i = 0; i < 2000 && count == 0; i++) {
        sleep_ms(1);
        count = RAW(NR, page, FUTEX_WAKE, 1);
    }
    CHECK_EQ(count, 1);
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK_EQ((long)result, 0);
}

int main(void)
{
    test_wake();
    test_bitset();
    test_requeue();
    test_wake_op();
    test_timeouts();
    test_errors();
    test_shared();
    return check_done();
}
