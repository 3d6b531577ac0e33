/*
 * Signals on their way: who gets one, what is ignored, what is dropped. What is queued is in
 * sigpending.c; the other half, from queue to handler, in delivery.c.
 */
#include "sentry/kernel/signal/signal.h"

#include <errno.h>

#include "sentry/kernel/jobs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/time/posixtimer.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/signal/siginfo.h"
#include "sentry/kernel/signal/signalfd.h"

#define SIGNAL_RT_FIRST 32 /* the kernel's SIGRTMIN; libc keeps the first for itself */
#define SIGNALS_DEFAULT_IGNORED                                                                    \
    (SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGWINCH) | SIGNAL_BIT(SIGURG))

static struct linux_sigaction get_action(struct process *process, int signo)
{
    struct linux_sigaction action;

    lock_acquire(&process->sighand->lock);
    action = process->sighand->actions[signo - 1];
    lock_release(&process->sighand->lock);
    return action;
}

bool signal_default_ignored(int signo)
{
    return SIGNALS_DEFAULT_IGNORED & SIGNAL_BIT(signo);
}

static bool action_ignores(struct process *process, int signo)
{
    uaddr_t handler = get_action(process, signo).handler;

    return handler == (uaddr_t)SIG_IGN ||
           (handler == (uaddr_t)SIG_DFL && signal_default_ignored(signo));
}

/*
 * A blocked signal is kept even if it is ignored now: the action may change before it is taken.
 * `forced`: by the kernel, or from a pid namespace above.
 */
static bool is_ignored(struct process *process, const struct task *task, int signo, bool forced)
{
    if (task && ((task->blocked & SIGNAL_BIT(signo)) || task->trace.tracer))
        return false; /* a tracer sees it first */
    if (action_ignores(process, signo))
        return true;
    return process->unkillable && !(forced && (SIGNAL_BIT(signo) & SIGNALS_UNBLOCKABLE)) &&
           get_action(process, signo).handler == (uaddr_t)SIG_DFL;
}

static void drop_everywhere(struct process *process, uint64_t set)
{
    struct task *task;

    sigpending_drop(&process->pending, set);
    list_for_each (task, &process->threads, process_node)
        sigpending_drop(&task->pending, set);
}

/* What a signal does at once, whether it will be taken or not (job control). */
static void job_control(struct process *process, int signo)
{
    if (SIGNAL_BIT(signo) & SIGNALS_STOP) {
        drop_everywhere(process, SIGNAL_BIT(SIGCONT));
    } else if (signo == SIGCONT) {
        drop_everywhere(process, SIGNALS_STOP);
        ptrace_group_continues_locked(process);
        job_continue_locked(process);
    }
}

static bool takes(const struct task *task, int signo)
{
    return !task->dead && !(task->blocked & ~task->waited_for & SIGNAL_BIT(signo));
}

/* The thread that is told of a process-directed signal: the first one, else one with no work. */
static struct task *choose_thread(struct process *process, int signo)
{
    struct task *task, *chosen = NULL;

    list_for_each (task, &process->threads, process_node) {
        if (!takes(task, signo))
            continue;
        if (!chosen)
            chosen = task;
        if (task->work == 0)
            return task;
    }
    return chosen;
}

static bool is_busy(const struct task *task, int signo)
{
    return takes(task, signo) && !usage_is_asleep(&task->times);
}

/* One of those that run, each in its turn: a profiler wants to know where the time goes. */
static struct task *choose_busy_thread(struct process *process, int signo)
{
    struct task *task;
    uint32_t count = 0, turn;

    list_for_each (task, &process->threads, process_node)
        count += is_busy(task, signo);
    turn = count ? process->cpu_timers.turn++ % count : 0;
    list_for_each (task, &process->threads, process_node) {
        if (is_busy(task, signo) && turn-- == 0)
            return task;
    }
    return choose_thread(process, signo);
}

/* What a receiver sees are ids of its own namespaces; what is sent has the kernel's. */
static void show_ids(const struct task *receiver, siginfo_t *info)
{
    switch (siginfo_layout(info)) {
    case SIGINFO_KILL:
    case SIGINFO_QUEUE:
    case SIGINFO_CHILD:
        info->si_uid = cred_shown_uid(receiver->cred, info->si_uid);
        info->si_pid = task_shown_pid(receiver, info->si_pid);
        break;
    default:
        break;
    }
}

/* `receiver`: whose user it is counted for. */
static int enqueue(struct task *receiver, struct sigpending *pending, int signo,
                   const siginfo_t *info)
{
    bool realtime = signo >= SIGNAL_RT_FIRST;
    struct sigqueue *entry;

    if (!realtime && (pending->set & SIGNAL_BIT(signo)))
        return 0;
    entry = sigqueue_alloc_locked(receiver, !realtime && (!info || info->si_code >= 0));
    if (entry) {
        if (info)
            entry->info = *info;
        else
            entry->info = (siginfo_t){.si_code = SI_KERNEL};
        entry->info.si_signo = signo;
        if (info)
            show_ids(receiver, &entry->info);
        list_add_tail(&pending->queue, &entry->node);
    } else if (realtime && info && info->si_code != SI_USER) {
        return -EAGAIN;
    }
    /* Without an entry the signal comes all the same, with nothing to tell. */
    pending->set |= SIGNAL_BIT(signo);
    return 0;
}

/* What comes before queueing: whose mask counts, or NULL when nothing is to be queued. */
static struct task *begin_send(struct process *process, struct task *task, int signo, bool forced)
{
    if (process->group_exit && signo == SIGKILL)
        ptrace_kill_again_locked(process);
    if (process->group_exit || list_empty(&process->threads) || (task && task->dead))
        return NULL;
    job_control(process, signo);
    if (!task)
        task = list_first(&process->threads, struct task, process_node);
    if (signo == SIGKILL && !(process->unkillable && !forced)) {
        process_group_exit_locked(process, SIGKILL);
        return NULL;
    }
    return is_ignored(process, task, signo, forced) ? NULL : task;
}

/* Tells who will take it. */
static void end_send(struct process *process, struct task *task, int signo, bool busy)
{
    signalfd_notify(signo);
    if (!task)
        task = busy ? choose_busy_thread(process, signo) : choose_thread(process, signo);
    if (task && takes(task, signo))
        task_kick_locked(task, TASK_WORK_SIGNAL);
}

/* Not to be refused by a pid namespace's init: Linux send_signal_locked(). */
static bool is_forced(const struct process *process, const siginfo_t *info)
{
    const struct task *sender = task_current();

    if (!info || !sender || info->si_code == SI_KERNEL)
        return true;
    return info->si_code <= 0 && !pid_ns_sees(process->pid_ns, sender->tid);
}

/* `task` NULL: to the process. */
static int send_locked(struct process *process, struct task *task, int signo, const siginfo_t *info)
{
    struct task *receiver = begin_send(process, task, signo, is_forced(process, info));
    int error;

    if (!receiver)
        return 0;
    error = enqueue(receiver, task ? &task->pending : &process->pending, signo, info);
    if (error == 0)
        end_send(process, task, signo, false);
    return error;
}

bool signal_send_timer_locked(struct process *process, struct task *task, struct sigqueue *entry,
                              bool busy)
{
    struct sigpending *pending = task ? &task->pending : &process->pending;
    int signo = entry->info.si_signo;

    if (!begin_send(process, task, signo, false))
        return false;
    if (list_empty(&entry->node))
        list_add_tail(&pending->queue, &entry->node);
    pending->set |= SIGNAL_BIT(signo);
    end_send(process, task, signo, busy);
    return true;
}

int signal_send_task_locked(struct task *task, int signo, const siginfo_t *info)
{
    return send_locked(task->process, task, signo, info);
}

int signal_send_task(struct task *task, int signo, const siginfo_t *info)
{
    int error;

    lock_acquire(&task->process->lock);
    error = send_locked(task->process, task, signo, info);
    lock_release(&task->process->lock);
    return error;
}

int signal_send_process(struct process *process, int signo, const siginfo_t *info)
{
    int error;

    lock_acquire(&process->lock);
    error = send_locked(process, NULL, signo, info);
    lock_release(&process->lock);
    return error;
}

void signal_send_busy_locked(struct process *process, int signo)
{
    struct task *receiver = begin_send(process, NULL, signo, true);

    if (receiver && enqueue(receiver, &process->pending, signo, NULL) == 0)
        end_send(process, NULL, signo, true);
}

void signal_force(struct task *task, const siginfo_t *info)
{
    struct process *process = task->process;
    struct linux_sigaction *action = &process->sighand->actions[info->si_signo - 1];
    uint64_t bit = SIGNAL_BIT(info->si_signo);

    lock_acquire(&process->lock);
    lock_acquire(&process->sighand->lock);
    if (action->handler == (uaddr_t)SIG_IGN || (task->blocked & bit))
        action->handler = (uaddr_t)SIG_DFL;
    if (action->handler == (uaddr_t)SIG_DFL && !task->trace.tracer)
        process->unkillable = false; /* what it did itself nobody can keep it from */
    lock_release(&process->sighand->lock);
    task->blocked &= ~bit;
    send_locked(process, task, info->si_signo, info);
    lock_release(&process->lock);
}

void signal_fault(struct task *task, int signo, int code, uaddr_t addr)
{
    siginfo_t info = {.si_signo = signo, .si_code = code};

    info.si_addr = (void *)addr;
    if (signo == SIGBUS && code == BUS_MCEERR_AR)
        info.si_addr_lsb = PAGE_SHIFT;
    signal_force(task, &info);
}

void signal_retarget_locked(struct process *process)
{
    struct task *task;

    if (!process->pending.set)
        return;
    list_for_each (task, &process->threads, process_node) {
        if (process->pending.set & ~(task->blocked & ~task->waited_for))
            task_kick_locked(task, TASK_WORK_SIGNAL);
    }
}

void signal_set_blocked(struct task *task, uint64_t blocked)
{
    struct process *process = task->process;
    uint64_t newly;

    lock_acquire(&process->lock);
    blocked &= ~SIGNALS_UNBLOCKABLE;
    newly = blocked & ~task->blocked;
    task->blocked = blocked;
    if (process->pending.set & newly)
        signal_retarget_locked(process); /* we may have been the one who was told */
    if ((task->pending.set | process->pending.set) & ~blocked)
        task_kick_locked(task, TASK_WORK_SIGNAL);
    lock_release(&process->lock);
}

uint64_t signal_pending_set(struct task *task)
{
    uint64_t set;

    lock_acquire(&task->process->lock);
    set = task->pending.set | task->process->pending.set;
    lock_release(&task->process->lock);
    return set;
}

int signal_set_action(struct task *task, int signo, const struct linux_sigaction *new_action,
                      struct linux_sigaction *ret_old)
{
    struct process *process = task->process;
    struct linux_sigaction *slot = &process->sighand->actions[signo - 1];

    lock_acquire(&process->lock);
    lock_acquire(&process->sighand->lock);
    *ret_old = *slot;
    if (new_action) {
        *slot = *new_action;
        slot->mask &= ~SIGNALS_UNBLOCKABLE;
    }
    lock_release(&process->sighand->lock);
    /* POSIX: what becomes ignored is no longer pending. */
    if (new_action && action_ignores(process, signo))
        drop_everywhere(process, SIGNAL_BIT(signo));
    else if (new_action)
        posix_timers_unignored_locked(process, signo);
    lock_release(&process->lock);
    return 0;
}
