/*
 * adjtimex(2), clock_adjtime(2): the state of a clock that nobody disciplines. That of the host is
 * its own affair; the sandbox sees a clock that is right, and does not say how good it is.
 */
#include <errno.h>
#include <sys/timex.h>
#include <time.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define LINUX_ADJ_ADJTIME         0x8000
#define LINUX_ADJ_OFFSET_READONLY 0x2000
#define PHASE_LIMIT_US            16000000 /* NTP_PHASE_LIMIT: "as bad as can be" */
#define TOLERANCE                 (500 << 16)

/* Reading is free, as is asking adjtime(3) what is left to correct; all else needs CAP_SYS_TIME. */
static int check_modes(unsigned modes)
{
    if (modes & LINUX_ADJ_ADJTIME) {
        if (!(modes & ADJ_OFFSET_SINGLESHOT & ~LINUX_ADJ_ADJTIME))
            return -EINVAL;
        return modes & LINUX_ADJ_OFFSET_READONLY ? 0 : -EPERM;
    }
    return modes ? -EPERM : 0;
}

static long do_adjtimex(struct task *task, uaddr_t ptr)
{
    struct timex tx;
    uint64_t real = time_realtime_ns(), tai = 0;
    int error;

    static_assert(sizeof(tx) == 208, "struct timex");
    if (copy_struct_from_user(task->mm, &tx, ptr) < 0)
        return -EFAULT;
    error = check_modes(tx.modes);
    if (error < 0)
        return error;
    time_read(CLOCK_TAI, &tai);
    tx = (struct timex){
        .modes = tx.modes,
        .maxerror = PHASE_LIMIT_US,
        .esterror = PHASE_LIMIT_US,
        .status = STA_UNSYNC,
        .constant = 2,
        .precision = 1,
        .tolerance = TOLERANCE,
        .time = {(time_t)(real / NSEC_PER_SEC), (suseconds_t)(real % NSEC_PER_SEC / 1000)},
        .tick = 10000,
        .tai = (int)(((int64_t)(tai - real) + (int64_t)NSEC_PER_SEC / 2) / (int64_t)NSEC_PER_SEC),
    };
    if (copy_struct_to_user(task->mm, ptr, &tx) < 0)
        return -EFAULT;
    return TIME_ERROR; /* not synchronised */
}

SYSCALL_DEFINE1(adjtimex, uaddr_t, ptr)
{
    return do_adjtimex(task, ptr);
}

SYSCALL_DEFINE2(clock_adjtime, int, clock, uaddr_t, ptr)
{
    struct timex tx;
    uint64_t now;

    if (copy_struct_from_user(task->mm, &tx, ptr) < 0)
        return -EFAULT;
    if (clock == CLOCK_REALTIME)
        return do_adjtimex(task, ptr);
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID ||
        time_read(clock, &now))
        return -EOPNOTSUPP;
    return -EINVAL;
}
