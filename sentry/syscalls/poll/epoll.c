/* epoll_create(2), epoll_ctl(2), epoll_wait(2). The work is in sentry/fs/event/epoll.c. */
#include <errno.h>
#include <sys/epoll.h>

#include "sentry/fs/event/epoll.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/poll/poll.h"

SYSCALL_DEFINE1(epoll_create1, int, flags)
{
    struct file *file;
    int err;

    if (flags & ~EPOLL_CLOEXEC)
        return -EINVAL;
    err = epoll_create_file(&file);
    return err < 0 ? err : task_install(task, file, 0, flags & EPOLL_CLOEXEC);
}

SYSCALL_DEFINE1(epoll_create, int, size)
{
    struct file *file;
    int err;

    if (size <= 0)
        return -EINVAL;
    err = epoll_create_file(&file);
    return err < 0 ? err : task_install(task, file, 0, false);
}

static long control(struct file *epoll, int op, int fd, struct file *target,
                    const struct linux_epoll_event *event)
{
    /* Files that are always ready cannot be watched; poll(2) says the same by its silence. */
    if (!target->ops->poll)
        return -EPERM;
    if (epoll == target || !epoll_is(epoll))
        return -EINVAL;
    if (op < EPOLL_CTL_ADD || op > EPOLL_CTL_MOD)
        return -EINVAL;
    return epoll_control(epoll, op, fd, target, event);
}

SYSCALL_DEFINE4(epoll_ctl, int, epfd, int, op, int, fd, uaddr_t, event_addr)
{
    struct linux_epoll_event event = {0};
    struct file *epoll, *target;
    long result = -EBADF;

    if (op != EPOLL_CTL_DEL && copy_struct_from_user(task->mm, &event, event_addr) < 0)
        return -EFAULT;
    epoll = task_file(task, epfd);
    target = task_file(task, fd);
    if (epoll && target)
        result = control(epoll, op, fd, target, &event);
    file_unref(target);
    file_unref(epoll);
    return result;
}

/* Where the events go. */
struct event_array {
    struct mm *mm;
    uaddr_t at;
    bool fault;
};

static bool emit(void *arg, const struct linux_epoll_event *event)
{
    struct event_array *a = arg;

    a->fault = copy_struct_to_user(a->mm, a->at, event) < 0;
    if (a->fault)
        return false;
    a->at += sizeof(*event);
    return true;
}

/* -EINTR for a signal. */
static long wait_events(struct task *task, struct file *epoll, uaddr_t events, int max,
                        uint64_t deadline_ns)
{
    struct event_array array = {task->mm, events, false};
    struct wait_entry entry;
    long count = 0;
    int err = 0;

    wait_entry_init(&entry, &task->waiter, POLLIN);
    if (deadline_ns)
        file_poll(epoll, &entry);
    for (;;) {
        count = epoll_collect(epoll, max, emit, &array);
        if (count == 0 && array.fault)
            count = -EFAULT;
        if (count != 0 || deadline_ns == 0 || err == -ETIMEDOUT)
            break;
        err = task_block(task, deadline_ns);
        if (err < 0 && err != -ETIMEDOUT) {
            count = -EINTR;
            break;
        }
    }
    if (deadline_ns)
        file_unpoll(epoll, &entry);
    return count;
}

static long do_epoll_wait(struct task *task, int epfd, uaddr_t events, int max,
                          uint64_t deadline_ns)
{
    struct file *epoll;
    long result = -EINVAL;

    if (max <= 0 || max > (int)(INT32_MAX / sizeof(struct linux_epoll_event)))
        return -EINVAL;
    epoll = task_file(task, epfd);
    if (!epoll)
        return -EBADF;
    if (epoll_is(epoll))
        result = wait_events(task, epoll, events, max, deadline_ns);
    file_unref(epoll);
    return result;
}

static uint64_t deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? TIME_NEVER : poll_deadline((uint64_t)timeout_ms * 1000000);
}

SYSCALL_DEFINE4(epoll_wait, int, epfd, uaddr_t, events, int, max, int, timeout_ms)
{
    return do_epoll_wait(task, epfd, events, max, deadline_of(timeout_ms));
}

/* epoll_wait(2) is never restarted: signal(7). */
static long wait_masked(struct task *task, int epfd, uaddr_t events, int max, uint64_t deadline_ns,
                        uaddr_t sigmask, size_t size)
{
    struct poll_mask mask;
    long result = poll_mask_set(task, sigmask, size, &mask);

    if (result < 0)
        return result;
    result = do_epoll_wait(task, epfd, events, max, deadline_ns);
    poll_mask_restore(task, &mask, result);
    return result;
}

SYSCALL_DEFINE6(epoll_pwait, int, epfd, uaddr_t, events, int, max, int, timeout_ms, uaddr_t,
                sigmask, size_t, size)
{
    return wait_masked(task, epfd, events, max, deadline_of(timeout_ms), sigmask, size);
}

SYSCALL_DEFINE6(epoll_pwait2, int, epfd, uaddr_t, events, int, max, uaddr_t, timeout, uaddr_t,
                sigmask, size_t, size)
{
    uint64_t deadline;
    int err = poll_get_timeout(task, timeout, &deadline);

    return err < 0 ? err : wait_masked(task, epfd, events, max, deadline, sigmask, size);
}
