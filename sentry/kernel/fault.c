#include "sentry/kernel/fault.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"

#define VSYSCALL_START 0xffffffffff600000UL
#define VSYSCALL_STEP  1024
#define PF_USER        4 /* page-fault error code: the access came from ring 3 */

/* The call behind each entry of the vsyscall page, which old static programs jump to. */
static const uint32_t vsyscalls[] = {SYS_gettimeofday, SYS_time, SYS_getcpu};

/* seccomp(2) looks at these calls as well; a filter's own answer is then in rax. */
static bool filtered_away(struct task *task, uint32_t nr)
{
    bool allowed;

    if (likely(!(task->syscall_work & SYSCALL_WORK_SECCOMP)))
        return false;
    task->syscall_nr = nr;
    task->ctx->regs.rax = (uint64_t)-ENOSYS;
    allowed = seccomp_allows(task);
    task->syscall_nr = -1UL;
    return !allowed;
}

/*
 * Nothing is mapped at the vsyscall page: a call into it faults, and is served here as Linux's
 * vsyscall=xonly does (arch/x86/entry/vsyscall/vsyscall_64.c). True when it was one.
 */
static bool vsyscall_emulate(struct task *task, const struct trap_info *info)
{
    struct cpu_regs *regs = &task->ctx->regs;
    uint64_t entry = (info->addr - VSYSCALL_START) / VSYSCALL_STEP;
    const uint64_t args[6] = {regs->rdi, regs->rsi};
    const struct syscall_entry *call;
    uint64_t caller;
    long result;

    if (info->addr < VSYSCALL_START || info->addr != regs->rip || info->addr % VSYSCALL_STEP != 0 ||
        entry >= ARRAY_COUNT(vsyscalls) || vsyscalls[entry] >= task->kernel->table->count)
        return false;
    call = &task->kernel->table->entries[vsyscalls[entry]];
    if (!call->handler || copy_struct_from_user(task->mm, &caller, regs->rsp) < 0)
        return false;
    /* getcpu(2) has a third argument that the vsyscall lacks. */
    if (filtered_away(task, vsyscalls[entry])) {
        result = (long)regs->rax;
    } else {
        result = call->handler(task, args);
        if (result == -EFAULT)
            return false;
    }
    regs->rax = (uint64_t)result;
    regs->rip = caller;
    regs->rsp += sizeof(caller);
    return true;
}

void fault_handle(struct task *task, const struct trap_info *info)
{
    int signo = SIGSEGV, code = SEGV_MAPERR;
    int error = mm_fault(task->mm, info->addr, info->access, &signo, &code);

    if (unlikely(task->trace.watching))
        ptrace_watch_fault(task, info->addr, info->access == ACCESS_EXEC);
    if (likely(error == 0))
        return;
    if (error == -ENOMEM) {
        log_error("out of memory: killing process %d (%s)", task->process->pid, task->comm);
        kmsg_printf(LOG_ERR, "memory: all of it is gone; %s (pid %d) goes after it", task->comm,
                    task->process->pid);
        process_group_exit(task->process, SIGKILL);
        return;
    }
    if (vsyscall_emulate(task, info))
        return;
    task->fault_vector = VECTOR_PF;
    task->fault_error = info->error_code | PF_USER;
    task->fault_addr = info->addr;
    signal_fault(task, signo, code, info->addr);
}
