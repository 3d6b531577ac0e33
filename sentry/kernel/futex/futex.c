/*
 * Sleepers hang in hash buckets by the identity of their word. The word is looked at, and the
 * sleeper entered, under the bucket's lock; a waker changes the word first and then takes the lock.
 * So either the sleeper sees the new value or the waker sees the sleeper.
 *
 * A requeue moves an entry to another bucket while its owner sleeps: the owner locks the bucket
 * that its entry names and looks again whether it still does.
 */
#include "sentry/kernel/futex/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <xxhash.h>

#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

struct futex_table *futex_table_create(void)
{
    struct futex_table *table = malloc(sizeof(*table));

    for (int i = 0; table && i < FUTEX_BUCKETS; i++) {
        lock_init(&table->buckets[i].lock);
        list_init(&table->buckets[i].sleepers);
        list_init(&table->buckets[i].pi);
    }
    if (table)
        lock_init(&table->pi_lock);
    return table;
}

void futex_table_destroy(struct futex_table *table)
{
    free(table);
}

struct futex_bucket *futex_bucket_of(struct futex_table *table, const struct mm_futex_key *key)
{
    return &table->buckets[XXH3_64bits(key, sizeof(*key)) % FUTEX_BUCKETS];
}

bool futex_same_key(const struct mm_futex_key *a, const struct mm_futex_key *b)
{
    return a->object == b->object && a->offset == b->offset;
}

int futex_get_key(struct mm *mm, uaddr_t addr, bool shared, struct mm_futex_key *ret_key)
{
    if (!is_aligned(addr, sizeof(uint32_t)))
        return -EINVAL;
    return mm_futex_key(mm, addr, shared, ret_key);
}

bool futex_is_woken(const struct futex_sleeper *s)
{
    return __atomic_load_n(&s->woken, __ATOMIC_ACQUIRE);
}

struct futex_bucket *futex_lock_bucket_of(struct futex_sleeper *s) __no_lock_analysis
{
    for (;;) {
        struct futex_bucket *bucket = __atomic_load_n(&s->bucket, __ATOMIC_ACQUIRE);

        lock_acquire(&bucket->lock);
        if (__atomic_load_n(&s->bucket, __ATOMIC_RELAXED) == bucket)
            return bucket;
        lock_release(&bucket->lock);
    }
}

int futex_enqueue(struct mm *mm, struct futex_sleeper *s, uaddr_t addr, uint32_t value)
{
    uint32_t word;
    int error;

    lock_acquire(&s->bucket->lock);
    error = user_load32(mm, addr, &word);
    if (error == 0 && word != value)
        error = -EAGAIN;
    if (error == 0)
        list_add_tail(&s->bucket->sleepers, &s->node);
    lock_release(&s->bucket->lock);
    return error;
}

int futex_wait(struct task *task, uaddr_t addr, bool shared, uint32_t value, uint32_t bitset,
               uint64_t deadline_ns)
{
    struct futex_sleeper s = {.bitset = bitset, .task = task};
    struct futex_bucket *bucket;
    int error = futex_get_key(task->mm, addr, shared, &s.key);

    if (error < 0)
        return error;
    s.bucket = futex_bucket_of(task->kernel->futexes, &s.key);
    waiter_reset(&task->waiter);
    error = futex_enqueue(task->mm, &s, addr, value);
    if (error < 0)
        return error;
    do {
        error = task_block(task, deadline_ns);
    } while (error == 0 && !futex_is_woken(&s));
    if (futex_is_woken(&s))
        return 0;
    bucket = futex_lock_bucket_of(&s);
    if (!futex_is_woken(&s))
        list_del_init(&s.node);
    lock_release(&bucket->lock);
    return futex_is_woken(&s) ? 0 : error;
}

static void wake_now(struct task *task)
{
    waiter_wake(&task->waiter);
    task_unref(task);
}

void futex_wake_sleeper(struct futex_sleeper *s, struct wake_batch *batch)
{
    struct task *task = task_ref(s->task);

    list_del_init(&s->node);
    __atomic_store_n(&s->woken, true, __ATOMIC_RELEASE);
    if (batch->count < ARRAY_COUNT(batch->tasks))
        batch->tasks[batch->count++] = task;
    else
        wake_now(task);
}

void futex_wake_batch(struct wake_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        wake_now(batch->tasks[i]);
}

int futex_wake_locked(struct futex_bucket *bucket, const struct mm_futex_key *key, int count,
                      uint32_t bitset, struct wake_batch *batch)
{
    struct futex_sleeper *s, *next;
    int woken = 0;

    if (unlikely(!list_empty(&bucket->pi)) && futex_pi_find(bucket, key))
        return -EINVAL;
    list_for_each_safe (s, next, &bucket->sleepers, node) {
        if (!futex_same_key(&s->key, key) || !(s->bitset & bitset))
            continue;
        if (s->pi_addr)
            return -EINVAL;
        futex_wake_sleeper(s, batch);
        if (++woken >= count)
            break;
    }
    return woken;
}

int futex_wake(struct kernel *kernel, struct mm *mm, uaddr_t addr, bool shared, int count,
               uint32_t bitset)
{
    struct wake_batch batch = {0};
    struct futex_bucket *bucket;
    struct mm_futex_key key;
    int error = futex_get_key(mm, addr, shared, &key);

    if (error < 0)
        return error;
    bucket = futex_bucket_of(kernel->futexes, &key);
    lock_acquire(&bucket->lock);
    count = futex_wake_locked(bucket, &key, count, bitset, &batch);
    lock_release(&bucket->lock);
    futex_wake_batch(&batch);
    return count;
}

void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b) __no_lock_analysis
{
    lock_acquire(&MIN(a, b)->lock);
    if (a != b)
        lock_acquire(&MAX(a, b)->lock);
}

void futex_release_two(struct futex_bucket *a, struct futex_bucket *b) __no_lock_analysis
{
    lock_release(&a->lock);
    if (a != b)
        lock_release(&b->lock);
}

/* Takes the sleepers out of their queues; the last one that was woken, or -1. */
static int leave_queues(struct futex_sleeper *sleepers, unsigned count)
{
    int woken = -1;

    for (unsigned i = 0; i < count; i++) {
        struct futex_bucket *bucket = futex_lock_bucket_of(&sleepers[i]);

        if (futex_is_woken(&sleepers[i]))
            woken = (int)i;
        else
            list_del_init(&sleepers[i].node);
        lock_release(&bucket->lock);
    }
    return woken;
}

static bool any_woken(const struct futex_sleeper *sleepers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (futex_is_woken(&sleepers[i]))
            return true;
    }
    return false;
}

int futex_wait_multiple(struct task *task, const struct futex_word *words, const uint32_t *values,
                        unsigned count, uint64_t deadline_ns)
{
    struct futex_sleeper *sleepers = calloc(count, sizeof(*sleepers));
    unsigned queued = 0;
    int error = 0, woken;

    if (!sleepers)
        return -ENOMEM;
    waiter_reset(&task->waiter);
    for (; queued < count && error == 0; queued++) {
        struct futex_sleeper *s = &sleepers[queued];

        s->bitset = FUTEX_BITSET_MATCH_ANY;
        s->task = task;
        error = futex_get_key(task->mm, words[queued].addr, words[queued].shared, &s->key);
        if (error < 0)
            break;
        s->bucket = futex_bucket_of(task->kernel->futexes, &s->key);
        error = futex_enqueue(task->mm, s, words[queued].addr, values[queued]);
        if (error < 0)
            break;
    }
    while (error == 0 && !any_woken(sleepers, count))
        error = task_block(task, deadline_ns);
    woken = leave_queues(sleepers, queued);
    free(sleepers);
    return woken >= 0 ? woken : error;
}
