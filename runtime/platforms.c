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

/*
 * Below this cost none of the others can be better: handing the processor over to another process
 * and back, as ptrace does, takes longer on any machine.
 */
#define CHEAP_ENOUGH_NS 3000

static void log_report(const struct platform_ops *ops, const struct platform_report *report)
{
    log_debug("platform %s: %s, cost %lu ns", ops->name, report->how,
              (unsigned long)platform_cost(report));
}

static struct platform *choose_cheapest(struct memfile *mf)
{
    struct platform_report reports[PLATFORM_COUNT] = {0};
    uint64_t best_cost = UINT64_MAX;
    struct platform *best = NULL;

    for (int i = 0; i < PLATFORM_COUNT && best_cost > CHEAP_ENOUGH_NS; i++) {
        struct platform *p = platforms[i]->create_measured(mf, &reports[i]);

        if (!p)
            continue;
        log_report(platforms[i], &reports[i]);
        if (platform_cost(&reports[i]) >= best_cost) {
            p->ops->destroy(p);
            continue;
        }
        best_cost = platform_cost(&reports[i]);
        if (best)
            best->ops->destroy(best);
        best = p;
    }
    if (!best) {
        for (int i = 0; i < PLATFORM_COUNT; i++)
            log_error("platform %s: %s", platforms[i]->name, reports[i].why_not);
    }
    return best;
}

struct platform *platform_choose(const char *name, struct memfile *mf)
{
    for (int i = 0; i < PLATFORM_COUNT; i++) {
        struct platform *p = NULL;

        if (strcmp(name, platforms[i]->name) != 0)
            continue;
        return platforms[i]->create(mf, &p) == 0 ? p : NULL; /* create() has said why */
    }
    return choose_cheapest(mf);
}
