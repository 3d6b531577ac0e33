/* Making tasks: clone(2), clone3(2). */
#ifndef SENTRY_KERNEL_CLONE_H
#define SENTRY_KERNEL_CLONE_H

#include "base/compiler.h"

struct cgroup;
struct task;

struct clone_request {
    uint64_t flags; /* CLONE_*, without the exit signal */
    uaddr_t parent_tid, child_tid;
    uaddr_t pidfd;              /* where CLONE_PIDFD stores the handle */
    const int32_t *wanted_tids; /* clone3's set_tid, the innermost namespace's first */
    int wanted_count;
    int exit_signal;
    struct cgroup *cgroup; /* borrowed: where it begins; NULL: where its maker is */
    uaddr_t stack;         /* the new stack pointer; 0: the caller's */
    uaddr_t tls;
};

/* The new task's number in the parent's namespace, or -errno as clone(2): EINVAL, EAGAIN, ENOMEM,
 * EPERM, EEXIST, EMFILE. */
long task_clone(struct task *parent, const struct clone_request *request);

#endif
