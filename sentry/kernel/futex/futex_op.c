/* FUTEX_WAKE_OP: changes a word, and wakes sleepers of two (futex(2)). */
#include <errno.h>
#include <linux/futex.h>

#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

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
    int holds, woken = 0, error = futex_get_key(task->mm, addr, shared, &key);

    if (error == 0)
        error = futex_get_key(task->mm, addr2, shared, &key2);
    if (error < 0)
        return error;
    first = futex_bucket_of(table, &key);
    second = futex_bucket_of(table, &key2);
    futex_lock_two(first, second);
    holds = modify_word(task->mm, addr2, op);
    if (holds >= 0)
        woken = futex_wake_locked(first, &key, wake, FUTEX_BITSET_MATCH_ANY, &batch);
    if (holds > 0 && woken >= 0) {
        int more = futex_wake_locked(second, &key2, wake2, FUTEX_BITSET_MATCH_ANY, &batch);

        woken = more < 0 ? more : woken + more;
    }
    futex_release_two(first, second);
    futex_wake_batch(&batch);
    return holds < 0 ? holds : woken;
}
