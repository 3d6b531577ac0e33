/*
 * What tasks and processes have used: getrusage(2), times(2), CPU clocks.
 *
 * The exact processor time of a task is its host thread's (and its stub's, on ptrace); the host is
 * asked when somebody wants to know, never on the way of a system call. What is user and what
 * system time follows from the time spent in the guest and outside: a task notes the TSC whenever
 * it goes from one to the other, and the exact time is divided in that proportion, as Linux does it
 * with its ticks (kernel/sched/cputime.c).
 */
#ifndef SENTRY_KERNEL_USAGE_H
#define SENTRY_KERNEL_USAGE_H

#include "base/compiler.h"

struct process;
struct task;

struct usage {
    uint64_t user_ns, system_ns;
    uint64_t minor_faults, major_faults;
    uint64_t sleeps, preemptions;                      /* voluntary and other context switches */
    uint64_t max_resident;                             /* bytes */
    uint64_t reads, writes, read_bytes, written_bytes; /* by calls: /proc/PID/io */
};

/* Where a task is: in the guest, in the Sentry for it, or asleep there. */
enum task_mode { MODE_SYSTEM, MODE_USER, MODE_ASLEEP, MODE_COUNT };

struct task_times {
    uint32_t seq; /* odd while the task's own thread changes the rest */
    uint32_t mode;
    uint64_t since_tsc;
    uint64_t ticks[MODE_COUNT];
};

/* Divides `total_ns`; neither part is less than it was in `usage`, where the result goes. */
void usage_divide(uint64_t total_ns, uint64_t user_ticks, uint64_t system_ticks,
                  struct usage *usage);
/* Sums, but for the greatest resident size. */
void usage_add(struct usage *to, const struct usage *from);

/* Own thread only: from here on its time counts for `mode`. */
static inline void usage_enter(struct task_times *t, enum task_mode mode)
{
    uint64_t now = __builtin_ia32_rdtsc(), seq = t->seq;

    __atomic_store_n(&t->seq, (uint32_t)seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (now > t->since_tsc) {
        t->ticks[t->mode] += now - t->since_tsc;
        t->since_tsc = now;
    }
    __atomic_store_n(&t->mode, mode, __ATOMIC_RELAXED);
    __atomic_store_n(&t->seq, (uint32_t)seq + 2, __ATOMIC_RELEASE);
}

/* Own thread only: a call has moved that much, or failed. */
static inline void usage_moved(struct usage *usage, bool write, int64_t result)
{
    uint64_t *calls = write ? &usage->writes : &usage->reads;
    uint64_t *bytes = write ? &usage->written_bytes : &usage->read_bytes;

    __atomic_store_n(calls, *calls + 1, __ATOMIC_RELAXED);
    if (result > 0)
        __atomic_store_n(bytes, *bytes + (uint64_t)result, __ATOMIC_RELAXED);
}

static inline bool usage_is_asleep(const struct task_times *t)
{
    return __atomic_load_n(&t->mode, __ATOMIC_RELAXED) == MODE_ASLEEP;
}

/* All with process->lock held. The exact time alone is in task_cpu_ns(). */
void task_usage_locked(struct task *task, struct usage *ret);
void process_usage_locked(struct process *process, struct usage *ret);
void process_usage(struct process *process, struct usage *ret); /* takes it */
/* A task that has ended, or that lets go of its memory: what it used is kept by its process. */
void usage_keep_locked(struct process *process, struct task *task);
void usage_keep_memory(struct task *task);

#endif
