/* Descriptors and descriptions: dup(2), fcntl(2). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/tmpfs/memfd.h"
#include "sentry/kernel/async.h"
#include "sentry/kernel/dnotify.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/file/lock.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/attr/permission.h"

SYSCALL_DEFINE1(dup, int, fd)
{
    struct file *file = fdtable_get(task->files, fd);

    return file ? task_install(task, file, 0, false) : -EBADF;
}

static long replace(struct task *task, int from, int to, bool cloexec)
{
    uint64_t limit = task_rlimit(task, RLIMIT_NOFILE);
    struct file *file;
    int fd;

    if (to < 0 || (uint64_t)to >= limit)
        return -EBADF;
    file = fdtable_get(task->files, from);
    if (!file)
        return -EBADF;
    fd = fdtable_replace(task->files, to, file, limit, cloexec);
    if (fd < 0)
        file_unref(file);
    return fd;
}

SYSCALL_DEFINE2(dup2, int, from, int, to)
{
    if (from == to)
        return fdtable_get_cloexec(task->files, from) < 0 ? -EBADF : to;
    return replace(task, from, to, false);
}

SYSCALL_DEFINE3(dup3, int, from, int, to, int, flags)
{
    if ((flags & ~O_CLOEXEC) || from == to)
        return -EINVAL;
    return replace(task, from, to, flags & O_CLOEXEC);
}

static long duplicate_above(struct task *task, struct file *file, uint64_t min, bool cloexec)
{
    if (min >= task_rlimit(task, RLIMIT_NOFILE))
        return -EINVAL;
    return task_install(task, file_ref(file), (int)min, cloexec);
}

static long set_flags(struct task *task, int fd, struct file *file, uint32_t arg)
{
    const uint32_t settable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
    uint32_t old = __atomic_load_n(&file->flags, __ATOMIC_RELAXED), flags;

    if (((old ^ arg) & O_APPEND) && file->at.dentry && inode_is_append(file->at.dentry->inode))
        return -EPERM;
    /* On a pipe it means packets; direct transfers are not there. */
    if ((arg & O_DIRECT) && !(old & O_DIRECT) && !pipe_is(file))
        return -EINVAL;
    do {
        flags = (old & ~settable) | (arg & settable);
    } while (!__atomic_compare_exchange_n(&file->flags, &old, flags, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    if ((old ^ flags) & O_ASYNC) {
        int err = async_switch(task, file, fd, flags & O_ASYNC);

        if (err < 0)
            return err;
    }
    return file->ops->set_flags ? file->ops->set_flags(file, flags) : 0;
}

/* F_SETOWN: a group's number is negative. */
static long set_owner(struct task *task, struct file *file, int who)
{
    if (who == INT32_MIN)
        return -EINVAL;
    return async_set_owner(task, file, who < 0 ? ASYNC_GROUP : ASYNC_PID, who < 0 ? -who : who);
}

static long get_owner(struct task *task, struct file *file)
{
    int32_t pid;
    int type;

    async_get_owner(task, file, &type, &pid);
    return type == ASYNC_GROUP ? -pid : pid;
}

static long owner_ex(struct task *task, struct file *file, bool set, uaddr_t arg)
{
    struct f_owner_ex owner;
    int type;

    static_assert(sizeof(owner) == 8, "struct f_owner_ex");
    if (set) {
        if (copy_struct_from_user(task->mm, &owner, arg) < 0)
            return -EFAULT;
        return async_set_owner(task, file, (int)owner.type, owner.pid);
    }
    async_get_owner(task, file, &type, &owner.pid);
    owner.type = (enum __pid_type)type;
    return copy_struct_to_user(task->mm, arg, &owner);
}

/* What an O_PATH descriptor may be asked: fcntl(2) under O_PATH in open(2). */
static bool works_on_places(unsigned cmd)
{
    return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC || cmd == F_GETFD || cmd == F_SETFD ||
           cmd == F_GETFL;
}

#define F_CREATED_QUERY 1028 /* newer than Debian 12's headers */
#define HINT_MAX        5UL  /* RWH_WRITE_LIFE_EXTREME */

static long get_hint(struct task *task, struct file *file, uaddr_t arg)
{
    uint64_t hint = 0;

    if (file->at.dentry)
        hint = __atomic_load_n(&file->at.dentry->inode->write_hint, __ATOMIC_RELAXED);
    return copy_struct_to_user(task->mm, arg, &hint);
}

static long set_hint(struct task *task, struct file *file, uaddr_t arg)
{
    struct inode *inode = file->at.dentry ? file->at.dentry->inode : NULL;
    uint64_t hint;

    if (!inode || !path_owned(&file->at))
        return -EPERM;
    if (copy_struct_from_user(task->mm, &hint, arg) < 0)
        return -EFAULT;
    if (hint > HINT_MAX)
        return -EINVAL;
    __atomic_store_n(&inode->write_hint, (uint32_t)hint, __ATOMIC_RELAXED);
    return 0;
}

static void lease_broken(struct file *file)
{
    async_post(file, POLLMSG);
}

static long set_lease(struct task *task, int fd, struct file *file, int type)
{
    int err = type == F_UNLCK ? 0 : async_prepare(task, file, fd);

    if (!err)
        err = lease_set(file, type, task->process->pid, lease_broken);
    if (!err && type == F_UNLCK)
        async_forget(file);
    return err;
}

static long control(struct task *task, int fd, struct file *file, unsigned cmd, uint64_t arg)
{
    switch (cmd) {
    case F_DUPFD:
        return duplicate_above(task, file, arg, false);
    case F_DUPFD_CLOEXEC:
        return duplicate_above(task, file, arg, true);
    case F_GETFD:
        return fdtable_get_cloexec(task->files, fd) > 0 ? FD_CLOEXEC : 0;
    case F_SETFD:
        return fdtable_set_cloexec(task->files, fd, arg & FD_CLOEXEC);
    case F_GETFL:
        return __atomic_load_n(&file->flags, __ATOMIC_RELAXED);
    case F_SETFL:
        return set_flags(task, fd, file, (uint32_t)arg);
    case F_GETPIPE_SZ:
        return pipe_get_size(file);
    case F_SETPIPE_SZ:
        return pipe_set_size(file, (uint32_t)arg, task_has_cap(task, CAP_SYS_RESOURCE));
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return lock_control(task, fd, file, cmd, arg);
    case F_SETOWN:
        return set_owner(task, file, (int)arg);
    case F_GETOWN:
        return get_owner(task, file);
    case F_SETOWN_EX:
    case F_GETOWN_EX:
        return owner_ex(task, file, cmd == F_SETOWN_EX, arg);
    case F_SETSIG:
        return async_set_signal(task, file, arg);
    case F_GETSIG:
        return async_get_signal(file);
    case F_SETLEASE:
        return set_lease(task, fd, file, (int)arg);
    case F_GETLEASE:
        return lease_get(file);
    case F_NOTIFY:
        return dnotify_set(task, file, fd, (uint32_t)arg);
    case F_GET_RW_HINT:
        return get_hint(task, file, arg);
    case F_SET_RW_HINT:
        return set_hint(task, file, arg);
    case F_CREATED_QUERY:
        return file->created;
    case F_ADD_SEALS:
        return memfd_add_seals(file, (uint32_t)arg);
    case F_GET_SEALS:
        return memfd_get_seals(file);
    default:
        return -EINVAL;
    }
}

SYSCALL_DEFINE3(fcntl, int, fd, unsigned, cmd, uint64_t, arg)
{
    struct file *file = fdtable_get(task->files, fd);
    long result;

    if (!file)
        return -EBADF;
    if ((file->flags & O_PATH) && !works_on_places(cmd))
        result = -EBADF;
    else
        result = control(task, fd, file, cmd, arg);
    file_unref(file);
    return result;
}
