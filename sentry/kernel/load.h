/* How busy the sandbox is: load averages and counters, for sysinfo(2) and /proc. */
#ifndef SENTRY_KERNEL_LOAD_H
#define SENTRY_KERNEL_LOAD_H

#include "base/compiler.h"

struct kernel;

#define LOAD_SHIFT 11 /* fixed point of the averages, as Linux's FSHIFT */

struct load {
    uint64_t average[3];     /* of runnable tasks, over 1, 5 and 15 minutes; << LOAD_SHIFT */
    uint32_t running, tasks; /* now; the caller is one of them */
    uint64_t cpu_ns;         /* of all tasks that ever were */
    uint64_t system_ns;      /* of cpu_ns, what is known to have been spent in the Sentry */
    uint64_t minor_faults, major_faults; /* of all tasks that ever were */
    uint64_t switches, forks;            /* likewise: times out of the guest, and tasks made */
    int32_t last_pid;
};

/* Begins to sample, every five seconds. -ENOMEM. */
int load_start(struct kernel *kernel);
void load_get(struct kernel *kernel, struct load *ret);

#endif
