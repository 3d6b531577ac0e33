/* Directories that send signals: F_NOTIFY of fcntl(2). */
#ifndef SENTRY_KERNEL_DNOTIFY_H
#define SENTRY_KERNEL_DNOTIFY_H

#include "base/compiler.h"

struct file;
struct task;

/* DN_* bits in `mask`; 0: no more. -ENOTDIR, -ENOMEM. */
int dnotify_set(struct task *task, struct file *file, int fd, uint32_t mask);

#endif
