/* Inside the calls: requests of ioctl(2) that any file answers, ioctl_file.c. */
#ifndef SENTRY_SYSCALLS_IOCTL_H
#define SENTRY_SYSCALLS_IOCTL_H

#include "base/compiler.h"

struct file;
struct task;

/* -ENOTTY: none of them. */
long ioctl_fileattr(struct task *task, struct file *file, uint32_t cmd, uint64_t arg);
/* What takes a descriptor of a loop device: loop_wants_file(). */
long ioctl_loop(struct task *task, struct file *file, uint32_t cmd, uint64_t arg);
/* What every file is asked before its own requests; `ret_final`: -ENOTTY is the answer, too. */
long ioctl_file(struct task *task, struct file *file, uint32_t cmd, uint64_t arg, bool *ret_final);

#endif
