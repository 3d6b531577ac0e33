/*
 * Reference counts. The last ref_put() must see all stores made under earlier references, hence
 * acquire-release on the way down. Going up from zero is a use after free and ends in BUG().
 */
#ifndef BASE_REFCOUNT_H
#define BASE_REFCOUNT_H

#include "base/bug.h"
#include "base/compiler.h"

typedef struct {
    uint32_t count;
} refcount_t;

static inline void refcount_set(refcount_t *r, uint32_t n)
{
    __atomic_store_n(&r->count, n, __ATOMIC_RELAXED);
}

static inline uint32_t refcount_read(const refcount_t *r)
{
    return __atomic_load_n(&r->count, __ATOMIC_RELAXED);
}

static inline void refcount_get(refcount_t *r)
{
    uint32_t old = __atomic_fetch_add(&r->count, 1, __ATOMIC_RELAXED);

    if (unlikely(old == 0 || old >= UINT32_MAX / 2))
        BUG("reference count %u raised", old);
}

/* For weak pointers, under the lock that the release takes: false when it is already going away. */
static inline bool refcount_get_unless_zero(refcount_t *r)
{
    uint32_t old = __atomic_load_n(&r->count, __ATOMIC_RELAXED);

    while (old != 0) {
        if (__atomic_compare_exchange_n(&r->count, &old, old + 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

/* False, and nothing done, when this is the last reference: refcount_put() is to give that up. */
static inline bool refcount_put_unless_last(refcount_t *r)
{
    uint32_t old = __atomic_load_n(&r->count, __ATOMIC_RELAXED);

    while (old > 1) {
        if (__atomic_compare_exchange_n(&r->count, &old, old - 1, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

/* True when this was the last reference: the caller frees the object. */
static inline bool refcount_put(refcount_t *r)
{
    uint32_t old = __atomic_fetch_sub(&r->count, 1, __ATOMIC_ACQ_REL);

    if (unlikely(old == 0))
        BUG("reference count dropped below zero");
    return old == 1;
}

#endif
