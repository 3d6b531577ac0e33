/*
 * futex(2) on the Sentry's own words, the bottom of all its sleeping. Guest futexes never get here:
 * sentry/kernel/futex/futex.c keeps them in queues of our own.
 */
#ifndef HOST_FUTEX_H
#define HOST_FUTEX_H

#include "base/compiler.h"

#define HOST_NEVER UINT64_MAX

/*
 * Sleeps while *word == expect, until CLOCK_MONOTONIC `deadline_ns` (HOST_NEVER: no end). 0 when
 * woken, -EAGAIN when the word differed, -ETIMEDOUT, -EINTR. Spurious returns happen.
 */
int host_futex_wait(uint32_t *word, uint32_t expect, uint64_t deadline_ns);
/* Wakes up to `count` sleepers of this process. */
void host_futex_wake(uint32_t *word, int count);

#endif
