/* Sleeping: nanosleep(2), clock_nanosleep(2). */
#include <errno.h>
#include <linux/capability.h>
#include <time.h>

#include "sentry/kernel/time/cpuclock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

/* Real time was set while a task sleeps: it computes anew how long. */
struct sleeper {
    struct time_watch watch;
    struct waiter *waiter;
};

static void wake_sleeper(struct time_watch *watch)
{
    waiter_wake(container_of(watch, struct sleeper, watch)->waiter);
}

static int sleep_until(struct task *task, clockid_t clock, uint64_t ns)
{
    struct sleeper sleeper = {.waiter = &task->waiter};
    uint64_t now;
    int error;

    waiter_reset(&task->waiter);
    time_watch_init(&sleeper.watch, wake_sleeper);
    if (clock == CLOCK_REALTIME || clock == CLOCK_TAI)
        time_watch_add(&sleeper.watch);
    do {
        error = task_block(task, time_to_monotonic(clock, ns));
        time_read(clock, &now);
    } while (error == 0 || (error == -ETIMEDOUT && now < ns));
    time_watch_remove(&sleeper.watch);
    return error == -ETIMEDOUT ? 0 : error;
}

/* No clock of the host tells when: looks when it may be time, were all threads to run. */
static int sleep_until_cpu(struct task *task, const struct cpu_clock *cpu, uint64_t ns)
{
    struct process *process = cpu_clock_process(cpu);
    int error;

    waiter_reset(&task->waiter);
    do {
        uint64_t now, wait;

        lock_acquire(&process->lock);
        now = cpu_clock_ns_locked(cpu);
        wait = now < ns ? cpu_clock_wait_locked(cpu, ns - now) : 0;
        lock_release(&process->lock);
        if (!wait)
            return 0;
        error = task_block(task, time_add(time_monotonic_ns(), wait));
    } while (error == 0 || error == -ETIMEDOUT);
    return error;
}

static long sleep_relative(struct task *task, clockid_t clock, uint64_t deadline_ns, uaddr_t rem);

static long sleep_restart(struct task *task, struct restart_block *block)
{
    return sleep_relative(task, block->clock, block->deadline_ns, block->addr);
}

/* The clock reads `deadline_ns`, or the sleep was interrupted: the rest is told. */
static long sleep_relative(struct task *task, clockid_t clock, uint64_t deadline_ns, uaddr_t rem)
{
    struct cpu_clock cpu = {0};
    uint64_t now = 0;
    struct timespec left;
    int error = 0;

    if (cpu_clock_is(clock)) {
        error = cpu_clock_find(task, clock, false, &cpu);
        if (error == 0)
            error = sleep_until_cpu(task, &cpu, deadline_ns);
        cpu_clock_put(&cpu);
    } else {
        error = sleep_until(task, clock, deadline_ns);
    }
    if (error != -ERESTARTSYS)
        return error;
    if (clock_read(task, clock, &now) < 0)
        return 0;
    now = time_taken(task, clock, now);
    if (now >= deadline_ns)
        return 0;
    left = ns_timespec(deadline_ns - now);
    if (rem && copy_struct_to_user(task->mm, rem, &left) < 0)
        return -EFAULT;
    task->restart = (struct restart_block){
        .fn = sleep_restart,
        .clock = clock,
        .deadline_ns = deadline_ns,
        .addr = rem,
    };
    return -ERESTART_RESTARTBLOCK;
}

static int get_request(struct task *task, uaddr_t ptr, uint64_t *ret_ns)
{
    struct timespec ts;

    if (copy_struct_from_user(task->mm, &ts, ptr) < 0)
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    *ret_ns = timespec_ns(&ts);
    return 0;
}

SYSCALL_DEFINE2(nanosleep, uaddr_t, request, uaddr_t, rem)
{
    uint64_t ns;
    int error = get_request(task, request, &ns);

    if (error < 0)
        return error;
    return sleep_relative(task, CLOCK_MONOTONIC, time_add(time_monotonic_ns(), ns), rem);
}

static bool is_alarm(clockid_t clock)
{
    return clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

/* -EINVAL: no such clock; -EOPNOTSUPP: none to sleep on. */
static int check_clock(clockid_t clock)
{
    uint64_t now;

    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
    case CLOCK_TAI:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_PROCESS_CPUTIME_ID:
        return 0;
    case CLOCK_THREAD_CPUTIME_ID: /* it would not tick */
        return -EOPNOTSUPP;
    default:
        if (clock < 0)
            return cpu_clock_is(clock) ? 0 : -EOPNOTSUPP;
        return time_read(clock, &now) ? -EOPNOTSUPP : -EINVAL;
    }
}

static long sleep_cpu(struct task *task, clockid_t clock, int flags, uint64_t ns, uaddr_t rem)
{
    struct cpu_clock cpu;
    long result = cpu_clock_find(task, clock, false, &cpu);

    if (result == 0 && cpu.task == task)
        result = -EINVAL;
    if (result == 0 && !(flags & TIMER_ABSTIME)) {
        result = sleep_relative(task, clock, time_add(cpu_clock_ns(&cpu), ns), rem);
    } else if (result == 0) {
        result = sleep_until_cpu(task, &cpu, ns);
        if (result == -ERESTARTSYS)
            result = -ERESTARTNOHAND;
    }
    cpu_clock_put(&cpu);
    return result;
}

/* What lies ahead by a difference is not prolonged or cut short when real time is set. */
static clockid_t sleep_base(clockid_t clock, int flags)
{
    if (clock == CLOCK_BOOTTIME_ALARM)
        return CLOCK_BOOTTIME;
    if (flags & TIMER_ABSTIME)
        return clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : clock;
    return clock == CLOCK_BOOTTIME ? clock : CLOCK_MONOTONIC;
}

SYSCALL_DEFINE4(clock_nanosleep, int, clock, int, flags, uaddr_t, request, uaddr_t, rem)
{
    uint64_t ns, now = 0;
    int error = check_clock(clock);

    if (error == 0)
        error = get_request(task, request, &ns);
    if (error < 0)
        return error;
    if (is_alarm(clock) && (flags & ~TIMER_ABSTIME))
        return -EINVAL;
    if (is_alarm(clock) && !task_has_cap(task, CAP_WAKE_ALARM))
        return -EPERM;
    if (cpu_clock_is(clock))
        return sleep_cpu(task, clock, flags, ns, rem);
    clock = sleep_base(clock, flags);
    if (flags & TIMER_ABSTIME) {
        error = sleep_until(task, clock, time_taken(task, clock, ns));
        return error == -ERESTARTSYS ? -ERESTARTNOHAND : error;
    }
    time_read(clock, &now);
    return sleep_relative(task, clock, time_add(now, ns), rem);
}
