/* userfaultfd(2): page faults as messages that a program reads and answers. */
#ifndef SENTRY_KERNEL_USERFAULTFD_H
#define SENTRY_KERNEL_USERFAULTFD_H

#include "base/compiler.h"

struct file;
struct task;

/* `flags` checked: O_NONBLOCK, UFFD_USER_MODE_ONLY. -ENOMEM. */
int userfaultfd_create(struct task *task, int flags, struct file **ret);

#endif
