/*
 * Which context has which vCPU.
 *
 *   idle, owner X   X ran here last; its FP state and segment bases are still in the vCPU
 *   held            one thread runs it or moves state out of it
 *
 * A context takes its last vCPU back with one compare-and-swap. Otherwise, under pool_lock: an idle
 * vCPU without owner that this host thread ran before (for another one KVM waits for an RCU grace
 * period, before Linux 6.13: longer than a new vCPU takes), a new one, or (beyond `vcpu_soft_max`,
 * where more would only cost memory) any without owner, or the idle vCPU of another context, whose
 * state is saved first. When all of them run and KVM allows no more, the caller waits.
 *
 * `owner` and `context.vcpu` change only under pool_lock with the vCPU held, so whoever holds a
 * vCPU may read its owner.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/log.h"
#include "host/kvm.h"
#include "platform/kvm/internal.h"

static __thread pid_t thread_id;

pid_t pool_thread_id(void)
{
    if (unlikely(!thread_id))
        thread_id = host_kick_register();
    return thread_id;
}

static bool try_hold(struct vcpu *v)
{
    uint32_t idle = VCPU_IDLE;

    return __atomic_compare_exchange_n(&v->state, &idle, VCPU_HELD, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

void pool_init(struct kvm_platform *p)
{
    lock_init(&p->pool_lock);
    pthread_cond_init(&p->pool_cond, NULL);
}

int pool_start(struct kvm_platform *p)
{
    int err;

    p->vcpus = calloc(p->vcpu_max, sizeof(struct vcpu *));
    if (!p->vcpus)
        return -ENOMEM;
    err = vcpu_create(p, 0, &p->vcpus[0]);
    if (!err)
        p->vcpu_count = 1;
    return err;
}

void pool_destroy(struct kvm_platform *p)
{
    for (uint32_t i = 0; i < p->vcpu_count; i++)
        vcpu_destroy(p, p->vcpus[i]);
    free(p->vcpus);
    pthread_cond_destroy(&p->pool_cond);
    lock_destroy(&p->pool_lock);
}

struct vcpu *pool_acquire_own(struct kvm_context *ctx)
{
    struct kvm_platform *p = ctx->platform;
    struct vcpu *v = __atomic_load_n(&ctx->vcpu, __ATOMIC_ACQUIRE);

    if (!v)
        return NULL;
    if (likely(try_hold(v))) {
        if (likely(v->owner == ctx))
            return v;
        pool_release(p, v);
    }
    /* A thief has it, or somebody is having a look: without pool_lock that is over in no time. */
    lock_acquire(&p->pool_lock);
    do
        v = ctx->vcpu;
    while (v && !try_hold(v));
    lock_release(&p->pool_lock);
    return v;
}

void pool_release(struct kvm_platform *p, struct vcpu *v)
{
    __atomic_store_n(&v->state, VCPU_IDLE, __ATOMIC_SEQ_CST);
    if (likely(__atomic_load_n(&p->pool_waiters, __ATOMIC_SEQ_CST) == 0))
        return;
    lock_acquire(&p->pool_lock);
    pthread_cond_broadcast(&p->pool_cond);
    lock_release(&p->pool_lock);
}

static void set_owner(struct vcpu *v, struct kvm_context *ctx)
{
    if (v->owner)
        __atomic_store_n(&v->owner->vcpu, NULL, __ATOMIC_RELEASE);
    v->owner = ctx;
    if (ctx)
        __atomic_store_n(&ctx->vcpu, v, __ATOMIC_RELEASE);
}

/* Which idle vCPUs are good enough. */
enum taste {
    TASTE_FAMILIAR, /* without owner, last run by this very thread: the cheapest for KVM */
    TASTE_FREE,     /* without owner */
    TASTE_ANY,      /* anybody's, its state saved */
};

static bool suits(const struct vcpu *v, enum taste taste)
{
    return taste == TASTE_ANY || (!v->owner && (taste == TASTE_FREE || v->tid == pool_thread_id()));
}

/* An idle one, held. */
static struct vcpu *take_idle(struct kvm_platform *p, enum taste taste) __must_hold(p->pool_lock)
{
    for (uint32_t i = 0; i < p->vcpu_count; i++) {
        struct vcpu *v = p->vcpus[p->steal_hand++ % p->vcpu_count];

        if (!try_hold(v))
            continue;
        if (suits(v, taste) && (!v->owner || context_save(v->owner, v) == 0))
            return v;
        __atomic_store_n(&v->state, VCPU_IDLE, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static struct vcpu *take_new(struct kvm_platform *p, unsigned int max) __must_hold(p->pool_lock)
{
    uint32_t n = p->vcpu_count;
    struct vcpu *v;

    if (n >= max)
        return NULL;
    if (vcpu_create(p, n, &v) != 0) {
        p->vcpu_max = p->vcpu_soft_max = n; /* that was all the host gives */
        return NULL;
    }
    v->state = VCPU_HELD;
    p->vcpus[n] = v;
    __atomic_store_n(&p->vcpu_count, n + 1, __ATOMIC_RELEASE);
    return v;
}

static struct vcpu *take_any(struct kvm_platform *p) __must_hold(p->pool_lock)
{
    struct vcpu *v;

    for (;;) {
        v = take_idle(p, TASTE_FAMILIAR);
        if (!v)
            v = take_new(p, p->vcpu_soft_max);
        if (!v)
            v = take_idle(p, TASTE_FREE);
        if (!v)
            v = take_idle(p, TASTE_ANY);
        if (!v)
            v = take_new(p, p->vcpu_max);
        if (v)
            return v;
        /* Announce first, look again, then sleep: a release in between is not missed. */
        __atomic_fetch_add(&p->pool_waiters, 1, __ATOMIC_SEQ_CST);
        v = take_idle(p, TASTE_ANY);
        if (!v)
            pthread_cond_wait(&p->pool_cond, &p->pool_lock.mutex);
        __atomic_fetch_sub(&p->pool_waiters, 1, __ATOMIC_SEQ_CST);
        if (v)
            return v;
    }
}

struct vcpu *pool_acquire(struct kvm_context *ctx)
{
    struct kvm_platform *p = ctx->platform;
    struct vcpu *v = pool_acquire_own(ctx);
    int err = 0;

    if (likely(v))
        return v;
    lock_acquire(&p->pool_lock);
    v = take_any(p);
    if (v->owner != ctx) {
        err = context_load(ctx, v);
        set_owner(v, err ? NULL : ctx);
    }
    lock_release(&p->pool_lock);
    if (err) {
        log_warning("kvm: a vCPU does not take a task's state: error %d", -err);
        pool_release(p, v);
        return NULL;
    }
    return v;
}

void pool_forget(struct kvm_context *ctx)
{
    struct kvm_platform *p = ctx->platform;

    lock_acquire(&p->pool_lock);
    if (ctx->vcpu) {
        struct vcpu *v = ctx->vcpu;

        /* Nobody takes or leaves an owner without pool_lock: nothing to hold. */
        set_owner(v, NULL);
        pthread_cond_broadcast(&p->pool_cond);
    }
    lock_release(&p->pool_lock);
}
