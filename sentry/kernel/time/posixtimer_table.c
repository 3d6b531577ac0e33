/*
 * A process's POSIX timers: making them, finding them by number, deleting them. Each of them by
 * itself is in posixtimer.c.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/posixtimer_internal.h"

struct posix_timer *posix_timer_find_locked(struct process *process, int32_t id)
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
    posix_timer_disarm_locked(t);
}

int posix_timer_delete(struct process *process, int32_t id)
{
    struct posix_timer *t;

    lock_acquire(&process->lock);
    t = posix_timer_find_locked(process, id);
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
            posix_timer_disarm_locked(t);
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
    if (wanted >= 0 && posix_timer_find_locked(process, wanted))
        return -EBUSY;
    t->id = wanted;
    while (wanted < 0) {
        t->id = timers->next_id;
        timers->next_id = t->id == INT32_MAX ? 0 : t->id + 1;
        if (!posix_timer_find_locked(process, t->id))
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
