/*
 * Priority-inheriting locks (futex(2), "Priority-inheritance futexes"). The word holds the owner's
 * number, so an uncontended lock never comes here; the first that must wait makes a `struct
 * futex_pi`, which knows the owner as a task.
 *
 * The lock is handed over, never just released: whoever unlocks, or dies, writes the next owner's
 * number into the word under the locks, and wakes it. The next is the one with the highest
 * priority, and among equals the oldest. An owner inherits the priority of those who wait for it,
 * along the whole chain; here that decides who is next, since the host's scheduler is not told.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>

#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/mm/usercopy.h"

#define CHAIN_MAX 1024 /* longer chains of owners count as a deadlock */

struct futex_pi *futex_pi_find(struct futex_bucket *bucket, const struct mm_futex_key *key)
{
    struct futex_pi *pi;

    list_for_each (pi, &bucket->pi, in_bucket) {
        if (futex_same_key(&pi->key, key))
            return pi;
    }
    return NULL;
}

static bool has_plain_sleeper(struct futex_bucket *bucket, const struct mm_futex_key *key)
{
    struct futex_sleeper *s;

    list_for_each (s, &bucket->sleepers, node) {
        if (futex_same_key(&s->key, key))
            return true;
    }
    return false;
}

/* Its own priority, or a higher one that it has inherited. */
static int effective_priority(struct task *task)
{
    int policy = __atomic_load_n(&task->sched.policy, __ATOMIC_RELAXED), priority = 0;
    struct futex_pi *pi;

    if (policy == SCHED_FIFO || policy == SCHED_RR)
        priority = __atomic_load_n(&task->sched.priority, __ATOMIC_RELAXED);
    else if (policy == LINUX_SCHED_DEADLINE)
        priority = INT32_MAX;
    list_for_each (pi, &task->pi_held, in_owner)
        priority = MAX(priority, list_first(&pi->waiters, struct futex_sleeper, node)->priority);
    return priority;
}

/* In order of priority, behind its equals. */
static void insert_waiter(struct futex_pi *pi, struct futex_sleeper *s)
{
    struct futex_sleeper *other;

    list_for_each (other, &pi->waiters, node) {
        if (other->priority < s->priority)
            break;
    }
    list_add_tail(&other->node, &s->node);
}

/* Something about the locks that `task` holds has changed: its priority, and its place in queues.
 */
static void propagate(struct task *task)
{
    for (int i = 0; i < CHAIN_MAX; i++) {
        int priority = effective_priority(task);
        struct futex_sleeper *s = task->pi_blocked;

        if (task->pi_priority == priority && (!s || s->priority == priority))
            return;
        task->pi_priority = priority;
        if (!s)
            return;
        s->priority = priority;
        list_del_init(&s->node);
        insert_waiter(s->pi, s);
        task = s->pi->owner;
    }
}

void futex_pi_priority_changed(struct task *task)
{
    struct futex_table *table = task->kernel->futexes;

    lock_acquire(&table->pi_lock);
    propagate(task);
    lock_release(&table->pi_lock);
}

/* Would `task` wait for itself if it waited for `owner`? */
static bool is_deadlock(const struct task *task, const struct task *owner)
{
    for (int i = 0; i < CHAIN_MAX; i++) {
        if (owner == task)
            return true;
        if (!owner->pi_blocked)
            return false;
        owner = owner->pi_blocked->pi->owner;
    }
    return true;
}

static void release_pi(struct futex_pi *pi)
{
    list_del_init(&pi->in_bucket);
    list_del_init(&pi->in_owner);
    free(pi);
}

static void queue(struct futex_sleeper *s, struct futex_bucket *bucket, struct futex_pi *pi,
                  struct task *owner)
{
    if (!pi) {
        pi = s->spare;
        s->spare = NULL;
        *pi = (struct futex_pi){.bucket = bucket, .key = s->pi_key, .owner = owner};
        list_init(&pi->waiters);
        list_add_tail(&bucket->pi, &pi->in_bucket);
        list_add_tail(&owner->pi_held, &pi->in_owner);
    }
    s->pi = pi;
    s->priority = effective_priority(s->task);
    s->task->pi_blocked = s;
    list_del_init(&s->node);
    insert_waiter(pi, s);
    __atomic_store_n(&s->bucket, bucket, __ATOMIC_RELEASE);
    propagate(owner);
}

/* Nobody waits yet: the word alone says whose the lock is. FUTEX_PI_RETRY, 1, 0, -errno. */
static int claim_word(struct futex_sleeper *s, uint32_t word, const struct task *owner,
                      bool more_waiters)
{
    uint32_t tid = word & FUTEX_TID_MASK, wanted = word | FUTEX_WAITERS, seen;
    struct mm *mm = s->task->mm;

    if (tid == 0) {
        wanted = (word & FUTEX_OWNER_DIED) | (uint32_t)s->task->vtid;
        if (more_waiters)
            wanted |= FUTEX_WAITERS;
    } else if (!owner || (uint32_t)owner->vtid != tid) {
        return FUTEX_PI_RETRY;
    } else if (owner->pi_exited) {
        /* It marked its robust locks before it said so: is this one of them? */
        if (user_load32(mm, s->pi_addr, &seen) < 0)
            return -EFAULT;
        return seen == word ? -ESRCH : FUTEX_PI_RETRY;
    }
    if (user_cmpxchg32(mm, s->pi_addr, word, wanted, &seen) < 0)
        return -EFAULT;
    if (seen != word)
        return FUTEX_PI_RETRY;
    return tid == 0;
}

int futex_pi_acquire(struct futex_sleeper *s, struct task *owner, bool more_waiters)
{
    struct futex_bucket *bucket = futex_bucket_of(s->task->kernel->futexes, &s->pi_key);
    struct futex_pi *pi = futex_pi_find(bucket, &s->pi_key);
    uint32_t word, tid;
    int result;

    if (user_load32(s->task->mm, s->pi_addr, &word) < 0)
        return -EFAULT;
    tid = word & FUTEX_TID_MASK;
    if (tid == (uint32_t)s->task->vtid)
        return -EDEADLK;
    if (has_plain_sleeper(bucket, &s->pi_key))
        return -EINVAL;
    if (pi) {
        owner = pi->owner;
        if (tid != (uint32_t)owner->vtid && !(tid == 0 && (word & FUTEX_OWNER_DIED)))
            return -EINVAL;
    } else {
        result = claim_word(s, word, owner, more_waiters);
        if (result != 0)
            return result;
    }
    if (is_deadlock(s->task, owner))
        return -EDEADLK;
    if (!s->spare)
        return -EWOULDBLOCK; /* only tries */
    queue(s, bucket, pi, owner);
    return 0;
}

void futex_pi_leave(struct futex_sleeper *s)
{
    struct futex_pi *pi = s->pi;
    struct task *owner = pi->owner;

    list_del_init(&s->node);
    s->pi = NULL;
    s->task->pi_blocked = NULL;
    if (list_empty(&pi->waiters))
        release_pi(pi);
    propagate(owner);
}

int futex_pi_owner(struct task *task, uaddr_t addr, struct task **ret_owner)
{
    uint32_t word, again;
    struct task *owner;

    do {
        if (user_load32(task->mm, addr, &word) < 0)
            return -EFAULT;
        if ((word & FUTEX_TID_MASK) == 0) {
            *ret_owner = NULL;
            return 0;
        }
        owner = task_lookup(task, (int32_t)(word & FUTEX_TID_MASK));
        if (!owner && user_load32(task->mm, addr, &again) < 0)
            return -EFAULT;
    } while (!owner && again != word && !task_interrupted(task));
    *ret_owner = owner;
    return owner ? 0 : -ESRCH;
}

/* One attempt, with the locks; FUTEX_PI_RETRY and the rest as futex_pi_acquire(). */
static int try_lock(struct futex_sleeper *s)
{
    struct futex_table *table = s->task->kernel->futexes;
    struct task *owner;
    int result = futex_pi_owner(s->task, s->pi_addr, &owner);

    if (result < 0)
        return result;
    lock_acquire(&s->bucket->lock);
    lock_acquire(&table->pi_lock);
    result = futex_pi_acquire(s, owner, false);
    lock_release(&table->pi_lock);
    lock_release(&s->bucket->lock);
    task_unref(owner);
    return result;
}

/* Sleeps in the lock's queue. 0: has it. */
static int wait_for_lock(struct futex_sleeper *s, uint64_t deadline_ns)
{
    struct futex_table *table = s->task->kernel->futexes;
    int error = 0;

    while (error == 0 && !futex_is_woken(s))
        error = task_block(s->task, deadline_ns);
    lock_acquire(&s->bucket->lock);
    lock_acquire(&table->pi_lock);
    if (futex_is_woken(s))
        error = s->error;
    else
        futex_pi_leave(s);
    lock_release(&table->pi_lock);
    lock_release(&s->bucket->lock);
    return error == -ERESTARTSYS ? -ERESTARTNOINTR : error;
}

int futex_lock_pi(struct task *task, struct futex_word word, bool only_try, uint64_t deadline_ns)
{
    struct futex_sleeper s = {.task = task, .pi_addr = word.addr, .bitset = FUTEX_BITSET_MATCH_ANY};
    int result = futex_get_key(task->mm, word.addr, word.shared, &s.pi_key);

    if (result < 0)
        return result;
    if (!only_try) {
        s.spare = malloc(sizeof(*s.spare));
        if (!s.spare)
            return -ENOMEM;
    }
    s.key = s.pi_key;
    s.bucket = futex_bucket_of(task->kernel->futexes, &s.key);
    list_init(&s.node);
    waiter_reset(&task->waiter);
    do {
        result = try_lock(&s);
        if (result == FUTEX_PI_RETRY && task_interrupted(task))
            result = -ERESTARTNOINTR;
    } while (result == FUTEX_PI_RETRY);
    if (result == 0)
        result = wait_for_lock(&s, deadline_ns);
    free(s.spare);
    return result == 1 ? 0 : result;
}

/* The first waiter becomes the owner; the word says so already. */
static void hand_over(struct futex_pi *pi, struct wake_batch *batch)
{
    struct futex_sleeper *s = list_first(&pi->waiters, struct futex_sleeper, node);
    struct task *old = pi->owner, *heir = s->task;

    list_del_init(&s->node);
    s->pi = NULL;
    heir->pi_blocked = NULL;
    list_del_init(&pi->in_owner);
    pi->owner = heir;
    if (list_empty(&pi->waiters))
        release_pi(pi);
    else
        list_add_tail(&heir->pi_held, &pi->in_owner);
    propagate(old);
    propagate(heir);
    futex_wake_sleeper(s, batch);
}

/* With the locks; `word` was read as the caller's own. */
static int unlock_locked(struct task *task, uaddr_t addr, uint32_t word,
                         const struct mm_futex_key *key, struct wake_batch *batch)
{
    struct futex_bucket *bucket = futex_bucket_of(task->kernel->futexes, key);
    struct futex_pi *pi = futex_pi_find(bucket, key);
    uint32_t wanted = 0, seen;

    if (pi ? pi->owner != task : has_plain_sleeper(bucket, key))
        return -EINVAL;
    if (pi)
        wanted = (uint32_t)list_first(&pi->waiters, struct futex_sleeper, node)->task->vtid |
                 FUTEX_WAITERS;
    if (user_cmpxchg32(task->mm, addr, word, wanted, &seen) < 0)
        return -EFAULT;
    if (seen != word)
        return (seen & FUTEX_TID_MASK) == (uint32_t)task->vtid || !pi ? FUTEX_PI_RETRY : -EINVAL;
    if (pi)
        hand_over(pi, batch);
    return 0;
}

int futex_unlock_pi(struct task *task, struct futex_word word)
{
    struct futex_table *table = task->kernel->futexes;
    struct wake_batch batch = {0};
    struct futex_bucket *bucket;
    struct mm_futex_key key;
    uint32_t value;
    int error;

    do {
        if (task_interrupted(task))
            return -ERESTARTNOINTR; /* somebody may be changing the word for ever */
        error = futex_get_key(task->mm, word.addr, word.shared, &key);
        if (error == 0)
            error = user_load32(task->mm, word.addr, &value);
        if (error < 0)
            return error;
        if ((value & FUTEX_TID_MASK) != (uint32_t)task->vtid)
            return -EPERM;
        bucket = futex_bucket_of(table, &key);
        lock_acquire(&bucket->lock);
        lock_acquire(&table->pi_lock);
        error = unlock_locked(task, word.addr, value, &key, &batch);
        lock_release(&table->pi_lock);
        lock_release(&bucket->lock);
    } while (error == FUTEX_PI_RETRY);
    futex_wake_batch(&batch);
    return error;
}

/* The word of a lock whose owner died names its next one. In the heir's memory: ours is going. */
static void bequeath(struct futex_pi *pi, struct wake_batch *batch)
{
    struct futex_sleeper *s = list_first(&pi->waiters, struct futex_sleeper, node);
    uint32_t wanted = (uint32_t)s->task->vtid | FUTEX_WAITERS | FUTEX_OWNER_DIED, word, seen;
    int error = user_load32(s->task->mm, s->pi_addr, &word);

    while (error == 0) {
        error = user_cmpxchg32(s->task->mm, s->pi_addr, word, wanted, &seen);
        if (error == 0 && seen == word)
            break;
        word = seen;
    }
    if (error == 0) {
        hand_over(pi, batch);
        return;
    }
    futex_pi_leave(s);
    s->error = error;
    futex_wake_sleeper(s, batch);
}

void futex_pi_exit(struct task *task)
{
    struct futex_table *table = task->kernel->futexes;

    lock_acquire(&table->pi_lock);
    task->pi_exited = true;
    while (!list_empty(&task->pi_held)) {
        struct futex_pi *pi = list_first(&task->pi_held, struct futex_pi, in_owner);
        struct futex_bucket *bucket = pi->bucket;
        struct wake_batch batch = {0};

        lock_release(&table->pi_lock);
        lock_acquire(&bucket->lock);
        lock_acquire(&table->pi_lock);
        /* It may have gone meanwhile, and another stand where it stood. */
        if (!list_empty(&task->pi_held) && task->pi_held.next == &pi->in_owner &&
            pi->bucket == bucket)
            bequeath(pi, &batch);
        lock_release(&table->pi_lock);
        lock_release(&bucket->lock);
        futex_wake_batch(&batch);
        lock_acquire(&table->pi_lock);
    }
    lock_release(&table->pi_lock);
}
