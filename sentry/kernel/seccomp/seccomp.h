/*
 * seccomp(2) for programs: what a task lets itself do. (The Sentry's own jail is host/jail.h.)
 *
 * Filters form a tree: each task points to its newest one, each filter to the one that was there
 * before, shared with whoever was forked since. Once installed a filter never changes, and a
 * task's filters stay reachable from whatever TSYNC puts in their place, so the task's own thread
 * reads them without a lock.
 */
#ifndef SENTRY_KERNEL_SECCOMP_H
#define SENTRY_KERNEL_SECCOMP_H

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/compiler.h"
#include "base/refcount.h"

struct file;
struct seccomp_notify;
struct task;

#define SECCOMP_CALL_STRICT 1 /* /proc/PID/status and PR_GET_SECCOMP: modes */
#define SECCOMP_CALL_FILTER 2

struct seccomp_filter {
    refcount_t refs;
    uint32_t users;              /* atomic: tasks and filters that have it, dead ones not counted */
    struct seccomp_filter *prev; /* owned reference: the older one */
    struct seccomp_notify *notify; /* owned; NULL: nobody listens */
    bool log, wait_killable;
    uint32_t count;
    struct sock_filter program[];
};

/* Of a task; under process->lock. */
struct seccomp {
    int mode;                      /* 0, SECCOMP_CALL_STRICT, SECCOMP_CALL_FILTER */
    bool no_new_privs;             /* TSYNC of another thread brought it; see task_no_new_privs() */
    struct seccomp_filter *filter; /* owned reference */
};

/* seccomp(2), SECCOMP_SET_MODE_STRICT: -EINVAL. */
int seccomp_set_strict(struct task *task);
/*
 * SECCOMP_SET_MODE_FILTER with a checked filter, whose reference is taken over on success. 0, the
 * number of a thread that cannot follow (TSYNC), -EINVAL, -ENOMEM, -ESRCH, -EBUSY.
 */
int seccomp_install(struct task *task, struct seccomp_filter *filter, uint32_t flags);
/* For `count` instructions, not checked yet; -ENOMEM is NULL. */
struct seccomp_filter *seccomp_filter_create(uint32_t count);
struct seccomp_filter *seccomp_filter_unref(struct seccomp_filter *filter);
uint32_t seccomp_filter_count(const struct task *task);

/* A new task has its maker's filters; it does not run yet. */
void seccomp_inherit(struct task *parent, struct task *child);
/* The task is gone: listeners of filters that nobody has any more hear of it. */
void seccomp_leave(struct task *task);

/*
 * The call in the task's registers: true when it may be done. False: the result is in rax, or a
 * signal is on its way, or the task has to end. A filter or a listener may answer any number: one
 * that asks for a restart does so only where a signal waits, as on Linux; else it is the program's.
 */
bool seccomp_allows(struct task *task);

/* no_new_privs of the credentials, or what TSYNC brought. */
bool task_no_new_privs(const struct task *task);

/* ---- a program that answers for others (seccomp_unotify(2)) ---- */

/* A listener for the filter, which gets it; its file. -ENOMEM. */
int seccomp_notify_create(struct seccomp_filter *filter, struct file **ret);
void seccomp_notify_destroy(struct seccomp_notify *notify);
/* Nobody has the filter any more. */
void seccomp_notify_orphan(struct seccomp_notify *notify);
/* Asks the listener and waits: true when the call is to be done after all; else rax is set. */
bool seccomp_notify_ask(struct task *task, struct seccomp_filter *filter,
                        const struct seccomp_data *data);

#endif
