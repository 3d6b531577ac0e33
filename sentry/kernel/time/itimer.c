#include "sentry/kernel/time/itimer.h"

#include <errno.h>

#include "host/clock.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"

static struct itimer_value real_value_locked(struct process *process, uint64_t now)
{
    struct itimer_value value = {.interval_ns = process->real_interval_ns};

    if (process->real_deadline_ns == 0)
        return value;
    /* Due but not yet served: never 0, which would mean "not armed". */
    value.left_ns = process->real_deadline_ns > now ? process->real_deadline_ns - now : 1;
    return value;
}

int itimer_set_real(struct process *process, const struct itimer_value *value,
                    struct itimer_value *ret_old)
{
    uint64_t now = host_monotonic_ns();
    int error = 0;

    lock_acquire(&process->lock);
    *ret_old = real_value_locked(process, now);
    process->real_deadline_ns = value->left_ns ? time_add(now, value->left_ns) : 0;
    process->real_interval_ns = value->left_ns ? value->interval_ns : 0;
    process->real_fired_ns = 0;
    if (process->real_deadline_ns == 0)
        timer_disarm(&process->real_timer);
    else
        error = timer_arm(&process->real_timer, process->real_deadline_ns);
    if (error < 0)
        process->real_deadline_ns = 0;
    lock_release(&process->lock);
    return error < 0 ? -EAGAIN : 0;
}

void itimer_get_real(struct process *process, struct itimer_value *ret_value)
{
    lock_acquire(&process->lock);
    *ret_value = real_value_locked(process, host_monotonic_ns());
    lock_release(&process->lock);
}

void itimer_real_expired(struct timer *timer)
{
    struct process *process = container_of(timer, struct process, real_timer);
    uint64_t now = host_monotonic_ns();
    bool due;

    lock_acquire(&process->lock);
    /* It may have been set anew since it was due. */
    due = process->real_deadline_ns != 0 && process->real_deadline_ns <= now;
    if (due) {
        process->real_fired_ns = process->real_deadline_ns;
        process->real_deadline_ns = 0;
    }
    lock_release(&process->lock);
    if (due)
        signal_send_process(process, SIGALRM, NULL);
}

/* Armed again only now, so that a short interval costs no more than its signals (Linux, too). */
void itimer_real_taken_locked(struct process *process)
{
    uint64_t now, missed;

    if (!process->real_fired_ns || !process->real_interval_ns)
        return;
    now = host_monotonic_ns();
    missed = (now - process->real_fired_ns) / process->real_interval_ns;
    process->real_deadline_ns =
        time_add(process->real_fired_ns, (missed + 1) * process->real_interval_ns);
    process->real_fired_ns = 0;
    timer_arm(&process->real_timer, process->real_deadline_ns);
}
