/* fcntl(2)'s locks: F_SETLK and its relatives. */
#ifndef SENTRY_SYSCALLS_LOCK_H
#define SENTRY_SYSCALLS_LOCK_H

#include "sentry/kernel/task.h"

struct file;

/* F_GETLK, F_SETLK, F_SETLKW and the F_OFD_ ones; `fd` is what led to `file`. */
long lock_control(struct task *task, int fd, struct file *file, unsigned cmd, uaddr_t arg);

#endif
