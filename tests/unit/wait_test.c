/* Latches of waiters, wait queues, and host descriptors as queues. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "host/clock.h"
#include "sentry/wait/timer.h"
#include "sentry/wait/wait.h"

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

Test(wait, wake_before_park_is_kept)
{
    struct waiter w;

    waiter_init(&w);
    waiter_wake(&w);
    cr_assert_eq(waiter_park(&w, 0), 0);
    cr_assert_eq(waiter_park(&w, 0), -ETIMEDOUT, "the latch was taken");
    waiter_wake(&w);
    waiter_reset(&w);
    cr_assert_eq(waiter_park(&w, 0), -ETIMEDOUT, "the latch was forgotten");
}

Test(wait, interrupt_stays_until_taken_back)
{
    struct waiter w;

    waiter_init(&w);
    waiter_interrupt(&w);
    cr_assert_eq(waiter_park(&w, UINT64_MAX), -EINTR);
    cr_assert_eq(waiter_park(&w, UINT64_MAX), -EINTR);
    waiter_wake(&w);
    cr_assert_eq(waiter_park(&w, UINT64_MAX), 0, "what was waited for goes first");
    cr_assert(waiter_interrupted(&w));
    waiter_uninterrupt(&w);
    cr_assert_not(waiter_interrupted(&w));
    cr_assert_eq(waiter_park(&w, 0), -ETIMEDOUT);
}

Test(wait, deadline)
{
    struct waiter w;
    uint64_t start = now_ns();

    waiter_init(&w);
    cr_assert_eq(waiter_park(&w, start + 20000000), -ETIMEDOUT);
    cr_assert_geq(now_ns() - start, 20000000u);
}

struct ping {
    struct waiter a, b;
    int rounds;
};

static void *pong(void *arg)
{
    struct ping *p = arg;

    for (int i = 0; i < p->rounds; i++) {
        if (waiter_park(&p->b, UINT64_MAX) < 0)
            return p;
        waiter_wake(&p->a);
    }
    return NULL;
}

Test(wait, no_wake_is_lost_between_threads, .timeout = 30)
{
    struct ping p = {.rounds = 2000};
    pthread_t thread;
    void *failed;

    waiter_init(&p.a);
    waiter_init(&p.b);
    pthread_create(&thread, NULL, pong, &p);
    for (int i = 0; i < p.rounds; i++) {
        waiter_wake(&p.b);
        cr_assert_eq(waiter_park(&p.a, UINT64_MAX), 0);
    }
    pthread_join(thread, &failed);
    cr_assert_null(failed);
}

Test(wait, queue_wakes_by_interest)
{
    struct wait_queue q;
    struct waiter in, out, any;
    struct wait_entry e_in, e_out, e_any;

    wait_queue_init(&q);
    waiter_init(&in);
    waiter_init(&out);
    waiter_init(&any);
    wait_entry_init(&e_in, &in, POLLIN);
    wait_entry_init(&e_out, &out, POLLOUT);
    wait_entry_init(&e_any, &any, 0);
    wait_queue_add(&q, &e_in);
    wait_queue_add(&q, &e_out);
    wait_queue_add(&q, &e_any);
    cr_assert_eq(wait_queue_wake(&q, POLLIN), 2);
    cr_assert_eq(waiter_park(&in, 0), 0);
    cr_assert_eq(waiter_park(&out, 0), -ETIMEDOUT);
    cr_assert_eq(waiter_park(&any, 0), 0);
    wait_queue_remove(&q, &e_in);
    wait_queue_remove(&q, &e_in);
    cr_assert_eq(wait_queue_wake(&q, POLLIN), 1);
}

Test(wait, host_descriptor_wakes_its_queue, .timeout = 30)
{
    struct hostpoll_watch *watch;
    struct wait_queue q;
    struct wait_entry e;
    struct waiter w;
    char buf[1];
    int fds[2];

    cr_assert_eq(hostpoll_start(), 0);
    cr_assert_eq(pipe(fds), 0);
    wait_queue_init(&q);
    waiter_init(&w);
    wait_entry_init(&e, &w, POLLIN);
    wait_queue_add(&q, &e);
    cr_assert_eq(hostpoll_watch(fds[0], &q, &watch), 0);
    cr_assert_eq(waiter_park(&w, now_ns() + 10000000), -ETIMEDOUT);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(waiter_park(&w, UINT64_MAX), 0);
    hostpoll_unwatch(watch);

    /* Many short watches: those that died are freed though no event comes. */
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(hostpoll_watch(fds[1], &q, &watch), 0);
        hostpoll_unwatch(watch);
    }
    cr_assert_eq(read(fds[0], buf, 1), 1);
    cr_assert_eq(hostpoll_watch(fds[0], &q, &watch), 0);
    waiter_reset(&w);
    close(fds[1]);
    cr_assert_eq(waiter_park(&w, UINT64_MAX), 0, "POLLHUP comes unasked");
    hostpoll_unwatch(watch);
}

static struct lock held;
static bool begun; /* atomic */
static int runs;   /* atomic */

static void wants_lock(struct timer *timer)
{
    __atomic_store_n(&begun, true, __ATOMIC_RELEASE);
    lock_acquire(&held);
    lock_release(&held);
    __atomic_add_fetch(&runs, 1, __ATOMIC_RELEASE);
}

/* Whoever cancels may hold what the function of another timer waits for. */
Test(timer, cancelling_waits_for_its_own_function, .timeout = 20)
{
    static struct timer slow, other;

    lock_init(&held);
    cr_assert_eq(timers_start(), 0);
    timer_init(&slow, wants_lock);
    timer_init(&other, wants_lock);
    lock_acquire(&held);
    cr_assert_eq(timer_arm(&other, host_monotonic_ns() + 3600 * 1000000000UL), 0);
    cr_assert_eq(timer_arm(&slow, 0), 0);
    while (!__atomic_load_n(&begun, __ATOMIC_ACQUIRE))
        usleep(1000);
    timer_cancel(&other);
    cr_expect_eq(__atomic_load_n(&runs, __ATOMIC_ACQUIRE), 0);
    lock_release(&held);
    timer_cancel(&slow);
    cr_expect_eq(__atomic_load_n(&runs, __ATOMIC_ACQUIRE), 1, "cancelled when it had ended");
}
