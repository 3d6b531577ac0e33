#include <inttypes.h>
#include <stdio.h>

#include "runtime/platforms.h"
#include "runtime/version.h"

static void print_cost(const char *what, uint64_t ns)
{
    if (ns)
        printf("    %-34s %8" PRIu64 " ns\n", what, ns);
    else
        printf("    %-34s %8s\n", what, "-");
}

int doctor_run(void)
{
    const struct platform_ops *best = NULL;
    uint64_t best_cost = UINT64_MAX;

    printf("kvmsentry %s on this host\n", KVMSENTRY_VERSION);
    for (int i = 0; i < PLATFORM_COUNT; i++) {
        struct platform_report report = {0};

        platforms[i]->probe(&report);
        if (!report.usable) {
            printf("  %s: not usable: %s\n", platforms[i]->name, report.why_not);
            continue;
        }
        printf("  %s: usable, %s\n", platforms[i]->name, report.how);
        print_cost("system call to the Sentry and back", report.syscall_ns);
        print_cost("call answered inside the guest", report.fast_ns);
        print_cost("page fault served", report.fault_ns);
        if (platform_cost(&report) < best_cost) {
            best_cost = platform_cost(&report);
            best = platforms[i];
        }
    }
    if (!best) {
        printf("auto: no platform works on this host\n");
        return 1;
    }
    printf("auto: takes %s, the lowest mean cost of a trap (%" PRIu64 " ns)\n", best->name,
           best_cost);
    return 0;
}
