/* Linux kernel/time/posix-cpu-timers.c, kernel/time/itimer.c. */
#include "sentry/kernel/time/cputimer.h"

#include <sched.h>
#include <sys/resource.h>

#include "host/clock.h"
#include "sentry/kernel/time/cpuclock.h"
#include "sentry/kernel/time/itimer.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/posixtimer.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"

#define TICK_NS 4000000UL /* Linux's timer tick: what these timers are late by at most */

static const int signals[CPU_ITIMER_COUNT] = {SIGVTALRM, SIGPROF};

/* Both clocks, so that they are of one moment. */
static void read_clocks_locked(struct process *process, uint64_t ret[CPU_ITIMER_COUNT])
{
    struct usage usage;

    process_usage_locked(process, &usage);
    ret[CPU_ITIMER_VIRTUAL] = usage.user_ns;
    ret[CPU_ITIMER_PROF] = usage.user_ns + usage.system_ns;
}

static bool has_limit(const struct process *process)
{
    return process->limits[RLIMIT_CPU].rlim_cur != RLIM64_INFINITY;
}

static bool is_realtime(const struct task *task)
{
    return task->sched.policy == SCHED_FIFO || task->sched.policy == SCHED_RR;
}

static bool has_rt_limit(const struct process *process)
{
    const struct task *task;

    if (likely(process->limits[RLIMIT_RTTIME].rlim_cur == RLIM64_INFINITY))
        return false;
    list_for_each (task, &process->threads, process_node) {
        if (is_realtime(task))
            return true;
    }
    return false;
}

static bool is_needed(const struct process *process)
{
    const struct cpu_timers *t = &process->cpu_timers;

    return t->itimers[CPU_ITIMER_VIRTUAL].expires_ns || t->itimers[CPU_ITIMER_PROF].expires_ns ||
           has_limit(process) || has_rt_limit(process);
}

static uint64_t limit_ns(uint64_t seconds)
{
    return seconds >= TIME_MAX / NSEC_PER_SEC ? TIME_MAX : seconds * NSEC_PER_SEC;
}

/* Processor time since the thread slept last, as far as that was seen: never too much. */
static uint64_t rt_used_locked(struct task *task)
{
    uint64_t sleeps = __atomic_load_n(&task->usage.sleeps, __ATOMIC_RELAXED);
    uint64_t now = task_cpu_ns(task);

    if (sleeps != task->rt_sleeps || now < task->rt_base_ns) {
        task->rt_sleeps = sleeps;
        task->rt_base_ns = now;
    }
    return now - task->rt_base_ns;
}

static uint64_t rt_next_ns(struct process *process)
{
    uint64_t limit = process->limits[RLIMIT_RTTIME].rlim_cur, next = TIME_MAX;
    struct task *task;

    limit = limit >= TIME_MAX / 1000 ? TIME_MAX : limit * 1000;
    list_for_each (task, &process->threads, process_node) {
        uint64_t used = is_realtime(task) ? rt_used_locked(task) : 0;

        if (is_realtime(task))
            next = MIN(next, limit > used ? limit - used : 0);
    }
    return next;
}

bool cpu_timers_park_locked(struct process *process)
{
    struct task *task;

    __atomic_store_n(&process->cpu_timers.parked, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    list_for_each (task, &process->threads, process_node) {
        if (!usage_is_asleep(&task->times)) {
            __atomic_store_n(&process->cpu_timers.parked, 0, __ATOMIC_RELAXED);
            return false;
        }
    }
    return true;
}

/* The time until something of it may be due. */
static uint64_t next_ns(struct process *process, const uint64_t now[CPU_ITIMER_COUNT])
{
    const struct cpu_timers *t = &process->cpu_timers;
    uint64_t next = TIME_MAX;

    for (int i = 0; i < CPU_ITIMER_COUNT; i++) {
        uint64_t expires = t->itimers[i].expires_ns;

        if (expires)
            next = MIN(next, expires > now[i] ? expires - now[i] : 0);
    }
    if (has_limit(process)) {
        uint64_t limit = limit_ns(process->limits[RLIMIT_CPU].rlim_cur);
        uint64_t used = now[CPU_ITIMER_PROF];

        next = MIN(next, limit > used ? limit - used : 0);
    }
    if (has_rt_limit(process))
        next = MIN(next, MAX(rt_next_ns(process), TICK_NS));
    return next;
}

static void arm_locked(struct process *process, const uint64_t now[CPU_ITIMER_COUNT])
{
    const struct cpu_clock all = {.process = process};

    if (!is_needed(process)) {
        timer_disarm(&process->cpu_timers.timer);
        return;
    }
    if (cpu_timers_park_locked(process))
        return;
    timer_arm(&process->cpu_timers.timer,
              time_add(host_monotonic_ns(), cpu_clock_wait_locked(&all, next_ns(process, now))));
}

/* SIGXCPU each second from the soft limit on, which moves along; SIGKILL at the hard one. */
static int check_limit_locked(struct process *process, uint64_t used)
{
    struct rlimit64 *limit = &process->limits[RLIMIT_CPU];

    if (!has_limit(process))
        return 0;
    if (limit->rlim_max != RLIM64_INFINITY && used >= limit_ns(limit->rlim_max))
        return SIGKILL;
    if (used < limit_ns(limit->rlim_cur))
        return 0;
    limit->rlim_cur++;
    return SIGXCPU;
}

/* check_thread_timers(): a thread of real time that does not sleep; microseconds. */
static int check_rt_limit_locked(struct process *process)
{
    struct rlimit64 *limit = &process->limits[RLIMIT_RTTIME];
    uint64_t used = 0;
    struct task *task;

    if (!has_rt_limit(process))
        return 0;
    list_for_each (task, &process->threads, process_node) {
        if (is_realtime(task))
            used = MAX(used, rt_used_locked(task) / 1000);
    }
    if (limit->rlim_max != RLIM64_INFINITY && used > limit->rlim_max)
        return SIGKILL;
    if (used <= limit->rlim_cur)
        return 0;
    limit->rlim_cur += 1000000;
    return SIGXCPU;
}

/* On the timers' thread. */
static void cpu_timers_expired(struct timer *timer)
{
    struct process *process = container_of(timer, struct process, cpu_timers.timer);
    struct cpu_timers *t = &process->cpu_timers;
    uint64_t now[CPU_ITIMER_COUNT];
    int signo;

    lock_acquire(&process->lock);
    if (!list_empty(&process->threads)) {
        read_clocks_locked(process, now);
        for (int i = 0; i < CPU_ITIMER_COUNT; i++) {
            if (!t->itimers[i].expires_ns || now[i] < t->itimers[i].expires_ns)
                continue;
            t->itimers[i].expires_ns =
                t->itimers[i].interval_ns
                    ? time_add(t->itimers[i].expires_ns, t->itimers[i].interval_ns)
                    : 0;
            signal_send_busy_locked(process, signals[i]);
        }
        signo = check_limit_locked(process, now[CPU_ITIMER_PROF]);
        if (signo)
            signal_send_busy_locked(process, signo);
        signo = check_rt_limit_locked(process);
        if (signo)
            signal_send_busy_locked(process, signo);
        arm_locked(process, now);
    }
    lock_release(&process->lock);
}

void cpu_timers_init(struct process *process)
{
    timer_init(&process->cpu_timers.timer, cpu_timers_expired);
}

void cpu_timers_stop(struct process *process)
{
    timer_cancel(&process->cpu_timers.timer);
}

void cpu_timers_start_locked(struct process *process)
{
    uint64_t now[CPU_ITIMER_COUNT];

    if (!is_needed(process))
        return;
    read_clocks_locked(process, now);
    arm_locked(process, now);
}

void cpu_timers_unpark(struct process *process)
{
    lock_acquire(&process->lock);
    __atomic_store_n(&process->cpu_timers.parked, 0, __ATOMIC_SEQ_CST);
    cpu_timers_start_locked(process);
    posix_timers_unpark_locked(process);
    lock_release(&process->lock);
}

static struct itimer_value value_locked(struct process *process, enum cpu_itimer which,
                                        const uint64_t now[CPU_ITIMER_COUNT])
{
    uint64_t expires = process->cpu_timers.itimers[which].expires_ns;
    struct itimer_value value = {.interval_ns = process->cpu_timers.itimers[which].interval_ns};

    if (expires)
        value.left_ns = expires > now[which] ? expires - now[which] : TICK_NS; /* about to come */
    return value;
}

void cpu_timer_set(struct process *process, enum cpu_itimer which, const struct itimer_value *value,
                   struct itimer_value *ret_old)
{
    uint64_t now[CPU_ITIMER_COUNT];

    lock_acquire(&process->lock);
    read_clocks_locked(process, now);
    *ret_old = value_locked(process, which, now);
    /* Never early, though the tick in progress has begun. */
    process->cpu_timers.itimers[which].expires_ns =
        value->left_ns ? time_add(now[which], time_add(value->left_ns, TICK_NS)) : 0;
    process->cpu_timers.itimers[which].interval_ns = value->interval_ns;
    arm_locked(process, now);
    lock_release(&process->lock);
}

void cpu_timer_get(struct process *process, enum cpu_itimer which, struct itimer_value *ret_value)
{
    uint64_t now[CPU_ITIMER_COUNT];

    lock_acquire(&process->lock);
    read_clocks_locked(process, now);
    *ret_value = value_locked(process, which, now);
    lock_release(&process->lock);
}
