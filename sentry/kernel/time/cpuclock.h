/*
 * CPU clocks: the processor time of a thread or a process, by the well-known ids or by those that
 * clock_getcpuclockid(3) makes out of a pid: ~pid << 3, bit 2 for a thread, and which time in the
 * lowest two bits (Linux include/linux/posix-timers_types.h).
 */
#ifndef SENTRY_KERNEL_CPUCLOCK_H
#define SENTRY_KERNEL_CPUCLOCK_H

#include <time.h>

#include "base/compiler.h"

struct process;
struct task;

/* One of the two is NULL, the other a reference. */
struct cpu_clock {
    struct task *task;
    struct process *process;
    int which; /* CPU_CLOCK_* */
};

#define CPU_CLOCK_PROF  0 /* user and system time, as getrusage(2) tells them */
#define CPU_CLOCK_VIRT  1 /* user time */
#define CPU_CLOCK_SCHED 2 /* the scheduler's exact time */

/* True for every id of a CPU clock, be there such a thread or not. */
bool cpu_clock_is(clockid_t clock);
/*
 * The clock as `task` sees it: a thread's only in its own process. `reading`: its own thread's
 * number is as good as the process's. -EINVAL.
 */
int cpu_clock_find(struct task *task, clockid_t clock, bool reading, struct cpu_clock *ret);
void cpu_clock_put(struct cpu_clock *clock);
/* The process that is measured, or that the thread belongs to. */
struct process *cpu_clock_process(const struct cpu_clock *clock);

/* Nanoseconds so far; the first takes the lock of cpu_clock_process(), for the others it is held.
 */
uint64_t cpu_clock_ns(const struct cpu_clock *clock);
uint64_t cpu_clock_ns_locked(const struct cpu_clock *clock);
/* How long it takes at least until `left_ns` more have been used: nanoseconds of real time. */
uint64_t cpu_clock_wait_locked(const struct cpu_clock *clock, uint64_t left_ns);

#endif
