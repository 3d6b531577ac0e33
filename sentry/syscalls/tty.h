/* What the calls on files do differently where the file is a terminal: waiting, job control. */
#ifndef SENTRY_SYSCALLS_TTY_H
#define SENTRY_SYSCALLS_TTY_H

#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

struct uio;

/* read(2), with VMIN, VTIME and SIGTTIN. */
ssize_t terminal_read(struct task *task, struct file *file, struct uio *uio, bool nonblock);
/* Before write(2): 0, or -ERESTARTSYS, -EIO in the background with TOSTOP. */
int terminal_may_write(struct task *task, struct file *file);
/* ioctl_tty(2): requests about sessions and groups are served here, the rest is the file's. */
long terminal_ioctl(struct task *task, struct file *file, uint32_t cmd, uint64_t arg);

#endif
