/*
 * Blocking. Whoever may have to wait owns a waiter (each task has one); whatever can be waited
 * for owns a wait queue. A file implementation answers would-block; only the system-call layer
 * sleeps:
 *
 *     wait_queue_add(q, &entry)          1. be told from now on
 *     if (condition) ...                 2. look again: an event before 1 is seen here
 *     waiter_park(w, deadline)           3. an event after 1 makes this return at once
 *     wait_queue_remove(q, &entry)
 *
 * Wake-ups are latched in the waiter, so there is no lost wake-up between 2 and 3. Spurious
 * returns happen; callers loop. waiter_interrupt() is also latched, until waiter_uninterrupt().
 */
#ifndef SENTRY_WAIT_WAIT_H
#define SENTRY_WAIT_WAIT_H

#include <poll.h>

#include "base/list.h"
#include "base/lock.h"
#include "sentry/wait/vigil.h"

struct waiter {
    uint32_t state; /* host futex word: WAITER_WOKEN, WAITER_INTERRUPTED, WAITER_PARKED bits */
    int waker_cpu;  /* atomic; the processor on which it was woken last, a hint */
    bool waits;     /* atomic; its owner is in waiter_park() and found no latch there */
    struct vigil vigil;
};

struct wait_queue {
    struct lock lock;
    struct list entries __guarded_by(lock);
};

struct wait_entry {
    struct list node; /* guarded by the queue's lock */
    uint32_t events;  /* POLL* bits of interest, POLLERR and POLLHUP always among them; 0: any */
    /* Called under the queue's lock: short, and never adds to or removes from a queue. */
    void (*wake)(struct wait_entry *entry, uint32_t events);
    /* Instead of wake, for Linux's exclusive waiters: their turn comes after the others', in order,
     * until one says that it has woken somebody. */
    bool (*wake_exclusive)(struct wait_entry *entry, uint32_t events);
    struct waiter *waiter; /* borrowed; what the usual wake function wakes */
};

void waiter_init(struct waiter *w);
/*
 * Sleeps until woken, interrupted or CLOCK_MONOTONIC `deadline_ns` (host time; UINT64_MAX is
 * never). Returns 0 when woken (the latch is taken), -EINTR while interrupted, -ETIMEDOUT.
 */
int waiter_park(struct waiter *w, uint64_t deadline_ns);
void waiter_wake(struct waiter *w);
int waiter_waker_cpu(const struct waiter *w);
/* Owner only: it does better on another processor than its waker (vigil.h). */
bool waiter_wants_apart(const struct waiter *w);
void waiter_interrupt(struct waiter *w);
/*
 * Between these two calls of a thread nobody whom it wakes runs yet: for one who holds a lock that
 * the woken wants first. They nest. A waiter may be gone by the time; then nobody wakes.
 */
void waiter_hold_wakes(void);
void waiter_let_wakes(void);
bool waiter_interrupted(const struct waiter *w);
/* A wake-up is latched, which nobody has taken yet. */
bool waiter_is_woken(const struct waiter *w);
/* Its owner waits at this moment: it sleeps, or is about to. */
bool waiter_is_parked(const struct waiter *w);
void waiter_uninterrupt(struct waiter *w);
/* Forgets a latched wake-up: before a new wait that no earlier event should end. */
void waiter_reset(struct waiter *w);

void wait_queue_init(struct wait_queue *q);
/* An entry whose wake function wakes `w`. */
void wait_entry_init(struct wait_entry *e, struct waiter *w, uint32_t events);
void wait_queue_add(struct wait_queue *q, struct wait_entry *e);
void wait_queue_remove(struct wait_queue *q, struct wait_entry *e);
/* Wakes all entries interested in any of `events`, of exclusive ones the first. How many had not
 * been woken already. */
int wait_queue_wake(struct wait_queue *q, uint32_t events);

/*
 * Host descriptors as wait queues (sentry/wait/hostpoll.c): one thread sleeps in epoll_wait(2) for
 * all of them and wakes the queues with the events that came. Edge-triggered: the caller asks
 * host_poll() for the state after adding its entry.
 */
struct hostpoll_watch;
int hostpoll_start(void);
/*
 * `q` outlives the watch, `fd` stays open until hostpoll_unwatch(). -EPERM for what epoll(7) does
 * not watch (regular files: always ready), -EEXIST for a descriptor that is watched already.
 * Neither is called with the lock of a queue held.
 */
int hostpoll_watch(int fd, struct wait_queue *q, struct hostpoll_watch **ret);
void hostpoll_unwatch(struct hostpoll_watch *watch);

#endif
