#include <errno.h>

#include "host/clock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/time/posixtimer_internal.h"

#define OVERRUN_MAX INT32_MAX /* DELAYTIMER_MAX */

static bool is_cpu(const struct posix_timer *t)
{
    return t->cpu.task || t->cpu.process;
}

/* Its clock needs another process's lock, which is never taken inside ours. */
static bool is_foreign(const struct posix_timer *t)
{
    return is_cpu(t) && cpu_clock_process(&t->cpu) != t->process;
}

static uint64_t now_locked(const struct posix_timer *t)
{
    uint64_t now = 0;

    if (is_foreign(t))
        return t->seen_ns;
    if (is_cpu(t))
        return cpu_clock_ns_locked(&t->cpu);
    time_read(t->timer.clock, &now);
    return now;
}

static void arm_locked(struct posix_timer *t, uint64_t now)
{
    uint64_t left = t->expires_ns > now ? t->expires_ns - now : 0;

    t->state = TIMER_ARMED;
    if (!is_cpu(t))
        clock_timer_arm(&t->timer, t->timer.clock, t->expires_ns);
    else if (!left || is_foreign(t) || !cpu_timers_park_locked(t->process))
        timer_arm(&t->timer.timer,
                  time_add(host_monotonic_ns(), left ? cpu_clock_wait_locked(&t->cpu, left) : 0));
}

/* To the first expiry after `now`; counts those that are passed. */
static void forward_locked(struct posix_timer *t, uint64_t now)
{
    uint64_t count;

    if (now < t->expires_ns)
        return;
    count = (now - t->expires_ns) / t->interval_ns + 1;
    t->expires_ns = time_add(t->expires_ns, count * t->interval_ns);
    count = MIN(count, (uint64_t)OVERRUN_MAX + 1); /* told as OVERRUN_MAX at most */
    t->overrun = MIN(t->overrun + (int64_t)count, (int64_t)OVERRUN_MAX);
}

static void send_locked(struct posix_timer *t)
{
    bool sent = signal_send_timer_locked(t->process, t->thread, t->signal, is_cpu(t));

    t->ignored = !sent && t->interval_ns;
}

static void fire_locked(struct posix_timer *t)
{
    t->state = t->interval_ns ? TIMER_PENDING : TIMER_DISARMED;
    send_locked(t);
}

static bool is_due_locked(struct posix_timer *t)
{
    uint64_t now;

    if (!is_cpu(t))
        return clock_timer_due(&t->timer);
    now = now_locked(t);
    if (now >= t->expires_ns)
        return true;
    arm_locked(t, now);
    return false;
}

void posix_timer_expired(struct timer *timer)
{
    struct posix_timer *t = container_of(timer, struct posix_timer, timer.timer);
    struct process *process = t->process;
    uint64_t seen = is_foreign(t) ? cpu_clock_ns(&t->cpu) : 0;

    lock_acquire(&process->lock);
    t->seen_ns = MAX(seen, t->seen_ns);
    if (t->state == TIMER_ARMED && is_due_locked(t))
        fire_locked(t);
    lock_release(&process->lock);
}

void posix_timer_taken_locked(struct posix_timer *t, siginfo_t *info)
{
    if (t->state == TIMER_PENDING) {
        uint64_t now = now_locked(t);

        forward_locked(t, now);
        arm_locked(t, now);
        t->overrun_last = (int32_t)t->overrun;
        t->overrun = -1;
    }
    info->si_overrun = t->overrun_last;
}

void posix_timers_unignored_locked(struct process *process, int signo)
{
    struct posix_timer *t;

    for (int i = 0; process->posix_timers && i < TIMER_BUCKETS; i++) {
        list_for_each (t, &process->posix_timers->buckets[i], node) {
            if (t->ignored && t->signal->info.si_signo == signo)
                send_locked(t);
        }
    }
}

void posix_timers_unpark_locked(struct process *process)
{
    struct posix_timer *t;

    for (int i = 0; process->posix_timers && i < TIMER_BUCKETS; i++) {
        list_for_each (t, &process->posix_timers->buckets[i], node) {
            if (t->state == TIMER_ARMED && is_cpu(t) && !is_foreign(t))
                arm_locked(t, now_locked(t));
        }
    }
}

/*
 * The timer, with the process's lock taken, and its clock looked at; or NULL without the lock.
 */
static struct posix_timer *lock_timer(struct process *process, int32_t id)
{
    struct cpu_clock cpu = {0};
    struct posix_timer *t;
    uint64_t seen = 0;

    lock_acquire(&process->lock);
    t = posix_timer_find_locked(process, id);
    if (t && is_foreign(t)) {
        cpu = t->cpu;
        process_ref(cpu.process); /* threads of others have no timers */
        lock_release(&process->lock);
        seen = cpu_clock_ns(&cpu);
        cpu_clock_put(&cpu);
        lock_acquire(&process->lock);
        t = posix_timer_find_locked(process, id);
        if (t)
            t->seen_ns = MAX(seen, t->seen_ns);
    }
    if (!t)
        lock_release(&process->lock);
    return t;
}

static void get_locked(struct posix_timer *t, struct timer_setting *ret)
{
    bool none = t->notify == SIGEV_NONE;
    uint64_t now;

    *ret = (struct timer_setting){.interval_ns = t->interval_ns};
    if (!t->interval_ns && t->state == TIMER_DISARMED && !(none && t->expires_ns))
        return;
    now = now_locked(t);
    if (t->interval_ns && t->state != TIMER_ARMED)
        forward_locked(t, now);
    if (t->expires_ns > now)
        ret->value_ns = t->expires_ns - now;
    else if (!none)
        ret->value_ns = 1; /* due, but not yet served: 0 would mean "not armed" */
}

void posix_timer_disarm_locked(struct posix_timer *t)
{
    clock_timer_disarm(&t->timer);
    signal_unqueue_locked(t->thread ? &t->thread->pending : &t->process->pending, t->signal);
    t->state = TIMER_DISARMED;
    t->ignored = false;
}

int posix_timer_set(struct process *process, int32_t id, int flags,
                    const struct timer_setting *setting, struct timer_setting *ret_old)
{
    bool absolute = flags & TIMER_ABSTIME;
    struct posix_timer *t = lock_timer(process, id);
    uint64_t now;

    if (!t)
        return -EINVAL;
    get_locked(t, ret_old);
    posix_timer_disarm_locked(t);
    t->overrun = -1;
    t->overrun_last = 0;
    t->interval_ns = setting->value_ns ? setting->interval_ns : 0;
    t->expires_ns = 0;
    if (setting->value_ns) {
        t->timer.clock = clock_timer_base(t->clock, absolute);
        now = now_locked(t);
        t->expires_ns = absolute ? time_taken(task_current(), t->clock, setting->value_ns)
                                 : time_add(now, setting->value_ns);
        if (t->notify != SIGEV_NONE)
            arm_locked(t, now);
    }
    lock_release(&process->lock);
    return 0;
}

int posix_timer_get(struct process *process, int32_t id, struct timer_setting *ret)
{
    struct posix_timer *t = lock_timer(process, id);

    if (!t)
        return -EINVAL;
    get_locked(t, ret);
    lock_release(&process->lock);
    return 0;
}

int posix_timer_overrun(struct process *process, int32_t id)
{
    struct posix_timer *t = lock_timer(process, id);
    int overrun;

    if (!t)
        return -EINVAL;
    overrun = t->overrun_last;
    lock_release(&process->lock);
    return overrun;
}
