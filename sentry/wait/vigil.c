/*
 * Whether to stay awake is learnt from how the waits went:
 *
 *   off  --`rest` short sleeps-->               on
 *   on   --out of credit, stuck, preempted-->   off, twice as long as the last time
 *
 * A vigil in which the wake-up came earns one credit. One in vain costs two, for it took processor
 * time and saved no sleep; one in which it came late costs one. So it goes on where two of three
 * are won. A long sleep puts the next trial off: who usually sleeps long never gets there, and pays
 * one look at the clock for each.
 *
 * How long to stay awake follows from how long the won ones took. The least is what a sleep and a
 * wake-up cost, so that a vigil in vain costs no more than twice the best choice; with less, each
 * small disturbance on the way would count as a failure. The most is little above that: who waits
 * longer gains next to nothing.
 *
 * Where tasks share a processor as long as they take turns (ptrace's stubs do), staying awake means
 * moving apart, and then what one writes for the other has to come over from its cache: writing to
 * 64 KiB that the other has just read takes 29 us instead of 4. Whoever has to wait for long even
 * while it wins is better off together.
 *
 * A vigil that took far longer than it should was preempted: others want this processor. That ends
 * it at once, and only many won ones in a row make up for it, since in between all look fine.
 */
#include "sentry/wait/vigil.h"

#include "base/bug.h"
#include "host/clock.h"

#define SHORT_NS     100000U /* a sleep of this length might as well have been a vigil */
#define BUDGET_MIN   20000U
#define BUDGET_MAX   60000U
#define DEAR_NS      40000U /* a won one of that length cost more than the sleep would have */
#define APART_NS     20000U
#define PREEMPTED_NS 250000U
#define CREDIT_FIRST 4
#define CREDIT_MAX   16
#define PRICE        2
#define PAYS         1024 /* won since it is on: the failures before are forgotten */
#define STUCK_MAX    16
#define REST_FIRST   4U
#define REST_MIN     64U
#define REST_MAX     8192U
#define PAUSES       16 /* between two looks at the clock */

static uint32_t awake, awake_max; /* atomic; waiters */

void vigil_setup(unsigned int cpus)
{
    __atomic_store_n(&awake_max, cpus > 1 ? cpus - 1 : 0, __ATOMIC_RELAXED);
}

void vigil_init(struct vigil *v)
{
    *v = (struct vigil){.rest = REST_FIRST, .next_rest = REST_MIN};
}

bool vigil_is_on(const struct vigil *v)
{
    return v->credit > 0;
}

bool vigil_wants_apart(const struct vigil *v)
{
    return vigil_is_on(v) && v->usual_ns <= APART_NS;
}

uint32_t vigil_budget(const struct vigil *v)
{
    return vigil_is_on(v) ? MIN(BUDGET_MIN + 2 * v->usual_ns, BUDGET_MAX) : 0;
}

static void turn_off(struct vigil *v)
{
    v->credit = 0;
    v->rest = v->next_rest;
    v->next_rest = MIN(2 * v->next_rest, REST_MAX);
}

void vigil_slept(struct vigil *v, uint64_t ns)
{
    if (vigil_is_on(v))
        return;
    if (ns >= SHORT_NS) {
        v->rest = MAX(v->rest, REST_FIRST);
        return;
    }
    if (--v->rest > 0)
        return;
    v->credit = CREDIT_FIRST;
    v->won = v->stuck = 0;
    v->usual_ns = (uint32_t)MIN(ns / 2, (uint64_t)APART_NS);
}

void vigil_ended(struct vigil *v, uint64_t ns, bool won)
{
    if (ns >= PREEMPTED_NS) {
        turn_off(v);
    } else if (won && ns < DEAR_NS) {
        v->usual_ns = (7 * v->usual_ns + (uint32_t)ns) / 8;
        v->stuck = 0;
        v->credit = MIN(v->credit + 1, CREDIT_MAX);
        if (++v->won == PAYS)
            v->next_rest = REST_MIN;
    } else {
        v->credit -= won ? 1 : PRICE;
        if (!vigil_is_on(v))
            turn_off(v);
    }
}

bool vigil_begin(void)
{
    uint32_t max = __atomic_load_n(&awake_max, __ATOMIC_RELAXED);

    if (__atomic_add_fetch(&awake, 1, __ATOMIC_RELAXED) <= max)
        return true;
    vigil_end();
    return false;
}

void vigil_end(void)
{
    __atomic_fetch_sub(&awake, 1, __ATOMIC_RELAXED);
}

static bool watch(const uint32_t *word, uint32_t bits, uint64_t until_ns)
{
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (__atomic_load_n(word, __ATOMIC_RELAXED) & bits)
                return true;
            __builtin_ia32_pause();
        }
    } while (host_monotonic_ns() < until_ns);
    return false;
}

bool vigil_keep(struct vigil *v, const uint32_t *word, uint32_t bits, bool together,
                uint64_t deadline_ns)
{
    uint64_t begin;
    bool won;

    if (!vigil_is_on(v))
        return false;
    if (together) {
        if (++v->stuck >= STUCK_MAX)
            turn_off(v);
        return false;
    }
    if (!vigil_begin())
        return false;
    begin = host_monotonic_ns();
    won = watch(word, bits, MIN(begin + vigil_budget(v), deadline_ns));
    vigil_end();
    vigil_ended(v, host_monotonic_ns() - begin, won);
    return won;
}
