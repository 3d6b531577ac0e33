/*
 * futex(2): sleeping on a 32-bit word of guest memory. All return a count or -errno as that call.
 */
#ifndef SENTRY_KERNEL_FUTEX_H
#define SENTRY_KERNEL_FUTEX_H

#include "base/compiler.h"

struct futex_table;
struct kernel;
struct mm;
struct task;

struct futex_table *futex_table_create(void);
void futex_table_destroy(struct futex_table *table);

/*
 * Sleeps if the word still is `value`, until woken (0), CLOCK_MONOTONIC `deadline_ns` (-ETIMEDOUT)
 * or a signal (-ERESTARTSYS). -EAGAIN when the word differs; -EFAULT, -EINVAL.
 */
int futex_wait(struct task *task, uaddr_t addr, bool shared, uint32_t value, uint32_t bitset,
               uint64_t deadline_ns);
/* Wakes up to `count` sleepers whose bitset meets `bitset`. */
int futex_wake(struct kernel *kernel, struct mm *mm, uaddr_t addr, bool shared, int count,
               uint32_t bitset);
/* A word, and whether it may be shared with other address spaces. */
struct futex_word {
    uaddr_t addr;
    bool shared;
};

/* Wakes `wake` and moves `requeue` to the other; `expect` (may be NULL): -EAGAIN if not there. */
int futex_requeue(struct task *task, struct futex_word from, struct futex_word to, int wake,
                  int requeue, const uint32_t *expect);

#define FUTEX_WAITV_WORDS 128
/*
 * Sleeps on all words at once, as long as each is what it is expected to be: the index of one that
 * was woken. -EAGAIN, -ETIMEDOUT, -ERESTARTSYS, -EFAULT, -EINVAL, -ENOMEM.
 */
int futex_wait_multiple(struct task *task, const struct futex_word *words, const uint32_t *values,
                        unsigned count, uint64_t deadline_ns);
/* FUTEX_WAKE_OP: `op` as encoded in val3. */
int futex_wake_op(struct task *task, uaddr_t addr, uaddr_t addr2, bool shared, int wake, int wake2,
                  uint32_t op);

/*
 * FUTEX_LOCK_PI and FUTEX_TRYLOCK_PI: 0 with the lock. -EWOULDBLOCK (only_try), -EDEADLK, -ESRCH,
 * -ETIMEDOUT, -ERESTARTNOINTR, -EINVAL, -EFAULT, -ENOMEM.
 */
int futex_lock_pi(struct task *task, struct futex_word word, bool only_try, uint64_t deadline_ns);
/* -EPERM: the word does not name the caller. -EINVAL, -EFAULT. */
int futex_unlock_pi(struct task *task, struct futex_word word);
/* FUTEX_WAIT_REQUEUE_PI: sleeps on `word` until moved to `lock` and given it. */
int futex_wait_requeue_pi(struct task *task, struct futex_word word, uint32_t value,
                          uint64_t deadline_ns, struct futex_word lock);
/* FUTEX_CMP_REQUEUE_PI: gives `lock` to one sleeper if it is free, and queues `requeue` others. */
int futex_requeue_pi(struct task *task, struct futex_word word, struct futex_word lock, int wake,
                     int requeue, uint32_t expect);
/* The task's policy or priority has changed. */
void futex_pi_priority_changed(struct task *task);
/* At the end of a thread or program: hands on the PI locks that others wait for. */
void futex_pi_exit(struct task *task);

/* At the end of a thread: marks the robust mutexes that it still holds (robust.c). */
void robust_list_exit(struct task *task);

#endif
