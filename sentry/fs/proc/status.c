/* /proc/PID/status, stat and their like: what ps(1), strace(1) and gdb(1) read about a task. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/timens.h"
#include "sentry/kernel/ptrace.h"
#include "sentry/kernel/signal.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/fs_context.h"

#define NS_PER_TICK 10000000UL /* of 1/100 s */
#define PRIORITY_0  20

/* What is under the process's lock, at one moment. */
struct view {
    uint32_t threads;
    uint64_t own_pending, shared_pending, blocked, ignored, caught;
    uint64_t rss_limit, rip, rsp;
    struct usage usage; /* of the thread */
    struct task_sched sched;
    struct rlimit64 limits[RLIM_NLIMITS];
    char comm[16];
    int seccomp_mode;
    uint32_t seccomp_filters;
};

static void take_view(struct task *task, struct view *ret)
{
    struct process *process = task->process;
    struct sighand *sighand;

    *ret = (struct view){0};
    lock_acquire(&process->lock);
    ret->threads = process->thread_count;
    ret->own_pending = task->pending.set;
    ret->shared_pending = process->pending.set;
    ret->blocked = task->blocked;
    ret->sched = task->sched;
    task_usage_locked(task, &ret->usage);
    memcpy(ret->limits, process->limits, sizeof(ret->limits));
    memcpy(ret->comm, task->comm, sizeof(ret->comm));
    ret->seccomp_mode = task->seccomp.mode;
    ret->seccomp_filters = seccomp_filter_count(task);
    sighand = process->sighand;
    lock_acquire(&sighand->lock);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uaddr_t handler = sighand->actions[i].handler;

        if (handler == (uaddr_t)SIG_IGN)
            ret->ignored |= 1UL << i;
        else if (handler != (uaddr_t)SIG_DFL)
            ret->caught |= 1UL << i;
    }
    lock_release(&sighand->lock);
    lock_release(&process->lock);
}

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "R (running)";
    case 'T':
        return "T (stopped)";
    case 't':
        return "t (tracing stop)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "S (sleeping)";
    }
}

static char shown_state(struct task *task)
{
    return task == task_current() ? 'R' : task_state(task);
}

static void status_ids(struct proc_text *text, uint64_t key, struct task *task)
{
    const struct cred *cred = task_get_cred(task), *viewer = task_current()->cred;
    struct fdtable *files = task_get_files(task);
    struct process *process = task->process;

    proc_printf(text, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n", proc_shown(key, process->pid),
                proc_shown(key, task->tid), proc_shown(key, process->parent_pid));
    proc_printf(text, "TracerPid:\t%d\n", proc_shown(key, ptrace_tracer_tid(task)));
    proc_printf(text, "Uid:\t%u\t%u\t%u\t%u\n", cred_shown_uid(viewer, cred->uid),
                cred_shown_uid(viewer, cred->euid), cred_shown_uid(viewer, cred->suid),
                cred_shown_uid(viewer, cred->fsuid));
    proc_printf(text, "Gid:\t%u\t%u\t%u\t%u\n", cred_shown_gid(viewer, cred->gid),
                cred_shown_gid(viewer, cred->egid), cred_shown_gid(viewer, cred->sgid),
                cred_shown_gid(viewer, cred->fsgid));
    proc_printf(text, "FDSize:\t%d\nGroups:\t", files ? fdtable_capacity(files) : 0);
    for (uint32_t i = 0; i < cred->group_count; i++)
        proc_printf(text, "%u ", cred_shown_gid(viewer, cred->groups[i]));
    proc_printf(text, "\nNStgid:");
    proc_print_numbers(text, key, process->pid);
    proc_printf(text, "\nNSpid:");
    proc_print_numbers(text, key, task->tid);
    proc_printf(text, "\nNSpgid:");
    proc_print_numbers(text, key, process->pgid);
    proc_printf(text, "\nNSsid:");
    proc_print_numbers(text, key, process->sid);
    proc_printf(text, "\nKthread:\t0\n");
    fdtable_unref(files);
    cred_unref(cred);
}

static void status_memory(struct proc_text *text, struct mm *mm)
{
    struct mm_stats s;

    mm_get_stats(mm, &s);
    proc_printf(text, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\n", s.peak_total / 1024,
                s.total / 1024, s.locked / 1024);
    proc_printf(text, "VmPin:\t%8lu kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\n", 0UL,
                s.peak_resident / 1024, s.resident / 1024);
    proc_printf(text, "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\n", s.data / 1024,
                s.stack / 1024, s.exec / 1024);
    proc_printf(text, "VmSwap:\t%8lu kB\n", 0UL);
}

static void status_signals(struct proc_text *text, struct task *task, const struct view *v)
{
    const struct cred *cred = task_get_cred(task);

    proc_printf(text, "Threads:\t%u\nSigQ:\t%lu/%lu\n", v->threads,
                user_signals(&task->kernel->users, cred->uid),
                v->limits[RLIMIT_SIGPENDING].rlim_cur);
    proc_printf(text, "SigPnd:\t%016lx\nShdPnd:\t%016lx\n", v->own_pending, v->shared_pending);
    proc_printf(text, "SigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n", v->blocked, v->ignored,
                v->caught);
    proc_printf(text, "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\n", cred->cap_inheritable,
                cred->cap_permitted, cred->cap_effective);
    proc_printf(text, "CapBnd:\t%016lx\nCapAmb:\t%016lx\n", cred->cap_bounding, cred->cap_ambient);
    proc_printf(text, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%u\n",
                task_no_new_privs(task), v->seccomp_mode, v->seccomp_filters);
    cred_unref(cred);
}

ssize_t proc_status_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(tid);
    struct fs_context *fs;
    struct mm *mm;
    struct view v;

    if (!task)
        return -ESRCH;
    take_view(task, &v);
    proc_printf(&text, "Name:\t%.15s\n", v.comm);
    fs = task_get_fs(task);
    if (fs)
        proc_printf(&text, "Umask:\t%04o\n", fs_context_umask(fs));
    fs_context_unref(fs);
    proc_printf(&text, "State:\t%s\n", state_name(shown_state(task)));
    status_ids(&text, tid, task);
    mm = task_get_mm(task);
    if (mm)
        status_memory(&text, mm);
    mm_unref(mm);
    status_signals(&text, task, &v);
    proc_printf(&text, "voluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t%lu\n",
                v.usage.sleeps, v.usage.preemptions);
    task_unref(task);
    return (ssize_t)text.length;
}

/* What only those see who may look into the task: where it is in its memory. */
static struct mm_layout visible_layout(struct task *task, struct mm *mm)
{
    if (!mm || ptrace_may_access(task_current(), task, PTRACE_READ_FSCREDS) < 0)
        return (struct mm_layout){0};
    return *mm_layout(mm);
}

/* Fields 24 to 52 of proc(5), the numbers that tell where in memory things are among them. */
static void stat_tail(struct proc_text *text, struct task *task, const struct view *v)
{
    struct mm *mm = task_get_mm(task);
    struct mm_layout l = visible_layout(task, mm);
    struct mm_stats s = {0};
    bool see = l.stack_start != 0;

    if (mm)
        mm_get_stats(mm, &s);
    proc_printf(text, "%lu %lu %lu %lu %lu %lu 0 0 ", s.total, s.resident / PAGE_SIZE,
                v->limits[RLIMIT_RSS].rlim_cur, mm && !see ? 1 : l.code_start,
                mm && !see ? 1 : l.code_end, l.stack_start);
    /* Signals as this file has them: the first 31 (proc(5) says to use status instead). */
    proc_printf(text, "%lu %lu %lu %lu 0 0 0 ", v->own_pending & 0x7fffffff,
                v->blocked & 0x7fffffff, v->ignored & 0x7fffffff, v->caught & 0x7fffffff);
    proc_printf(text, "%d 0 %d %d 0 0 0 ", task->process->leader == task ? SIGCHLD : -1,
                v->sched.policy ? v->sched.priority : 0, v->sched.policy);
    proc_printf(text, "%lu %lu %lu %lu %lu %lu %lu 0\n", l.data_start, l.data_end, l.brk_start,
                l.arg_start, l.arg_end, l.env_start, l.env_end);
    mm_unref(mm);
}

ssize_t proc_stat_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(tid);
    struct process *process;
    struct view v;
    const struct usage *own = &v.usage, *children;
    int32_t foreground;
    uint32_t tty;

    if (!task)
        return -ESRCH;
    process = task->process;
    take_view(task, &v);
    if (process->leader == task)
        process_usage(process, &v.usage);
    children = &process->children_usage;
    proc_printf(&text, "%d (%.15s) %c %d %d %d ", proc_shown(tid, task->tid), v.comm,
                shown_state(task), proc_shown(tid, process->parent_pid),
                proc_shown(tid, process->pgid), proc_shown(tid, process->sid));
    /* tty_nr tpgid flags, faults, times */
    ctty_describe(process, &tty, &foreground);
    proc_printf(&text, "%u %d ", tty, foreground > 0 ? proc_shown(tid, foreground) : foreground);
    proc_printf(&text, "4194304 %lu %lu %lu %lu %lu %lu %lu %lu ", own->minor_faults,
                children->minor_faults, own->major_faults, children->major_faults,
                own->user_ns / NS_PER_TICK, own->system_ns / NS_PER_TICK,
                children->user_ns / NS_PER_TICK, children->system_ns / NS_PER_TICK);
    proc_printf(&text, "%d %d %u 0 %lu ", PRIORITY_0 + v.sched.nice, v.sched.nice, v.threads,
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
    struct mm_stats s = {0};

    if (!task)
        return -ESRCH;
    if (mm)
        mm_get_stats(mm, &s);
    mm_unref(mm);
    task_unref(task);
    return snprintf(buf, size, "%lu %lu 0 %lu 0 %lu 0\n", s.total / PAGE_SIZE,
                    s.resident / PAGE_SIZE, s.exec / PAGE_SIZE, (s.data + s.stack) / PAGE_SIZE);
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
    running = shown_state(task) == 'R';
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

static const struct {
    const char *name, *unit;
} limit_names[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = {"Max cpu time", "seconds"},
    [RLIMIT_FSIZE] = {"Max file size", "bytes"},
    [RLIMIT_DATA] = {"Max data size", "bytes"},
    [RLIMIT_STACK] = {"Max stack size", "bytes"},
    [RLIMIT_CORE] = {"Max core file size", "bytes"},
    [RLIMIT_RSS] = {"Max resident set", "bytes"},
    [RLIMIT_NPROC] = {"Max processes", "processes"},
    [RLIMIT_NOFILE] = {"Max open files", "files"},
    [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
    [RLIMIT_AS] = {"Max address space", "bytes"},
    [RLIMIT_LOCKS] = {"Max file locks", "locks"},
    [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
    [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
    [RLIMIT_NICE] = {"Max nice priority", NULL},
    [RLIMIT_RTPRIO] = {"Max realtime priority", NULL},
    [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
};

static void put_limit(struct proc_text *text, uint64_t value)
{
    if (value == RLIM64_INFINITY)
        proc_printf(text, "%-20s ", "unlimited");
    else
        proc_printf(text, "%-20lu ", value);
}

ssize_t proc_limits_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(tid);
    struct view v;

    if (!task)
        return -ESRCH;
    take_view(task, &v);
    task_unref(task);
    proc_printf(&text, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        proc_printf(&text, "%-25s ", limit_names[i].name);
        put_limit(&text, v.limits[i].rlim_cur);
        put_limit(&text, v.limits[i].rlim_max);
        if (limit_names[i].unit)
            proc_printf(&text, "%-10s", limit_names[i].unit);
        proc_printf(&text, "\n");
    }
    return (ssize_t)text.length;
}
