/*
 * What the unit tests use of Criterion, for builds with ThreadSanitizer: Criterion's own workers
 * run each test in a process that the sanitizer does not follow. Here a test is a child that is
 * forked from a program without threads, which it does follow. `meson setup -Dplain_tests=true`
 * puts this folder first; only one file of a test program includes it.
 */
#ifndef TESTS_UNIT_PLAIN_CRITERION_H
#define TESTS_UNIT_PLAIN_CRITERION_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain_options {
    void (*init)(void);
    void (*fini)(void);
    double timeout; /* seconds; longer here, since all is slower */
};

struct plain_suite {
    const char *name;
    struct plain_options options;
};

struct plain_test {
    const char *suite, *name;
    void (*run)(void);
    struct plain_options options;
};

#define PLAIN_ENTRY(kind) __attribute__((section("plain_" #kind), used, aligned(8)))
#define PLAIN_SLOWER      20
#define PLAIN_PATIENCE    200

#define TestSuite(name_, ...)                                                                      \
    static const struct plain_suite suite_of_##name_ = {.name = #name_, .options = {__VA_ARGS__}}; \
    static PLAIN_ENTRY(suites) const struct plain_suite *const entry_of_##name_ = &suite_of_##name_
#define Test(suite_, name_, ...)                                                                   \
    static void run_##suite_##_##name_(void);                                                      \
    static const struct plain_test test_##run_##suite_##_##name_ = {.suite = #suite_,              \
                                                                    .name = #name_,                \
                                                                    .run = run_##suite_##_##name_, \
                                                                    .options = {__VA_ARGS__}};     \
    static PLAIN_ENTRY(tests) const struct plain_test *const entry_##run_##suite_##_##name_ =      \
        &test_##run_##suite_##_##name_;                                                            \
    static void run_##suite_##_##name_(void)

extern int plain_failures;
void plain_check(bool good, bool fatal, const char *file, int line, const char *text);

#define PLAIN(good, fatal, text)       plain_check((good), (fatal), __FILE__, __LINE__, (text))

#define cr_assert(c, ...)              PLAIN(!!(c), true, #c)
#define cr_assert_not(c, ...)          PLAIN(!(c), true, "not " #c)
#define cr_assert_eq(a, b, ...)        PLAIN((a) == (b), true, #a " == " #b)
#define cr_assert_neq(a, b, ...)       PLAIN((a) != (b), true, #a " != " #b)
#define cr_assert_lt(a, b, ...)        PLAIN((a) < (b), true, #a " < " #b)
#define cr_assert_leq(a, b, ...)       PLAIN((a) <= (b), true, #a " <= " #b)
#define cr_assert_gt(a, b, ...)        PLAIN((a) > (b), true, #a " > " #b)
#define cr_assert_geq(a, b, ...)       PLAIN((a) >= (b), true, #a " >= " #b)
#define cr_assert_null(a, ...)         PLAIN((a) == NULL, true, #a " == NULL")
#define cr_assert_not_null(a, ...)     PLAIN((a) != NULL, true, #a " != NULL")
#define cr_assert_str_eq(a, b, ...)    PLAIN(strcmp((a), (b)) == 0, true, #a " eq " #b)
#define cr_assert_arr_eq(a, b, n, ...) PLAIN(memcmp((a), (b), (n)) == 0, true, #a " eq " #b)
#define cr_assert_fail(...)            PLAIN(false, true, "failure")
#define cr_expect(c, ...)              PLAIN(!!(c), false, #c)
#define cr_expect_not(c, ...)          PLAIN(!(c), false, "not " #c)
#define cr_expect_eq(a, b, ...)        PLAIN((a) == (b), false, #a " == " #b)
#define cr_expect_neq(a, b, ...)       PLAIN((a) != (b), false, #a " != " #b)
#define cr_expect_lt(a, b, ...)        PLAIN((a) < (b), false, #a " < " #b)
#define cr_expect_leq(a, b, ...)       PLAIN((a) <= (b), false, #a " <= " #b)
#define cr_expect_gt(a, b, ...)        PLAIN((a) > (b), false, #a " > " #b)
#define cr_expect_null(a, ...)         PLAIN((a) == NULL, false, #a " == NULL")
#define cr_expect_str_eq(a, b, ...)    PLAIN(strcmp((a), (b)) == 0, false, #a " eq " #b)

#endif
