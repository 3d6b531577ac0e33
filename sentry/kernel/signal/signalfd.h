/* signalfd(2): pending signals that are read as a file. */
#ifndef SENTRY_KERNEL_SIGNALFD_H
#define SENTRY_KERNEL_SIGNALFD_H

#include "base/compiler.h"

struct file;

/* `flags`: SFD_NONBLOCK. -ENOMEM. */
int signalfd_create_file(uint64_t mask, int flags, struct file **ret);
bool signalfd_is(const struct file *f);
void signalfd_set_mask(struct file *f, uint64_t mask);

/* The signal has become pending somewhere: wakes who may want it. Any locks but queues' held. */
void signalfd_notify(int signo);

#endif
