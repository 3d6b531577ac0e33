/*
 * Threads that run a vCPU for somebody else. Between two runs a runner stays awake for a moment, as
 * its owner is likely to have the next one soon; then it dozes until it is claimed again.
 */
#include <errno.h>

#include "base/bug.h"
#include "host/clock.h"
#include "host/futex.h"
#include "host/kvm.h"
#include "host/thread.h"
#include "platform/kvm/internal.h"

#define AWAKE_NS    60000U
#define PAUSES      32
#define PATIENCE_NS 20000U /* the owner's, until it sleeps as well */

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

/* `sleeps` is set before the turn is read again, whoever changes the turn does it first. */
static void sleep_turn(struct runner *r, uint32_t turn, uint32_t *sleeps)
{
    __atomic_store_n(sleeps, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&r->turn, __ATOMIC_SEQ_CST) == turn)
        host_futex_wait(&r->turn, turn, HOST_NEVER);
    __atomic_store_n(sleeps, 0, __ATOMIC_SEQ_CST);
}

static void set_turn(struct runner *r, uint32_t turn, uint32_t *sleeps)
{
    __atomic_store_n(&r->turn, turn, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(sleeps, __ATOMIC_SEQ_CST))
        host_futex_wake(&r->turn, 1);
}

static void run_once(struct runner *r)
{
    struct kvm_run *run = r->v->run;

    r->result = host_kvm_ioctl_number(r->v->fd, KVM_RUN, 0);
    /* As in switch.c: before the owner looks at `interrupted` again. */
    __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    run->kvm_dirty_regs = 0;
    if (!exitless_abandon(r))
        set_turn(r, TURN_OWNER, &r->owner_sleeps);
}

static void runner_main(void *arg)
{
    struct runner *r = arg;
    struct kvm_platform *p = r->platform;

    __atomic_store_n(&r->tid, pool_thread_id(), __ATOMIC_RELEASE);
    for (;;) {
        if (!watch_turn(r, TURN_OWNER, AWAKE_NS))
            sleep_turn(r, TURN_OWNER, &r->dozing);
        if (turn_of(r) == TURN_END)
            break;
        run_once(r);
    }
    __atomic_fetch_sub(&p->runner_threads, 1, __ATOMIC_SEQ_CST);
    host_futex_wake(&p->runner_threads, 1);
}

/* True when it may be used now. */
static bool is_ready(struct runner *r, bool wake)
{
    if (!r->started) {
        r->started = true;
        __atomic_fetch_add(&r->platform->runner_threads, 1, __ATOMIC_SEQ_CST);
        if (host_thread_start("runner", runner_main, r) != 0) {
            __atomic_fetch_sub(&r->platform->runner_threads, 1, __ATOMIC_SEQ_CST);
            r->started = false;
        }
        return false;
    }
    return __atomic_load_n(&r->tid, __ATOMIC_ACQUIRE) != 0 &&
           (wake || !__atomic_load_n(&r->dozing, __ATOMIC_RELAXED));
}

struct runner *runner_claim(struct kvm_platform *p, bool wake)
{
    for (unsigned int i = 0; i < p->runner_count; i++) {
        struct runner *r = &p->runners[i];

        if (__atomic_exchange_n(&r->claimed, 1, __ATOMIC_ACQUIRE))
            continue;
        if (is_ready(r, wake))
            return r;
        runner_unclaim(r);
    }
    return NULL;
}

void runner_unclaim(struct runner *r)
{
    __atomic_store_n(&r->claimed, 0, __ATOMIC_RELEASE);
}

void runner_go(struct runner *r)
{
    set_turn(r, TURN_RUNNER, &r->dozing);
}

void runner_call_back(struct runner *r)
{
    while (turn_of(r) == TURN_RUNNER) {
        WRITE_ONCE(r->v->run->immediate_exit, 1);
        host_kick_thread(__atomic_load_n(&r->tid, __ATOMIC_RELAXED));
        if (!watch_turn(r, TURN_RUNNER, PATIENCE_NS))
            sleep_turn(r, TURN_RUNNER, &r->owner_sleeps);
    }
}

void runners_stop(struct kvm_platform *p)
{
    uint32_t left;

    for (unsigned int i = 0; i < p->runner_count; i++) {
        if (p->runners[i].started)
            set_turn(&p->runners[i], TURN_END, &p->runners[i].dozing);
    }
    while ((left = __atomic_load_n(&p->runner_threads, __ATOMIC_SEQ_CST)) != 0)
        host_futex_wait(&p->runner_threads, left, HOST_NEVER);
}
