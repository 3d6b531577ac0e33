/* What wait(2) tells a tracer: stops of its tracees, and the end of threads and strangers. */
#include <errno.h>
#include <sys/wait.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/tree.h"
#include "sentry/kernel/wait.h"

bool ptrace_keeps_from_parent(const struct process *process)
{
    const struct task *leader = process->leader;

    return leader && leader->trace.tracer && leader->trace.tracer->process != process->parent;
}

static int end_code(int status)
{
    if (status & 0x7f)
        return status & 0x80 ? CLD_DUMPED : CLD_KILLED;
    return CLD_EXITED;
}

void ptrace_tell_end_locked(struct task *task, int status)
{
    siginfo_t info = {.si_signo = SIGCHLD, .si_code = end_code(status)};
    struct process *to = task->trace.tracer->process;

    info.si_pid = task->tid;
    info.si_uid = task->cred->uid;
    info.si_status = status & 0x7f ? status & 0x7f : status >> 8 & 0xff;
    signal_send_process(to, SIGCHLD, &info);
    wait_queue_wake(&to->child_events, 0);
}

static bool is_meant(const struct task *task, const struct wait_request *request)
{
    if (request->pid > 0)
        return task->tid == request->pid;
    return request->pgid == 0 || task->process->pgid == request->pgid;
}

static bool report_stop(struct task *task, const struct wait_request *request,
                        struct wait_result *ret)
{
    struct trace *trace = &task->trace;
    bool told = false;

    lock_acquire(&task->process->lock);
    if (trace->stopped && trace->code && !trace->listening) {
        told = true;
        ret->status = trace->code << 8 | 0x7f;
        ret->code = trace->has_info ? CLD_TRAPPED : CLD_STOPPED;
        if (!(request->options & WNOWAIT))
            trace->code = 0;
    }
    lock_release(&task->process->lock);
    return told;
}

/* The end of a thread; or of a whole process that is not the tracer's own child. */
static bool report_end(struct task *task, const struct wait_request *request,
                       struct wait_result *ret)
{
    struct process *process = task->process;
    bool stranger = process->leader == task && process->zombie && ptrace_keeps_from_parent(process);

    if (!(request->options & WEXITED) || !(task->trace.zombie || stranger))
        return false;
    ret->status = stranger ? process->exit_status : task->exit_status;
    ret->code = end_code(ret->status);
    return true;
}

static void forget(struct task *task)
{
    struct process *process = task->process;

    ptrace_unlink_locked(task);
    if (task->trace.zombie) {
        task->trace.zombie = false;
        pid_free_locked(task->kernel, task);
    } else {
        tree_settle_zombie_locked(process); /* now the parent may know */
    }
}

static int scan_tracees(struct task *tracer, const struct wait_request *request,
                        struct wait_result *ret)
{
    int result = -ECHILD;
    struct task *task;

    list_for_each (task, &tracer->trace.tracees, trace.node) {
        bool ended;

        if (!is_meant(task, request))
            continue;
        result = 0;
        ended = report_end(task, request, ret);
        if (!ended && !report_stop(task, request, ret))
            continue;
        ret->pid = task_shown_pid(tracer, task->tid);
        ret->uid = cred_shown_uid(tracer->cred, task->cred->uid);
        process_usage(task->process, &ret->usage);
        usage_add(&ret->usage, &task->process->children_usage);
        if (ended && !(request->options & WNOWAIT))
            forget(task);
        return 1;
    }
    return result;
}

int ptrace_wait_locked(struct task *task, const struct wait_request *request,
                       struct wait_result *ret)
{
    struct process *process = task->process;
    int result, best = -ECHILD;
    struct task *thread;

    if (request->options & __WNOTHREAD)
        return scan_tracees(task, request, ret);
    lock_acquire(&process->lock);
    list_for_each (thread, &process->threads, process_node) {
        if (list_empty(&thread->trace.tracees))
            continue;
        /* Threads come and go under kernel->lock, which is held. */
        lock_release(&process->lock);
        result = scan_tracees(thread, request, ret);
        if (result > 0)
            return result;
        best = MAX(best, result);
        lock_acquire(&process->lock);
    }
    lock_release(&process->lock);
    return best;
}
