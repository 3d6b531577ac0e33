/* Clocks, sleeping and interval timers: clock_gettime(2), nanosleep(2), setitimer(2). */
#include <errno.h>
#include <linux/capability.h>
#include <sys/time.h>
#include <time.h>

#include "sentry/kernel/itimer.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

SYSCALL_DEFINE2(clock_gettime, int, clock, uaddr_t, ptr)
{
    struct timespec ts;
    uint64_t ns;
    int error = clock_read(task, clock, &ns);

    if (error < 0)
        return error;
    ts = ns_timespec(ns);
    return copy_struct_to_user(task->mm, ptr, &ts);
}

SYSCALL_DEFINE2(clock_getres, int, clock, uaddr_t, ptr)
{
    struct timespec ts;
    uint64_t ns;
    int error = clock_read(task, clock, &ns);

    if (error < 0)
        return error;
    ts = ns_timespec(time_resolution_ns(clock));
    return ptr ? copy_struct_to_user(task->mm, ptr, &ts) : 0;
}

/* The host's clock is not the guest's to set: as on Linux without CAP_SYS_TIME. */
SYSCALL_DEFINE2(clock_settime, int, clock, uaddr_t, ptr)
{
    struct timespec ts;

    if (clock != CLOCK_REALTIME)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &ts, ptr) < 0)
        return -EFAULT;
    return timespec_valid(&ts) ? -EPERM : -EINVAL;
}

SYSCALL_DEFINE2(gettimeofday, uaddr_t, tv_ptr, uaddr_t, tz_ptr)
{
    uint64_t ns = time_realtime_ns();
    const struct timeval tv = {
        .tv_sec = (time_t)(ns / NSEC_PER_SEC),
        .tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / 1000),
    };
    const struct timezone utc = {0};

    if (tv_ptr && copy_struct_to_user(task->mm, tv_ptr, &tv) < 0)
        return -EFAULT;
    return tz_ptr ? copy_struct_to_user(task->mm, tz_ptr, &utc) : 0;
}

SYSCALL_DEFINE2(settimeofday, uaddr_t, tv_ptr, uaddr_t, tz_ptr)
{
    struct timeval tv;
    struct timezone tz;

    if (tv_ptr) {
        if (copy_struct_from_user(task->mm, &tv, tv_ptr) < 0)
            return -EFAULT;
        if (tv.tv_usec < 0 || tv.tv_usec > 1000000)
            return -EINVAL;
    }
    if (tz_ptr && copy_struct_from_user(task->mm, &tz, tz_ptr) < 0)
        return -EFAULT;
    return -EPERM;
}

SYSCALL_DEFINE1(time, uaddr_t, ptr)
{
    int64_t sec = (int64_t)(time_realtime_ns() / NSEC_PER_SEC);

    if (ptr && copy_struct_to_user(task->mm, ptr, &sec) < 0)
        return -EFAULT;
    return sec;
}

/* Sleeps until `ns` on `clock`; real time may be set meanwhile, so it is looked at again. */
static int sleep_until(struct task *task, clockid_t clock, uint64_t ns)
{
    uint64_t now;
    int error;

    waiter_reset(&task->waiter);
    do {
        error = task_block(task, time_to_monotonic(clock, ns));
        time_read(clock, &now);
    } while (error == 0 || (error == -ETIMEDOUT && now < ns));
    return error == -ETIMEDOUT ? 0 : error;
}

static long sleep_relative(struct task *task, clockid_t clock, uint64_t deadline_ns, uaddr_t rem);

static long sleep_restart(struct task *task, struct restart_block *block)
{
    return sleep_relative(task, block->clock, block->deadline_ns, block->addr);
}

static long sleep_relative(struct task *task, clockid_t clock, uint64_t deadline_ns, uaddr_t rem)
{
    int error = sleep_until(task, clock, deadline_ns);
    uint64_t now = 0;
    struct timespec left;

    if (error == 0)
        return 0;
    time_read(clock, &now);
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

SYSCALL_DEFINE4(clock_nanosleep, int, clock, int, flags, uaddr_t, request, uaddr_t, rem)
{
    uint64_t ns, now;
    int error = clock_read(task, clock, &now);

    if (error < 0 || clock == CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
        clock != CLOCK_TAI)
        return -EOPNOTSUPP;
    error = get_request(task, request, &ns);
    if (error < 0)
        return error;
    if (flags & TIMER_ABSTIME) {
        error = sleep_until(task, clock, ns);
        return error == -ERESTARTSYS ? -ERESTARTNOHAND : error;
    }
    /* A relative sleep is not prolonged or cut short when real time is set. */
    if (clock == CLOCK_REALTIME || clock == CLOCK_TAI)
        clock = CLOCK_MONOTONIC;
    time_read(clock, &now);
    return sleep_relative(task, clock, time_add(now, ns), rem);
}

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

    if (which != ITIMER_REAL)
        return -EINVAL;
    itimer_get_real(task->process, &value);
    out = itimer_out(&value);
    return copy_struct_to_user(task->mm, ptr, &out);
}

SYSCALL_DEFINE3(setitimer, int, which, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    struct itimer_value value = {0}, old;
    struct itimerval in, out;
    int error;

    if (new_ptr) {
        if (copy_struct_from_user(task->mm, &in, new_ptr) < 0)
            return -EFAULT;
        if (!timeval_ns(&in.it_value, &value.left_ns) ||
            !timeval_ns(&in.it_interval, &value.interval_ns))
            return -EINVAL;
    }
    if (which != ITIMER_REAL)
        return -EINVAL;
    error = itimer_set_real(task->process, &value, &old);
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
