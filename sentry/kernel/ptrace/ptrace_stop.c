/*
 * The tracee's side: where it stops, what it tells, how it goes on (ptrace(2), "Stopped states").
 *
 *   signal-delivery-stop   a signal was taken; the tracer may change or drop it
 *   group-stop             not seized: the process stops; no siginfo
 *   PTRACE_EVENT_STOP      seized: the process stops or continues, PTRACE_INTERRUPT, a new task
 *   syscall-stop           before and after a call
 *   event stop             fork, exec, exit...
 */
#include <errno.h>
#include <sched.h>

#include "abi/ptrace.h"
#include "host/futex.h"
#include "sentry/kernel/clone.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"

#define SYSGOOD 0x80 /* PTRACE_O_TRACESYSGOOD marks the signal of syscall-stops */

/* SIGCHLD, unless the tracer does not want to know of stops; and whoever waits looks again. */
static void tell_tracer(struct task *task, int code, int cld)
{
    struct kernel *kernel = task->kernel;
    siginfo_t info = {.si_signo = SIGCHLD, .si_code = cld};
    struct sighand *sighand;
    struct process *to;
    bool silent;

    info.si_pid = task->tid;
    info.si_uid = task->cred->uid;
    info.si_status = code & 0x7f;
    lock_acquire(&kernel->lock);
    if (task->trace.tracer) {
        to = task->trace.tracer->process;
        sighand = to->sighand;
        lock_acquire(&sighand->lock);
        silent = sighand->actions[SIGCHLD - 1].handler == (uaddr_t)SIG_IGN ||
                 (sighand->actions[SIGCHLD - 1].flags & SA_NOCLDSTOP);
        lock_release(&sighand->lock);
        if (!silent)
            signal_send_process(to, SIGCHLD, &info);
        wait_queue_wake(&to->child_events, 0);
    }
    lock_release(&kernel->lock);
}

/* The trap flag as the tracer wants it, without the program seeing it. */
void ptrace_apply_step(struct task *task)
{
    uint64_t *flags = &task->ctx->regs.rflags;
    struct trace *trace = &task->trace;
    bool stepping = trace->step || trace->watching;

    if (stepping && !(*flags & RFLAGS_TF)) {
        *flags |= RFLAGS_TF;
        trace->forced_tf = true;
    } else if (!stepping && trace->forced_tf) {
        *flags &= ~RFLAGS_TF;
        trace->forced_tf = false;
    }
}

bool ptrace_end_step(struct task *task)
{
    bool stepping = task->trace.step;

    if (task->trace.forced_tf) {
        task->ctx->regs.rflags &= ~RFLAGS_TF;
        task->trace.forced_tf = false;
    }
    return stepping;
}

static void sleep_locked(struct task *task, bool leaving)
{
    struct process *process = task->process;
    struct trace *trace = &task->trace;

    while (trace->stopped && !(leaving ? trace->killed : task_is_leaving_locked(task))) {
        uint32_t word = __atomic_load_n(&trace->word, __ATOMIC_ACQUIRE);

        if (trace->remote) {
            ptrace_serve_remote_locked(task, false);
            continue;
        }
        lock_release(&process->lock);
        usage_enter(&task->times, MODE_ASLEEP);
        host_futex_wait(&trace->word, word, HOST_NEVER);
        usage_enter(&task->times, MODE_SYSTEM);
        cpu_timers_wake(process);
        lock_acquire(&process->lock);
    }
    ptrace_serve_remote_locked(task, true);
    trace->stopped = trace->listening = false;
    trace->code = 0;
}

/*
 * Stops, with process->lock held before and after but not meanwhile. The signal that the tracer
 * continued with; `code`'s own where nobody traces, or the task has to leave.
 */
static int stop_locked(struct task *task, int code, int cld, const siginfo_t *info,
                       uint64_t message, bool leaving)
{
    struct process *process = task->process;
    struct trace *trace = &task->trace;

    if (!trace->tracer || (!leaving && task_is_leaving_locked(task)))
        return code & 0x7f;
    trace->code = code;
    trace->event = code >> 8;
    trace->has_info = info != NULL;
    if (info)
        trace->info = *info;
    trace->message = message;
    trace->inject = 0;
    trace->bases_changed = false;
    task->ctx->ops->ctx_get_bases(task->ctx, &trace->fs_base, &trace->gs_base);
    trace->stopped = true;
    lock_release(&process->lock);
    tell_tracer(task, code, cld);
    lock_acquire(&process->lock);
    sleep_locked(task, leaving);
    if (trace->bases_changed)
        task->ctx->ops->ctx_set_bases(task->ctx, trace->fs_base, trace->gs_base);
    ptrace_apply_step(task);
    task_update_fastpath(task);
    return trace->inject;
}

/* A stop with the siginfo that Linux's ptrace_notify() makes up. */
static int notify_locked(struct task *task, int code, int cld, uint64_t message, bool leaving)
{
    siginfo_t info = {.si_signo = SIGTRAP, .si_code = code};

    info.si_signo = code & 0x7f;
    info.si_pid = task->vtid;
    info.si_uid = cred_shown_uid(task->cred, task->cred->uid);
    return stop_locked(task, code, cld, &info, message, leaving);
}

static int notify(struct task *task, int code, uint64_t message)
{
    int signo;

    lock_acquire(&task->process->lock);
    signo = task->trace.tracer ? notify_locked(task, code, CLD_TRAPPED, message, false) : 0;
    lock_release(&task->process->lock);
    return signo;
}

/* ---- events ------------------------------------------------------------------------------- */

bool ptrace_wants_event(struct task *task, int event)
{
    bool wanted;

    lock_acquire(&task->process->lock);
    wanted = task->trace.tracer && (task->trace.options & 1U << event);
    lock_release(&task->process->lock);
    return wanted;
}

void ptrace_event(struct task *task, int event, uint64_t message)
{
    if (unlikely(task->trace.tracer) && ptrace_wants_event(task, event))
        notify(task, SIGTRAP | event << 8, message);
}

/* About a task, whose number the tracer is told as it has it. */
void ptrace_event_task(struct task *task, int event, int32_t tid)
{
    struct task *tracer;
    uint64_t number = 0;

    if (likely(!task->trace.tracer))
        return;
    lock_acquire(&task->process->lock);
    tracer = task->trace.tracer;
    if (tracer)
        number = (uint64_t)task_shown_pid(tracer, tid);
    lock_release(&task->process->lock);
    ptrace_event(task, event, number);
}

void ptrace_exit_event(struct task *task, int status)
{
    if (likely(!task->trace.tracer) || !ptrace_wants_event(task, PTRACE_EVENT_EXIT))
        return;
    lock_acquire(&task->process->lock);
    notify_locked(task, SIGTRAP | PTRACE_EVENT_EXIT << 8, CLD_TRAPPED, (uint64_t)status, true);
    lock_release(&task->process->lock);
}

void ptrace_execed(struct task *task, int32_t old_tid)
{
    siginfo_t info = {.si_signo = SIGTRAP, .si_code = SI_USER};
    bool seized;

    if (likely(!task->trace.tracer))
        return;
    if (ptrace_wants_event(task, PTRACE_EVENT_EXEC)) {
        ptrace_event_task(task, PTRACE_EVENT_EXEC, old_tid);
        return;
    }
    info.si_pid = task->process->pid;
    info.si_uid = task->cred->uid;
    lock_acquire(&task->process->lock);
    seized = task->trace.seized;
    if (task->trace.tracer && !seized)
        signal_send_task_locked(task, SIGTRAP, &info);
    lock_release(&task->process->lock);
}

int ptrace_clone_event(struct task *parent, const struct clone_request *request)
{
    int event = PTRACE_EVENT_FORK;

    if (likely(!parent->trace.tracer) || (request->flags & CLONE_UNTRACED))
        return 0;
    if (request->flags & CLONE_VFORK)
        event = PTRACE_EVENT_VFORK;
    else if (request->exit_signal != SIGCHLD)
        event = PTRACE_EVENT_CLONE;
    return ptrace_wants_event(parent, event) ? event : 0;
}

/* ---- calls -------------------------------------------------------------------------------- */

/* False: the task has to leave. */
static bool report_call(struct task *task, uint64_t message)
{
    struct process *process = task->process;
    siginfo_t info = {.si_code = SI_USER};
    bool goes_on;
    int signo, code = SIGTRAP;

    lock_acquire(&process->lock);
    if (task->trace.options & PTRACE_O_TRACESYSGOOD)
        code |= SYSGOOD;
    signo = task->trace.tracer ? notify_locked(task, code, CLD_TRAPPED, message, false) : 0;
    goes_on = !task_is_leaving_locked(task);
    if (goes_on && signo) {
        info.si_signo = signo;
        info.si_pid = process->pid;
        info.si_uid = task->cred->uid;
        signal_send_task_locked(task, signo, &info);
    }
    lock_release(&process->lock);
    return goes_on;
}

bool ptrace_syscall_enter(struct task *task)
{
    bool emulated = task->syscall_work & SYSCALL_WORK_EMU;

    return report_call(task, LINUX_PTRACE_EVENTMSG_ENTRY) && !emulated;
}

void ptrace_syscall_exit(struct task *task)
{
    uint32_t work = task->syscall_work;
    uaddr_t rip = task->ctx->regs.rip;

    if (work & SYSCALL_WORK_TRACE)
        report_call(task, LINUX_PTRACE_EVENTMSG_EXIT);
    else if ((work & SYSCALL_WORK_STEP) && !(work & SYSCALL_WORK_EMU))
        signal_fault(task, SIGTRAP, TRAP_BRKPT, rip);
}

/* ---- signals ------------------------------------------------------------------------------ */

void ptrace_handler_entered(struct task *task, bool stepping)
{
    if (stepping)
        notify(task, SIGTRAP, 0);
}

int ptrace_signal_locked(struct task *task, siginfo_t *info)
{
    struct trace *trace = &task->trace;
    int signo;

    trace->continued = false;
    signo = stop_locked(task, info->si_signo, CLD_TRAPPED, info, 0, false);
    if (!signo || task_is_leaving_locked(task))
        return 0;
    *info = trace->info;
    if (signo != info->si_signo) {
        *info = (siginfo_t){.si_signo = signo, .si_code = SI_USER};
        info->si_pid = trace->inject_pid;
        info->si_uid = trace->inject_uid;
    }
    if (task->blocked & SIGNAL_BIT(signo)) {
        signal_send_task_locked(task, signo, info);
        return 0;
    }
    if (signo == SIGKILL)
        process_group_exit_locked(task->process, SIGKILL);
    /* A stop that SIGCONT has overtaken does not happen. */
    return signo == SIGKILL || (trace->continued && (SIGNAL_BIT(signo) & SIGNALS_STOP)) ? 0 : signo;
}

bool ptrace_report_stop_locked(struct task *task)
{
    struct process *process = task->process;
    struct trace *trace = &task->trace;
    int signo = process->stopped ? process->stop_signo : SIGTRAP;

    if (!trace->tracer || (!trace->trap_due && !trace->stop_due))
        return false;
    trace->trap_due = trace->stop_due = false;
    if (trace->seized)
        notify_locked(task, signo | PTRACE_EVENT_STOP << 8, CLD_STOPPED, 0, false);
    else if (process->stopped)
        stop_locked(task, signo, CLD_STOPPED, NULL, 0, false);
    return true;
}

void ptrace_group_stops_locked(struct process *process)
{
    struct task *task;

    list_for_each (task, &process->threads, process_node) {
        struct trace *trace = &task->trace;

        if (!trace->tracer)
            continue;
        trace->stop_due = !trace->seized;
        trace->trap_due |= trace->seized;
        if (trace->listening) {
            trace->stopped = false;
            ptrace_poke(task);
        }
    }
}

void ptrace_kill_again_locked(struct process *process)
{
    struct task *task;

    list_for_each (task, &process->threads, process_node) {
        task->trace.killed = true;
        ptrace_poke(task);
    }
}

void ptrace_group_continues_locked(struct process *process)
{
    struct task *task;

    list_for_each (task, &process->threads, process_node) {
        struct trace *trace = &task->trace;

        if (!trace->tracer)
            continue;
        trace->continued = true;
        trace->stop_due = false;
        if (!trace->seized)
            continue;
        trace->trap_due = true;
        if (trace->listening) {
            trace->stopped = false;
            ptrace_poke(task);
        }
        task_kick_locked(task, TASK_WORK_STOP);
    }
}
