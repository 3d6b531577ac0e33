#include "runtime/platforms.h"

#include <string.h>

#include "base/log.h"
#include "platform/kvm/kvm.h"
#include "platform/ptrace/ptrace.h"

const struct platform_ops *const platforms[PLATFORM_COUNT] = {
    &kvm_platform_ops,
    &ptrace_platform_ops,
};

/*
 * Programs mix calls that need the Sentry, page faults, and pure calls. The weights follow what
 * short-lived tools do (a build's compiler, a shell): about as many faults as calls, and one call
 * in ten pure.
 */
uint64_t platform_cost(const struct platform_report *report)
{
    uint64_t fast = report->fast_ns ? report->fast_ns : report->syscall_ns;
    uint64_t fault = report->fault_ns ? report->fault_ns : 2 * report->syscall_ns;

    return (9 * report->syscall_ns + fast + 10 * fault) / 20;
}

const struct platform_ops *platform_choose(const char *name)
{
    const struct platform_ops *best = NULL;
    struct platform_report reports[PLATFORM_COUNT] = {0};
    uint64_t best_cost = UINT64_MAX;

    for (int i = 0; i < PLATFORM_COUNT; i++) {
        if (strcmp(name, platforms[i]->name) == 0)
            return platforms[i];
    }
    for (int i = 0; i < PLATFORM_COUNT; i++) {
        platforms[i]->probe(&reports[i]);
        if (!reports[i].usable)
            continue;
        log_debug("platform %s: %s, cost %lu ns", platforms[i]->name, reports[i].how,
                  (unsigned long)platform_cost(&reports[i]));
        if (platform_cost(&reports[i]) < best_cost) {
            best_cost = platform_cost(&reports[i]);
            best = platforms[i];
        }
    }
    if (!best) {
        for (int i = 0; i < PLATFORM_COUNT; i++)
            log_error("platform %s: %s", platforms[i]->name, reports[i].why_not);
    }
    return best;
}
