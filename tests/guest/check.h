/*
 * What every guest test uses: checks that print what they got, and one closing line.
 *
 * A guest test is an ordinary Linux program. It prints the same bytes natively and in the sandbox,
 * which is how the runner judges it, and besides exits with 1 when a check of its own fails. It
 * exits with 77 where the machine has nothing to test (the runner counts a skip).
 *
 * Output goes through write(2) without stdio, so that it is fit for any thread at any time.
 */
#ifndef TESTS_GUEST_CHECK_H
#define TESTS_GUEST_CHECK_H

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_SKIPPED  77
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

static atomic_int check_count;
static atomic_int check_failures;

/* One line, whole: lines of several threads do not mix. */
__attribute__((format(printf, 1, 2), unused)) static void note(const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (length > (int)sizeof(line) - 2)
        length = sizeof(line) - 2;
    line[length++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(1);
}

__attribute__((unused)) static bool check_true(bool good, int line, const char *text)
{
    int saved = errno;

    atomic_fetch_add(&check_count, 1);
    if (!good) {
        atomic_fetch_add(&check_failures, 1);
        note("line %d: failed: %s (errno %d)", line, text, saved);
    }
    errno = saved;
    return good;
}

__attribute__((unused)) static bool check_equal(long long got, long long want, int line,
                                                const char *text)
{
    int saved = errno;

    atomic_fetch_add(&check_count, 1);
    if (got != want) {
        atomic_fetch_add(&check_failures, 1);
        note("line %d: %s: got %lld (%#llx), want %lld (%#llx) (errno %d)", line, text, got, got,
             want, want, saved);
    }
    errno = saved;
    return got == want;
}

__attribute__((unused)) static bool check_errno(long long result, int want, int line,
                                                const char *text)
{
    int got = result == -1 ? errno : 0;

    atomic_fetch_add(&check_count, 1);
    if (result != -1 || got != want) {
        atomic_fetch_add(&check_failures, 1);
        note("line %d: %s: returned %lld with %s, want -1 with %s", line, text, result,
             strerror(got), strerror(want));
        return false;
    }
    return true;
}

/* Each evaluates its arguments once and gives whether the check held. */
#define CHECK(condition)        check_true((condition), __LINE__, #condition)
#define CHECK_EQ(got, want)     check_equal((long long)(got), (long long)(want), __LINE__, #got)
#define CHECK_ERRNO(call, want) (errno = 0, check_errno((long long)(call), (want), __LINE__, #call))

/* The kernel's own answer: a result, or -errno. */
__attribute__((unused)) static long raw_syscall(long nr, long a, long b, long c, long d, long e,
                                                long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define RAW_PICK(nr, a, b, c, d, e, f, ...)                                                        \
    raw_syscall((long)(nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define RAW(...) RAW_PICK(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The closing line and the exit status: `return check_done();` ends main(). */
__attribute__((unused)) static int check_done(void)
{
    if (check_failures != 0) {
        note("%d checks failed", check_failures);
        return 1;
    }
    note("ok");
    return check_count != 0 ? 0 : 1;
}

__attribute__((noreturn, unused)) static void check_skip(const char *why)
{
    note("skipped: %s", why);
    _exit(CHECK_SKIPPED);
}

#endif
