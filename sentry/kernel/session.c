#include "sentry/kernel/session.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"

struct process_group *group_find_locked(struct kernel *kernel, int32_t pgid)
{
    return pgid > 0 && pgid < KERNEL_PID_MAX ? kernel->groups[pgid] : NULL;
}

static struct session *session_create(struct kernel *kernel, int32_t sid)
{
    struct session *session = malloc(sizeof(*session));

    if (!session)
        return NULL;
    session->sid = sid;
    list_init(&session->groups);
    kernel->sessions[sid] = session;
    return session;
}

static void session_put(struct kernel *kernel, struct session *session)
{
    if (!list_empty(&session->groups))
        return;
    kernel->sessions[session->sid] = NULL;
    pid_names_drop_locked(kernel, session->sid);
    free(session);
}

static struct process_group *group_create(struct kernel *kernel, struct session *session,
                                          int32_t pgid)
{
    struct process_group *group = malloc(sizeof(*group));

    if (!group)
        return NULL;
    group->pgid = pgid;
    group->session = session;
    list_init(&group->members);
    list_add_tail(&session->groups, &group->node);
    kernel->groups[pgid] = group;
    return group;
}

void group_join_locked(struct process *process, struct process_group *group)
{
    process->group = group;
    process->pgid = group->pgid;
    process->sid = group->session->sid;
    list_add_tail(&group->members, &process->group_node);
}

void group_leave_locked(struct process *process)
{
    struct kernel *kernel = process->kernel;
    struct process_group *group = process->group;

    if (!group)
        return;
    process->group = NULL;
    list_del_init(&process->group_node);
    if (!list_empty(&group->members))
        return;
    kernel->groups[group->pgid] = NULL;
    pid_names_drop_locked(kernel, group->pgid);
    list_del_init(&group->node);
    session_put(kernel, group->session);
    free(group);
}

int group_move_locked(struct process *process, int32_t pgid)
{
    struct kernel *kernel = process->kernel;
    struct session *session = process->group->session;
    struct process_group *group = group_find_locked(kernel, pgid);

    if (pgid != process->pid && (!group || group->session != session))
        return -EPERM;
    if (group == process->group)
        return 0;
    if (!group)
        group = group_create(kernel, session, pgid);
    if (!group)
        return -ENOMEM;
    group_leave_locked(process);
    group_join_locked(process, group);
    return 0;
}

int session_make_locked(struct process *process)
{
    struct kernel *kernel = process->kernel;
    struct process_group *group;
    struct session *session;

    /* A session leader always leads a group with members: itself. */
    if (kernel->groups[process->pid] || kernel->sessions[process->pid])
        return -EPERM;
    session = session_create(kernel, process->pid);
    group = session ? group_create(kernel, session, process->pid) : NULL;
    if (!group) {
        if (session)
            session_put(kernel, session);
        return -ENOMEM;
    }
    group_leave_locked(process);
    group_join_locked(process, group);
    return 0;
}

/*
 * Is this member's parent one that could continue the group? The first program's is outside: the
 * caller's shell, if there is one.
 */
static bool is_tie(const struct process_group *group, const struct process *member)
{
    const struct process *parent = member->parent;

    if (member == member->kernel->init)
        return member->kernel->caller_controls_jobs;
    return parent && parent->group && parent->group != group &&
           parent->group->session == group->session;
}

bool group_orphaned_locked(const struct process_group *group, const struct process *except)
{
    const struct process *member;

    list_for_each (member, &group->members, group_node) {
        if (member != except && !member->zombie && is_tie(group, member))
            return false;
    }
    return true;
}

bool group_has_stopped_locked(const struct process_group *group)
{
    struct process *member;

    list_for_each (member, &group->members, group_node) {
        bool stopped;

        lock_acquire(&member->lock);
        stopped = member->stopped;
        lock_release(&member->lock);
        if (stopped)
            return true;
    }
    return false;
}

void group_signal_locked(struct process_group *group, int signo, const siginfo_t *info)
{
    struct process *member;

    list_for_each (member, &group->members, group_node)
        signal_send_process(member, signo, info);
}

void group_tie_cut_locked(struct process *process, const struct process *parent,
                          const struct process *except)
{
    struct process_group *group = process->group;

    if (!group || !parent || !parent->group || parent->group == group ||
        parent->group->session != group->session)
        return;
    if (!group_orphaned_locked(group, except) || !group_has_stopped_locked(group))
        return;
    group_signal_locked(group, SIGHUP, NULL);
    group_signal_locked(group, SIGCONT, NULL);
}
