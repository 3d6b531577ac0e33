/* eventfd(2): a counter that can be waited for. */
#ifndef SENTRY_FS_EVENT_EVENTFD_H
#define SENTRY_FS_EVENT_EVENTFD_H

#include "base/compiler.h"

struct file;

bool eventfd_is(const struct file *f);
/* Adds one, as the kernel does when what it was asked for has happened; stops at the maximum. */
void eventfd_signal(struct file *f);

/* `flags`: EFD_SEMAPHORE, EFD_NONBLOCK; checked by the caller. */
int eventfd_create(uint32_t initial, int flags, struct file **ret);

#endif
