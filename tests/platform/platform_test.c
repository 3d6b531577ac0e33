/*
 * platform_test --platform=NAME [--jailed|--exitless] [TEST...]: runs the tests against that
 * back-end and says how each ended; exit status 1 when one failed, 77 (Meson: skipped) where the
 * platform is missing. With --jailed the jail is closed first, as for the Sentry, which leaves out
 * the tests that start processes. With --exitless calls are served with the guest inside, where the
 * platform can.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/jail.h"
#include "platform/kvm/kvm.h"
#include "platform/ptrace/ptrace.h"
#include "tests/platform/harness.h"

/* A test that hangs is a failure: SIGALRM ends us. */
#define RUN_SECONDS 120

static const struct platform_ops *const platforms[] = {&kvm_platform_ops, &ptrace_platform_ops};

static const struct test *const suites[] = {basic_tests, exception_tests, thread_tests};
static const struct test *const free_suites[] = {life_tests};

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

struct run {
    struct world w;
    char **wanted;
    int wanted_count;
    bool exitless;
    unsigned int passed, failed;
};

/*
 * A guest that computes is fetched back to its own thread sooner or later, and what was under way
 * in the fast path then leaves the guest as an ordinary call: nothing that this test reckons with.
 */
static bool is_possible(const struct run *run, const char *name)
{
    return !run->exitless || strcmp(name, "fastpath") != 0;
}

static void run_suite(struct run *run, const struct test *tests)
{
    for (const struct test *t = tests; t->name; t++) {
        bool good;

        if (!is_wanted(t->name, run->wanted, run->wanted_count) || !is_possible(run, t->name))
            continue;
        good = t->run(&run->w);
        printf("%s %s\n", good ? "ok" : "FAILED", t->name);
        *(good ? &run->passed : &run->failed) += 1;
    }
}

static bool has_call_entry(struct world *w)
{
    struct platform_limits limits;

    w->ops->limits(w->p, &limits);
    return limits.call_entry != 0;
}

static int run_all(struct run *run, const struct platform_ops *ops, bool jailed)
{
    struct jail_request req = {.roles = JAIL_SENTRY};

    world_create(&run->w, ops);
    if (run->exitless && ops->set_exitless) {
        ops->set_exitless(run->w.p, EXITLESS_ALWAYS);
        ops->jail(run->w.p, &req);
    }
    if (jailed) {
        ops->jail(run->w.p, &req);
        if (jail_enter(&req) < 0) {
            printf("FAILED: the jail does not close\n");
            return 1;
        }
    }
    if (ops == &kvm_platform_ops)
        run_suite(run, kvm_tests);
    if (has_call_entry(&run->w))
        run_suite(run, handover_tests);
    for (size_t i = 0; i < ARRAY_COUNT(suites); i++)
        run_suite(run, suites[i]);
    for (size_t i = 0; i < ARRAY_COUNT(free_suites) && !jailed; i++)
        run_suite(run, free_suites[i]);
    world_destroy(&run->w);
    printf("%u passed, %u failed\n", run->passed, run->failed);
    return run->failed || !run->passed;
}

int main(int argc, char **argv)
{
    static const char option[] = "--platform=";
    const struct platform_ops *ops = NULL;
    struct platform_report report;
    struct run run = {0};
    bool jailed;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc >= 2 && strncmp(argv[1], option, strlen(option)) == 0)
        ops = platform_find(argv[1] + strlen(option));
    if (!ops) {
        fprintf(stderr, "usage: platform_test --platform=NAME [--jailed|--exitless] [TEST...]\n");
        return 2;
    }
    jailed = argc >= 3 && strcmp(argv[2], "--jailed") == 0;
    run.exitless = argc >= 3 && strcmp(argv[2], "--exitless") == 0;
    run.wanted = argv + 2 + (jailed || run.exitless);
    run.wanted_count = argc - 2 - (jailed || run.exitless);
    alarm(RUN_SECONDS);
    /* As runtime does: malloc opens a file of /sys to count CPUs before it makes its ninth arena.
     */
    mallopt(M_ARENA_MAX, 1);
    ops->probe(&report);
    if (!report.usable) {
        printf("skipped: %s: %s\n", ops->name, report.why_not);
        return 77;
    }
    printf("%s: %s, call %lu ns, in the guest %lu ns, fault %lu ns\n", ops->name, report.how,
           (unsigned long)report.syscall_ns, (unsigned long)report.fast_ns,
           (unsigned long)report.fault_ns);
    return run_all(&run, ops, jailed);
}
