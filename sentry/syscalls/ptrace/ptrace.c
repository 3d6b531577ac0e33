/* ptrace(2): attaching, letting go on, letting go; the other requests are in its sister files. */
#include "sentry/syscalls/ptrace/ptrace.h"

#include <errno.h>
#include <linux/capability.h>

#include "abi/ptrace.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/define.h"

/* Which options a tracer may set. */
static int check_options(struct task *task, uint64_t options)
{
    if (options & ~(uint64_t)LINUX_PTRACE_O_MASK)
        return -EINVAL;
    if ((options & PTRACE_O_SUSPEND_SECCOMP) && !task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    return 0;
}

static long attach(struct task *task, struct task *target, bool seize, uaddr_t addr, uint64_t data)
{
    int error = 0;

    if (seize) {
        if (addr != 0 || (data & ~(uint64_t)LINUX_PTRACE_O_MASK))
            return -EIO;
        error = check_options(task, data);
    }
    return error < 0 ? error : ptrace_attach(task, target, seize, seize ? (uint32_t)data : 0);
}

static long set_options(struct task *task, struct task *tracee, uint64_t options)
{
    int error = check_options(task, options);

    if (error == 0)
        error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    tracee->trace.options = (uint32_t)options;
    lock_release(&tracee->process->lock);
    return 0;
}

static long go_on(struct task *task, struct task *tracee, uint32_t work, uint64_t signo)
{
    int error;

    if (signo > SIGNAL_COUNT)
        return -EIO;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    ptrace_resume_locked(tracee, work, (int)signo);
    lock_release(&tracee->process->lock);
    return 0;
}

/* Whatever state it is in, as long as it is ours. */
static long kill_tracee(struct task *task, struct task *tracee)
{
    bool ours;

    lock_acquire(&tracee->process->lock);
    ours = tracee->trace.tracer == task;
    if (ours && !tracee->dead)
        signal_send_task_locked(tracee, SIGKILL, NULL);
    lock_release(&tracee->process->lock);
    return ours ? 0 : -ESRCH;
}

/* How requests that resume differ; -1: none of them. */
static int resume_work(long request)
{
    switch (request) {
    case PTRACE_CONT:
        return 0;
    case PTRACE_SYSCALL:
        return SYSCALL_WORK_TRACE;
    case PTRACE_SINGLESTEP:
        return SYSCALL_WORK_STEP;
    case PTRACE_SYSEMU:
        return SYSCALL_WORK_EMU;
    case PTRACE_SYSEMU_SINGLESTEP:
        return SYSCALL_WORK_EMU | SYSCALL_WORK_STEP;
    default:
        return -1;
    }
}

static long serve(struct task *task, struct task *tracee, long request, uaddr_t addr, uaddr_t data)
{
    int work = resume_work(request);
    long result;

    if (work >= 0)
        return go_on(task, tracee, (uint32_t)work, data);
    switch (request) {
    case PTRACE_ATTACH:
        return attach(task, tracee, false, 0, 0);
    case PTRACE_SEIZE:
        return attach(task, tracee, true, addr, data);
    case PTRACE_KILL:
        return kill_tracee(task, tracee);
    case PTRACE_INTERRUPT:
        return ptrace_interrupt(task, tracee);
    case PTRACE_LISTEN:
        return ptrace_listen(task, tracee);
    case PTRACE_DETACH:
        return data > SIGNAL_COUNT ? -EIO : ptrace_detach(task, tracee, (int)data);
    case PTRACE_SETOPTIONS:
    case PTRACE_OLDSETOPTIONS:
        return set_options(task, tracee, data);
    default:
        break;
    }
    /* First of all, it has to be ours and at rest. */
    result = ptrace_hold(task, tracee);
    if (result < 0)
        return result;
    lock_release(&tracee->process->lock);
    result = ptrace_state_request(task, tracee, request, addr, data);
    if (result == -ENOTSUP)
        result = ptrace_info_request(task, tracee, request, addr, data);
    return result == -ENOTSUP ? -EIO : result;
}

SYSCALL_DEFINE4(ptrace, long, request, long, pid, uaddr_t, addr, uaddr_t, data)
{
    struct task *target;
    long result;

    if (request == PTRACE_TRACEME)
        return ptrace_traceme(task);
    target = task_lookup(task, (int32_t)pid);
    if (!target) /* the Sentry is there, but nobody's tracee */
        return pid == KERNEL_PID_SENTRY && (request == PTRACE_ATTACH || request == PTRACE_SEIZE)
                   ? -EPERM
                   : -ESRCH;
    result = serve(task, target, request, addr, data);
    task_unref(target);
    return result;
}
