/*
 * Sleepers hang in hash buckets by the identity of their word. The word is looked at, and the
 * sleeper entered, under the bucket's lock; a waker changes the word first and then takes the lock.
 * So either the sleeper sees the new value or the waker sees the sleeper.
 *
 * A requeue moves an entry to another bucket while its owner sleeps: the owner locks the bucket
 * that its entry names and looks again whether it still does.
 */
#include "sentry/kernel/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <xxhash.h>

#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

#define BUCKETS 256

struct futex_bucket {
    struct lock lock;
    struct list sleepers; /* struct futex_sleeper, oldest first */
};

struct futex_table {
    struct futex_bucket buckets[BUCKETS];
};

struct futex_sleeper {
    struct list node;
    struct futex_bucket *bucket; /* atomic; changed under both buckets' locks */
    struct mm_futex_key key;
    uint32_t bitset;
    bool woken; /* atomic; the last that a waker does with an entry: its owner may return then */
    struct task *task;
};

/*
 * Tasks to wake once the bucket's lock is released: woken under it they would at once run into it.
 * References, since a task that sees `woken` may be gone by then.
 */
struct wake_batch {
    unsigned count;
    struct task *tasks[16];
};

struct futex_table *futex_table_create(void)
{
    struct futex_table *table = malloc(sizeof(*table));

    for (int i = 0; table && i < BUCKETS; i++) {
        lock_init(&table->buckets[i].lock);
        list_init(&table->buckets[i].sleepers);
    }
    return table;
}

void futex_table_destroy(struct futex_table *table)
{
    free(table);
}

static struct futex_bucket *find_bucket(struct futex_table *table, const struct mm_futex_key *key)
{
    return &table->buckets[XXH3_64bits(key, sizeof(*key)) % BUCKETS];
}

static bool same_key(const struct mm_futex_key *a, const struct mm_futex_key *b)
{
    return a->object == b->object && a->offset == b->offset;
}

static int get_key(struct mm *mm, uaddr_t addr, bool shared, struct mm_futex_key *ret_key)
{
    if (!is_aligned(addr, sizeof(uint32_t)))
        return -EINVAL;
    return mm_futex_key(mm, addr, shared, ret_key);
}

static bool is_woken(const struct futex_sleeper *s)
{
    return __atomic_load_n(&s->woken, __ATOMIC_ACQUIRE);
}

static struct futex_bucket *lock_bucket_of(struct futex_sleeper *s) __no_lock_analysis
{
    for (;;) {
        struct futex_bucket *bucket = __atomic_load_n(&s->bucket, __ATOMIC_ACQUIRE);

        lock_acquire(&bucket->lock);
        if (__atomic_load_n(&s->bucket, __ATOMIC_RELAXED) == bucket)
            return bucket;
        lock_release(&bucket->lock);
    }
}

/* Enters the sleeper if the word is as expected. */
static int enqueue(struct mm *mm, struct futex_sleeper *s, uaddr_t addr, uint32_t value)
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
    int error = get_key(task->mm, addr, shared, &s.key);

    if (error < 0)
        return error;
    s.bucket = find_bucket(task->kernel->futexes, &s.key);
    waiter_reset(&task->waiter);
    error = enqueue(task->mm, &s, addr, value);
    if (error < 0)
        return error;
    do {
        error = task_block(task, deadline_ns);
    } while (error == 0 && !is_woken(&s));
    if (is_woken(&s))
        return 0;
    bucket = lock_bucket_of(&s);
    if (!is_woken(&s))
        list_del_init(&s.node);
    lock_release(&bucket->lock);
    return is_woken(&s) ? 0 : error;
}

static void wake_now(struct task *task)
{
    waiter_wake(&task->waiter);
    task_unref(task);
}

static void wake_locked(struct futex_sleeper *s, struct wake_batch *batch)
{
    struct task *task = task_ref(s->task);

    list_del_init(&s->node);
    __atomic_store_n(&s->woken, true, __ATOMIC_RELEASE);
    if (batch->count < ARRAY_COUNT(batch->tasks))
        batch->tasks[batch->count++] = task;
    else
        wake_now(task);
}

static void wake_batch(struct wake_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        wake_now(batch->tasks[i]);
}

static int wake_in_locked(struct futex_bucket *bucket, const struct mm_futex_key *key, int count,
                          uint32_t bitset, struct wake_batch *batch)
{
    struct futex_sleeper *s, *next;
    int woken = 0;

    list_for_each_safe (s, next, &bucket->sleepers, node) {
        if (!same_key(&s->key, key) || !(s->bitset & bitset))
            continue;
        wake_locked(s, batch);
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
    int error = get_key(mm, addr, shared, &key);

    if (error < 0)
        return error;
    bucket = find_bucket(kernel->futexes, &key);
    lock_acquire(&bucket->lock);
    count = wake_in_locked(bucket, &key, count, bitset, &batch);
    lock_release(&bucket->lock);
    wake_batch(&batch);
    return count;
}

static void lock_two(struct futex_bucket *a, struct futex_bucket *b) __no_lock_analysis
{
    lock_acquire(&MIN(a, b)->lock);
    if (a != b)
        lock_acquire(&MAX(a, b)->lock);
}

static void release_two(struct futex_bucket *a, struct futex_bucket *b) __no_lock_analysis
{
    lock_release(&a->lock);
    if (a != b)
        lock_release(&b->lock);
}

static int move_locked(struct futex_bucket *from, const struct mm_futex_key *key,
                       struct futex_bucket *to, const struct mm_futex_key *new_key, int wake,
                       int requeue, struct wake_batch *batch)
{
    struct futex_sleeper *s, *next;
    int done = 0;

    list_for_each_safe (s, next, &from->sleepers, node) {
        if (!same_key(&s->key, key))
            continue;
        if (done - wake >= requeue)
            break;
        if (++done <= wake) {
            wake_locked(s, batch);
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
    result = get_key(task->mm, word1.addr, word1.shared, &key);
    if (result == 0)
        result = get_key(task->mm, word2.addr, word2.shared, &key2);
    if (result < 0)
        return result;
    from = find_bucket(table, &key);
    to = find_bucket(table, &key2);
    lock_two(from, to);
    if (expect) {
        result = user_load32(task->mm, word1.addr, &word);
        if (result == 0 && word != *expect)
            result = -EAGAIN;
    }
    if (result == 0)
        result = move_locked(from, &key, to, &key2, wake, requeue, &batch);
    release_two(from, to);
    wake_batch(&batch);
    return result;
}

/* Takes the sleepers out of their queues; the last one that was woken, or -1. */
static int leave_queues(struct futex_sleeper *sleepers, unsigned count)
{
    int woken = -1;

    for (unsigned i = 0; i < count; i++) {
        struct futex_bucket *bucket = lock_bucket_of(&sleepers[i]);

        if (is_woken(&sleepers[i]))
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
        if (is_woken(&sleepers[i]))
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
        error = get_key(task->mm, words[queued].addr, words[queued].shared, &s->key);
        if (error < 0)
            break;
        s->bucket = find_bucket(task->kernel->futexes, &s->key);
        error = enqueue(task->mm, s, words[queued].addr, values[queued]);
        if (error < 0)
            break;
    }
    while (error == 0 && !any_woken(sleepers, count))
        error = task_block(task, deadline_ns);
    woken = leave_queues(sleepers, queued);
    free(sleepers);
    return woken >= 0 ? woken : error;
}

/* The two halves of FUTEX_WAKE_OP's operand (futex(2)). */
static bool apply_op(uint32_t op, uint32_t old, uint32_t arg, uint32_t *ret_new)
{
    switch (op) {
    case FUTEX_OP_SET:
        *ret_new = arg;
        return true;
    case FUTEX_OP_ADD:
        *ret_new = old + arg;
        return true;
    case FUTEX_OP_OR:
        *ret_new = old | arg;
        return true;
    case FUTEX_OP_ANDN:
        *ret_new = old & ~arg;
        return true;
    case FUTEX_OP_XOR:
        *ret_new = old ^ arg;
        return true;
    default:
        return false;
    }
}

static int compare_op(uint32_t cmp, int32_t old, int32_t arg)
{
    switch (cmp) {
    case FUTEX_OP_CMP_EQ:
        return old == arg;
    case FUTEX_OP_CMP_NE:
        return old != arg;
    case FUTEX_OP_CMP_LT:
        return old < arg;
    case FUTEX_OP_CMP_LE:
        return old <= arg;
    case FUTEX_OP_CMP_GT:
        return old > arg;
    case FUTEX_OP_CMP_GE:
        return old >= arg;
    default:
        return -ENOSYS;
    }
}

static int modify_word(struct mm *mm, uaddr_t addr, uint32_t encoded)
{
    uint32_t op = encoded >> 28 & 7, cmp = encoded >> 24 & 15, old, wanted, seen;
    int32_t arg = (int32_t)(encoded << 8) >> 20, cmp_arg = (int32_t)(encoded << 20) >> 20;
    int error;

    if (encoded >> 28 & FUTEX_OP_OPARG_SHIFT)
        arg = (int32_t)(1u << (arg & 31));
    error = user_load32(mm, addr, &old);
    /* Only a store of somebody else makes this go round once more. */
    while (error == 0) {
        if (!apply_op(op, old, (uint32_t)arg, &wanted))
            return -ENOSYS;
        error = user_cmpxchg32(mm, addr, old, wanted, &seen);
        if (error == 0 && seen == old)
            return compare_op(cmp, (int32_t)old, cmp_arg);
        old = seen;
    }
    return error;
}

int futex_wake_op(struct task *task, uaddr_t addr, uaddr_t addr2, bool shared, int wake, int wake2,
                  uint32_t op)
{
    struct futex_table *table = task->kernel->futexes;
    struct wake_batch batch = {0};
    struct futex_bucket *first, *second;
    struct mm_futex_key key, key2;
    int holds, woken = 0, error = get_key(task->mm, addr, shared, &key);

    if (error == 0)
        error = get_key(task->mm, addr2, shared, &key2);
    if (error < 0)
        return error;
    first = find_bucket(table, &key);
    second = find_bucket(table, &key2);
    lock_two(first, second);
    holds = modify_word(task->mm, addr2, op);
    if (holds >= 0)
        woken = wake_in_locked(first, &key, wake, FUTEX_BITSET_MATCH_ANY, &batch);
    if (holds > 0)
        woken += wake_in_locked(second, &key2, wake2, FUTEX_BITSET_MATCH_ANY, &batch);
    release_two(first, second);
    wake_batch(&batch);
    return holds < 0 ? holds : woken;
}
