/*
 * Threads that run a vCPU for somebody else.
 *
 *     whose turn it is:   OWNER --owner--> RUNNER --runner--> INSIDE --runner--> OWNER
 *                           ^                | owner, for whom that takes too long
 *                           '----------------'
 *
 * Each has the contexts on one processor (of some, where there are many) for its owners, and runs
 * on any of the others: on the same one each would keep the other from what they wait for.
 *
 * Between two turns a runner stays awake for a moment, as its owner is likely to have the next one
 * soon; then it dozes. Only one that is awake can be claimed: who finds it dozing has it woken, and
 * goes on without it until it is there. Where other programs have the processors, that may be long.
 */
#include <errno.h>
#include <string.h>

#include "base/bug.h"
#include "host/clock.h"
#include "host/futex.h"
#include "host/kvm.h"
#include "host/thread.h"
#include "platform/kvm/internal.h"

#define AWAKE_NS    60000U
#define PAUSES      32
#define PATIENCE_NS 20000U /* the owner's, until it sleeps as well */
#define BEGIN_NS    30000U /* and until it does without a runner that is not there */

static uint32_t turn_of(struct runner *r)
{
    return __atomic_load_n(&r->turn, __ATOMIC_ACQUIRE);
}

/* Awake, until it is another's turn than `turn`; false when it took longer than `ns`. */
static bool watch_turn(struct runner *r, uint32_t turn, uint64_t ns)
{
    uint64_t end = host_monotonic_ns() + ns;

    do {
        for (int i = 0; i < PAUSES; i++) {
            if (turn_of(r) != turn)
                return true;
            __builtin_ia32_pause();
        }
    } while (host_monotonic_ns() < end);
    return false;
}

static bool pass_turn(struct runner *r, uint32_t from, enum runner_turn to)
{
    return __atomic_compare_exchange_n(&r->turn, &from, to, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_ACQUIRE);
}

/* The owner says that it sleeps before it reads the turn again; the runner writes that first. */
static void sleep_turn(struct runner *r, uint32_t turn)
{
    __atomic_store_n(&r->owner_sleeps, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&r->turn, __ATOMIC_SEQ_CST) == turn)
        host_futex_wait(&r->turn, turn, HOST_NEVER);
    __atomic_store_n(&r->owner_sleeps, 0, __ATOMIC_SEQ_CST);
}

static void end_turn(struct runner *r)
{
    __atomic_store_n(&r->turn, TURN_OWNER, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&r->owner_sleeps, __ATOMIC_SEQ_CST))
        host_futex_wake(&r->turn, 1);
}

/* Likewise, with `rest`: whoever gives a turn writes that first. */
static void doze(struct runner *r)
{
    __atomic_store_n(&r->rest, RUNNER_DOZING, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&r->turn, __ATOMIC_SEQ_CST) == TURN_OWNER &&
           __atomic_load_n(&r->rest, __ATOMIC_ACQUIRE) == RUNNER_DOZING)
        host_futex_wait(&r->rest, RUNNER_DOZING, HOST_NEVER);
    __atomic_store_n(&r->rest, RUNNER_AWAKE, __ATOMIC_RELEASE);
}

/* True when it had to be woken. */
static bool wake(struct runner *r)
{
    uint32_t dozing = RUNNER_DOZING;

    if (!__atomic_compare_exchange_n(&r->rest, &dozing, RUNNER_WAKING, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return false;
    host_futex_wake(&r->rest, 1);
    return true;
}

static void give_turn(struct runner *r, enum runner_turn turn)
{
    __atomic_store_n(&r->turn, turn, __ATOMIC_SEQ_CST);
    wake(r);
}

void runner_run_once(struct runner *r)
{
    struct kvm_run *run = r->v->run;

    r->result = host_kvm_ioctl_number(r->v->fd, KVM_RUN, 0);
    /* As in switch.c: before the owner looks at `interrupted` again. */
    __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    run->kvm_dirty_regs = 0;
}

static void thread_ends(struct kvm_platform *p)
{
    __atomic_fetch_sub(&p->runner_threads, 1, __ATOMIC_SEQ_CST);
    host_futex_wake(&p->runner_threads, 1);
}

/* Processors are grouped by their rank among those that the sandbox may use, a runner for each. */
static unsigned int group_of(const struct kvm_platform *p, unsigned int cpu)
{
    unsigned int word = MIN(cpu / 64, ARRAY_COUNT(p->cpu_mask) - 1), rank = 0;
    uint64_t below = (1UL << cpu % 64) - 1;

    for (unsigned int i = 0; i < word; i++)
        rank += (unsigned int)__builtin_popcountll(p->cpu_mask[i]);
    rank += (unsigned int)__builtin_popcountll(p->cpu_mask[word] & below);
    return rank % p->runner_count;
}

static void keep_off_group(const struct runner *r)
{
    const struct kvm_platform *p = r->platform;
    uint64_t cpus[ARRAY_COUNT(p->cpu_mask)];

    memcpy(cpus, p->cpu_mask, sizeof(cpus));
    for (unsigned int i = 0; i < 8 * sizeof(cpus); i++) {
        if (group_of(p, i) == r->index)
            cpus[i / 64] &= ~(1UL << i % 64);
    }
    host_set_affinity(0, cpus, sizeof(cpus));
}

static void runner_main(void *arg)
{
    struct runner *r = arg;

    keep_off_group(r);
    __atomic_store_n(&r->tid, pool_thread_id(), __ATOMIC_RELEASE);
    for (;;) {
        if (!watch_turn(r, TURN_OWNER, AWAKE_NS))
            doze(r);
        if (turn_of(r) == TURN_END)
            break;
        if (!pass_turn(r, TURN_RUNNER, TURN_INSIDE))
            continue;
        runner_run_once(r);
        if (!exitless_abandon(r))
            end_turn(r);
    }
    thread_ends(r->platform);
}

static bool start_thread(struct kvm_platform *p, const char *name, void (*fn)(void *), void *arg)
{
    __atomic_fetch_add(&p->runner_threads, 1, __ATOMIC_SEQ_CST);
    if (host_thread_start(name, fn, arg) == 0)
        return true;
    __atomic_fetch_sub(&p->runner_threads, 1, __ATOMIC_SEQ_CST);
    return false;
}

/* ---- the watchdog --------------------------------------------------------------------------- */

/*
 * A guest waits for an answer some 30 us and leaves. One that is still inside a watchdog's round
 * later, its call in the Sentry all the time, has posted the call without waiting for it: it runs
 * where nobody counts its time. It is taken out.
 */
#define ROUND_NS 20000000U

static void look_after(struct runner *r)
{
    uint32_t served = __atomic_load_n(&r->served, __ATOMIC_RELAXED);

    if (!__atomic_load_n(&r->as, __ATOMIC_RELAXED))
        return;
    if (served == r->served_before && __atomic_load_n(&r->serving, __ATOMIC_RELAXED)) {
        __atomic_store_n(&r->expelled, 1, __ATOMIC_RELAXED);
        runner_kick(r);
    }
    r->served_before = served;
}

static bool is_any_claimed(const struct kvm_platform *p)
{
    for (unsigned int i = 0; i < p->runner_count; i++) {
        if (__atomic_load_n(&p->runners[i].claimed, __ATOMIC_SEQ_CST))
            return true;
    }
    return false;
}

static void set_watchdog(struct kvm_platform *p, uint32_t from, enum watchdog_state to)
{
    __atomic_compare_exchange_n(&p->watchdog, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* It says so before it looks once more, and who claims a runner looks at the watchdog then. */
static void doze_off(struct kvm_platform *p)
{
    set_watchdog(p, WATCHDOG_AWAKE, WATCHDOG_DOZING);
    if (is_any_claimed(p))
        set_watchdog(p, WATCHDOG_DOZING, WATCHDOG_AWAKE);
    else
        host_futex_wait(&p->watchdog, WATCHDOG_DOZING, HOST_NEVER);
}

static void watchdog_main(void *arg)
{
    struct kvm_platform *p = arg;
    uint32_t *state = &p->watchdog;

    while (__atomic_load_n(state, __ATOMIC_SEQ_CST) != WATCHDOG_ENDS) {
        for (unsigned int i = 0; i < p->runner_count; i++)
            look_after(&p->runners[i]);
        if (is_any_claimed(p))
            host_futex_wait(state, WATCHDOG_AWAKE, host_monotonic_ns() + ROUND_NS);
        else
            doze_off(p);
    }
    thread_ends(p);
}

/* With a runner claimed and about to be used. False: there is none, and none can be used. */
static bool wake_watchdog(struct kvm_platform *p)
{
    uint32_t seen = __atomic_load_n(&p->watchdog, __ATOMIC_SEQ_CST);

    if (likely(seen == WATCHDOG_AWAKE))
        return true;
    if (!__atomic_compare_exchange_n(&p->watchdog, &seen, WATCHDOG_AWAKE, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return seen == WATCHDOG_AWAKE;
    if (seen == WATCHDOG_DOZING)
        host_futex_wake(&p->watchdog, 1);
    else if (!start_thread(p, "watchdog", watchdog_main, p))
        __atomic_store_n(&p->watchdog, WATCHDOG_NONE, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&p->watchdog, __ATOMIC_SEQ_CST) == WATCHDOG_AWAKE;
}

/* ---- for the owner -------------------------------------------------------------------------- */

/* True when it may be used now; else perhaps soon. */
static bool is_ready(struct runner *r, bool *ret_woken)
{
    if (!r->started) {
        r->started = start_thread(r->platform, "runner", runner_main, r);
        return false;
    }
    if (__atomic_load_n(&r->rest, __ATOMIC_ACQUIRE) == RUNNER_AWAKE)
        return __atomic_load_n(&r->tid, __ATOMIC_ACQUIRE) != 0 && wake_watchdog(r->platform);
    *ret_woken = wake(r);
    return false;
}

struct runner *runner_claim(struct kvm_platform *p, bool *ret_woken)
{
    int here = host_current_cpu();
    struct runner *r = &p->runners[here < 0 ? 0 : group_of(p, (unsigned int)here)];

    if (__atomic_exchange_n(&r->claimed, 1, __ATOMIC_SEQ_CST))
        return NULL;
    if (__atomic_add_fetch(&p->claims, 1, __ATOMIC_RELAXED) <= p->claims_max &&
        is_ready(r, ret_woken))
        return r;
    runner_unclaim(r);
    return NULL;
}

void runner_unclaim(struct runner *r)
{
    __atomic_fetch_sub(&r->platform->claims, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&r->claimed, 0, __ATOMIC_RELEASE);
}

void runner_go(struct runner *r)
{
    give_turn(r, TURN_RUNNER);
}

bool runner_begins(struct runner *r)
{
    return watch_turn(r, TURN_RUNNER, BEGIN_NS) || !pass_turn(r, TURN_RUNNER, TURN_OWNER);
}

void runner_kick(struct runner *r)
{
    struct vcpu *v = __atomic_load_n(&r->v, __ATOMIC_RELAXED);

    WRITE_ONCE(v->run->immediate_exit, 1);
    host_kick_thread(__atomic_load_n(&r->tid, __ATOMIC_RELAXED));
}

void runner_call_back(struct runner *r)
{
    uint32_t turn;

    while ((turn = turn_of(r)) != TURN_OWNER) {
        runner_kick(r);
        if (!watch_turn(r, turn, PATIENCE_NS))
            sleep_turn(r, turn);
    }
}

void runners_stop(struct kvm_platform *p)
{
    uint32_t left;

    for (unsigned int i = 0; i < p->runner_count; i++) {
        if (p->runners[i].started)
            give_turn(&p->runners[i], TURN_END);
    }
    __atomic_store_n(&p->watchdog, WATCHDOG_ENDS, __ATOMIC_SEQ_CST);
    host_futex_wake(&p->watchdog, 1);
    while ((left = __atomic_load_n(&p->runner_threads, __ATOMIC_SEQ_CST)) != 0)
        host_futex_wait(&p->runner_threads, left, HOST_NEVER);
}
