/*
 * What a process is told of its own processor time: ITIMER_VIRTUAL and ITIMER_PROF (setitimer(2)),
 * RLIMIT_CPU and RLIMIT_RTTIME.
 *
 * Nobody counts while a program runs. A timer looks at the clocks no later than any of them can be
 * due, were all threads to run; and not at all while every thread sleeps ("parked"): the first that
 * wakes up arms it again. The same goes for POSIX timers on the process's CPU clocks.
 */
#ifndef SENTRY_KERNEL_CPUTIMER_H
#define SENTRY_KERNEL_CPUTIMER_H

#include "base/compiler.h"
#include "sentry/wait/timer.h"

struct process;
struct itimer_value;

enum cpu_itimer { CPU_ITIMER_VIRTUAL, CPU_ITIMER_PROF, CPU_ITIMER_COUNT };

struct cpu_timers {
    struct timer timer;
    uint32_t parked; /* atomic */
    uint32_t turn;   /* which of the threads that run is told next */
    struct {
        uint64_t expires_ns, interval_ns; /* expires_ns 0: not armed */
    } itimers[CPU_ITIMER_COUNT];
};

void cpu_timers_init(struct process *process);
/* No more signals; without locks. */
void cpu_timers_stop(struct process *process);
/* A limit was set, or inherited by a process with its first task; or a thread is of real time from
 * now on. process->lock held. */
void cpu_timers_start_locked(struct process *process);
void cpu_timer_set(struct process *process, enum cpu_itimer which, const struct itimer_value *value,
                   struct itimer_value *ret_old);
void cpu_timer_get(struct process *process, enum cpu_itimer which, struct itimer_value *ret_value);

/* True, and the process's CPU timers are parked: every thread sleeps. process->lock held. */
bool cpu_timers_park_locked(struct process *process);
void cpu_timers_unpark(struct process *process);
#define cpu_timers_wake(process_)                                                                  \
    do {                                                                                           \
        /* Ordered after the task's mode: cpu_timers_park_locked() writes one, reads the other. */ \
        __atomic_thread_fence(__ATOMIC_SEQ_CST);                                                   \
        if (unlikely(__atomic_load_n(&(process_)->cpu_timers.parked, __ATOMIC_RELAXED)))           \
            cpu_timers_unpark(process_);                                                           \
    } while (0)

#endif
