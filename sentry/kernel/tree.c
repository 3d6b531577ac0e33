#include "sentry/kernel/tree.h"

#include "host/futex.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/session.h"

#define NS_PER_TICK 10000000 /* USER_HZ is 100 */

void tree_add_locked(struct process *process, struct process *parent)
{
    process->parent = parent;
    __atomic_store_n(&process->parent_pid, parent ? parent->pid : KERNEL_PID_SENTRY,
                     __ATOMIC_RELAXED);
    if (parent)
        list_add_tail(&parent->children, &process->sibling);
}

/* getppid(2) may be answered in the guest: there, too, the parent is another one now. */
static void refresh_parent(struct process *process)
{
    struct task *task;

    lock_acquire(&process->lock);
    list_for_each (task, &process->threads, process_node) {
        struct fastpath_page *page = task->ctx->ops->ctx_fastpath(task->ctx);

        if (!page)
            continue;
        WRITE_ONCE(page->ppid, (uint32_t)task_shown_pid(task, process->parent_pid));
        task->ctx->ops->ctx_interrupt(task->ctx);
    }
    lock_release(&process->lock);
}

bool tree_is_careless(struct process *parent)
{
    struct sighand *sighand = parent->sighand;
    const struct linux_sigaction *action = &sighand->actions[SIGCHLD - 1];
    bool careless;

    lock_acquire(&sighand->lock);
    careless = action->handler == (uaddr_t)SIG_IGN || (action->flags & SA_NOCLDWAIT);
    lock_release(&sighand->lock);
    return careless;
}

static siginfo_t child_info(struct process *process, int code, int status)
{
    siginfo_t info = {.si_signo = SIGCHLD, .si_code = code};
    struct usage usage;

    info.si_pid = process->pid;
    lock_acquire(&process->lock); /* a leader that lives may be changing its identity */
    info.si_uid = process->leader->cred->uid;
    process_usage_locked(process, &usage);
    lock_release(&process->lock);
    info.si_status = status;
    info.si_utime = (clock_t)(usage.user_ns / NS_PER_TICK);
    info.si_stime = (clock_t)(usage.system_ns / NS_PER_TICK);
    return info;
}

static void tell_end(struct process *process)
{
    struct process *parent = process->parent;
    int status = process->exit_status;
    siginfo_t info;

    if (status & 0x7f)
        info = child_info(process, status & 0x80 ? CLD_DUMPED : CLD_KILLED, status & 0x7f);
    else
        info = child_info(process, CLD_EXITED, status >> 8);
    /* clone(2) takes any byte for a signal; what is none is not sent. */
    if (process->exit_signal > 0 && process->exit_signal <= SIGNAL_COUNT)
        signal_send_process(parent, process->exit_signal, &info);
    wait_queue_wake(&parent->child_events, 0);
}

static bool ignores_children(struct process *parent)
{
    struct sighand *sighand = parent->sighand;
    bool ignores;

    lock_acquire(&sighand->lock);
    ignores = sighand->actions[SIGCHLD - 1].handler == (uaddr_t)SIG_IGN;
    lock_release(&sighand->lock);
    return ignores;
}

/* A tracer that is not the parent is told first; when it has asked, we come here again. */
void tree_settle_zombie_locked(struct process *process)
{
    struct process *parent = process->parent;

    if (ptrace_keeps_from_parent(process)) {
        ptrace_tell_end_locked(process->leader, process->exit_status);
    } else if (!parent || (parent->pid_ns->init == parent && parent->pid_ns->closed)) {
        tree_reap_locked(process);
    } else if (process->exit_signal == SIGCHLD && tree_is_careless(parent)) {
        /* Not even a signal for who ignores it, be it blocked; SA_NOCLDWAIT alone gets it. */
        if (!ignores_children(parent))
            tell_end(process);
        tree_reap_locked(process);
        wait_queue_wake(&parent->child_events, 0);
    } else {
        tell_end(process);
    }
}

/*
 * The nearest ancestor in the same pid namespace that asked for orphans and lives; else that
 * namespace's init, in the first one the Sentry (NULL).
 */
static struct process *find_reaper(const struct process *process)
{
    const struct pid_ns *ns = process->pid_ns;
    struct process *reaper = process->parent;

    while (reaper && reaper->pid_ns == ns && !(reaper->subreaper && !reaper->zombie))
        reaper = reaper->parent;
    if (reaper && reaper->pid_ns == ns)
        return reaper;
    return ns->init != process ? ns->init : NULL;
}

/* PR_SET_PDEATHSIG: told when the thread ends that the process is a child of. */
static void tell_parent_death(struct process *child)
{
    struct task *task;

    lock_acquire(&child->lock);
    list_for_each (task, &child->threads, process_node) {
        if (task->parent_death_signal)
            signal_send_task_locked(task, task->parent_death_signal, NULL);
    }
    lock_release(&child->lock);
}

/* Whose the children become that are nobody's in particular; NULL: no thread lives. */
static struct task *first_thread(struct process *process)
{
    struct task *task = NULL;

    lock_acquire(&process->lock);
    if (!list_empty(&process->threads))
        task = list_first(&process->threads, struct task, process_node);
    lock_release(&process->lock);
    return task;
}

static void orphan_locked(struct process *child, struct process *reaper)
{
    struct process *old = child->parent;

    list_del_init(&child->sibling);
    tree_add_locked(child, reaper);
    child->parent_thread = reaper ? first_thread(reaper) : NULL;
    child->exit_signal = SIGCHLD;
    if (child->zombie) {
        tree_settle_zombie_locked(child);
        return;
    }
    refresh_parent(child);
    tell_parent_death(child);
    group_tie_cut_locked(child, old, NULL);
}

void tree_thread_ended_locked(struct task *task)
{
    struct process *process = task->process, *child;
    struct task *heir = first_thread(process);

    list_for_each (child, &process->children, sibling) {
        if (child->parent_thread != task)
            continue;
        child->parent_thread = heir;
        if (!child->zombie)
            tell_parent_death(child);
    }
}

static void init_ended(struct process *process)
{
    struct kernel *kernel = process->kernel;

    kernel->init_status = process->exit_status;
    __atomic_store_n(&kernel->init_done, 1, __ATOMIC_RELEASE);
    host_futex_wake(&kernel->init_done, INT32_MAX);
}

void tree_process_ended_locked(struct process *process)
{
    struct process *child, *next, *reaper = find_reaper(process);

    ctty_leader_ended_locked(process);
    list_for_each_safe (child, next, &process->children, sibling)
        orphan_locked(child, reaper);
    group_tie_cut_locked(process, process->parent, process);
    __atomic_store_n(&process->zombie, true, __ATOMIC_RELEASE);
    if (process == process->kernel->init)
        init_ended(process);
    else
        tree_settle_zombie_locked(process);
}

void tree_reap_locked(struct process *process)
{
    struct task *leader = process->leader;

    ptrace_unlink_locked(leader);
    list_del_init(&process->sibling);
    group_leave_locked(process);
    __atomic_store_n(&process->reaped, true, __ATOMIC_RELEASE);
    process->leader = NULL;
    wait_queue_wake(&process->exit_events, POLLIN | POLLRDNORM | POLLHUP);
    pid_free_locked(process->kernel, leader);
    /* The leader holds a reference to its process, so this may free both. */
    task_unref(leader);
}

/* Does the parent want SIGCHLD for stops and continues? */
static bool wants_stops(struct process *parent)
{
    struct sighand *sighand = parent->sighand;
    bool wants;

    lock_acquire(&sighand->lock);
    wants = !(sighand->actions[SIGCHLD - 1].flags & SA_NOCLDSTOP);
    lock_release(&sighand->lock);
    return wants;
}

static bool has_stopped(struct process *process)
{
    bool stopped;

    lock_acquire(&process->lock);
    stopped = process->stopped && process->stop_left == 0;
    lock_release(&process->lock);
    return stopped;
}

/*
 * The first program's group is what the caller's shell knows as a job. Once all of it has stopped,
 * so do we, by the same signal; but where no shell would continue us, only if nobody inside could
 * do so either. The signal, or 0.
 */
static int sandbox_stop_locked(struct kernel *kernel)
{
    struct process *init = kernel->init, *member;
    uint32_t stopped = 0;

    if (!kernel->stop_sandbox || !init || !init->group)
        return 0;
    list_for_each (member, &init->group->members, group_node) {
        if (member->zombie)
            continue;
        if (!has_stopped(member))
            return 0;
        stopped += member->thread_count;
    }
    if (stopped > 0 && kernel->caller_controls_jobs)
        return init->zombie ? SIGSTOP : init->stop_signo;
    /* An orphan of the host's would not stop by the others. */
    return stopped > 0 && stopped == kernel->task_count ? SIGSTOP : 0;
}

void tree_tell_stop(struct process *process, int code)
{
    struct kernel *kernel = process->kernel;
    struct process *parent;
    int stop_all = 0;
    siginfo_t info;

    lock_acquire(&kernel->lock);
    parent = process->parent;
    /* A parent that traces it is told by the tracee itself. */
    if (parent && !process->zombie &&
        !(code == CLD_STOPPED && process->leader->trace.tracer &&
          !ptrace_keeps_from_parent(process))) {
        info = child_info(process, code, code == CLD_STOPPED ? process->stop_signo : SIGCONT);
        if (wants_stops(parent))
            signal_send_process(parent, SIGCHLD, &info);
        wait_queue_wake(&parent->child_events, 0);
    }
    if (code == CLD_STOPPED && kernel->init && process->group == kernel->init->group)
        stop_all = sandbox_stop_locked(kernel);
    lock_release(&kernel->lock);
    if (stop_all)
        kernel->stop_sandbox(stop_all);
}
