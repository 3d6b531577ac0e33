/* What a waiter learns about staying awake, by counts alone; and waiters that do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>

#include "sentry/wait/vigil.h"
#include "sentry/wait/wait.h"

#define NEAR   10000   /* a short sleep, and a won vigil */
#define FAR    1000000 /* a long sleep */
#define TORN   5000000 /* no vigil takes that long but for a preemption */
#define ENOUGH 100000  /* short sleeps after which any vigil is tried again */

/* After so many short sleeps it is on. */
static unsigned int sleeps_until_on(struct vigil *v)
{
    for (unsigned int n = 0; n < ENOUGH; n++) {
        if (vigil_is_on(v))
            return n;
        vigil_slept(v, NEAR);
    }
    return ENOUGH;
}

Test(vigil, a_row_of_short_sleeps_turns_it_on)
{
    struct vigil v;

    vigil_init(&v);
    cr_assert_eq(vigil_budget(&v), 0);
    for (int i = 0; i < 100; i++) {
        for (int n = 0; n < 3; n++)
            vigil_slept(&v, NEAR);
        vigil_slept(&v, FAR);
        cr_assert_not(vigil_is_on(&v), "long sleeps between");
    }
    cr_assert_eq(sleeps_until_on(&v), 4);
    cr_assert_gt(vigil_budget(&v), NEAR);
}

Test(vigil, each_failure_doubles_the_rest)
{
    struct vigil v;

    vigil_init(&v);
    sleeps_until_on(&v);
    for (unsigned int rest = 64; rest <= 8192; rest *= 2) {
        vigil_ended(&v, NEAR, false);
        cr_assert(vigil_is_on(&v), "one failure alone decides nothing");
        vigil_ended(&v, NEAR, false);
        cr_assert_not(vigil_is_on(&v));
        cr_assert_eq(sleeps_until_on(&v), rest);
    }
    vigil_ended(&v, TORN, true);
    cr_assert_not(vigil_is_on(&v), "a preemption is decision enough");
    cr_assert_eq(sleeps_until_on(&v), 8192, "no further");
    for (int i = 0; i < 1024; i++)
        vigil_ended(&v, NEAR, true);
    vigil_ended(&v, TORN, false);
    cr_assert_eq(sleeps_until_on(&v), 64, "it had paid");
}

Test(vigil, two_of_three_must_be_won)
{
    struct vigil v;
    int rounds;

    vigil_init(&v);
    sleeps_until_on(&v);
    for (int i = 0; i < 1000; i++) {
        vigil_ended(&v, NEAR, i % 3 != 0);
        cr_assert(vigil_is_on(&v));
    }
    for (rounds = 0; vigil_is_on(&v) && rounds < 1000; rounds++)
        vigil_ended(&v, NEAR, rounds % 2 == 0);
    cr_assert_lt(rounds, 1000);
}

Test(vigil, the_budget_follows_the_won_ones)
{
    uint32_t few, many;
    struct vigil v;

    vigil_init(&v);
    sleeps_until_on(&v);
    for (int i = 0; i < 100; i++)
        vigil_ended(&v, 100, true);
    few = vigil_budget(&v);
    for (int i = 0; i < 100; i++)
        vigil_ended(&v, 15000, true);
    many = vigil_budget(&v);
    cr_assert_lt(few, many);
}

Test(vigil, won_late_is_not_won)
{
    struct vigil v;
    int rounds;

    vigil_init(&v);
    sleeps_until_on(&v);
    for (int i = 0; i < 100; i++)
        vigil_ended(&v, NEAR, true);
    for (rounds = 0; vigil_is_on(&v) && rounds < 1000; rounds++)
        vigil_ended(&v, 45000, true);
    cr_assert_lt(rounds, 1000);
}

Test(vigil, one_processor_is_left)
{
    cr_assert_not(vigil_begin(), "before it is known how many there are");
    vigil_setup(1);
    cr_assert_not(vigil_begin());
    vigil_setup(3);
    cr_assert(vigil_begin());
    cr_assert(vigil_begin());
    cr_assert_not(vigil_begin());
    vigil_end();
    cr_assert(vigil_begin());
    cr_assert_not(vigil_begin());
}

Test(vigil, beside_its_waker_it_cannot_win)
{
    uint32_t word = 1;
    struct vigil v;
    int tries;

    vigil_setup(2);
    vigil_init(&v);
    cr_assert_not(vigil_keep(&v, &word, 1, false, UINT64_MAX), "it is off");
    sleeps_until_on(&v);
    cr_assert(vigil_keep(&v, &word, 1, false, UINT64_MAX), "it is there");
    cr_assert_not(vigil_keep(&v, &word, 2, false, 0), "the deadline is over");
    for (tries = 0; vigil_is_on(&v) && tries < 1000; tries++)
        cr_assert_not(vigil_keep(&v, &word, 1, true, UINT64_MAX));
    cr_assert_lt(tries, 1000);
}

/* It stays awake at every wait from now on, as long as it wins most. */
static void wake_up(struct waiter *w)
{
    waiter_init(w);
    sleeps_until_on(&w->vigil);
}

static void *park(void *arg)
{
    return (void *)(intptr_t)waiter_park(arg, UINT64_MAX);
}

/* Wherever it is, awake, on the way to sleep or asleep, a latch ends it. */
Test(vigil, a_signal_ends_it, .timeout = 30)
{
    vigil_setup(2);
    for (int i = 0; i < 200; i++) {
        bool interrupt = i % 2;
        struct waiter w;
        pthread_t thread;
        void *error;

        wake_up(&w);
        pthread_create(&thread, NULL, park, &w);
        while (!waiter_is_parked(&w))
            ;
        if (interrupt)
            waiter_interrupt(&w);
        else
            waiter_wake(&w);
        pthread_join(thread, &error);
        cr_assert_eq((intptr_t)error, interrupt ? -EINTR : 0);
        cr_assert_not(waiter_is_parked(&w));
    }
}

struct pair {
    struct waiter a, b;
};

static void *answer(void *arg)
{
    struct pair *p = arg;

    for (int i = 0; i < 2000; i++) {
        if (waiter_park(&p->b, UINT64_MAX) < 0)
            return p;
        waiter_wake(&p->a);
    }
    return NULL;
}

Test(vigil, no_wake_is_lost, .timeout = 30)
{
    pthread_t thread;
    struct pair p;
    void *failed;

    vigil_setup(2);
    wake_up(&p.a);
    wake_up(&p.b);
    pthread_create(&thread, NULL, answer, &p);
    for (int i = 0; i < 2000; i++) {
        waiter_wake(&p.b);
        cr_assert_eq(waiter_park(&p.a, UINT64_MAX), 0);
    }
    pthread_join(thread, &failed);
    cr_assert_null(failed);
}
