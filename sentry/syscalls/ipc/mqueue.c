/* POSIX message queues: mq_open(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2)... */
#include "sentry/kernel/ipc/mqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/netlink/netlink.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"

static_assert(sizeof(struct mq_attr) == 64, "struct mq_attr");
static_assert(sizeof(struct sigevent) == 64, "struct sigevent");

static int get_name(struct task *task, uaddr_t addr, char name[PATH_MAX])
{
    ssize_t n = strncpy_from_user(task->mm, name, addr, PATH_MAX);

    return n < 0 ? (int)n : n == 0 ? -ENOENT : 0;
}

SYSCALL_DEFINE4(mq_open, uaddr_t, name_addr, int, flags, uint32_t, mode, uaddr_t, attr_addr)
{
    char name[PATH_MAX];
    struct mq_attr attr;
    struct file *file;
    int err;

    if (attr_addr && copy_struct_from_user(task->mm, &attr, attr_addr) < 0)
        return -EFAULT;
    err = get_name(task, name_addr, name);
    if (err < 0)
        return err;
    mode &= 07777 & ~fs_context_umask(task->fs);
    err = mq_open_file(task, name, flags, mode, attr_addr ? &attr : NULL, &file);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}

SYSCALL_DEFINE1(mq_unlink, uaddr_t, name_addr)
{
    char name[PATH_MAX];
    int err = get_name(task, name_addr, name);

    return err < 0 ? err : mq_unlink_name(task, name);
}

static int get_deadline(struct task *task, uaddr_t addr, uint64_t *ret)
{
    struct timespec ts;

    *ret = TIME_NEVER;
    if (!addr)
        return 0;
    if (copy_struct_from_user(task->mm, &ts, addr) < 0)
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    *ret = time_to_monotonic(CLOCK_REALTIME, timespec_ns(&ts));
    return 0;
}

/* NULL: EBADF. */
static struct file *get_queue(struct task *task, int fd)
{
    struct file *file = task_file(task, fd);

    if (file && !mq_is_queue(file))
        file = file_unref(file);
    return file;
}

static long send_text(struct task *task, struct file *file, uaddr_t text, size_t size,
                      uint32_t priority, uint64_t deadline)
{
    struct mq_msg *msg;
    int err;

    if (!file_can_write(file))
        return -EBADF;
    if (size > mq_message_size(file))
        return -EMSGSIZE;
    msg = malloc(sizeof(*msg) + size);
    if (!msg)
        return -ENOMEM;
    msg->priority = priority;
    msg->size = size;
    err = copy_from_user(task->mm, msg->text, text, size);
    if (err == 0)
        err = mq_send_msg(task, file, msg, deadline);
    if (err < 0)
        free(msg);
    return err;
}

SYSCALL_DEFINE5(mq_timedsend, int, fd, uaddr_t, text, size_t, size, uint32_t, priority, uaddr_t,
                timeout)
{
    uint64_t deadline;
    struct file *file;
    long result = get_deadline(task, timeout, &deadline);

    if (result < 0)
        return result;
    if (priority >= MQ_PRIORITIES)
        return -EINVAL;
    file = get_queue(task, fd);
    if (!file)
        return -EBADF;
    result = send_text(task, file, text, size, priority, deadline);
    file_unref(file);
    return result;
}

static long receive(struct task *task, struct file *file, uaddr_t text, size_t size, uaddr_t prio,
                    uint64_t deadline)
{
    struct mq_msg *msg;
    long result;

    if (!file_can_read(file))
        return -EBADF;
    if (size < mq_message_size(file))
        return -EMSGSIZE;
    result = mq_receive_msg(task, file, deadline, &msg);
    if (result < 0)
        return result;
    result = (long)msg->size;
    if ((prio && copy_struct_to_user(task->mm, prio, &msg->priority) < 0) ||
        copy_to_user(task->mm, text, msg->text, msg->size) < 0)
        result = -EFAULT;
    free(msg);
    return result;
}

SYSCALL_DEFINE5(mq_timedreceive, int, fd, uaddr_t, text, size_t, size, uaddr_t, prio, uaddr_t,
                timeout)
{
    uint64_t deadline;
    struct file *file;
    long result = get_deadline(task, timeout, &deadline);

    if (result < 0)
        return result;
    file = get_queue(task, fd);
    if (!file)
        return -EBADF;
    result = receive(task, file, text, size, prio, deadline);
    file_unref(file);
    return result;
}

/* SIGEV_THREAD has a netlink socket in sigev_signo, and the cookie where sigev_value points to. */
static int get_cookie(struct task *task, const struct sigevent *event, struct mq_cookie *ret)
{
    struct socket *s;
    int err;

    if (copy_from_user(task->mm, ret->bytes, (uaddr_t)event->sigev_value.sival_ptr,
                       MQ_COOKIE_SIZE) < 0)
        return -EFAULT;
    err = task_socket(task, event->sigev_signo, &s);
    if (err < 0)
        return err;
    if (!netlink_is(s)) {
        task_socket_put(s);
        return -EINVAL;
    }
    ret->socket = &s->file;
    return 0;
}

static int check_event(struct task *task, const struct sigevent *event, struct mq_cookie *cookie)
{

    switch (event->sigev_notify) {
    case SIGEV_NONE:
        return 0;
    case SIGEV_SIGNAL:
        return (unsigned)event->sigev_signo > SIGNAL_COUNT ? -EINVAL : 0;
    case SIGEV_THREAD:
        return get_cookie(task, event, cookie);
    default:
        return -EINVAL;
    }
}

SYSCALL_DEFINE2(mq_notify, int, fd, uaddr_t, event_addr)
{
    struct mq_cookie cookie = {.socket = NULL};
    struct sigevent event;
    struct file *file;
    int err = 0;

    if (event_addr && copy_struct_from_user(task->mm, &event, event_addr) < 0)
        return -EFAULT;
    if (event_addr)
        err = check_event(task, &event, &cookie);
    if (err < 0)
        return err;
    file = get_queue(task, fd);
    err = file ? mq_register(task, file, event_addr ? &event : NULL, &cookie) : -EBADF;
    if (err < 0)
        file_unref(cookie.socket);
    file_unref(file);
    return err;
}

static void set_nonblocking(struct file *file, bool on)
{
    if (on)
        __atomic_or_fetch(&file->flags, O_NONBLOCK, __ATOMIC_RELAXED);
    else
        __atomic_and_fetch(&file->flags, ~(uint32_t)O_NONBLOCK, __ATOMIC_RELAXED);
}

SYSCALL_DEFINE3(mq_getsetattr, int, fd, uaddr_t, new_addr, uaddr_t, old_addr)
{
    struct mq_attr new_attr, old;
    struct file *file;

    if (new_addr && copy_struct_from_user(task->mm, &new_attr, new_addr) < 0)
        return -EFAULT;
    if (new_addr && (new_attr.mq_flags & ~(long)O_NONBLOCK))
        return -EINVAL;
    file = get_queue(task, fd);
    if (!file)
        return -EBADF;
    mq_get_attr(file, &old);
    if (new_addr)
        set_nonblocking(file, new_attr.mq_flags & O_NONBLOCK);
    file_unref(file);
    return old_addr ? copy_struct_to_user(task->mm, old_addr, &old) : 0;
}
