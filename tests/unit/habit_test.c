/* Whether serving calls inside the guest is worth it, by times alone. */
#include <criterion/criterion.h>

#include "platform/kvm/internal.h"

#define DEAR_CALL  25000U   /* ns of a call that leaves the guest where that is dear */
#define CHEAP_CALL 1500U    /* the same on a CPU that runs guests itself */
#define SPARSE     1000000U /* a program that computes in between */
#define VAIN       90000U
#define TORN       4000000U /* the processor was somebody else's for so long */
#define ENOUGH     100000U

/* Calls in a row that it takes; ENOUGH: they never do. */
static unsigned int calls_until_wanted(struct exitless_habit *h, uint64_t ns)
{
    for (unsigned int n = 0; n < ENOUGH; n++) {
        if (habit_wants(h))
            return n;
        habit_left(h, ns);
    }
    return ENOUGH;
}

Test(habit, a_few_calls_in_a_row_turn_it_on)
{
    struct exitless_habit h = {0};

    cr_assert_eq(calls_until_wanted(&h, DEAR_CALL), 4);
}

Test(habit, not_where_leaving_is_cheap_or_calls_are_sparse)
{
    struct exitless_habit cheap = {0}, sparse = {0};

    cr_assert_eq(calls_until_wanted(&cheap, CHEAP_CALL), ENOUGH);
    cr_assert_eq(calls_until_wanted(&sparse, SPARSE), ENOUGH);
}

Test(habit, one_short_call_does_not_count_for_ever)
{
    struct exitless_habit h = {0};

    habit_left(&h, CHEAP_CALL);
    cr_assert_leq(calls_until_wanted(&h, DEAR_CALL), 8);
}

Test(habit, what_is_lost_again_and_again_is_tried_less_and_less)
{
    struct exitless_habit h = {0};
    unsigned int last = 0, n = 0;

    for (int i = 0; i < 20; i++) {
        n = calls_until_wanted(&h, DEAR_CALL);
        cr_assert_geq(n, last);
        last = n;
        habit_worth(&h);
        habit_vain(&h, VAIN);
    }
    cr_assert_eq(n, HABIT_NEED_MAX);
}

Test(habit, who_has_won_much_goes_on_after_a_disturbance)
{
    struct exitless_habit h = {0};

    calls_until_wanted(&h, DEAR_CALL);
    for (int i = 0; i < 1000; i++)
        habit_worth(&h);
    cr_assert(habit_wants(&h));
    habit_vain(&h, TORN);
    cr_assert_not(habit_wants(&h));
    cr_assert_eq(calls_until_wanted(&h, DEAR_CALL), 4);
    for (int i = 0; i < 3; i++)
        habit_vain(&h, TORN);
    cr_assert_gt(calls_until_wanted(&h, DEAR_CALL), 4, "no credit is left");
}
