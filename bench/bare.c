/*
 * The physical limits that the platforms' calls are measured against: what one round trip costs
 * when nothing is done with it. Prints "TITLE: NANOSECONDS", or why there is no figure.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "platform/kvm/kvm.h"
#include "platform/ptrace/ptrace.h"

#define TURNS 2000

int main(void)
{
    uint64_t kvm_ns = 0;
    int err = kvm_bench_bare_exit(TURNS, &kvm_ns);
    int64_t ptrace_ns = ptrace_bench_bare_roundtrip(TURNS);

    if (err < 0)
        printf("bare `KVM_RUN` exit: %s\n", strerror(-err));
    else
        printf("bare `KVM_RUN` exit: %" PRIu64 "\n", kvm_ns);
    if (ptrace_ns < 0)
        printf("bare `PTRACE_SYSEMU` round trip with registers: %s\n", strerror((int)-ptrace_ns));
    else
        printf("bare `PTRACE_SYSEMU` round trip with registers: %" PRId64 "\n", ptrace_ns);
    return 0;
}
