/* Clocks: clock_gettime(2), clock_getres(2), and setting that of the sandbox. */
#include <errno.h>
#include <linux/capability.h>
#include <sys/time.h>
#include <time.h>

#include "sentry/kernel/time/cpuclock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/time.h"
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

/* The largest time that settimeofday(2) takes: thirty years before the clock would end. */
#define SETTOD_SEC_MAX ((int64_t)(TIME_MAX / NSEC_PER_SEC) - 30L * 365 * 24 * 3600)

/* The sandbox's own clock; the host's is not the guest's to set. */
static long set_realtime(struct task *task, int64_t sec, int64_t ns)
{
    if (sec < 0 || (uint64_t)ns >= NSEC_PER_SEC || sec >= SETTOD_SEC_MAX)
        return -EINVAL;
    if (!task_has_cap(task, CAP_SYS_TIME))
        return -EPERM;
    return time_set_realtime((uint64_t)sec * NSEC_PER_SEC + (uint64_t)ns);
}

SYSCALL_DEFINE2(clock_settime, int, clock, uaddr_t, ptr)
{
    struct cpu_clock cpu;
    struct timespec ts;

    if (clock != CLOCK_REALTIME && clock >= 0)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &ts, ptr) < 0)
        return -EFAULT;
    if (clock == CLOCK_REALTIME)
        return set_realtime(task, ts.tv_sec, ts.tv_nsec);
    if (cpu_clock_find(task, clock, false, &cpu) < 0)
        return -EINVAL;
    cpu_clock_put(&cpu);
    return -EPERM;
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
    if (tz_ptr && (tz.tz_minuteswest || tz.tz_dsttime))
        return -EPERM;
    if (tv_ptr)
        return set_realtime(task, tv.tv_sec, tv.tv_usec * 1000);
    return task_has_cap(task, CAP_SYS_TIME) ? 0 : -EPERM;
}

SYSCALL_DEFINE1(time, uaddr_t, ptr)
{
    int64_t sec = (int64_t)(time_realtime_ns() / NSEC_PER_SEC);

    if (ptr && copy_struct_to_user(task->mm, ptr, &sec) < 0)
        return -EFAULT;
    return sec;
}
