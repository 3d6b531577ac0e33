/*
 * Load averages as Linux reckons them (kernel/sched/loadavg.c): every five seconds the number of
 * tasks that run is mixed into three averages that forget with e^(-5 s/1 min), /5 min, /15 min.
 */
#include "sentry/kernel/load.h"

#include "host/clock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/wait/timer.h"

#define PERIOD_NS (5 * 1000000000UL)

/* e^(-5/60), e^(-5/300), e^(-5/900), << LOAD_SHIFT */
static const uint64_t keeps[3] = {1884, 2014, 2037};

static struct {
    struct timer timer;
    struct kernel *kernel; /* borrowed: there is one, for good */
    uint64_t next_ns;
    uint64_t average[3]; /* atomic: written by the timers' thread alone */
} sampler;

static void add(struct load *load, const struct usage *usage)
{
    load->cpu_ns += usage->user_ns + usage->system_ns;
    load->system_ns += usage->system_ns;
    load->minor_faults += usage->minor_faults;
    load->major_faults += usage->major_faults;
}

/* Sums over all tasks; kernel->lock held. */
static void count_locked(struct kernel *kernel, struct load *load)
{
    for (int32_t tid = 1; tid < KERNEL_PID_MAX; tid++) {
        struct task *task = kernel->pids[tid];
        struct usage usage;
        char state = task ? task_state(task) : 0;

        if (state == 'R')
            load->running++;
        if (!state || state == 'Z')
            continue;
        load->tasks++;
        lock_acquire(&task->process->lock);
        task_usage_locked(task, &usage);
        lock_release(&task->process->lock);
        add(load, &usage);
        load->switches += __atomic_load_n(&task->switches, __ATOMIC_RELAXED);
    }
}

static void sample(struct timer *timer)
{
    struct kernel *kernel = sampler.kernel;
    struct load now = {0};

    lock_acquire(&kernel->lock);
    count_locked(kernel, &now);
    lock_release(&kernel->lock);
    for (int i = 0; i < 3; i++) {
        uint64_t old = sampler.average[i];
        uint64_t active = (uint64_t)now.running << LOAD_SHIFT;
        uint64_t sum = old * keeps[i] + active * ((1UL << LOAD_SHIFT) - keeps[i]);

        if (active >= old)
            sum += (1UL << LOAD_SHIFT) - 1;
        __atomic_store_n(&sampler.average[i], sum >> LOAD_SHIFT, __ATOMIC_RELAXED);
    }
    sampler.next_ns += PERIOD_NS;
    timer_arm(timer, sampler.next_ns);
}

int load_start(struct kernel *kernel)
{
    sampler.kernel = kernel;
    timer_init(&sampler.timer, sample);
    sampler.next_ns = host_monotonic_ns() + PERIOD_NS;
    return timer_arm(&sampler.timer, sampler.next_ns);
}

void load_get(struct kernel *kernel, struct load *ret)
{
    *ret = (struct load){0};
    for (int i = 0; i < 3; i++)
        ret->average[i] = __atomic_load_n(&sampler.average[i], __ATOMIC_RELAXED);
    lock_acquire(&kernel->lock);
    count_locked(kernel, ret);
    add(ret, &kernel->ended_usage);
    ret->switches += kernel->ended_switches;
    ret->forks = kernel->tasks_made;
    ret->last_pid = pid_ns_of(kernel->initial_ns[NS_PID])->last_pid;
    lock_release(&kernel->lock);
}
