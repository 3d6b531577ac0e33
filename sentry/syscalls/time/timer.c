/* POSIX timers: timer_create(2), timer_settime(2), timer_getoverrun(2), timer_delete(2). */
#include <errno.h>
#include <signal.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/posixtimer.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/time/timers.h"

SYSCALL_DEFINE3(timer_create, int, clock, uaddr_t, event_ptr, uaddr_t, id_ptr)
{
    struct sigevent event;
    int32_t id, wanted = -1;
    int error;

    static_assert(sizeof(event) == 64, "sigevent");
    if (event_ptr && copy_struct_from_user(task->mm, &event, event_ptr) < 0)
        return -EFAULT;
    if (READ_ONCE(task->process->timer_ids_wanted)) {
        if (copy_struct_from_user(task->mm, &wanted, id_ptr) < 0)
            return -EFAULT;
        if (wanted < 0)
            return -EINVAL;
    }
    error = posix_timer_create(task, clock, event_ptr ? &event : NULL, wanted, &id);
    if (error < 0)
        return error;
    if (copy_struct_to_user(task->mm, id_ptr, &id) < 0) {
        posix_timer_delete(task->process, id);
        return -EFAULT;
    }
    return 0;
}

SYSCALL_DEFINE4(timer_settime, int, id, int, flags, uaddr_t, new_ptr, uaddr_t, old_ptr)
{
    struct timer_setting setting, old;
    struct itimerspec in, out;
    int error;

    if (!new_ptr)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &in, new_ptr) < 0)
        return -EFAULT;
    if (!itimerspec_get(&in, &setting))
        return -EINVAL;
    error = posix_timer_set(task->process, id, flags, &setting, &old);
    if (error < 0 || !old_ptr)
        return error;
    out = itimerspec_put(&old);
    return copy_struct_to_user(task->mm, old_ptr, &out);
}

SYSCALL_DEFINE2(timer_gettime, int, id, uaddr_t, ptr)
{
    struct timer_setting setting;
    struct itimerspec out;
    int error = posix_timer_get(task->process, id, &setting);

    if (error < 0)
        return error;
    out = itimerspec_put(&setting);
    return copy_struct_to_user(task->mm, ptr, &out);
}

SYSCALL_DEFINE1(timer_getoverrun, int, id)
{
    return posix_timer_overrun(task->process, id);
}

SYSCALL_DEFINE1(timer_delete, int, id)
{
    return posix_timer_delete(task->process, id);
}
