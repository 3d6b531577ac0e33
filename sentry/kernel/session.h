/*
 * Process groups and sessions (setpgid(2), setsid(2), credentials(7)).
 *
 *     session  1--*  process_group  1--*  process, zombies included until they are reaped
 *
 * A group is named by the process that led it first, a session by the process that made it; both
 * may outlive that process, so their numbers stay taken (pid.c) until the last member has left.
 * Everything here is under kernel->lock.
 */
#ifndef SENTRY_KERNEL_SESSION_H
#define SENTRY_KERNEL_SESSION_H

#include <signal.h>

#include "base/list.h"

struct kernel;
struct process;

struct session {
    int32_t sid;
    struct list groups;
};

struct process_group {
    int32_t pgid;
    struct session *session; /* owned together by its groups: it goes with the last */
    struct list node;        /* in session->groups */
    struct list members;     /* processes, by group_node */
};

/* NULL when no group has this number. */
struct process_group *group_find_locked(struct kernel *kernel, int32_t pgid);
/* A new process joins its parent's group. */
void group_join_locked(struct process *process, struct process_group *group);
/* The process is gone: reaped, or never began. Does nothing without a group. */
void group_leave_locked(struct process *process);
/* setpgid(2) within the process's session; a group of its own number is made. -EPERM, -ENOMEM. */
int group_move_locked(struct process *process, int32_t pgid);
/* setsid(2): a new session with one group. -EPERM when a group of this number has members. */
int session_make_locked(struct process *process);

/*
 * An orphaned group has no member whose parent is in the same session but another group: nobody
 * could continue it if it stopped. `except` (may be NULL) is about to go and does not count.
 */
bool group_orphaned_locked(const struct process_group *group, const struct process *except);
/* Some member has stopped. */
bool group_has_stopped_locked(const struct process_group *group);
/* To every member; info NULL: from the kernel. */
void group_signal_locked(struct process_group *group, int signo, const siginfo_t *info);
/*
 * After the tie between a process and its parent was cut, or is about to be: if that orphaned the
 * process's group and some of it are stopped, they get SIGHUP and SIGCONT (POSIX, _exit()).
 * `parent` NULL: the Sentry. `except` as above.
 */
void group_tie_cut_locked(struct process *process, const struct process *parent,
                          const struct process *except);

#endif
