#include "sentry/kernel/time/cpuclock.h"

#include <errno.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/timens.h"

#define CLOCK_PER_THREAD 4
#define CLOCK_WHICH      3
#define CLOCK_FD_MASK    7
#define CLOCK_FD         3 /* a dynamic clock behind a descriptor: none here */

/* Nobody looks more often: Linux, too, checks such timers at its ticks. */
#define WAIT_MIN_NS 500000UL

bool cpu_clock_is(clockid_t clock)
{
    if (clock >= 0)
        return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
    return (clock & CLOCK_FD_MASK) != CLOCK_FD;
}

static int find_thread(struct task *task, int32_t tid, struct cpu_clock *ret)
{
    struct task *target = tid == 0 ? task_ref(task) : task_lookup(task, tid);

    if (!target || target->process != task->process) {
        task_unref(target);
        return -EINVAL;
    }
    ret->task = target;
    return 0;
}

static int find_process(struct task *task, int32_t pid, bool reading, struct cpu_clock *ret)
{
    bool own = pid == 0 || (reading && pid == task->vtid);
    struct task *target = own ? task_ref(task) : task_lookup(task, pid);

    if (!target || (!own && task_shown_pid(task, target->process->pid) != pid)) {
        task_unref(target);
        return -EINVAL;
    }
    ret->process = process_ref(target->process);
    task_unref(target);
    return 0;
}

int cpu_clock_find(struct task *task, clockid_t clock, bool reading, struct cpu_clock *ret)
{
    int32_t pid = ~(clock >> 3);

    *ret = (struct cpu_clock){.which = CPU_CLOCK_SCHED};
    if (!cpu_clock_is(clock))
        return -EINVAL;
    if (clock == CLOCK_THREAD_CPUTIME_ID)
        return find_thread(task, 0, ret);
    if (clock == CLOCK_PROCESS_CPUTIME_ID)
        return find_process(task, 0, reading, ret);
    ret->which = clock & CLOCK_WHICH;
    if (ret->which > CPU_CLOCK_SCHED)
        return -EINVAL;
    return clock & CLOCK_PER_THREAD ? find_thread(task, pid, ret)
                                    : find_process(task, pid, reading, ret);
}

void cpu_clock_put(struct cpu_clock *clock)
{
    clock->task = task_unref(clock->task);
    clock->process = process_unref(clock->process);
}

struct process *cpu_clock_process(const struct cpu_clock *clock)
{
    return clock->task ? clock->task->process : clock->process;
}

uint64_t cpu_clock_ns_locked(const struct cpu_clock *clock)
{
    return clock->task ? task_cpu_ns(clock->task) : process_cpu_ns_locked(clock->process);
}

uint64_t cpu_clock_ns(const struct cpu_clock *clock)
{
    struct process *process = cpu_clock_process(clock);
    uint64_t ns;

    lock_acquire(&process->lock);
    ns = cpu_clock_ns_locked(clock);
    lock_release(&process->lock);
    return ns;
}

uint64_t cpu_clock_wait_locked(const struct cpu_clock *clock, uint64_t left_ns)
{
    uint64_t at_once = 1;

    if (clock->process)
        at_once =
            MAX(MIN(clock->process->thread_count, kernel_cpu_count(clock->process->kernel)), 1U);
    return MAX(left_ns / at_once, WAIT_MIN_NS);
}

static int read_shown(const struct task *task, clockid_t clock, uint64_t *ret_ns)
{
    uint64_t ns;

    if (!time_read(clock, &ns))
        return -EINVAL;
    *ret_ns = time_shown(task, clock, ns);
    return 0;
}

int clock_read(struct task *task, clockid_t clock, uint64_t *ret_ns)
{
    struct cpu_clock cpu;
    int error;

    if (!cpu_clock_is(clock))
        return read_shown(task, clock, ret_ns);
    error = cpu_clock_find(task, clock, true, &cpu);
    if (error == 0)
        *ret_ns = cpu_clock_ns(&cpu);
    cpu_clock_put(&cpu);
    return error;
}
