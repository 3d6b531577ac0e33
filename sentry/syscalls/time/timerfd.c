/* timerfd_create(2), timerfd_settime(2), timerfd_gettime(2). */
#include "sentry/kernel/time/timerfd.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/timerfd.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/time/timers.h"

static bool is_alarm(clockid_t clock)
{
    return clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

SYSCALL_DEFINE2(timerfd_create, int, clock, int, flags)
{
    struct file *file;
    int error;

    if ((flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) ||
        (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
         !is_alarm(clock)))
        return -EINVAL;
    if (is_alarm(clock) && !task_has_cap(task, CAP_WAKE_ALARM))
        return -EPERM;
    error = timerfd_create_file(clock, flags, &file);
    return error < 0 ? error : task_install(task, file, 0, flags & TFD_CLOEXEC);
}

/* The timer behind a descriptor: a reference. -EBADF; -EINVAL when it is another kind of file. */
static int get_timer(struct task *task, int fd, struct file **ret)
{
    struct file *file = task_file(task, fd);

    if (!file)
        return -EBADF;
    if (!timerfd_is(file)) {
        file_unref(file);
        return -EINVAL;
    }
    *ret = file;
    return 0;
}

SYSCALL_DEFINE4(timerfd_settime, int, fd, int, flags, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    struct timer_setting setting, old;
    struct itimerspec in, out;
    struct file *file;
    int error;

    if (copy_struct_from_user(task->mm, &in, new_ptr) < 0)
        return -EFAULT;
    if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !itimerspec_get(&in, &setting))
        return -EINVAL;
    error = get_timer(task, fd, &file);
    if (error < 0)
        return error;
    error = -EPERM;
    if (!is_alarm(timerfd_clock(file)) || task_has_cap(task, CAP_WAKE_ALARM))
        error = timerfd_set(file, flags, &setting, &old);
    file_unref(file);
    if (error < 0 || !old_ptr)
        return error;
    out = itimerspec_put(&old);
    return copy_struct_to_user(task->mm, old_ptr, &out);
}

SYSCALL_DEFINE2(timerfd_gettime, int, fd, uaddr_t, ptr)
{
    struct timer_setting setting;
    struct itimerspec out;
    struct file *file;
    int error = get_timer(task, fd, &file);

    if (error < 0)
        return error;
    timerfd_get(file, &setting);
    file_unref(file);
    out = itimerspec_put(&setting);
    return copy_struct_to_user(task->mm, ptr, &out);
}
