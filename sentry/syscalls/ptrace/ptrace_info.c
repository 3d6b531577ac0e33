/* ptrace(2): what a stop is about: its siginfo, its message, its call; and the tracee's signals. */
#include <errno.h>
#include <linux/audit.h>
#include <string.h>

#include "abi/ptrace.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/ptrace/ptrace.h"
#include "sentry/syscalls/task/seccomp.h"

#define SIGSET_SIZE  8
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define SECCOMP_STOP (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)
#define MAX_ERRNO    4095

static long get_message(struct task *task, struct task *tracee, uaddr_t data)
{
    uint64_t message;
    int error = ptrace_hold(task, tracee);

    if (error < 0)
        return error;
    message = tracee->trace.message;
    lock_release(&tracee->process->lock);
    return copy_struct_to_user(task->mm, data, &message);
}

static long get_siginfo(struct task *task, struct task *tracee, uaddr_t data)
{
    bool has_info;
    siginfo_t info;
    int error = ptrace_hold(task, tracee);

    if (error < 0)
        return error;
    has_info = tracee->trace.has_info;
    info = tracee->trace.info;
    lock_release(&tracee->process->lock);
    return has_info ? copy_struct_to_user(task->mm, data, &info) : -EINVAL;
}

static long set_siginfo(struct task *task, struct task *tracee, uaddr_t data)
{
    siginfo_t info;
    int error;

    if (copy_struct_from_user(task->mm, &info, data) < 0)
        return -EFAULT;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    if (tracee->trace.has_info)
        tracee->trace.info = info;
    else
        error = -EINVAL;
    lock_release(&tracee->process->lock);
    return error;
}

static long get_mask(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    uint64_t mask;
    int error;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    mask = tracee->restore_blocked ? tracee->saved_blocked : tracee->blocked;
    lock_release(&tracee->process->lock);
    return copy_struct_to_user(task->mm, data, &mask);
}

static long set_mask(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    uint64_t mask;
    int error;

    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &mask, data) < 0)
        return -EFAULT;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    tracee->blocked = mask & ~SIGNALS_UNBLOCKABLE;
    tracee->restore_blocked = false;
    signal_retarget_locked(tracee->process);
    task_kick_locked(tracee, TASK_WORK_SIGNAL);
    lock_release(&tracee->process->lock);
    return 0;
}

/* The queued signal with that index: false when there are not so many. */
static bool find_queued(struct sigpending *pending, uint64_t index, siginfo_t *ret)
{
    struct sigqueue *entry;

    list_for_each (entry, &pending->queue, node) {
        if (index-- == 0) {
            *ret = entry->info;
            return true;
        }
    }
    return false;
}

static long peek_siginfo(struct task *task, struct task *tracee, uaddr_t args_ptr, uaddr_t data)
{
    struct linux_ptrace_peeksiginfo args;
    siginfo_t info;
    int32_t done;

    if (copy_struct_from_user(task->mm, &args, args_ptr) < 0)
        return -EFAULT;
    if ((args.flags & ~(uint32_t)PTRACE_PEEKSIGINFO_SHARED) || args.count < 0)
        return -EINVAL;
    for (done = 0; done < args.count; done++) {
        bool shared = args.flags & PTRACE_PEEKSIGINFO_SHARED, found;
        int error = ptrace_hold(task, tracee);

        if (error < 0)
            return error;
        found = args.offset + (uint64_t)done >= args.offset &&
                find_queued(shared ? &tracee->process->pending : &tracee->pending,
                            args.offset + (uint64_t)done, &info);
        lock_release(&tracee->process->lock);
        if (!found)
            break;
        if (copy_struct_to_user(task->mm, data, &info) < 0)
            return done ? done : -EFAULT;
        data += sizeof(info);
    }
    return done;
}

static void fill_args(const struct cpu_regs *r, uint64_t args[6])
{
    const uint64_t values[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};

    memcpy(args, values, sizeof(values));
}

static size_t fill_syscall_info(struct task *tracee, struct linux_ptrace_syscall_info *ret)
{
    const struct cpu_regs *r = &tracee->ctx->regs;
    const struct trace *trace = &tracee->trace;
    int code = trace->has_info ? trace->info.si_code : 0;

    *ret = (struct linux_ptrace_syscall_info){
        .arch = AUDIT_ARCH_X86_64,
        .instruction_pointer = r->rip,
        .stack_pointer = r->rsp,
    };
    if (code == SYSCALL_STOP && trace->message == LINUX_PTRACE_EVENTMSG_ENTRY) {
        ret->op = LINUX_SYSCALL_INFO_ENTRY;
        ret->entry.nr = (uint64_t)(int64_t)(int)tracee->syscall_nr;
        fill_args(r, ret->entry.args);
        return offsetof(struct linux_ptrace_syscall_info, entry) + sizeof(ret->entry);
    }
    if (code == SYSCALL_STOP && trace->message == LINUX_PTRACE_EVENTMSG_EXIT) {
        ret->op = LINUX_SYSCALL_INFO_EXIT;
        ret->exit.rval = (int64_t)r->rax;
        ret->exit.is_error = ret->exit.rval < 0 && ret->exit.rval >= -MAX_ERRNO;
        return offsetof(struct linux_ptrace_syscall_info, exit.is_error) + 1;
    }
    if (code == SECCOMP_STOP) {
        ret->op = LINUX_SYSCALL_INFO_SECCOMP;
        ret->seccomp.nr = (uint64_t)(int64_t)(int)tracee->syscall_nr;
        fill_args(r, ret->seccomp.args);
        ret->seccomp.ret_data = (uint32_t)trace->message;
        return offsetof(struct linux_ptrace_syscall_info, seccomp.ret_data) + sizeof(uint32_t);
    }
    return offsetof(struct linux_ptrace_syscall_info, entry);
}

static long get_syscall_info(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    struct linux_ptrace_syscall_info info;
    size_t actual;
    int error = ptrace_hold(task, tracee);

    if (error < 0)
        return error;
    actual = fill_syscall_info(tracee, &info);
    lock_release(&tracee->process->lock);
    if (copy_to_user(task->mm, data, &info, MIN(size, actual)) < 0)
        return -EFAULT;
    return (long)actual;
}

static void store_args(struct cpu_regs *r, const uint64_t args[6])
{
    r->rdi = args[0];
    r->rsi = args[1];
    r->rdx = args[2];
    r->r10 = args[3];
    r->r8 = args[4];
    r->r9 = args[5];
}

/* Linux 6.16: the same structure the other way round, of the same kind as the stop. */
static long set_syscall_info(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    struct linux_ptrace_syscall_info info, now;
    struct cpu_regs *r;
    long error;

    if (size < sizeof(info))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &info, data) < 0)
        return -EFAULT;
    if (info.flags || info.reserved)
        return -EINVAL;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    fill_syscall_info(tracee, &now);
    r = &tracee->ctx->regs;
    error = info.op == now.op ? 0 : -EINVAL;
    if (error == 0 &&
        (info.op == LINUX_SYSCALL_INFO_ENTRY || info.op == LINUX_SYSCALL_INFO_SECCOMP)) {
        if (info.entry.nr != (uint64_t)(int64_t)(int)info.entry.nr) {
            error = -ERANGE;
        } else {
            tracee->syscall_nr = info.entry.nr;
            if ((int)info.entry.nr != -1)
                store_args(r, info.entry.args);
        }
    } else if (error == 0 && info.op == LINUX_SYSCALL_INFO_EXIT) {
        r->rax = (uint64_t)info.exit.rval;
    } else {
        error = -EINVAL;
    }
    lock_release(&tracee->process->lock);
    return error;
}

/* rseq(2)'s registration of the tracee, as struct ptrace_rseq_configuration has it. */
static long get_rseq(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    struct linux_ptrace_rseq config = {0};
    int error = ptrace_hold(task, tracee);

    if (error < 0)
        return error;
    config.pointer = tracee->rseq;
    config.size = tracee->rseq_size;
    config.signature = tracee->rseq_signature;
    lock_release(&tracee->process->lock);
    if (copy_to_user(task->mm, data, &config, MIN(size, sizeof(config))) < 0)
        return -EFAULT;
    return sizeof(config);
}

static long get_dispatch(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    struct linux_ptrace_dispatch config = {0};
    int error;

    if (size != sizeof(config))
        return -EINVAL;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    if (tracee->syscall_work & SYSCALL_WORK_DISPATCH)
        config.mode = LINUX_DISPATCH_EXCLUSIVE_ON;
    config.start = tracee->dispatch.start;
    config.size = tracee->dispatch.size;
    config.selector = tracee->dispatch.selector;
    lock_release(&tracee->process->lock);
    return copy_struct_to_user(task->mm, data, &config);
}

static long set_dispatch(struct task *task, struct task *tracee, uint64_t size, uaddr_t data)
{
    struct linux_ptrace_dispatch config;
    int error;

    if (size != sizeof(config))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &config, data) < 0)
        return -EFAULT;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    error = tracee->mm ? user_dispatch_set_locked(tracee, config.mode, config.start, config.size,
                                                  config.selector)
                       : -ESRCH;
    lock_release(&tracee->process->lock);
    return error;
}

long ptrace_info_request(struct task *task, struct task *tracee, long request, uaddr_t addr,
                         uaddr_t data)
{
    switch (request) {
    case PTRACE_GETEVENTMSG:
        return get_message(task, tracee, data);
    case PTRACE_GETSIGINFO:
        return get_siginfo(task, tracee, data);
    case PTRACE_SETSIGINFO:
        return set_siginfo(task, tracee, data);
    case PTRACE_PEEKSIGINFO:
        return peek_siginfo(task, tracee, addr, data);
    case PTRACE_GETSIGMASK:
        return get_mask(task, tracee, addr, data);
    case PTRACE_SETSIGMASK:
        return set_mask(task, tracee, addr, data);
    case PTRACE_GET_SYSCALL_INFO:
        return get_syscall_info(task, tracee, addr, data);
    case PTRACE_SECCOMP_GET_FILTER:
        return ptrace_get_filter(task, tracee, addr, data);
    case PTRACE_SECCOMP_GET_METADATA:
        return ptrace_get_filter_metadata(task, tracee, addr, data);
    case LINUX_PTRACE_GET_RSEQ:
        return get_rseq(task, tracee, addr, data);
    case LINUX_PTRACE_GET_DISPATCH:
        return get_dispatch(task, tracee, addr, data);
    case LINUX_PTRACE_SET_DISPATCH:
        return set_dispatch(task, tracee, addr, data);
    case LINUX_PTRACE_SET_SYSCALL_INFO:
        return set_syscall_info(task, tracee, addr, data);
    default:
        return -ENOTSUP;
    }
}
