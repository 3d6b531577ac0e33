/* Interval timers: setitimer(2), getitimer(2), alarm(2). */
#include "sentry/kernel/time/itimer.h"

#include <errno.h>
#include <sys/time.h>

#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

static struct timeval ns_timeval_up(uint64_t ns)
{
    uint64_t us = (ns + 999) / 1000;

    return (struct timeval){.tv_sec = (time_t)(us / 1000000),
                            .tv_usec = (suseconds_t)(us % 1000000)};
}

static bool timeval_ns(const struct timeval *tv, uint64_t *ret_ns)
{
    if (tv->tv_sec < 0 || tv->tv_usec < 0 || tv->tv_usec >= 1000000)
        return false;
    *ret_ns = timespec_ns(&(struct timespec){.tv_sec = tv->tv_sec, .tv_nsec = tv->tv_usec * 1000});
    return true;
}

static struct itimerval itimer_out(const struct itimer_value *value)
{
    return (struct itimerval){
        .it_interval = ns_timeval_up(value->interval_ns),
        .it_value = ns_timeval_up(value->left_ns),
    };
}

SYSCALL_DEFINE2(getitimer, int, which, uaddr_t, ptr)
{
    struct itimer_value value;
    struct itimerval out;

    switch (which) {
    case ITIMER_REAL:
        itimer_get_real(task->process, &value);
        break;
    case ITIMER_VIRTUAL:
        cpu_timer_get(task->process, CPU_ITIMER_VIRTUAL, &value);
        break;
    case ITIMER_PROF:
        cpu_timer_get(task->process, CPU_ITIMER_PROF, &value);
        break;
    default:
        return -EINVAL;
    }
    out = itimer_out(&value);
    return copy_struct_to_user(task->mm, ptr, &out);
}

SYSCALL_DEFINE3(setitimer, int, which, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    struct itimer_value value = {0}, old;
    struct itimerval in, out;
    int error = 0;

    if (new_ptr) {
        if (copy_struct_from_user(task->mm, &in, new_ptr) < 0)
            return -EFAULT;
        if (!timeval_ns(&in.it_value, &value.left_ns) ||
            !timeval_ns(&in.it_interval, &value.interval_ns))
            return -EINVAL;
    }
    switch (which) {
    case ITIMER_REAL:
        error = itimer_set_real(task->process, &value, &old);
        break;
    case ITIMER_VIRTUAL:
        cpu_timer_set(task->process, CPU_ITIMER_VIRTUAL, &value, &old);
        break;
    case ITIMER_PROF:
        cpu_timer_set(task->process, CPU_ITIMER_PROF, &value, &old);
        break;
    default:
        return -EINVAL;
    }
    if (error < 0 || !old_ptr)
        return error;
    out = itimer_out(&old);
    return copy_struct_to_user(task->mm, old_ptr, &out);
}

SYSCALL_DEFINE1(alarm, unsigned, seconds)
{
    const struct itimer_value value = {.left_ns = seconds * NSEC_PER_SEC};
    struct itimer_value old;
    uint64_t left;

    if (itimer_set_real(task->process, &value, &old) < 0)
        return 0;
    /* To the nearest second, but an armed timer never reads 0 (Linux alarm_setitimer). */
    left = (old.left_ns + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
    return old.left_ns && left == 0 ? 1 : (long)left;
}
