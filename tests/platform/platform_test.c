/*
 * platform_test --platform=NAME [TEST...]: runs the tests against that back-end and says how each
 * ended; exit status 1 when one failed, 77 (Meson: skipped) where the platform is missing.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/ptrace/ptrace.h"
#include "tests/platform/harness.h"

/* A test that hangs is a failure: SIGALRM ends us. */
#define TEST_SECONDS 60

static const struct platform_ops *const platforms[] = {&ptrace_platform_ops};

static const struct test *const suites[] = {basic_tests, exception_tests, thread_tests, life_tests};

static const struct platform_ops *platform_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(platforms); i++) {
        if (strcmp(platforms[i]->name, name) == 0)
            return platforms[i];
    }
    return NULL;
}

static bool is_wanted(const char *name, char **words, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], name) == 0)
            return true;
    }
    return count == 0;
}

int main(int argc, char **argv)
{
    static const char option[] = "--platform=";
    const struct platform_ops *ops = NULL;
    struct platform_report report;
    unsigned int passed = 0, failed = 0;
    struct world w;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc >= 2 && strncmp(argv[1], option, strlen(option)) == 0)
        ops = platform_find(argv[1] + strlen(option));
    if (!ops) {
        fprintf(stderr, "usage: platform_test --platform=NAME [TEST...]\n");
        return 2;
    }
    ops->probe(&report);
    if (!report.usable) {
        printf("skipped: %s: %s\n", ops->name, report.why_not);
        return 77;
    }
    printf("%s: %s, call %lu ns, in the guest %lu ns, fault %lu ns\n", ops->name, report.how,
           (unsigned long)report.syscall_ns, (unsigned long)report.fast_ns,
           (unsigned long)report.fault_ns);
    world_create(&w, ops);
    for (size_t s = 0; s < ARRAY_COUNT(suites); s++) {
        for (const struct test *t = suites[s]; t->name; t++) {
            bool good;

            if (!is_wanted(t->name, argv + 2, argc - 2))
                continue;
            alarm(TEST_SECONDS);
            good = t->run(&w);
            printf("%s %s\n", good ? "ok" : "FAILED", t->name);
            *(good ? &passed : &failed) += 1;
        }
    }
    world_destroy(&w);
    printf("%u passed, %u failed\n", passed, failed);
    return failed || !passed;
}
