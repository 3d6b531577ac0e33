/*
 * How many stubs run at once. The host tells a tracer of a stop by a walk over all threads of its
 * process that wait for one, so with ten thousand stubs running the hosts' time goes into these
 * walks, and each of them gets slower the more there are. More than a few for each CPU gain
 * nothing: the others wait here instead, where waiting costs nothing.
 *
 * Who has waited for long goes on all the same, for those inside may compute for ever.
 */
#include "host/clock.h"
#include "host/futex.h"
#include "platform/ptrace/internal.h"

#define INSIDE_MAX 64
#define PATIENCE   10000000UL /* ns, and so much again for each INSIDE_MAX / 4 who wait as well */

static bool try_enter(struct gate *g)
{
    uint32_t inside = __atomic_load_n(&g->inside, __ATOMIC_RELAXED);

    while (inside < INSIDE_MAX) {
        if (__atomic_compare_exchange_n(&g->inside, &inside, inside + 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

static void wait_outside(struct gate *g)
{
    uint64_t outside = __atomic_fetch_add(&g->outside, 1, __ATOMIC_SEQ_CST);
    uint64_t deadline = host_monotonic_ns() + PATIENCE * (1 + outside / (INSIDE_MAX / 4));

    for (;;) {
        uint32_t seen = __atomic_load_n(&g->left, __ATOMIC_SEQ_CST);

        if (try_enter(g))
            break;
        if (host_monotonic_ns() >= deadline) {
            __atomic_fetch_add(&g->inside, 1, __ATOMIC_ACQUIRE);
            break;
        }
        host_futex_wait(&g->left, seen, deadline);
    }
    __atomic_fetch_sub(&g->outside, 1, __ATOMIC_RELAXED);
}

void gate_enter(struct gate *g)
{
    if (unlikely(!try_enter(g)))
        wait_outside(g);
}

void gate_leave(struct gate *g)
{
    __atomic_fetch_sub(&g->inside, 1, __ATOMIC_SEQ_CST);
    if (likely(__atomic_load_n(&g->outside, __ATOMIC_SEQ_CST) == 0))
        return;
    __atomic_fetch_add(&g->left, 1, __ATOMIC_SEQ_CST);
    host_futex_wake(&g->left, 1);
}
