/*
 * Syscall user dispatch: calls from outside of a range of code come back to the program as SIGSYS,
 * while a byte of its memory says so. PR_SET_SYSCALL_USER_DISPATCH of prctl(2),
 * Documentation/admin-guide/syscall-user-dispatch.rst of Linux.
 */
#ifndef SENTRY_KERNEL_USERDISPATCH_H
#define SENTRY_KERNEL_USERDISPATCH_H

#include "base/compiler.h"

struct task;

#define LINUX_DISPATCH_OFF          0
#define LINUX_DISPATCH_EXCLUSIVE_ON 1 /* calls from within the range pass */
#define LINUX_DISPATCH_INCLUSIVE_ON 2 /* Linux 6.18: all others do */

/* Under the process's lock; the own thread reads them freely. */
struct user_dispatch {
    uint64_t start, size; /* calls from there pass: may wrap around */
    uaddr_t selector;     /* the byte; 0: none, calls are always sent back */
    bool fired;           /* own thread only: the call at hand was */
};

/* For the own thread, or a held tracee. -EINVAL, -EFAULT. */
int user_dispatch_set(struct task *task, uint64_t mode, uint64_t start, uint64_t size,
                      uaddr_t selector);
/* As above, process->lock held. */
int user_dispatch_set_locked(struct task *task, uint64_t mode, uint64_t start, uint64_t size,
                             uaddr_t selector);
void user_dispatch_off(struct task *task);
/* True: the call was not for us, SIGSYS is on its way; the registers are as before it. */
bool user_dispatch_takes(struct task *task);

#endif
