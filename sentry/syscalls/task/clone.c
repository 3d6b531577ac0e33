/* clone(2) and clone3(2): arguments into one request. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>

#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/clone.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

#define CLONE_LEGACY_FLAGS 0xffffffffUL
#define SET_TID_MAX        32 /* MAX_PID_NS_LEVEL */
#define USER_MAX           0x7ffffffff000UL

SYSCALL_DEFINE5(clone, uint64_t, flags, uaddr_t, stack, uaddr_t, parent_tid, uaddr_t, child_tid,
                uaddr_t, tls)
{
    const struct clone_request request = {
        .flags = flags & CLONE_LEGACY_FLAGS & ~(uint64_t)CSIGNAL,
        .exit_signal = (int)(flags & CSIGNAL),
        .parent_tid = parent_tid,
        .child_tid = child_tid,
        .pidfd = parent_tid,
        .stack = stack,
        .tls = tls,
    };

    if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
        return -EINVAL; /* both want the same word */
    return task_clone(task, &request);
}

/*
 * The structure has grown over time: a short one reads as if followed by zeroes, a long one is fine
 * as long as what we do not know is zero (Linux copy_struct_from_user).
 */
static int get_clone_args(struct task *task, uaddr_t addr, uint64_t size, struct clone_args *ret)
{
    struct clone_args args = {0};
    char tail[64];

    static_assert(sizeof(args) >= CLONE_ARGS_SIZE_VER2, "struct clone_args");
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (copy_from_user(task->mm, &args, addr, MIN(size, sizeof(args))) < 0)
        return -EFAULT;
    for (uint64_t at = sizeof(args); at < size; at += sizeof(tail)) {
        size_t part = MIN(size - at, sizeof(tail));

        if (copy_from_user(task->mm, tail, addr + at, part) < 0)
            return -EFAULT;
        for (size_t i = 0; i < part; i++) {
            if (tail[i])
                return -E2BIG;
        }
    }
    *ret = args;
    return 0;
}

static bool clone_args_valid(const struct clone_args *args)
{
    uint64_t known = CLONE_LEGACY_FLAGS | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;

    if (args->set_tid_size > SET_TID_MAX || !args->set_tid != !args->set_tid_size)
        return false;
    if (args->exit_signal & ~(uint64_t)CSIGNAL || args->exit_signal > SIGNAL_COUNT)
        return false;
    if (args->flags & ~known ||
        args->flags & (CLONE_DETACHED | (CSIGNAL & ~(uint64_t)CLONE_NEWTIME)))
        return false;
    if ((args->flags & CLONE_SIGHAND) && (args->flags & CLONE_CLEAR_SIGHAND))
        return false;
    if ((args->flags & (CLONE_THREAD | CLONE_PARENT)) && args->exit_signal)
        return false;
    if (!args->stack != !args->stack_size)
        return false;
    return args->stack <= USER_MAX && args->stack_size <= USER_MAX - args->stack;
}

/* set_tid: one number for each level of pid namespaces, the innermost first. */
static int get_wanted_tids(struct task *task, const struct clone_args *args, int32_t *ret_tids)
{
    int levels = pid_ns_of(task->namespaces->ns[NS_PID])->level + 1;

    if (args->set_tid_size == 0)
        return 0;
    if (copy_from_user(task->mm, ret_tids, args->set_tid,
                       args->set_tid_size * sizeof(ret_tids[0])) < 0)
        return -EFAULT;
    if (args->flags & CLONE_NEWPID)
        levels++;
    return args->set_tid_size > (uint64_t)levels ? -EINVAL : 0;
}

/* Where the child shall begin: an open directory of a cgroup. cgroup_css_set_fork(). */
static int get_cgroup(struct task *task, int fd, struct cgroup **ret)
{
    struct file *file = fdtable_get(task->files, fd);
    int error = file ? cgroupfs_of_file(file, ret) : -EBADF;

    file_unref(file);
    if (error == 0)
        error = cgroup_may_clone_into(*ret);
    if (error < 0)
        *ret = cgroup_unref(*ret);
    return error;
}

SYSCALL_DEFINE2(clone3, uaddr_t, uargs, uint64_t, size)
{
    struct clone_args args;
    struct clone_request request;
    struct cgroup *cgroup = NULL;
    int32_t tids[SET_TID_MAX];
    long result;
    int error = get_clone_args(task, uargs, size, &args);

    if (error < 0)
        return error;
    if (!clone_args_valid(&args))
        return -EINVAL;
    if ((args.flags & CLONE_INTO_CGROUP) &&
        (args.cgroup > INT32_MAX || size < CLONE_ARGS_SIZE_VER2))
        return -EINVAL;
    request = (struct clone_request){
        .flags = args.flags,
        .exit_signal = (int)args.exit_signal,
        .parent_tid = args.parent_tid,
        .child_tid = args.child_tid,
        .stack = args.stack + args.stack_size,
        .tls = args.tls,
        .pidfd = args.pidfd,
        .wanted_tids = tids,
        .wanted_count = (int)args.set_tid_size,
    };
    if ((args.flags & CLONE_PIDFD) && (args.flags & CLONE_PARENT_SETTID) &&
        args.pidfd == args.parent_tid)
        return -EINVAL;
    error = get_wanted_tids(task, &args, tids);
    if (error == 0 && (args.flags & CLONE_INTO_CGROUP))
        error = get_cgroup(task, (int)args.cgroup, &cgroup);
    if (error < 0)
        return error;
    request.cgroup = cgroup;
    result = task_clone(task, &request);
    cgroup_unref(cgroup);
    return result;
}
