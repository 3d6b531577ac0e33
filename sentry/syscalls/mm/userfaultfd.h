#ifndef SENTRY_SYSCALLS_MM_USERFAULTFD_H
#define SENTRY_SYSCALLS_MM_USERFAULTFD_H

#include "sentry/kernel/kernel.h"

/* A new descriptor; `flags` as userfaultfd(2), the permission is there already. */
long userfaultfd_install(struct task *task, int flags);

#endif
