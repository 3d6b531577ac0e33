/*
 * Mutexes of the Sentry: pthread mutexes with clang's capability attributes, so that
 * -Wthread-safety checks the `__guarded_by` fields. Sleeping (waiting for the guest's events) is
 * done on sentry/wait, never while a lock is held.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>

#include "base/bug.h"
#include "base/compiler.h"

struct __capability("mutex") lock
{
    pthread_mutex_t mutex;
};

#define LOCK_INIT                                                                                  \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER                                                                  \
    }

static inline void lock_init(struct lock *l)
{
    pthread_mutex_init(&l->mutex, NULL);
}

static inline void lock_destroy(struct lock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

static inline void lock_acquire(struct lock *l) __acquires(*l) __no_lock_analysis
{
    if (unlikely(pthread_mutex_lock(&l->mutex) != 0))
        BUG("mutex lock failed");
}

static inline void lock_release(struct lock *l) __releases(*l) __no_lock_analysis
{
    if (unlikely(pthread_mutex_unlock(&l->mutex) != 0))
        BUG("mutex unlock failed");
}

#endif
