/* Waiting for children: wait4(2), waitid(2). */
#ifndef SENTRY_KERNEL_WAIT_H
#define SENTRY_KERNEL_WAIT_H

#include "sentry/kernel/usage.h"

struct process;
struct task;

struct wait_request {
    int32_t pid;                   /* this child, by its global number; 0: see pgid */
    int32_t pgid;                  /* any of this group; 0: any at all */
    const struct process *process; /* this one, if not NULL: a handle on it was given */
    int options; /* WEXITED, WSTOPPED, WCONTINUED, WNOHANG, WNOWAIT, __WCLONE, __WALL, __WNOTHREAD
                  */
};

struct wait_result {
    int32_t pid;        /* as the waiter sees it; 0: WNOHANG, and nothing to tell yet */
    uint32_t uid;       /* as the waiter's user namespace has it */
    int code;           /* CLD_* */
    int status;         /* as wait(2) encodes it */
    struct usage usage; /* of the child and those that it waited for */
};

/* 0; -ECHILD, -ERESTARTSYS. */
int wait_for_child(struct task *task, const struct wait_request *request,
                   struct wait_result *ret_result);

#endif
