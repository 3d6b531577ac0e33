/* How processor time is divided, and which of siginfo_t's unions a code means. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "sentry/kernel/signal/siginfo.h"
#include "sentry/kernel/usage.h"
#include "sentry/kernel/user.h"

static void check(const struct usage *usage, uint64_t user, uint64_t system)
{
    cr_assert_eq(usage->user_ns, user, "user: %lu", usage->user_ns);
    cr_assert_eq(usage->system_ns, system, "system: %lu", usage->system_ns);
}

Test(usage, is_divided_in_proportion)
{
    struct usage usage = {0};

    usage_divide(1000, 3, 1, &usage);
    check(&usage, 750, 250);
    usage = (struct usage){0};
    usage_divide(1000, 0, 0, &usage); /* no time noted: it was in the Sentry */
    check(&usage, 0, 1000);
    usage = (struct usage){0};
    usage_divide(UINT64_MAX / 2, UINT64_MAX / 4, UINT64_MAX / 4, &usage);
    cr_assert_eq(usage.user_ns + usage.system_ns, UINT64_MAX / 2);
}

Test(usage, neither_part_goes_back)
{
    struct usage usage = {0};

    usage_divide(1000, 1, 1, &usage);
    check(&usage, 500, 500);
    usage_divide(900, 1, 0, &usage); /* less than was told */
    check(&usage, 500, 500);
    usage_divide(1100, 1, 0, &usage);
    check(&usage, 600, 500);
    usage_divide(1200, 0, 1, &usage);
    check(&usage, 600, 600);
    usage_divide(2400, 1, 1, &usage);
    check(&usage, 1200, 1200);
}

Test(usage, ticks_go_to_the_mode_that_ends)
{
    struct task_times t = {.since_tsc = 1};

    usage_enter(&t, MODE_USER);
    cr_assert_gt(t.ticks[MODE_SYSTEM], 0);
    cr_assert_eq(t.ticks[MODE_USER], 0);
    usage_enter(&t, MODE_ASLEEP);
    cr_assert(usage_is_asleep(&t));
    cr_assert_eq(t.ticks[MODE_ASLEEP], 0);
    cr_assert_eq(t.seq, 4);
    /* Another processor's TSC may be behind: no time goes by. */
    t.since_tsc = UINT64_MAX;
    usage_enter(&t, MODE_SYSTEM);
    cr_assert_eq(t.ticks[MODE_ASLEEP], 0);
}

static enum siginfo_layout layout(int signo, int code)
{
    const siginfo_t info = {.si_signo = signo, .si_code = code};

    return siginfo_layout(&info);
}

Test(siginfo, layouts)
{
    cr_assert_eq(layout(SIGUSR1, SI_USER), SIGINFO_KILL);
    cr_assert_eq(layout(SIGUSR1, SI_KERNEL), SIGINFO_KILL);
    cr_assert_eq(layout(SIGUSR1, SI_QUEUE), SIGINFO_QUEUE);
    cr_assert_eq(layout(SIGUSR1, SI_TKILL), SIGINFO_QUEUE);
    cr_assert_eq(layout(SIGSEGV, SI_TIMER), SIGINFO_TIMER);
    cr_assert_eq(layout(SIGSEGV, SEGV_MAPERR), SIGINFO_FAULT);
    cr_assert_eq(layout(SIGBUS, BUS_MCEERR_AO), SIGINFO_MEMORY_ERROR);
    cr_assert_eq(layout(SIGCHLD, CLD_STOPPED), SIGINFO_CHILD);
    cr_assert_eq(layout(SIGCHLD, 7), SIGINFO_KILL);
    cr_assert_eq(layout(SIGSYS, 1), SIGINFO_SYSTEM_CALL);
    cr_assert_eq(layout(SIGPOLL, POLL_IN), SIGINFO_POLL);
    cr_assert_eq(layout(40, POLL_IN), SIGINFO_POLL);
    cr_assert_eq(layout(-5, 3), SIGINFO_POLL);
}

Test(siginfo, unknown_codes_carry_nothing_more)
{
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = -70};
    uint8_t *bytes = (uint8_t *)&info;

    cr_assert(siginfo_accept(&info));
    bytes[SIGINFO_USED] = 1;
    cr_assert_not(siginfo_accept(&info));
    info.si_code = SI_QUEUE;
    bytes[127] = 1;
    cr_assert(siginfo_accept(&info));
    cr_assert(bytes[SIGINFO_USED] == 0 && bytes[127] == 0);
}

Test(user, signals_are_counted_each_for_its_user)
{
    struct user_table table;
    struct user *a, *b;

    user_table_init(&table);
    cr_assert_null(user_charge_signal(&table, 5, 0));
    a = user_charge_signal(&table, 5, 2);
    cr_assert(a && user_charge_signal(&table, 5, 2) == a);
    cr_assert_null(user_charge_signal(&table, 5, 2));
    b = user_charge_signal(&table, 5 + USER_BUCKETS, 1);
    cr_assert(b && b != a);
    cr_assert_eq(user_charge_signal(&table, 5, UINT64_MAX), a);
    cr_assert_eq(user_signals(&table, 5), 3);
    for (int i = 0; i < 3; i++)
        user_uncharge_signal(&table, a);
    user_uncharge_signal(&table, b);
    cr_assert_eq(user_signals(&table, 5), 0);
}
