#include "sentry/kernel/wait.h"

#include <errno.h>
#include <sys/wait.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/tree.h"

#define STATUS_CONTINUED 0xffff

static bool is_named(const struct task *task, const struct process *child,
                     const struct wait_request *request)
{
    if (request->process && child != request->process)
        return false;
    if ((request->options & __WNOTHREAD) && child->parent_thread != task)
        return false;
    if (request->pid > 0)
        return child->pid == request->pid;
    return request->pgid <= 0 || child->pgid == request->pgid;
}

static bool is_meant(const struct process *child, const struct wait_request *request)
{
    /* A "clone" child is one that does not end with SIGCHLD. */
    bool clone = child->exit_signal != SIGCHLD;

    return (request->options & __WALL) || clone == !!(request->options & __WCLONE);
}

static bool report_end(struct process *child, const struct wait_request *request,
                       struct wait_result *ret)
{
    int status = child->exit_status;

    if (!child->zombie || !(request->options & WEXITED))
        return false;
    ret->status = status;
    if (status & 0x7f)
        ret->code = status & 0x80 ? CLD_DUMPED : CLD_KILLED;
    else
        ret->code = CLD_EXITED;
    return true;
}

static bool report_stop_locked(struct process *child, const struct wait_request *request,
                               struct wait_result *ret)
{
    if (child->zombie)
        return false;
    if (child->stop_report && (request->options & WSTOPPED)) {
        ret->status = child->stop_report << 8 | 0x7f;
        ret->code = CLD_STOPPED;
        if (!(request->options & WNOWAIT))
            child->stop_report = 0;
        return true;
    }
    if (child->continue_report && (request->options & WCONTINUED)) {
        ret->status = STATUS_CONTINUED;
        ret->code = CLD_CONTINUED;
        if (!(request->options & WNOWAIT))
            child->continue_report = false;
        return true;
    }
    return false;
}

static bool report_stop(struct process *child, const struct wait_request *request,
                        struct wait_result *ret)
{
    bool reported;

    lock_acquire(&child->lock);
    reported = report_stop_locked(child, request, ret);
    lock_release(&child->lock);
    return reported;
}

static uint32_t shown_uid(struct task *task, struct task *child)
{
    const struct cred *cred = task_get_cred(child);
    uint32_t uid = cred_shown_uid(task->cred, cred->uid);

    cred_unref(cred);
    return uid;
}

/* 1: reported; 0: nothing yet; -ECHILD: none to wait for. */
static int scan_locked(struct task *task, const struct wait_request *request,
                       struct wait_result *ret)
{
    struct process *process = task->process, *child;
    int result = -ECHILD;

    list_for_each (child, &process->children, sibling) {
        /* Traced by us: its stops are among the tracees'. By others: they hear of its end first. */
        bool traced = child->leader->trace.tracer != NULL;
        bool kept = ptrace_keeps_from_parent(child), ended;

        if (!is_meant(child, request) && !(traced && !kept))
            continue;
        if (!is_named(task, child, request))
            continue;
        result = 0;
        ended = !kept && report_end(child, request, ret);
        if (!ended && ((traced && !kept) || !report_stop(child, request, ret)))
            continue;
        ret->pid = task_shown_pid(task, child->pid);
        ret->uid = shown_uid(task, child->leader);
        process_usage(child, &ret->usage);
        usage_add(&ret->usage, &child->children_usage);
        if (ended && !(request->options & WNOWAIT)) {
            usage_add(&process->children_usage, &ret->usage); /* only of those waited for */
            tree_reap_locked(child);
        }
        return 1;
    }
    return result;
}

int wait_for_child(struct task *task, const struct wait_request *request,
                   struct wait_result *ret_result)
{
    struct process *process = task->process;
    struct kernel *kernel = task->kernel;
    struct wait_result result = {0};
    struct wait_entry entry;
    int found, error = 0;

    waiter_reset(&task->waiter);
    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(&process->child_events, &entry);
    for (;;) {
        lock_acquire(&kernel->lock);
        found = scan_locked(task, request, &result);
        if (found <= 0)
            found = MAX(found, ptrace_wait_locked(task, request, &result));
        lock_release(&kernel->lock);
        if (found != 0 || (request->options & WNOHANG) || error < 0)
            break;
        error = task_block(task, UINT64_MAX);
    }
    wait_queue_remove(&process->child_events, &entry);
    if (found < 0)
        return found;
    if (found == 0 && error < 0)
        return error;
    *ret_result = result;
    return 0;
}
