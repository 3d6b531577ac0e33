/* Inside posixtimer.c and posixtimer_table.c. */
#ifndef SENTRY_KERNEL_POSIXTIMER_INTERNAL_H
#define SENTRY_KERNEL_POSIXTIMER_INTERNAL_H

#include "sentry/kernel/time/clocktimer.h"
#include "sentry/kernel/time/cpuclock.h"
#include "sentry/kernel/time/posixtimer.h"

#define TIMER_BUCKETS 32

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

/* posixtimer_table.c; process->lock held. NULL: there is none. */
struct posix_timer *posix_timer_find_locked(struct process *process, int32_t id);

/* posixtimer.c */
void posix_timer_expired(struct timer *timer); /* on the timers' thread */
/* No expiry of an earlier setting is told any more. process->lock held. */
void posix_timer_disarm_locked(struct posix_timer *timer);

#endif
