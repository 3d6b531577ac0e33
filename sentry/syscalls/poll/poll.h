/* Waiting for several files at once: the core of poll(2) and select(2), and their signal masks. */
#ifndef SENTRY_SYSCALLS_POLL_H
#define SENTRY_SYSCALLS_POLL_H

#include <poll.h>

#include "sentry/kernel/task.h"

/*
 * Waits until one of `fds` has an event or CLOCK_MONOTONIC `deadline_ns` (0: only looks). Fills
 * every revents; a closed number has POLLNVAL. How many have events, 0 in time, -EINTR for a signal
 * (revents are then not valid), -ENOMEM.
 */
long poll_files(struct task *task, struct pollfd *fds, unsigned count, uint64_t deadline_ns);

/* A relative timeout to a deadline; saturates. 0 stays 0: only look. */
uint64_t poll_deadline(uint64_t timeout_ns);
/* The timespec at `addr` (0: wait for ever) to a deadline. EFAULT, EINVAL. */
int poll_get_timeout(struct task *task, uaddr_t addr, uint64_t *ret_deadline_ns);
/*
 * Writes what is left back, as Linux does; that it cannot is ignored, but then, or where it must
 * not (personality(2), STICKY_TIMEOUTS), the call is not restarted either. The call's result.
 */
long poll_put_timeout(struct task *task, uaddr_t addr, uint64_t deadline_ns, long result);

/* The mask of ppoll(2) and the like, for the time of a call. */
struct poll_mask {
    bool changed;
    uint64_t saved;
};
/* `set` is the guest's sigset_t or 0. EINVAL for its size, EFAULT. */
int poll_mask_set(struct task *task, uaddr_t set, size_t size, struct poll_mask *ret);
/* Puts the old mask back, at once or, after -EINTR, when the signal has been delivered. The call's
 * result: -EINTR becomes -ERESTARTNOHAND. */
long poll_mask_restore(struct task *task, const struct poll_mask *mask, long result);

#endif
