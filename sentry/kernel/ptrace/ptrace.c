/* Who traces whom, and the tracer's side: attaching, letting go on, letting go. */
#include "sentry/kernel/ptrace/ptrace.h"

#include <errno.h>

#include "abi/ptrace.h"
#include "host/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/tree.h"
#include "sentry/vfs/landlock/landlock.h"

/* A request to the tracee's thread; lives on the tracer's stack. */
struct trace_remote {
    void (*fn)(struct task *task, void *arg);
    void *arg;
    int result;
    uint32_t done; /* host futex */
};

void trace_init(struct trace *trace)
{
    list_init(&trace->node);
    list_init(&trace->tracees);
}

void ptrace_poke(struct task *task)
{
    __atomic_add_fetch(&task->trace.word, 1, __ATOMIC_RELEASE);
    host_futex_wake(&task->trace.word, 1);
}

/* Its debugger is to see what the program is made of. */
static void leave_text_alone(struct task *task)
{
    struct mm *mm;

    lock_acquire(&task->process->lock);
    mm = task->trace.tracer && task->mm ? mm_ref(task->mm) : NULL;
    lock_release(&task->process->lock);
    if (mm)
        mm_call_sites_off(mm);
    mm_unref(mm);
}

static void link_locked(struct task *tracer, struct task *task, bool seized, uint32_t options)
{
    task->trace.tracer = tracer;
    task->trace.seized = seized;
    task->trace.options = options;
    list_add_tail(&tracer->trace.tracees, &task->trace.node);
}

/* A process that is stopped already shows its tracer that stop. */
static void show_stop_locked(struct task *task)
{
    struct process *process = task->process;

    if (!process->stopped)
        return;
    if (task->trace.seized)
        task->trace.trap_due = true;
    else
        task->trace.stop_due = true;
    process_poke(process);
}

static int attach_locked(struct task *tracer, struct task *task, bool seize, uint32_t options)
{
    if (task->dead || task->trace.tracer || tracer->dead)
        return -EPERM;
    link_locked(tracer, task, seize, options);
    task_leave_fastpath_locked(task);
    show_stop_locked(task);
    if (!seize)
        signal_send_task_locked(task, SIGSTOP, NULL);
    return 0;
}

/* What has stopped already is a tracee at rest when attaching returns: Linux JOBCTL_TRAPPING. */
static void await_stop(struct task *tracer, struct task *task)
{
    struct wait_queue *queue = &tracer->process->child_events;
    struct process *process = task->process;
    struct wait_entry entry;
    bool done = false;

    wait_entry_init(&entry, &tracer->waiter, 0);
    wait_queue_add(queue, &entry);
    while (!done) {
        lock_acquire(&process->lock);
        done =
            task->trace.stopped || task->dead || task->trace.tracer != tracer || !process->stopped;
        lock_release(&process->lock);
        if (!done && task_block(tracer, TIME_NEVER) < 0)
            break;
    }
    wait_queue_remove(queue, &entry);
}

int ptrace_attach(struct task *tracer, struct task *task, bool seize, uint32_t options)
{
    bool at_rest;
    int error;

    if (tracer->process == task->process)
        return -EPERM;
    error = ptrace_may_access(tracer, task, PTRACE_ATTACH_REALCREDS);
    if (error < 0)
        return error;
    lock_acquire(&tracer->kernel->lock);
    lock_acquire(&task->process->lock);
    at_rest = task->process->stopped && task->parked;
    error = attach_locked(tracer, task, seize, options);
    lock_release(&task->process->lock);
    lock_release(&tracer->kernel->lock);
    if (error == 0)
        leave_text_alone(task);
    if (error == 0 && at_rest)
        await_stop(tracer, task);
    return error;
}

/* The thread that made this process, or the one that stands for it. */
static struct task *parent_task_locked(struct process *process)
{
    struct process *parent = process->parent;
    struct task *maker = process->kernel->pids[process->maker_tid];

    if (!parent || parent->zombie)
        return NULL;
    if (maker && maker->process == parent && !maker->dead)
        return maker;
    return parent->leader;
}

/* Landlock: a tracer must not be held by rules that do not hold the tracee. */
static bool rules_permit(struct task *tracer, struct task *task)
{
    const struct cred *cred = task_get_cred(tracer);
    bool good = landlock_contains(cred->landlock, task->cred->landlock);

    cred_unref(cred);
    return good;
}

int ptrace_traceme(struct task *task)
{
    struct process *process = task->process;
    struct task *parent;
    int error = -EPERM;

    lock_acquire(&task->kernel->lock);
    parent = parent_task_locked(process);
    if (parent && !rules_permit(parent, task))
        parent = NULL;
    lock_acquire(&process->lock);
    if (!task->trace.tracer && parent && !parent->dead) {
        link_locked(parent, task, false, 0);
        error = 0;
    }
    lock_release(&process->lock);
    lock_release(&task->kernel->lock);
    if (error == 0) {
        leave_text_alone(task);
        task_update_fastpath(task);
    }
    return error;
}

void ptrace_inherit(struct task *parent, struct task *child)
{
    const siginfo_t info = {.si_signo = SIGSTOP, .si_code = SI_USER};
    struct trace *from = &parent->trace;

    lock_acquire(&parent->kernel->lock);
    if (from->tracer) {
        lock_acquire(&child->process->lock);
        link_locked(from->tracer, child, from->seized, from->options);
        if (from->seized) {
            child->trace.trap_due = true;
            task_kick_locked(child, TASK_WORK_STOP);
        } else {
            signal_send_task_locked(child, SIGSTOP, &info);
        }
        lock_release(&child->process->lock);
    }
    lock_release(&parent->kernel->lock);
    leave_text_alone(child);
}

int ptrace_hold(struct task *tracer, struct task *task) __no_lock_analysis
{
    struct trace *trace = &task->trace;

    lock_acquire(&task->process->lock);
    if (trace->tracer == tracer && trace->stopped && !trace->listening && task->ctx)
        return 0;
    lock_release(&task->process->lock);
    return -ESRCH;
}

/* Out of the stop, whatever it was. */
static void wake_locked(struct task *task)
{
    task->trace.stopped = false;
    task->trace.listening = false;
    task->trace.code = 0;
    ptrace_poke(task);
}

/* On the tracer's own thread, which alone may look at its identity without a lock. */
static void note_sender_locked(struct task *task)
{
    const struct task *tracer = task->trace.tracer;

    if (!tracer || tracer != task_current())
        return;
    task->trace.inject_pid = tracer->process->pid;
    task->trace.inject_uid = tracer->cred->uid;
}

void ptrace_resume_locked(struct task *task, uint32_t work, int signo)
{
    const uint32_t ours = SYSCALL_WORK_TRACE | SYSCALL_WORK_EMU | SYSCALL_WORK_STEP;

    __atomic_fetch_and(&task->syscall_work, ~ours, __ATOMIC_RELAXED);
    __atomic_fetch_or(&task->syscall_work, work, __ATOMIC_RELAXED);
    task->trace.step = work & SYSCALL_WORK_STEP;
    task->trace.inject = signo;
    note_sender_locked(task);
    wake_locked(task);
}

/* Both locks held. */
static void unlink_both_locked(struct task *task)
{
    struct trace *trace = &task->trace;

    note_sender_locked(task);
    list_del_init(&trace->node);
    trace->tracer = NULL;
    trace->seized = false;
    trace->options = 0;
    trace->trap_due = trace->stop_due = false;
    if (trace->stopped)
        ptrace_resume_locked(task, 0, trace->inject);
    else
        __atomic_fetch_and(&task->syscall_work, SYSCALL_WORK_SECCOMP | SYSCALL_WORK_DISPATCH,
                           __ATOMIC_RELAXED);
    trace->step = false;
    trace->watching = false;
    /* Of a group-stop that goes on it has to become part again. */
    if (task->process->stopped && !task->dead)
        task_kick_locked(task, TASK_WORK_STOP);
}

void ptrace_unlink_locked(struct task *task)
{
    if (!task->trace.tracer)
        return;
    lock_acquire(&task->process->lock);
    unlink_both_locked(task);
    lock_release(&task->process->lock);
}

int ptrace_detach(struct task *tracer, struct task *task, int signo)
{
    int error;

    lock_acquire(&tracer->kernel->lock);
    error = ptrace_hold(tracer, task);
    if (error == 0) {
        task->trace.inject = signo;
        unlink_both_locked(task);
        lock_release(&task->process->lock);
    }
    lock_release(&tracer->kernel->lock);
    return error;
}

int ptrace_interrupt(struct task *tracer, struct task *task)
{
    struct trace *trace = &task->trace;
    int error = -ESRCH;

    lock_acquire(&task->process->lock);
    if (trace->tracer == tracer && !task->dead)
        error = trace->seized ? 0 : -EIO;
    if (error == 0) {
        trace->trap_due = true;
        if (trace->listening)
            wake_locked(task);
        task_kick_locked(task, TASK_WORK_STOP);
    }
    lock_release(&task->process->lock);
    return error;
}

int ptrace_listen(struct task *tracer, struct task *task)
{
    struct trace *trace = &task->trace;
    int error = ptrace_hold(tracer, task);

    if (error < 0)
        return error;
    if (!trace->seized || trace->event != PTRACE_EVENT_STOP) {
        error = -EIO;
    } else {
        trace->listening = true;
        if (trace->trap_due) /* something has happened since */
            wake_locked(task);
    }
    lock_release(&task->process->lock);
    return error;
}

int ptrace_on_tracee(struct task *tracer, struct task *task,
                     void (*fn)(struct task *task, void *arg), void *arg)
{
    struct trace_remote remote = {.fn = fn, .arg = arg};
    int error = ptrace_hold(tracer, task);

    if (error < 0)
        return error;
    task->trace.remote = &remote;
    ptrace_poke(task);
    lock_release(&task->process->lock);
    while (!__atomic_load_n(&remote.done, __ATOMIC_ACQUIRE))
        host_futex_wait(&remote.done, 0, HOST_NEVER);
    return remote.result;
}

void ptrace_serve_remote_locked(struct task *task, bool refuse)
{
    struct trace_remote *remote = task->trace.remote;

    if (!remote)
        return;
    task->trace.remote = NULL;
    if (refuse)
        remote->result = -ESRCH;
    else
        remote->fn(task, remote->arg);
    /* Nothing of it may be touched after `done`: waking a word that is gone is harmless. */
    __atomic_store_n(&remote->done, 1, __ATOMIC_RELEASE);
    host_futex_wake(&remote->done, 1);
}

/* A tracee that ended while it was traced, and whose tracer will not ask any more. */
static void give_back_zombie_locked(struct task *task)
{
    struct process *process = task->process;

    if (task->trace.zombie) {
        task->trace.zombie = false;
        pid_free_locked(task->kernel, task);
    } else if (process->zombie && !process->reaped && process->leader == task) {
        tree_settle_zombie_locked(process);
    }
}

void ptrace_tracer_ended_locked(struct task *tracer)
{
    struct task *task, *next;

    list_for_each_safe (task, next, &tracer->trace.tracees, trace.node) {
        bool elsewhere = ptrace_keeps_from_parent(task->process);

        if (task->trace.options & PTRACE_O_EXITKILL)
            signal_send_task(task, SIGKILL, NULL);
        ptrace_unlink_locked(task);
        if (task->trace.zombie || elsewhere)
            give_back_zombie_locked(task);
    }
}

int32_t ptrace_tracer_tid(struct task *task)
{
    int32_t tid;

    lock_acquire(&task->process->lock);
    tid = task->trace.tracer ? task->trace.tracer->tid : 0;
    lock_release(&task->process->lock);
    return tid;
}
