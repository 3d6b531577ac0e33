/* Calls in a row that might have been served inside the guest, by times alone. */
#include <criterion/criterion.h>

#include "platform/kvm/internal.h"

#define DEAR_CALL  25000U   /* ns of a call that leaves the guest where that is dear */
#define CHEAP_CALL 1500U    /* the same on a CPU that runs guests itself */
#define SPARSE     1000000U /* a program that computes in between */

/* So many more of them, and how many count. */
static uint32_t calls_after(struct streak *s, int times, uint64_t ns)
{
    while (times-- > 0)
        streak_add(s, ns);
    return streak_calls(s);
}

Test(streak, calls_in_a_row_count)
{
    struct streak s = {0};

    cr_assert_eq(calls_after(&s, 4, DEAR_CALL), 4);
    cr_assert_eq(calls_after(&s, 1000, DEAR_CALL), 1004);
}

Test(streak, not_where_leaving_is_cheap_or_calls_are_sparse)
{
    struct streak cheap = {0}, sparse = {0};

    cr_assert_eq(calls_after(&cheap, 1000, CHEAP_CALL), 0);
    cr_assert_eq(calls_after(&sparse, 1000, SPARSE), 0);
}

Test(streak, a_pause_takes_half_of_it)
{
    struct streak s = {0};

    calls_after(&s, 8, DEAR_CALL);
    cr_assert_eq(calls_after(&s, 1, SPARSE), 4);
}

Test(streak, one_short_call_does_not_count_for_ever)
{
    struct streak s = {0};

    cr_assert_eq(calls_after(&s, 1, CHEAP_CALL), 0);
    cr_assert_eq(calls_after(&s, 3, DEAR_CALL), 0, "the shortest of four");
    cr_assert_eq(calls_after(&s, 4, DEAR_CALL), 8);
}
