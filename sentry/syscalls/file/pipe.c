/* Files without a name: pipe(2), eventfd(2). */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "sentry/fs/event/eventfd.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

static long do_pipe(struct task *task, uaddr_t fds_addr, int flags)
{
    struct file *read_end, *write_end;
    int fds[2], err;

    if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT | O_EXCL))
        return -EINVAL;
    if (flags & O_EXCL)
        return -ENOPKG; /* O_NOTIFICATION_PIPE, as where CONFIG_WATCH_QUEUE is off */
    err = pipe_create((uint32_t)flags, task->cred->euid, task->cred->egid, &read_end, &write_end);
    if (err < 0)
        return err;
    fds[0] = task_install(task, read_end, 0, flags & O_CLOEXEC);
    if (fds[0] < 0) {
        file_unref(write_end);
        return fds[0];
    }
    fds[1] = task_install(task, write_end, 0, flags & O_CLOEXEC);
    if (fds[1] < 0) {
        fdtable_close(task->files, fds[0]);
        return fds[1];
    }
    if (copy_struct_to_user(task->mm, fds_addr, &fds) < 0) {
        fdtable_close(task->files, fds[0]);
        fdtable_close(task->files, fds[1]);
        return -EFAULT;
    }
    return 0;
}

SYSCALL_DEFINE1(pipe, uaddr_t, fds)
{
    return do_pipe(task, fds, 0);
}

SYSCALL_DEFINE2(pipe2, uaddr_t, fds, int, flags)
{
    return do_pipe(task, fds, flags);
}

static long do_eventfd(struct task *task, unsigned initial, int flags)
{
    struct file *file;
    int err;

    if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    err = eventfd_create(initial, flags, &file);
    return err < 0 ? err : task_install(task, file, 0, flags & EFD_CLOEXEC);
}

SYSCALL_DEFINE1(eventfd, unsigned, initial)
{
    return do_eventfd(task, initial, 0);
}

SYSCALL_DEFINE2(eventfd2, unsigned, initial, int, flags)
{
    return do_eventfd(task, initial, flags);
}
