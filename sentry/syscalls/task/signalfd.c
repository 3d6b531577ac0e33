/* signalfd(2), signalfd4(2). */
#include "sentry/kernel/signal/signalfd.h"

#include <errno.h>
#include <sys/signalfd.h>

#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

#define SIGSET_SIZE 8

static long change_mask(struct task *task, int fd, uint64_t mask)
{
    struct file *file = task_file(task, fd);
    long result = fd;

    if (!file)
        return -EBADF;
    if (signalfd_is(file))
        signalfd_set_mask(file, mask);
    else
        result = -EINVAL;
    file_unref(file);
    return result;
}

static long do_signalfd(struct task *task, int fd, uaddr_t mask_ptr, uint64_t size, int flags)
{
    struct file *file;
    uint64_t mask;
    int error;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &mask, mask_ptr) < 0)
        return -EFAULT;
    if (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK))
        return -EINVAL;
    mask &= ~SIGNALS_UNBLOCKABLE;
    if (fd != -1)
        return change_mask(task, fd, mask);
    error = signalfd_create_file(mask, flags, &file);
    return error < 0 ? error : task_install(task, file, 0, flags & SFD_CLOEXEC);
}

SYSCALL_DEFINE3(signalfd, int, fd, uaddr_t, mask, uint64_t, size)
{
    return do_signalfd(task, fd, mask, size, 0);
}

SYSCALL_DEFINE4(signalfd4, int, fd, uaddr_t, mask, uint64_t, size, int, flags)
{
    return do_signalfd(task, fd, mask, size, flags);
}
