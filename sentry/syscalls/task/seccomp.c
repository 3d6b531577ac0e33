/* seccomp(2), and what prctl(2) has of it. */
#include "sentry/syscalls/task/seccomp.h"

#include <errno.h>
#include <linux/capability.h>

#include "base/bpf.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

#define FILTER_FLAGS                                                                               \
    ((uint32_t)(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG |                              \
                SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_NEW_LISTENER |                \
                SECCOMP_FILTER_FLAG_TSYNC_ESRCH | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV))

/* struct sock_fprog, whose pointer is the guest's. */
struct guest_program {
    uint16_t count;
    uint16_t pad[3];
    uaddr_t insns;
};
static_assert(sizeof(struct guest_program) == 16, "struct sock_fprog");

static long get_filter(struct task *task, uaddr_t ptr, struct seccomp_filter **ret)
{
    struct guest_program program;
    struct seccomp_filter *filter;
    long error = 0;

    if (copy_struct_from_user(task->mm, &program, ptr) < 0)
        return -EFAULT;
    if (program.count == 0 || program.count > BPF_PROGRAM_MAX)
        return -EINVAL;
    if (!task_no_new_privs(task) && !task_has_own_cap(task, CAP_SYS_ADMIN))
        return -EACCES;
    filter = seccomp_filter_create(program.count);
    if (!filter)
        return -ENOMEM;
    if (copy_from_user(task->mm, filter->program, program.insns,
                       program.count * sizeof(struct sock_filter)) < 0)
        error = -EFAULT;
    else
        error = bpf_check(filter->program, filter->count);
    if (error < 0)
        seccomp_filter_unref(filter);
    else
        *ret = filter;
    return error;
}

static int check_flags(uint32_t flags)
{
    if (flags & ~FILTER_FLAGS)
        return -EINVAL;
    /* Two results cannot both be returned, unless a failed TSYNC is an errno. */
    if ((flags & SECCOMP_FILTER_FLAG_TSYNC) && (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) &&
        !(flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH))
        return -EINVAL;
    if ((flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) &&
        !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
        return -EINVAL;
    return 0;
}

/* The listener's number is there before the filter is: the filter might forbid to take one. */
static long install_with_listener(struct task *task, struct seccomp_filter *filter, uint32_t flags)
{
    struct file *file;
    long fd, result = seccomp_notify_create(filter, &file);

    if (result < 0)
        return result;
    fd = task_install(task, file, 0, true);
    if (fd < 0)
        return fd;
    result = seccomp_install(task, filter, flags);
    if (result != 0) {
        fdtable_close(task->files, (int)fd);
        return result;
    }
    return fd;
}

static long set_filter(struct task *task, uint32_t flags, uaddr_t ptr)
{
    struct seccomp_filter *filter;
    long result = check_flags(flags);
    bool installed;

    if (result == 0)
        result = get_filter(task, ptr, &filter);
    if (result < 0)
        return result;
    filter->log = flags & SECCOMP_FILTER_FLAG_LOG;
    filter->wait_killable = flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) {
        result = install_with_listener(task, filter, flags);
        installed = result >= 0;
    } else {
        result = seccomp_install(task, filter, flags);
        installed = result == 0;
    }
    if (!installed)
        seccomp_filter_unref(filter);
    return result;
}

static long action_available(struct task *task, uint32_t flags, uaddr_t ptr)
{
    uint32_t action;

    if (flags)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &action, ptr) < 0)
        return -EFAULT;
    switch (action) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP:
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_USER_NOTIF:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

static long notify_sizes(struct task *task, uint32_t flags, uaddr_t ptr)
{
    static const struct seccomp_notif_sizes sizes = {
        .seccomp_notif = sizeof(struct seccomp_notif),
        .seccomp_notif_resp = sizeof(struct seccomp_notif_resp),
        .seccomp_data = sizeof(struct seccomp_data),
    };

    return flags ? -EINVAL : copy_struct_to_user(task->mm, ptr, &sizes);
}

SYSCALL_DEFINE3(seccomp, uint32_t, operation, uint32_t, flags, uaddr_t, args)
{
    switch (operation) {
    case SECCOMP_SET_MODE_STRICT:
        return flags || args ? -EINVAL : seccomp_set_strict(task);
    case SECCOMP_SET_MODE_FILTER:
        return set_filter(task, flags, args);
    case SECCOMP_GET_ACTION_AVAIL:
        return action_available(task, flags, args);
    case SECCOMP_GET_NOTIF_SIZES:
        return notify_sizes(task, flags, args);
    default:
        return -EINVAL;
    }
}

long prctl_set_seccomp(struct task *task, uint64_t mode, uaddr_t filter)
{
    switch (mode) {
    case SECCOMP_MODE_STRICT:
        return seccomp_set_strict(task);
    case SECCOMP_MODE_FILTER:
        return set_filter(task, 0, filter);
    default:
        return -EINVAL;
    }
}

/* PTRACE_SECCOMP_GET_FILTER counts from the oldest: 0. */
static const struct seccomp_filter *filter_at(const struct task *task, uint64_t index)
{
    uint32_t count = seccomp_filter_count(task);
    const struct seccomp_filter *filter = task->seccomp.filter;

    if (index >= count)
        return NULL;
    for (uint64_t skip = count - 1 - index; skip > 0; skip--)
        filter = filter->prev;
    return filter;
}

/* Who is filtered itself must not look at other filters. */
static int may_look(const struct task *task)
{
    return task_has_cap(task, CAP_SYS_ADMIN) && task->seccomp.mode == 0 ? 0 : -EACCES;
}

long ptrace_get_filter(struct task *task, struct task *tracee, uint64_t index, uaddr_t data)
{
    const struct seccomp_filter *filter;
    struct seccomp_filter *held;
    long result = may_look(task);

    if (result == 0)
        result = ptrace_hold(task, tracee);
    if (result < 0)
        return result;
    if (tracee->seccomp.mode != SECCOMP_CALL_FILTER)
        result = -EINVAL;
    filter = result == 0 ? filter_at(tracee, index) : NULL;
    if (filter)
        refcount_get(&((struct seccomp_filter *)filter)->refs);
    lock_release(&tracee->process->lock);
    if (!filter)
        return result < 0 ? result : -ENOENT;
    held = (struct seccomp_filter *)filter;
    result = filter->count;
    if (data && copy_to_user(task->mm, data, filter->program,
                             filter->count * sizeof(filter->program[0])) < 0)
        result = -EFAULT;
    seccomp_filter_unref(held);
    return result;
}

long ptrace_get_filter_metadata(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    const struct seccomp_filter *filter;
    uint64_t words[2]; /* struct seccomp_metadata: which filter, its flags */
    long result = may_look(task);

    if (result < 0)
        return result;
    size = MIN(size, sizeof(words));
    if (size < sizeof(words[0]))
        return -EINVAL;
    if (copy_from_user(task->mm, &words[0], data, sizeof(words[0])) < 0)
        return -EFAULT;
    result = ptrace_hold(task, tracee);
    if (result < 0)
        return result;
    filter = filter_at(tracee, words[0]);
    if (tracee->seccomp.mode != SECCOMP_CALL_FILTER)
        result = -EINVAL;
    else if (!filter)
        result = -ENOENT;
    else
        words[1] = filter->log ? SECCOMP_FILTER_FLAG_LOG : 0;
    lock_release(&tracee->process->lock);
    if (result < 0)
        return result;
    return copy_to_user(task->mm, data, words, size) < 0 ? -EFAULT : (long)size;
}
