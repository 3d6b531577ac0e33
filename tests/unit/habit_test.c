/* Whether listening for a program's calls is worth it, by counts and times alone. */
#include <criterion/criterion.h>
#include <sys/param.h>

#include "platform/habit.h"

#define VAIN   70000U   /* ns: to begin, to listen for a while, and to end it */
#define TORN   4000000U /* the processor was somebody else's for so long */
#define WATCH  50000U   /* the shortest time of listening */
#define START  1000000000U
#define ENOUGH 100000U

static const struct habit_rates rates = {
    .need_min = 4,
    .need_max = 1024,
    .first_max = 64,
    .saved_ns = 20000,
    .credit_max_ns = 8000000,
    .vain_ns = 60000,
    .watch_ns = 50000,
    .patience_part = 8,
};
static uint32_t here, lately;
static struct habit_place place;

static void setup(void)
{
    here = lately = 0;
    place = (struct habit_place){.rates = &rates, .here = &here, .lately = &lately};
}

TestSuite(habit, .init = setup);

/* Calls in a row that it takes; ENOUGH: they never do. */
static uint32_t calls_until_wanted(struct habit *h)
{
    uint32_t n = 0;

    while (n < ENOUGH && !habit_wants(h, &place, n))
        n++;
    return n;
}

static void win(struct habit *h, int times)
{
    while (times-- > 0)
        habit_win(h, &place);
}

Test(habit, a_few_calls_in_a_row_turn_it_on)
{
    struct habit h = {0};

    cr_assert_eq(calls_until_wanted(&h), rates.need_min);
}

Test(habit, what_is_lost_again_and_again_is_tried_less_and_less)
{
    struct habit h = {0};
    uint32_t last = 0, n = 0;

    for (int i = 0; i < 20; i++) {
        n = calls_until_wanted(&h);
        cr_assert_geq(n, last);
        last = n;
        win(&h, 1);
        cr_assert_not(habit_lose(&h, &place, VAIN, 2));
    }
    cr_assert_eq(n, rates.need_max);
}

Test(habit, what_was_very_bad_is_waited_for_longer)
{
    struct habit twice = {0}, eightfold = {0};

    habit_lose(&twice, &place, VAIN, 2);
    habit_lose(&eightfold, &place, VAIN, 8);
    cr_assert_eq(calls_until_wanted(&twice), 2 * rates.need_min);
    cr_assert_eq(calls_until_wanted(&eightfold), 8 * rates.need_min);
}

Test(habit, who_has_won_much_goes_on_after_a_disturbance)
{
    struct habit h = {0};

    win(&h, 1000);
    cr_assert(habit_lose(&h, &place, TORN, 2));
    cr_assert_eq(calls_until_wanted(&h), rates.need_min);
    for (int i = 0; i < 3; i++)
        habit_lose(&h, &place, TORN, 2);
    cr_assert_gt(calls_until_wanted(&h), rates.need_min, "no credit is left");
}

Test(habit, no_loss_is_more_than_all)
{
    struct habit h = {0};

    cr_assert_not(habit_lose(&h, &place, UINT64_MAX, 2));
    cr_assert_eq(h.credit_ns, 0);
    win(&h, 1);
    cr_assert_eq(h.credit_ns, rates.saved_ns);
}

Test(habit, little_more_is_lost_than_was_won)
{
    struct habit h = {0};
    int64_t lost = 0;
    uint32_t calls = 0;

    while (calls < 1000000) {
        calls += calls_until_wanted(&h);
        habit_lose(&h, &place, VAIN, 2);
        lost += VAIN;
    }
    cr_assert_leq(lost / calls, 2 * VAIN / rates.need_max);
}

Test(habit, a_trial_has_credit)
{
    struct habit_rates trying = rates;
    struct habit h = {0};

    trying.trial_ns = 100000;
    place.rates = &trying;
    habit_begin(&h, &place);
    cr_assert(habit_lose(&h, &place, 60000, 2));
    cr_assert_not(habit_lose(&h, &place, 60000, 2));
    win(&h, 100);
    habit_begin(&h, &place);
    cr_assert_eq(h.credit_ns, 100 * rates.saved_ns, "who has more keeps it");
}

Test(habit, others_begin_with_what_one_has_learnt)
{
    struct habit one = {0}, two = {0}, three = {0}, four = {0};
    struct habit_place elsewhere = place;
    uint32_t there = 0;

    elsewhere.here = &there;
    for (int i = 0; i < 20; i++)
        habit_lose(&one, &place, VAIN, 2);
    cr_assert_eq(calls_until_wanted(&two), rates.need_max, "of the same program");
    cr_assert_not(habit_wants(&three, &elsewhere, rates.need_min), "of another one, but");
    cr_assert(habit_wants(&three, &elsewhere, 64), "that may be quite different");
    win(&one, 1000);
    cr_assert_eq(calls_until_wanted(&four), rates.need_min);
}

Test(habit, where_it_is_always_wanted_nothing_is_learnt)
{
    struct habit h = {0};

    place.always = true;
    for (int i = 0; i < 20; i++)
        cr_assert(habit_lose(&h, &place, TORN, 8));
    cr_assert_eq(h.need, 0);
    cr_assert_eq(here + lately, 0);
}

/* Looks every `step` ns, until it ends; what that cost. */
static uint64_t watch_in_vain(const struct habit *h, uint64_t step, uint64_t *ret_time)
{
    struct habit_watch w;
    uint64_t now = START, lost;

    habit_watch_begin(&w, h, &place, now);
    do
        lost = habit_watch_lost(&w, now += step, false);
    while (!lost);
    *ret_time = now - START;
    return lost;
}

Test(habit, a_watch_ends_in_time)
{
    struct habit poor = {0}, rich = {0};
    uint64_t time;

    cr_assert_gt(watch_in_vain(&poor, 1000, &time), rates.vain_ns);
    cr_assert_leq(time, WATCH + 1000);
    win(&rich, 1000);
    watch_in_vain(&rich, 1000, &time);
    cr_assert_gt(time, WATCH, "it can afford that");
    cr_assert_leq(time, (uint64_t)rates.credit_max_ns / 2);
    place.always = true;
    watch_in_vain(&poor, 1000, &time);
    cr_assert_gt(time, WATCH);
}

Test(habit, who_was_away_has_lost_that)
{
    struct habit h = {0};
    uint64_t time;

    win(&h, 1000);
    cr_assert_eq(watch_in_vain(&h, TORN, &time), TORN);
    cr_assert_eq(time, TORN, "and ends at once");
}

Test(habit, a_watch_ends_when_it_has_to)
{
    struct habit h = {0};
    struct habit_watch w;

    habit_watch_begin(&w, &h, &place, START);
    cr_assert_eq(habit_watch_lost(&w, START + 1, false), 0);
    cr_assert_geq(habit_watch_lost(&w, START + 2, true), rates.vain_ns);
}
