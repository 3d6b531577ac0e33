#include "sentry/kernel/time/posixtimer.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "host/clock.h"
#include "sentry/kernel/time/clocktimer.h"
#include "sentry/kernel/time/cpuclock.h"
#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ns/timens.h"

#define TIMER_BUCKETS 32
#define OVERRUN_MAX   INT32_MAX /* DELAYTIMER_MAX */

enum posix_timer_state { TIMER_DISARMED, TIMER_ARMED, TIMER_PENDING };

struct posix_timer {
    struct list node;        /* in its bucket */
    struct process *process; /* borrowed: deletes its timers before it goes */
    int32_t id;
    clockid_t clock;
    int notify;              /* SIGEV_* */
    struct task *thread;     /* a reference: who gets the signal; NULL: the process */
    struct cpu_clock cpu;    /* what a timer of a CPU clock measures, else nothing */
    struct sigqueue *signal; /* owned */

    enum posix_timer_state state;
    bool ignored; /* PENDING, but its signal was ignored: comes when that has an action */
    struct clock_timer timer;
    uint64_t expires_ns, interval_ns; /* on timer.clock, or the CPU clock */
    uint64_t seen_ns;                 /* another process's clock, when it was last looked at */
    int64_t overrun;                  /* since the last delivery; -1: not even the expiry itself */
    int32_t overrun_last;
};

struct posix_timers {
    struct list buckets[TIMER_BUCKETS];
    int32_t next_id;
};

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

/* On the timers' thread. */
static void posix_timer_expired(struct timer *timer)
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

static struct posix_timer *find_locked(struct process *process, int32_t id)
{
    struct posix_timer *t;

    if (!process->posix_timers || id < 0)
        return NULL;
    list_for_each (t, &process->posix_timers->buckets[id % TIMER_BUCKETS], node) {
        if (t->id == id)
            return t;
    }
    return NULL;
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
    t = find_locked(process, id);
    if (t && is_foreign(t)) {
        cpu = t->cpu;
        process_ref(cpu.process); /* threads of others have no timers */
        lock_release(&process->lock);
        seen = cpu_clock_ns(&cpu);
        cpu_clock_put(&cpu);
        lock_acquire(&process->lock);
        t = find_locked(process, id);
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

/* No expiry of an earlier setting is told any more. */
static void disarm_locked(struct posix_timer *t)
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
    disarm_locked(t);
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

/* Frees a timer that is in no table any more; without locks. */
static void posix_timer_free(struct posix_timer *t)
{
    clock_timer_cancel(&t->timer);
    cpu_clock_put(&t->cpu);
    task_unref(t->thread);
    if (t->signal)
        sigqueue_free(t->signal);
    free(t);
}

static void unlink_locked(struct posix_timer *t)
{
    list_del_init(&t->node);
    disarm_locked(t);
}

int posix_timer_delete(struct process *process, int32_t id)
{
    struct posix_timer *t;

    lock_acquire(&process->lock);
    t = find_locked(process, id);
    if (t)
        unlink_locked(t);
    lock_release(&process->lock);
    if (!t)
        return -EINVAL;
    posix_timer_free(t);
    return 0;
}

void posix_timers_delete_all(struct process *process)
{
    struct posix_timer *t, *next;
    struct posix_timers *timers;

    lock_acquire(&process->lock);
    timers = process->posix_timers;
    process->posix_timers = NULL;
    process->timer_ids_wanted = false;
    for (int i = 0; timers && i < TIMER_BUCKETS; i++) {
        list_for_each (t, &timers->buckets[i], node)
            disarm_locked(t);
    }
    lock_release(&process->lock);
    for (int i = 0; timers && i < TIMER_BUCKETS; i++) {
        list_for_each_safe (t, next, &timers->buckets[i], node)
            posix_timer_free(t);
    }
    free(timers);
}

/* Which clocks have timers, in Linux's order of errors. */
static int check_clock(clockid_t clock)
{
    uint64_t now;

    if (cpu_clock_is(clock))
        return 0;
    if (clock >= 0 && !time_read(clock, &now))
        return -EINVAL;
    if (clock < 0 || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
        clock == CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    return 0;
}

static int find_clock(struct task *task, struct posix_timer *t)
{
    if ((t->clock == CLOCK_REALTIME_ALARM || t->clock == CLOCK_BOOTTIME_ALARM) &&
        !task_has_cap(task, CAP_WAKE_ALARM))
        return -EPERM;
    return cpu_clock_is(t->clock) ? cpu_clock_find(task, t->clock, false, &t->cpu) : 0;
}

static int set_event(struct task *task, struct posix_timer *t, const struct sigevent *event)
{
    siginfo_t *info = &t->signal->info;

    t->notify = event->sigev_notify;
    *info = (siginfo_t){.si_signo = event->sigev_signo, .si_code = SI_TIMER};
    info->si_value = event->sigev_value;
    switch (t->notify) {
    case SIGEV_SIGNAL | SIGEV_THREAD_ID:
        t->thread = task_lookup(task, event->_sigev_un._tid);
        if (!t->thread || t->thread->process != task->process)
            return -EINVAL;
        break;
    case SIGEV_SIGNAL:
    case SIGEV_THREAD: /* libc's affair: for the kernel a signal */
        break;
    case SIGEV_NONE:
        return 0;
    default:
        return -EINVAL;
    }
    return event->sigev_signo <= 0 || event->sigev_signo > SIGNAL_COUNT ? -EINVAL : 0;
}

static int publish_locked(struct process *process, struct posix_timer *t, int32_t wanted)
{
    struct posix_timers *timers = process->posix_timers;

    if (!timers) {
        timers = calloc(1, sizeof(*timers));
        if (!timers)
            return -ENOMEM;
        for (int i = 0; i < TIMER_BUCKETS; i++)
            list_init(&timers->buckets[i]);
        process->posix_timers = timers;
    }
    if (wanted >= 0 && find_locked(process, wanted))
        return -EBUSY;
    t->id = wanted;
    while (wanted < 0) {
        t->id = timers->next_id;
        timers->next_id = t->id == INT32_MAX ? 0 : t->id + 1;
        if (!find_locked(process, t->id))
            break;
    }
    t->signal->info.si_timerid = t->id;
    list_add_tail(&timers->buckets[t->id % TIMER_BUCKETS], &t->node);
    return 0;
}

int posix_timer_create(struct task *task, clockid_t clock, const struct sigevent *event,
                       int32_t wanted, int32_t *ret_id)
{
    struct process *process = task->process;
    const struct sigevent usual = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    int error = check_clock(clock);
    struct posix_timer *t;

    if (error < 0)
        return error;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -EAGAIN;
    list_init(&t->node);
    t->process = process;
    t->clock = clock;
    clock_timer_init(&t->timer, posix_timer_expired);
    lock_acquire(&process->lock);
    t->signal = sigqueue_alloc_locked(task, false);
    lock_release(&process->lock);
    error = t->signal ? set_event(task, t, event ? event : &usual) : -EAGAIN;
    if (error == 0)
        error = find_clock(task, t);
    if (error < 0) {
        posix_timer_free(t);
        return error;
    }
    t->signal->timer = t;
    lock_acquire(&process->lock);
    error = publish_locked(process, t, wanted);
    if (error == 0 && !event)
        t->signal->info.si_value = (union sigval){.sival_int = t->id};
    *ret_id = t->id;
    lock_release(&process->lock);
    if (error < 0)
        posix_timer_free(t);
    return error;
}

static struct posix_timer *next_locked(struct posix_timers *timers, int64_t from)
{
    struct posix_timer *timer, *best = NULL;

    for (int i = 0; i < TIMER_BUCKETS; i++) {
        list_for_each (timer, &timers->buckets[i], node) {
            if (timer->id >= from && (!best || timer->id < best->id))
                best = timer;
        }
    }
    return best;
}

void posix_timers_each(struct process *process,
                       void (*fn)(const struct posix_timer_view *timer, void *arg), void *arg)
{
    for (int64_t from = 0;;) {
        struct posix_timer_view view = {0};
        struct posix_timer *timer;

        lock_acquire(&process->lock);
        timer = process->posix_timers ? next_locked(process->posix_timers, from) : NULL;
        if (timer) {
            view = (struct posix_timer_view){
                .id = timer->id,
                .pid = process->pid,
                .tid = timer->notify & SIGEV_THREAD_ID && timer->thread ? timer->thread->tid : 0,
                .signo = timer->signal->info.si_signo,
                .notify = timer->notify & ~SIGEV_THREAD_ID,
                .value = (uint64_t)timer->signal->info.si_value.sival_ptr,
                .clock = timer->clock,
            };
        }
        lock_release(&process->lock);
        if (!timer)
            return;
        fn(&view, arg);
        from = (int64_t)view.id + 1;
    }
}
