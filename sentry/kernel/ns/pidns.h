/*
 * Pid namespaces: pid_namespaces(7). A task has a number in its own namespace and in each above.
 * The one in the first namespace is what it is known by inside the Sentry ("global"): task->tid,
 * process->pgid, the index of every table. Below the first, numbers are names for global ones: they
 * are translated where they come from a program or go to one.
 *
 *     kernel->pid_names[global] -> { namespace, numbers by level }     NULL: seen in the first
 * alone ns->globals[number]       -> global
 *
 * The names of a global number last as long as it is in use: by a task, a group or a session.
 */
#ifndef SENTRY_KERNEL_PIDNS_H
#define SENTRY_KERNEL_PIDNS_H

#include "sentry/kernel/ns/ns.h"

struct process;

#define PID_NS_LEVEL_MAX 32
#define PID_NS_SLOTS     16384 /* namespaces at once */

struct pid_ns {
    struct ns ns;
    struct kernel *kernel; /* borrowed */
    struct pid_ns *parent; /* owned reference; NULL: the first one */
    int level;
    uint32_t slot; /* in kernel->pid_namespaces; 0: the first one */

    /* Under kernel->lock; `globals` is read under kernel->names_lock. */
    int32_t *globals;     /* KERNEL_PID_MAX of them, 0: free; NULL in the first one */
    int32_t last_pid;     /* /proc/sys/kernel/ns_last_pid */
    int32_t pid_max;      /* numbers are below it */
    struct process *init; /* borrowed: number 1; NULL before it and when it has gone */
    bool closed;          /* init ends, or has ended: nobody comes in any more */
    uint32_t changes;     /* host futex: somebody has left while init ends */
};

struct pid_names {
    struct pid_ns *ns; /* owned reference: the innermost */
    int32_t numbers[]; /* by level, 0 to ns->level */
};

static inline struct pid_ns *pid_ns_of(struct ns *ns)
{
    return container_of(ns, struct pid_ns, ns);
}
/* The object of ns_create(): below `old`, NULL: the first one. NULL without memory or place. */
struct pid_ns *pid_ns_create(struct kernel *kernel, struct pid_ns *old);
static inline struct pid_ns *pid_ns_ref(struct pid_ns *ns)
{
    return pid_ns_of(ns_ref(&ns->ns));
}
/* The namespace of that slot, referenced; NULL: it has gone. */
struct pid_ns *pid_ns_at(struct kernel *kernel, uint32_t slot);
/* Is `ns` in `above`, or is it that? */
bool pid_ns_is_below(const struct pid_ns *ns, const struct pid_ns *above);

/* The number of a global one in that namespace; 0: it is not seen there. Any lock may be held. */
int32_t pid_shown(struct pid_ns *ns, int32_t global);
/* The global number that is meant there; 0: none is. */
int32_t pid_global(struct pid_ns *ns, int32_t number);
/* The numbers from that namespace inwards, 0 where it is not seen: how many; 33 at most. */
int pid_numbers(struct pid_ns *ns, int32_t global, int32_t *ret);
/* The same in the namespace that the task is in. */
int32_t task_shown_pid(const struct task *viewer, int32_t global);
int32_t task_global_pid(const struct task *task, int32_t number);
/* The task of that number in the namespace of `task`, referenced; NULL: none. */
struct task *task_lookup(const struct task *task, int32_t number);
/* Can `task` be seen from that namespace? */
static inline bool pid_ns_sees(struct pid_ns *ns, int32_t global)
{
    return pid_shown(ns, global) != 0;
}

/* ---- pid.c, with kernel->lock held ---- */

/* A number that no task has any more: its names go with the last who uses it. */
void pid_names_drop_locked(struct kernel *kernel, int32_t global);

/* ---- pidns.c: the end of a namespace ---- */

/*
 * The task ends. If it is the last thread of its namespace's init, everybody in there is killed,
 * and this returns when they have gone: zap_pid_ns_processes().
 */
void pid_ns_task_ends(struct task *task);

#endif
