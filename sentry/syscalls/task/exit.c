/* The end of threads and processes: exit(2), exit_group(2); what they leave behind on request. */
#include <errno.h>
#include <linux/capability.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define ROBUST_HEAD_SIZE 24 /* sizeof(struct robust_list_head) */

SYSCALL_DEFINE1(exit, int, status)
{
    task->exit_status = (status & 0xff) << 8;
    task->exiting = true;
    return 0;
}

SYSCALL_DEFINE1(exit_group, int, status)
{
    process_group_exit(task->process, (status & 0xff) << 8);
    task->exiting = true;
    return 0;
}

SYSCALL_DEFINE1(set_tid_address, uaddr_t, tidptr)
{
    task->clear_child_tid = tidptr;
    return task->vtid;
}

SYSCALL_DEFINE2(set_robust_list, uaddr_t, head, uint64_t, size)
{
    if (size != ROBUST_HEAD_SIZE)
        return -EINVAL;
    task->robust_list = head;
    return 0;
}

SYSCALL_DEFINE3(get_robust_list, int, pid, uaddr_t, head_ptr, uaddr_t, len_ptr)
{
    struct task *target = pid == 0 ? task_ref(task) : task_lookup(task, pid);
    const uint64_t size = ROBUST_HEAD_SIZE;
    uint64_t head = 0;
    int error = 0;

    if (target) {
        head = target->robust_list;
        error = ptrace_may_access(task, target, PTRACE_ATTACH_REALCREDS);
    } else if (pid != KERNEL_PID_SENTRY) {
        error = -ESRCH;
    } else if (!task_has_cap(task, CAP_SYS_PTRACE)) {
        error = -EPERM; /* our own "init" has none to show */
    }
    task_unref(target);
    if (error < 0)
        return error;
    if (copy_to_user(task->mm, len_ptr, &size, sizeof(size)) < 0)
        return -EFAULT;
    return copy_to_user(task->mm, head_ptr, &head, sizeof(head));
}
