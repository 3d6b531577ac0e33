/* From a descriptor to the process that it is a handle on. */
#ifndef SENTRY_SYSCALLS_PIDFD_H
#define SENTRY_SYSCALLS_PIDFD_H

#include "base/compiler.h"

struct file;
struct task;

/* The file of a process handle (sentry/kernel/pidfd.h), referenced; NULL: it is none, EBADF. */
struct file *pidfd_get(struct task *task, int fd);

#endif
