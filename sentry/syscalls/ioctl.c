/* ioctl(2): what works on every file is done here, the rest is the file's. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>

#include "sentry/fs/dev/dev.h"
#include "sentry/fs/loop/loop.h"
#include "sentry/kernel/async.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/socket.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/ioctl.h"
#include "sentry/syscalls/mm/userfaultfd.h"
#include "sentry/syscalls/tty.h"
#include "sentry/vfs/landlock/landlock.h"

static long set_nonblock(struct task *task, struct file *file, uaddr_t arg)
{
    int on;

    if (copy_struct_from_user(task->mm, &on, arg) < 0)
        return -EFAULT;
    if (on)
        __atomic_fetch_or(&file->flags, O_NONBLOCK, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&file->flags, ~(uint32_t)O_NONBLOCK, __ATOMIC_RELAXED);
    return file->ops->set_flags ? file->ops->set_flags(file, file->flags) : 0;
}

static long set_async(struct task *task, int fd, struct file *file, uaddr_t arg)
{
    bool was = __atomic_load_n(&file->flags, __ATOMIC_RELAXED) & O_ASYNC;
    int on;

    if (copy_struct_from_user(task->mm, &on, arg) < 0)
        return -EFAULT;
    if (was == (on != 0))
        return 0;
    if (!file->ops->poll)
        return -ENOTTY;
    if (on)
        __atomic_fetch_or(&file->flags, O_ASYNC, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&file->flags, ~(uint32_t)O_ASYNC, __ATOMIC_RELAXED);
    return async_switch(task, file, fd, on);
}

/* Sockets know F_SETOWN and F_GETOWN by other names as well. */
static long owner(struct task *task, struct file *file, uint32_t cmd, uaddr_t arg)
{
    int32_t pid;
    int type;

    if (cmd == FIOSETOWN || cmd == SIOCSPGRP) {
        if (copy_struct_from_user(task->mm, &pid, arg) < 0)
            return -EFAULT;
        if (pid == INT32_MIN)
            return -EINVAL;
        return async_set_owner(task, file, pid < 0 ? ASYNC_GROUP : ASYNC_PID, pid < 0 ? -pid : pid);
    }
    async_get_owner(task, file, &type, &pid);
    pid = type == ASYNC_GROUP ? -pid : pid;
    return copy_struct_to_user(task->mm, arg, &pid);
}

/* FIONREAD on a regular file: from the position to the end. */
static long bytes_left(struct task *task, struct file *file, uaddr_t arg)
{
    struct linux_stat st;
    int64_t pos;
    int left, err = file_stat(file, &st);

    if (err < 0)
        return err;
    if ((st.st_mode & S_IFMT) != S_IFREG)
        return -ENOTTY;
    pos = file_llseek(file, 0, 1 /* SEEK_CUR */);
    left = pos < 0 ? 0 : (int)(st.st_size - pos);
    return copy_struct_to_user(task->mm, arg, &left);
}

/* What a device is asked in spite of Landlock: is_masked_device_ioctl(). */
static bool is_harmless(uint32_t cmd)
{
    return cmd == FIOQSIZE || cmd == FIFREEZE || cmd == FITHAW || cmd == FS_IOC_FIEMAP ||
           cmd == FIGETBSZ || cmd == FICLONE || cmd == FICLONERANGE || cmd == FIDEDUPERANGE;
}

SYSCALL_DEFINE3(ioctl, int, fd, uint32_t, cmd, uint64_t, arg)
{
    struct file *file = task_file(task, fd);
    bool final = false;
    long result;

    if (!file)
        return -EBADF;
    switch (cmd) {
    case FIOCLEX:
        result = fdtable_set_cloexec(task->files, fd, true);
        break;
    case FIONCLEX:
        result = fdtable_set_cloexec(task->files, fd, false);
        break;
    case FIONBIO:
        result = set_nonblock(task, file, arg);
        break;
    case FIOASYNC:
        result = set_async(task, fd, file, arg);
        break;
    case FIOSETOWN:
    case SIOCSPGRP:
    case FIOGETOWN:
    case SIOCGPGRP:
        result = socket_is(file) ? owner(task, file, cmd, arg) : -ENOTTY;
        break;
    default:
        result = -ENOTTY;
        if (!(file->landlock_denied & LANDLOCK_IOCTL_DEV) || is_harmless(cmd))
            result = ioctl_file(task, file, cmd, arg, &final);
        if (final || result != -ENOTTY)
            break;
        if (file->landlock_denied & LANDLOCK_IOCTL_DEV)
            result = -EACCES;
        else if (file->terminal)
            result = terminal_ioctl(task, file, cmd, arg);
        else if (cmd == USERFAULTFD_IOC_NEW && dev_is_userfaultfd(file))
            result = userfaultfd_install(task, (int)arg);
        else if (loop_wants_file(cmd) && loop_is(file))
            result = ioctl_loop(task, file, cmd, arg);
        else
            result = file->ops->ioctl ? file->ops->ioctl(file, task->mm, cmd, arg) : -ENOTTY;
        if (result == -ENOTTY && cmd == FIONREAD)
            result = bytes_left(task, file, arg);
        break;
    }
    file_unref(file);
    return result;
}
