/*
 * Moving sleepers from one word to another while they sleep: FUTEX_REQUEUE, and with locks of
 * priority inheritance FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI, which glibc's condition
 * variables used to stand on.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>

#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

static int move_locked(struct futex_bucket *from, const struct mm_futex_key *key,
                       struct futex_bucket *to, const struct mm_futex_key *new_key, int wake,
                       int requeue, struct wake_batch *batch)
{
    struct futex_sleeper *s, *next;
    int done = 0;

    if (futex_pi_find(from, key))
        return -EINVAL;
    list_for_each_safe (s, next, &from->sleepers, node) {
        if (!futex_same_key(&s->key, key))
            continue;
        if (done - wake >= requeue)
            break;
        if (s->pi_addr)
            return -EINVAL;
        if (++done <= wake) {
            futex_wake_sleeper(s, batch);
            continue;
        }
        s->key = *new_key;
        if (from != to) {
            list_del_init(&s->node);
            list_add_tail(&to->sleepers, &s->node);
            __atomic_store_n(&s->bucket, to, __ATOMIC_RELEASE);
        }
    }
    return done;
}

int futex_requeue(struct task *task, struct futex_word word1, struct futex_word word2, int wake,
                  int requeue, const uint32_t *expect)
{
    struct futex_table *table = task->kernel->futexes;
    struct wake_batch batch = {0};
    struct futex_bucket *from, *to;
    struct mm_futex_key key, key2;
    uint32_t word;
    int result;

    if (wake < 0 || requeue < 0)
        return -EINVAL;
    result = futex_get_key(task->mm, word1.addr, word1.shared, &key);
    if (result == 0)
        result = futex_get_key(task->mm, word2.addr, word2.shared, &key2);
    if (result < 0)
        return result;
    from = futex_bucket_of(table, &key);
    to = futex_bucket_of(table, &key2);
    futex_lock_two(from, to);
    if (expect) {
        result = user_load32(task->mm, word1.addr, &word);
        if (result == 0 && word != *expect)
            result = -EAGAIN;
    }
    if (result == 0)
        result = move_locked(from, &key, to, &key2, wake, requeue, &batch);
    futex_release_two(from, to);
    futex_wake_batch(&batch);
    return result;
}

/* Sleeps until it has the lock, or gives up, wherever it is queued by then. */
static int wait_until_given(struct futex_sleeper *s, uint64_t deadline_ns)
{
    struct futex_table *table = s->task->kernel->futexes;
    struct futex_bucket *bucket;
    int error = 0;

    while (error == 0 && !futex_is_woken(s))
        error = task_block(s->task, deadline_ns);
    bucket = futex_lock_bucket_of(s);
    lock_acquire(&table->pi_lock);
    if (futex_is_woken(s)) {
        error = s->error;
    } else if (s->pi) {
        futex_pi_leave(s);
        /* To come again would find the first word changed: answer what that would. */
        if (error == -ERESTARTSYS)
            error = -EWOULDBLOCK;
    } else {
        list_del_init(&s->node);
        if (error == -ERESTARTSYS)
            error = -ERESTARTNOINTR;
    }
    lock_release(&table->pi_lock);
    lock_release(&bucket->lock);
    return error;
}

int futex_wait_requeue_pi(struct task *task, struct futex_word word, uint32_t value,
                          uint64_t deadline_ns, struct futex_word lock)
{
    struct futex_sleeper s = {.task = task, .pi_addr = lock.addr, .bitset = FUTEX_BITSET_MATCH_ANY};
    int error;

    if (word.addr == lock.addr || !lock.addr)
        return -EINVAL;
    error = futex_get_key(task->mm, word.addr, word.shared, &s.key);
    if (error == 0)
        error = futex_get_key(task->mm, lock.addr, lock.shared, &s.pi_key);
    if (error == 0 && futex_same_key(&s.key, &s.pi_key))
        error = -EINVAL;
    if (error < 0)
        return error;
    s.spare = malloc(sizeof(*s.spare));
    if (!s.spare)
        return -ENOMEM;
    s.bucket = futex_bucket_of(task->kernel->futexes, &s.key);
    waiter_reset(&task->waiter);
    error = futex_enqueue(task->mm, &s, word.addr, value);
    if (error == 0)
        error = wait_until_given(&s, deadline_ns);
    free(s.spare);
    return error;
}

struct pi_move {
    struct mm_futex_key key, lock_key;
    struct futex_bucket *from, *to;
    int limit; /* how many are given the lock or queued for it */
    struct wake_batch batch;
};

/* With all locks held: how many sleepers were moved, or what futex_pi_acquire() said. */
static int move_to_lock(struct pi_move *move, struct task *owner)
{
    struct futex_sleeper *s, *next;
    int done = 0;

    list_for_each_safe (s, next, &move->from->sleepers, node) {
        int result;

        if (!futex_same_key(&s->key, &move->key))
            continue;
        if (done >= move->limit)
            break;
        if (!s->pi_addr || !futex_same_key(&s->pi_key, &move->lock_key))
            return -EINVAL;
        result = futex_pi_acquire(s, owner, move->limit > 1);
        if (result < 0)
            return result == FUTEX_PI_RETRY && done > 0 ? done : result;
        if (result == 1) {
            owner = s->task; /* stays in its call until it has our bucket's lock */
            futex_wake_sleeper(s, &move->batch);
        }
        done++;
    }
    return done;
}

static int try_requeue_pi(struct task *task, struct pi_move *move, struct futex_word word,
                          struct futex_word lock, uint32_t expect)
{
    struct futex_table *table = task->kernel->futexes;
    struct task *owner = NULL;
    int unknown = futex_pi_owner(task, lock.addr, &owner), result;
    uint32_t value;

    if (unknown == -EFAULT)
        return unknown;
    futex_lock_two(move->from, move->to);
    result = user_load32(task->mm, word.addr, &value);
    if (result == 0 && value != expect)
        result = -EAGAIN;
    if (result == 0) {
        lock_acquire(&table->pi_lock);
        result = move_to_lock(move, owner);
        lock_release(&table->pi_lock);
    }
    futex_release_two(move->from, move->to);
    task_unref(owner);
    return result == FUTEX_PI_RETRY && unknown < 0 ? unknown : result;
}

int futex_requeue_pi(struct task *task, struct futex_word word, struct futex_word lock, int wake,
                     int requeue, uint32_t expect)
{
    struct pi_move move = {.limit = requeue < INT32_MAX ? requeue + 1 : requeue};
    int result;

    if (wake != 1 || requeue < 0 || word.addr == lock.addr)
        return -EINVAL;
    result = futex_get_key(task->mm, word.addr, word.shared, &move.key);
    if (result == 0)
        result = futex_get_key(task->mm, lock.addr, lock.shared, &move.lock_key);
    if (result == 0 && futex_same_key(&move.key, &move.lock_key))
        result = -EINVAL;
    if (result < 0)
        return result;
    move.from = futex_bucket_of(task->kernel->futexes, &move.key);
    move.to = futex_bucket_of(task->kernel->futexes, &move.lock_key);
    do {
        result = try_requeue_pi(task, &move, word, lock, expect);
        if (result == FUTEX_PI_RETRY && task_interrupted(task))
            result = -ERESTARTNOINTR;
    } while (result == FUTEX_PI_RETRY);
    futex_wake_batch(&move.batch);
    return result;
}
