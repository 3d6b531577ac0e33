/*
 * Inside the futexes: buckets, sleepers, and the priority-inheriting locks.
 *
 * Locks: a bucket's (two by address), then the table's pi_lock, which guards every owner, every
 * queue of waiters and every field named pi_* of a task.
 */
#ifndef SENTRY_KERNEL_FUTEX_INTERNAL_H
#define SENTRY_KERNEL_FUTEX_INTERNAL_H

#include <errno.h>

#include "base/list.h"
#include "base/lock.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/mm/mm.h"

#define FUTEX_BUCKETS  256
#define FUTEX_PI_RETRY (-EBUSY) /* the word has changed: look again; never leaves these files */

struct futex_bucket {
    struct lock lock;
    struct list sleepers; /* struct futex_sleeper, oldest first */
    struct list pi;       /* struct futex_pi: the locks that somebody waits for */
};

struct futex_table {
    struct futex_bucket buckets[FUTEX_BUCKETS];
    struct lock pi_lock;
};

/* A PI lock that is held while others wait for it; it comes with the first, goes with the last. */
struct futex_pi {
    struct list in_bucket;
    struct list in_owner; /* owner->pi_held */
    struct futex_bucket *bucket;
    struct mm_futex_key key;
    struct task *owner;  /* borrowed: it lets go of all its locks before it ends */
    struct list waiters; /* struct futex_sleeper; the highest priority first, then the oldest */
};

/* One wait of a task: in a bucket's list or, when it waits for a PI lock, in that lock's. */
struct futex_sleeper {
    struct list node;
    struct futex_bucket *bucket; /* atomic; changed under both buckets' locks */
    struct mm_futex_key key;
    uint32_t bitset;
    bool woken; /* atomic; the last that a waker does with an entry: its owner may return then */
    struct task *task;
    /* FUTEX_LOCK_PI and FUTEX_WAIT_REQUEUE_PI; `woken` then says that it has the lock. */
    struct futex_pi *pi;    /* what it waits for; NULL: not yet, or no such wait */
    struct futex_pi *spare; /* owned: memory for the lock, should we be the first to wait for it */
    uaddr_t pi_addr;        /* the lock's word; 0: a plain sleeper */
    struct mm_futex_key pi_key;
    int priority; /* 0: ordinary; else that of SCHED_FIFO and SCHED_RR, inherited ones included */
    int error;    /* set before `woken`: it does not have the lock after all */
};

/*
 * Tasks to wake once the bucket's lock is released: woken under it they would at once run into it.
 * References, since a task that sees `woken` may be gone by then.
 */
struct wake_batch {
    unsigned count;
    struct task *tasks[16];
};

/* futex.c */
struct futex_bucket *futex_bucket_of(struct futex_table *table, const struct mm_futex_key *key);
bool futex_same_key(const struct mm_futex_key *a, const struct mm_futex_key *b);
int futex_get_key(struct mm *mm, uaddr_t addr, bool shared, struct mm_futex_key *ret_key);
bool futex_is_woken(const struct futex_sleeper *s);
/* The bucket that the sleeper is in now, locked. */
struct futex_bucket *futex_lock_bucket_of(struct futex_sleeper *s);
void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b);
void futex_release_two(struct futex_bucket *a, struct futex_bucket *b);
/* Enters the sleeper in its bucket if the word is as expected. */
int futex_enqueue(struct mm *mm, struct futex_sleeper *s, uaddr_t addr, uint32_t value);
/* -EINVAL when somebody waits there for a PI lock, or to be moved to one. */
int futex_wake_locked(struct futex_bucket *bucket, const struct mm_futex_key *key, int count,
                      uint32_t bitset, struct wake_batch *batch);
void futex_wake_sleeper(struct futex_sleeper *s, struct wake_batch *batch);
void futex_wake_batch(struct wake_batch *batch);

/* futex_pi.c; bucket and pi_lock held */
struct futex_pi *futex_pi_find(struct futex_bucket *bucket, const struct mm_futex_key *key);
/*
 * Takes the lock for the sleeper's task, or queues it behind `owner`, who is referenced and whose
 * number was in the word a moment ago (NULL: it was free). 1: has it; 0: waits; FUTEX_PI_RETRY;
 * -EWOULDBLOCK: would wait, but has no `spare`; -EDEADLK, -ESRCH, -EINVAL, -EFAULT.
 */
int futex_pi_acquire(struct futex_sleeper *s, struct task *owner, bool more_waiters);
/* Takes a sleeper that has given up out of the lock's queue. */
void futex_pi_leave(struct futex_sleeper *s);
/* The owner that the word at addr names, referenced; NULL: nobody. -EFAULT, -ESRCH. */
int futex_pi_owner(struct task *task, uaddr_t addr, struct task **ret_owner);

#endif
