/* Requests of loop devices, loop(4), that name the file to be bound by a descriptor. */
#include <errno.h>

#include "sentry/fs/loop/loop.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/ioctl.h"

long ioctl_loop(struct task *task, struct file *file, uint32_t cmd, uint64_t arg)
{
    struct loop_config config = {.fd = (uint32_t)arg};
    struct file *backing;
    int err;

    if (cmd == LOOP_CONFIGURE && copy_struct_from_user(task->mm, &config, arg) < 0)
        return -EFAULT;
    backing = task_file(task, (int)config.fd);
    if (!backing)
        return -EBADF;
    if (backing->flags & O_PATH)
        err = -EBADF;
    else if (cmd == LOOP_CHANGE_FD)
        err = loop_change(file, backing);
    else
        err = loop_bind(file, backing, &config);
    file_unref(backing);
    return err;
}
