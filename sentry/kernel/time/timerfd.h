/* timerfd_create(2): a timer that is waited for as a file. */
#ifndef SENTRY_KERNEL_TIMERFD_H
#define SENTRY_KERNEL_TIMERFD_H

#include <time.h>

#include "base/compiler.h"

struct file;
struct timer_setting;

/* `clock` and `flags` (TFD_NONBLOCK) were checked by the caller. -ENOMEM. */
int timerfd_create_file(clockid_t clock, int flags, struct file **ret);
bool timerfd_is(const struct file *f);
clockid_t timerfd_clock(struct file *f);
/* `flags`: TFD_TIMER_*. -ECANCELED: real time was set since the last look; armed all the same. */
int timerfd_set(struct file *f, int flags, const struct timer_setting *setting,
                struct timer_setting *ret_old);
void timerfd_get(struct file *f, struct timer_setting *ret);

#endif
