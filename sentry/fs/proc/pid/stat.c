/* /proc/PID/stat, statm and syscall: numbers in a row. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/fs/proc/view.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/ns/timens.h"

#define NS_PER_TICK 10000000UL /* of 1/100 s */

/* Linux's PF_*, of which these mean something to the world outside. */
enum {
    FLAG_EXITING = 0x4,
    FLAG_FORKNOEXEC = 0x40, /* has not called execve(2) */
    FLAG_RANDOMIZE = 0x400000,
};

/* task_prio(): real-time tasks are below zero, the others are around 20. */
static int shown_priority(const struct task_sched *sched)
{
    if (sched->policy == LINUX_SCHED_DEADLINE)
        return -101;
    if (sched->policy == SCHED_FIFO || sched->policy == SCHED_RR)
        return -1 - sched->priority;
    return 20 + sched->nice;
}

static unsigned shown_flags(struct task *task)
{
    unsigned flags = task->personality & ADDR_NO_RANDOMIZE ? 0 : FLAG_RANDOMIZE;

    if (!task->process->has_execed && task->process->parent)
        flags |= FLAG_FORKNOEXEC;
    return flags | (task_state(task) == 'Z' ? FLAG_EXITING : 0);
}

/* What the Sentry adopts, or has started itself, would tell by SIGCHLD: reparent_leader(). */
static int shown_exit_signal(struct task *task)
{
    if (task->process->leader != task)
        return -1;
    return task->process->parent ? task->process->exit_signal : SIGCHLD;
}

/* Fields 23 to 52 of proc(5), the numbers that tell where in memory things are among them. */
static void stat_tail(struct proc_text *text, struct task *task, const struct task_view *v)
{
    bool may = ptrace_may_access(task_current(), task, PTRACE_READ_FSCREDS) == 0;
    struct mm *mm = task_get_mm(task);
    struct mm_layout l = {0};
    struct process *process = task->process;
    struct mm_stats s = {0};

    if (mm)
        mm_get_stats(mm, &s);
    if (mm && may)
        mm_get_layout(mm, &l);
    proc_printf(text, "%lu %lu %lu %lu %lu %lu 0 0 ", s.total, s.resident / PAGE_SIZE,
                v->limits[RLIMIT_RSS].rlim_cur, mm && !may ? 1 : l.code_start,
                mm && !may ? 1 : l.code_end, l.stack_start);
    /* Signals as this file has them: the first 31 (proc(5) says to use status instead). */
    proc_printf(text, "%lu %lu %lu %lu %d 0 0 ", v->own_pending & 0x7fffffff,
                v->blocked & 0x7fffffff, v->ignored & 0x7fffffff, v->caught & 0x7fffffff,
                may && task_shown_state(task) != 'R');
    proc_printf(text, "%d %d %d %d 0 0 0 ", shown_exit_signal(task), MAX(task->rseq_number, 0),
                v->sched.policy ? v->sched.priority : 0, v->sched.policy);
    proc_printf(text, "%lu %lu %lu %lu %lu %lu %lu %d\n", l.data_start, l.data_end, l.brk_start,
                l.arg_start, l.arg_end, l.env_start, l.env_end,
                may && task_state(task) == 'Z' ? process->exit_status : 0);
    mm_unref(mm);
}

ssize_t proc_stat_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(tid);
    struct process *process;
    struct task_view v;
    const struct usage *own = &v.usage, *children;
    int32_t foreground;
    uint32_t tty;

    if (!task)
        return -ESRCH;
    process = task->process;
    task_view_take(task, &v);
    if (process->leader == task)
        process_usage(process, &v.usage);
    children = &process->children_usage;
    proc_printf(&text, "%d (%.15s) %c %d %d %d ", proc_shown(tid, task->tid), v.comm,
                task_shown_state(task), proc_shown(tid, process->parent_pid),
                proc_shown(tid, process->pgid), proc_shown(tid, process->sid));
    /* tty_nr tpgid flags, faults, times */
    ctty_describe(process, &tty, &foreground);
    proc_printf(&text, "%u %d ", tty, foreground > 0 ? proc_shown(tid, foreground) : foreground);
    proc_printf(&text, "%u %lu %lu %lu %lu %lu %lu %lu %lu ", shown_flags(task), own->minor_faults,
                children->minor_faults, own->major_faults, children->major_faults,
                own->user_ns / NS_PER_TICK, own->system_ns / NS_PER_TICK,
                children->user_ns / NS_PER_TICK, children->system_ns / NS_PER_TICK);
    proc_printf(&text, "%d %d %u 0 %lu ", shown_priority(&v.sched), v.sched.nice, v.threads,
                time_shown(task_current(), CLOCK_BOOTTIME, task->start_ns - task->kernel->boot_ns) /
                    NS_PER_TICK);
    stat_tail(&text, task, &v);
    task_unref(task);
    return (ssize_t)text.length;
}

ssize_t proc_statm_text(uint64_t tid, char *buf, size_t size)
{
    struct task *task = proc_find_task(tid);
    struct mm *mm = task ? task_get_mm(task) : NULL;
    struct mm_layout l = {0};
    struct mm_resident r = {0};
    struct mm_stats s = {0};

    if (!task)
        return -ESRCH;
    if (mm) {
        mm_get_stats(mm, &s);
        mm_get_resident(mm, &r);
        mm_get_layout(mm, &l);
    }
    mm_unref(mm);
    task_unref(task);
    return snprintf(buf, size, "%lu %lu %lu %lu 0 %lu 0\n", s.total / PAGE_SIZE,
                    s.resident / PAGE_SIZE, (r.file + r.memory) / PAGE_SIZE,
                    (round_up(l.code_end, PAGE_SIZE) - round_down(l.code_start, PAGE_SIZE)) /
                        PAGE_SIZE,
                    (s.data + s.stack) / PAGE_SIZE);
}

/* The call that a sleeping task is in: number, arguments, stack and instruction pointer. */
ssize_t proc_syscall_text(uint64_t tid, char *buf, size_t size)
{
    struct task *task = proc_find_task(tid);
    struct cpu_regs regs = {0};
    bool running, in_call;
    uint64_t nr;

    if (!task)
        return -ESRCH;
    if (ptrace_may_access(task_current(), task, PTRACE_ATTACH_FSCREDS) < 0) {
        task_unref(task);
        return -EPERM;
    }
    running = task_shown_state(task) == 'R';
    lock_acquire(&task->process->lock);
    if (task->ctx)
        regs = task->ctx->regs; /* of a task that sleeps: nobody changes them */
    in_call = task->in_syscall;
    nr = task->syscall_nr;
    lock_release(&task->process->lock);
    task_unref(task);
    if (running)
        return snprintf(buf, size, "running\n");
    if (!in_call)
        return snprintf(buf, size, "-1 0x%lx 0x%lx\n", regs.rsp, regs.rip);
    return snprintf(buf, size, "%ld 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx\n", (long)nr,
                    regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9, regs.rsp, regs.rip);
}
