/*
 * A waiter is one futex word of latched bits:
 *
 *   WOKEN         someone called waiter_wake(); taken by the park that returns 0
 *   INTERRUPTED   a signal is due; stays until waiter_uninterrupt()
 *   PARKED        the owner sleeps, or is about to: whoever sets a latch must wake the word
 *
 * Before it parks the owner may stay awake for a moment and look at the word (vigil.h): a latch
 * that is set meanwhile costs nobody a call of the host.
 *
 * WOKEN goes before INTERRUPTED: what was waited for has happened, so the call succeeds and the
 * signal is seen on the way back to the guest.
 */
#include "sentry/wait/wait.h"

#include <errno.h>

#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"

#define WAITER_WOKEN       1u
#define WAITER_INTERRUPTED 2u
#define WAITER_PARKED      4u
#define WAITER_LATCHES     (WAITER_WOKEN | WAITER_INTERRUPTED)

#define HELD_MAX           16

/* waiter_hold_wakes(): futex words, of which the latches are set already. */
static _Thread_local struct {
    unsigned int depth, count;
    uint32_t *words[HELD_MAX];
} held;

void waiter_init(struct waiter *w)
{
    __atomic_store_n(&w->state, 0, __ATOMIC_RELAXED);
    w->waker_cpu = -1;
    __atomic_store_n(&w->waits, false, __ATOMIC_RELAXED);
    vigil_init(&w->vigil);
}

static void waiter_unpark(struct waiter *w)
{
    __atomic_fetch_and(&w->state, ~WAITER_PARKED, __ATOMIC_RELAXED);
}

/* Takes what is latched, or sleeps until something is. */
static int waiter_sleep(struct waiter *w, uint64_t deadline_ns)
{
    int error = 0;

    for (;;) {
        uint32_t state = __atomic_or_fetch(&w->state, WAITER_PARKED, __ATOMIC_ACQUIRE);

        if (state & WAITER_WOKEN) {
            __atomic_fetch_and(&w->state, ~(WAITER_WOKEN | WAITER_PARKED), __ATOMIC_ACQUIRE);
            return 0;
        }
        if (state & WAITER_INTERRUPTED)
            error = -EINTR;
        if (error) {
            waiter_unpark(w);
            return error;
        }
        if (host_futex_wait(&w->state, state, deadline_ns) == -ETIMEDOUT)
            error = -ETIMEDOUT; /* unless a latch was set at the last moment */
    }
}

static bool waiter_keep_vigil(struct waiter *w, uint64_t deadline_ns)
{
    return unlikely(vigil_is_on(&w->vigil)) &&
           vigil_keep(&w->vigil, &w->state, WAITER_LATCHES,
                      waiter_waker_cpu(w) == host_current_cpu(), deadline_ns);
}

int waiter_park(struct waiter *w, uint64_t deadline_ns)
{
    uint64_t begin;
    bool slept;
    int error;

    if (__atomic_load_n(&w->state, __ATOMIC_RELAXED) & WAITER_LATCHES)
        return waiter_sleep(w, deadline_ns);
    __atomic_store_n(&w->waits, true, __ATOMIC_RELAXED);
    begin = host_monotonic_ns();
    slept = !waiter_keep_vigil(w, deadline_ns);
    error = waiter_sleep(w, deadline_ns);
    __atomic_store_n(&w->waits, false, __ATOMIC_RELAXED);
    if (slept && error == 0)
        vigil_slept(&w->vigil, host_monotonic_ns() - begin);
    return error;
}

static void waiter_latch(struct waiter *w, uint32_t bit)
{
    uint32_t old = __atomic_fetch_or(&w->state, bit, __ATOMIC_ACQ_REL);

    if ((old & bit) || !(old & WAITER_PARKED))
        return;
    if (held.depth && held.count < HELD_MAX)
        held.words[held.count++] = &w->state;
    else
        host_futex_wake(&w->state, 1);
}

void waiter_hold_wakes(void)
{
    held.depth++;
}

void waiter_let_wakes(void)
{
    if (--held.depth)
        return;
    for (unsigned int i = 0; i < held.count; i++)
        host_futex_wake(held.words[i], 1);
    held.count = 0;
}

int waiter_waker_cpu(const struct waiter *w)
{
    return __atomic_load_n(&w->waker_cpu, __ATOMIC_RELAXED);
}

bool waiter_wants_apart(const struct waiter *w)
{
    return vigil_wants_apart(&w->vigil);
}

void waiter_wake(struct waiter *w)
{
    __atomic_store_n(&w->waker_cpu, host_current_cpu(), __ATOMIC_RELAXED);
    waiter_latch(w, WAITER_WOKEN);
}

void waiter_interrupt(struct waiter *w)
{
    waiter_latch(w, WAITER_INTERRUPTED);
}

bool waiter_is_woken(const struct waiter *w)
{
    return __atomic_load_n(&w->state, __ATOMIC_RELAXED) & WAITER_WOKEN;
}

bool waiter_is_parked(const struct waiter *w)
{
    return __atomic_load_n(&w->waits, __ATOMIC_RELAXED);
}

bool waiter_interrupted(const struct waiter *w)
{
    return __atomic_load_n(&w->state, __ATOMIC_ACQUIRE) & WAITER_INTERRUPTED;
}

void waiter_uninterrupt(struct waiter *w)
{
    __atomic_fetch_and(&w->state, ~WAITER_INTERRUPTED, __ATOMIC_ACQ_REL);
}

void waiter_reset(struct waiter *w)
{
    __atomic_fetch_and(&w->state, ~WAITER_WOKEN, __ATOMIC_ACQ_REL);
}
