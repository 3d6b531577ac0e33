#include "sentry/kernel/ctty.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>

#include "sentry/fs/terminal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/session.h"
#include "sentry/vfs/file.h"

void ctty_inherit_locked(struct process *child, struct process *parent)
{
    child->tty = parent->tty ? terminal_ref(parent->tty) : NULL;
}

void ctty_drop_locked(struct process *process)
{
    process->tty = terminal_unref(process->tty);
    process->tty_old_foreground = 0;
}

void ctty_give_locked(struct process *process, struct terminal *t)
{
    ctty_drop_locked(process);
    process->tty = terminal_ref(t);
    t->session = process->sid;
    t->foreground = process->pgid;
}

static struct process_group *foreground_locked(struct kernel *kernel, const struct terminal *t)
{
    struct process_group *group = group_find_locked(kernel, t->foreground);

    /* The number may have come to name somebody else. */
    return group && t->session && group->session->sid == t->session ? group : NULL;
}

static void signal_number_locked(struct kernel *kernel, int32_t pgid, int signo)
{
    struct process_group *group = group_find_locked(kernel, pgid);

    if (group)
        group_signal_locked(group, signo, NULL);
}

/* Nobody in the session has it any longer. */
static void take_from_session_locked(struct kernel *kernel, struct terminal *t)
{
    struct session *session = t->session ? kernel->sessions[t->session] : NULL;
    struct process_group *group;
    struct process *member;

    t->session = t->foreground = 0;
    if (!session)
        return;
    list_for_each (group, &session->groups, node) {
        list_for_each (member, &group->members, group_node) {
            if (member->tty == t)
                member->tty = terminal_unref(member->tty);
        }
    }
}

void ctty_leader_ended_locked(struct process *process)
{
    struct kernel *kernel = process->kernel;
    struct terminal *t = process->tty;

    if (process->sid == process->pid && t) {
        struct process_group *group = foreground_locked(kernel, t);

        if (group)
            group_signal_locked(group, SIGHUP, NULL);
        if (t->session == process->sid)
            take_from_session_locked(kernel, t);
    } else if (process->sid == process->pid && process->tty_old_foreground) {
        signal_number_locked(kernel, process->tty_old_foreground, SIGHUP);
        signal_number_locked(kernel, process->tty_old_foreground, SIGCONT);
    }
    ctty_drop_locked(process);
}

bool ctty_signal(struct kernel *kernel, struct terminal *t, int signo)
{
    struct process_group *group;

    lock_acquire(&kernel->lock);
    group = foreground_locked(kernel, t);
    if (group)
        group_signal_locked(group, signo, NULL);
    lock_release(&kernel->lock);
    return group != NULL;
}

static bool is_ignored(struct task *task, int signo)
{
    struct sighand *sighand = task->process->sighand;
    bool ignored;

    lock_acquire(&sighand->lock);
    ignored = sighand->actions[signo - 1].handler == (uaddr_t)SIG_IGN;
    lock_release(&sighand->lock);
    return ignored || (task->blocked & SIGNAL_BIT(signo));
}

int ctty_check(struct task *task, struct terminal *t, int signo)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    bool lent = t->ops->is_lent && t->ops->is_lent(t);
    int result = 0;

    lock_acquire(&kernel->lock);
    if (process->tty == t && process->group &&
        (lent || (t->foreground && t->foreground != process->pgid))) {
        if (is_ignored(task, signo)) {
            result = signo == SIGTTIN ? -EIO : 0;
        } else if (group_orphaned_locked(process->group, NULL)) {
            result = -EIO;
        } else {
            group_signal_locked(process->group, signo, NULL);
            result = -ERESTARTSYS;
        }
    }
    lock_release(&kernel->lock);
    return result;
}

void ctty_opened(struct task *task, struct file *file)
{
    struct process *process = task->process;
    struct terminal *t = file->terminal;

    if (t->ops->is_master && t->ops->is_master(file))
        return;
    lock_acquire(&task->kernel->lock);
    if (process->sid == process->pid && !process->tty && !t->session && file_can_read(file))
        ctty_give_locked(process, t);
    lock_release(&task->kernel->lock);
}

static int take_locked(struct task *task, struct file *file, bool steal)
{
    struct process *process = task->process;
    struct terminal *t = file->terminal;
    bool admin = task_has_cap(task, CAP_SYS_ADMIN);

    if (process->sid == process->pid && t->session == process->sid)
        return 0;
    if (process->sid != process->pid || process->tty)
        return -EPERM;
    if (t->session && !(steal && admin))
        return -EPERM;
    if (!file_can_read(file) && !admin)
        return -EPERM;
    take_from_session_locked(task->kernel, t);
    ctty_give_locked(process, t);
    return 0;
}

int ctty_take(struct task *task, struct file *file, bool steal)
{
    int result;

    lock_acquire(&task->kernel->lock);
    result = take_locked(task, file, steal);
    lock_release(&task->kernel->lock);
    return result;
}

int ctty_give_up(struct task *task, struct terminal *t)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    struct process_group *group;
    int result = 0;

    lock_acquire(&kernel->lock);
    if (process->tty != t) {
        result = -ENOTTY;
    } else if (process->sid == process->pid) {
        group = foreground_locked(kernel, t);
        if (group) {
            group_signal_locked(group, SIGHUP, NULL);
            group_signal_locked(group, SIGCONT, NULL);
        }
        take_from_session_locked(kernel, t);
    }
    if (!result)
        ctty_drop_locked(process);
    lock_release(&kernel->lock);
    return result;
}

int ctty_get_session(struct task *task, struct terminal *t, bool master, int32_t *ret)
{
    int result = 0;

    lock_acquire(&task->kernel->lock);
    if ((!master && task->process->tty != t) || !t->session)
        result = -ENOTTY;
    else
        *ret = task_shown_pid(task, t->session);
    lock_release(&task->kernel->lock);
    return result;
}

int ctty_get_foreground(struct task *task, struct terminal *t, bool master, int32_t *ret)
{
    bool lent = t->ops->is_lent && t->ops->is_lent(t);
    int result = 0;

    lock_acquire(&task->kernel->lock);
    if (!master && task->process->tty != t)
        result = -ENOTTY;
    else
        *ret = lent ? KERNEL_PID_SENTRY : task_shown_pid(task, t->foreground); /* lent: not ours */
    lock_release(&task->kernel->lock);
    return result;
}

void ctty_describe(struct process *process, uint32_t *ret_device, int32_t *ret_foreground)
{
    struct terminal *t;

    lock_acquire(&process->kernel->lock);
    t = process->tty;
    *ret_device = t ? t->device : 0;
    *ret_foreground = t ? t->foreground : -1;
    lock_release(&process->kernel->lock);
}

/* The session of a group, or of a process that leads none (Linux session_of_pgrp()). */
static int32_t session_of_locked(struct kernel *kernel, int32_t pgid)
{
    struct process_group *group = group_find_locked(kernel, pgid);
    struct task *leader = pgid < KERNEL_PID_MAX ? kernel->pids[pgid] : NULL;

    if (group)
        return group->session->sid;
    return leader ? leader->process->sid : 0;
}

int ctty_set_foreground(struct task *task, struct terminal *t, int32_t pgid)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    int32_t session;
    int result = 0;

    if (pgid < 0)
        return -EINVAL;
    lock_acquire(&kernel->lock);
    pgid = task_global_pid(task, pgid);
    session = session_of_locked(kernel, pgid);
    if (process->tty != t || t->session != process->sid)
        result = -ENOTTY;
    else if (!session)
        result = -ESRCH;
    else if (session != process->sid)
        result = -EPERM;
    else
        t->foreground = pgid;
    lock_release(&kernel->lock);
    return result;
}

static struct kernel *connected; /* whose tasks terminals talk about; set before they run */

static struct terminal *current_terminal(void)
{
    struct task *task = task_current();
    struct terminal *t = NULL;

    if (!task)
        return NULL;
    lock_acquire(&task->kernel->lock);
    if (task->process->tty)
        t = terminal_ref(task->process->tty);
    lock_release(&task->kernel->lock);
    return t;
}

static void signal_foreground(struct terminal *t, int signo)
{
    ctty_signal(connected, t, signo);
}

/* Linux tty_signal_session_leader(). */
static void hang_up(struct terminal *t)
{
    struct kernel *kernel = connected;
    struct task *leader;

    lock_acquire(&kernel->lock);
    leader = t->session ? kernel->pids[t->session] : NULL;
    if (leader && leader->process->tty == t && leader->process->sid == t->session) {
        leader->process->tty_old_foreground = t->foreground;
        signal_send_process(leader->process, SIGHUP, NULL);
        signal_send_process(leader->process, SIGCONT, NULL);
    }
    take_from_session_locked(kernel, t);
    lock_release(&kernel->lock);
}

static void current_owner(uint32_t *ret_uid, uint32_t *ret_gid)
{
    struct task *task = task_current();

    if (task) {
        *ret_uid = task->cred->fsuid;
        *ret_gid = task->cred->fsgid;
    }
}

void ctty_connect(struct kernel *kernel)
{
    static const struct terminal_kernel functions = {
        .current = current_terminal,
        .signal = signal_foreground,
        .hangup = hang_up,
        .owner = current_owner,
    };

    connected = kernel;
    terminals_connect(&functions);
}
