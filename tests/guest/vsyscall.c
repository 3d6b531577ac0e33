/* The legacy vsyscall page: three entries at fixed addresses, and a fault for anything else. */
#include <sys/time.h>
#include <time.h>

#include "catch.h"

#define PAGE_AT 0xffffffffff600000UL

static void call_time(void *argument)
{
    time_t (*legacy)(time_t *) = (time_t(*)(time_t *))(PAGE_AT + 0x400);

    *(time_t *)argument = legacy(NULL);
}

static void call_wrong(void *argument)
{
    ((void (*)(void))(PAGE_AT + (uintptr_t)argument))();
}

static void call_time_bad(void *argument)
{
    time_t (*legacy)(time_t *) = (time_t(*)(time_t *))(PAGE_AT + 0x400);

    legacy(argument);
}

int main(void)
{
    int (*legacy_gettimeofday)(struct timeval *, struct timezone *) =
        (int (*)(struct timeval *, struct timezone *))PAGE_AT;
    long (*legacy_getcpu)(unsigned *, unsigned *, void *) =
        (long (*)(unsigned *, unsigned *, void *))(PAGE_AT + 0x800);
    time_t t = 0, stored = 0;
    struct timeval tv = {0};
    unsigned cpu = 99999, node = 99999;

    catch_setup();
    if (catch_signal(call_time, &t).signo != 0)
        check_skip("this kernel was booted with vsyscall=none");
    CHECK(labs(t - time(NULL)) < 30);
    CHECK_EQ(((time_t(*)(time_t *))(PAGE_AT + 0x400))(&stored) - stored, 0);
    CHECK_EQ(legacy_gettimeofday(&tv, NULL), 0);
    CHECK(labs(tv.tv_sec - t) < 30 && tv.tv_usec < 1000000);
    CHECK_EQ(legacy_getcpu(&cpu, &node, NULL), 0);
    CHECK(cpu < 4096 && node < 1024);

    struct caught c = catch_signal(call_wrong, (void *)0x10);
    CHECK_EQ(c.signo, SIGSEGV);
    c = catch_signal(call_wrong, (void *)0xc00);
    CHECK_EQ(c.signo, SIGSEGV);
    c = catch_signal(call_time_bad, (void *)8);
    CHECK_EQ(c.signo, SIGSEGV);
    return check_done();
}
