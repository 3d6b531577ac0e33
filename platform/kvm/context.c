/*
 * What belongs to one guest thread beyond its general registers: FP state, segment bases, the fast
 * path's page, the latch of ctx_interrupt().
 *
 * FP state and bases live in the vCPU while the context owns one and here otherwise; they are
 * fetched only when somebody asks or the vCPU changes hands.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "host/thread.h"
#include "base/bug.h"
#include "host/kvm.h"
#include "platform/kvm/internal.h"

/* The legacy area and the header of XSAVE (SDM vol. 1, 13.4). */
#define XSAVE_FCW        0
#define XSAVE_MXCSR      24
#define XSAVE_XSTATE_BV  512
#define XSAVE_XCOMP_BV   520
#define XSAVE_HEADER_END 576
#define FCW_FRESH        0x37f
#define MXCSR_FRESH      0x1f80
#define MXCSR_MASK       0xffffU
#define XSTATE_X87_SSE   3UL

static void *new_xsave(struct kvm_platform *p)
{
    return calloc(1, p->xsave_size);
}

static void fill_fresh(uint8_t *xsave)
{
    uint16_t fcw = FCW_FRESH;
    uint32_t mxcsr = MXCSR_FRESH;
    uint64_t components = XSTATE_X87_SSE;

    memcpy(xsave + XSAVE_FCW, &fcw, sizeof(fcw));
    memcpy(xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
    memcpy(xsave + XSAVE_XSTATE_BV, &components, sizeof(components));
}

static int read_fp(struct kvm_platform *p, struct vcpu *v, void *xsave)
{
    unsigned long request = p->has_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;

    return host_kvm_ioctl(v->fd, request, xsave);
}

static int write_fp(struct vcpu *v, void *xsave)
{
    return host_kvm_ioctl(v->fd, KVM_SET_XSAVE, xsave);
}

int context_save(struct kvm_context *ctx, struct vcpu *v)
{
    void *fp = new_xsave(ctx->platform);
    int err;

    if (!fp)
        return -ENOMEM;
    err = read_fp(ctx->platform, v, fp);
    if (err >= 0 && !ctx->bases_changed)
        err = vcpu_know_sregs(v);
    if (err < 0) {
        free(fp);
        return err;
    }
    if (!ctx->bases_changed) {
        ctx->fs_base = v->run->s.regs.sregs.fs.base;
        ctx->gs_base = v->run->s.regs.sregs.gs.base;
        ctx->bases_changed = true;
    }
    ctx->fp = fp;
    return 0;
}

int context_load(struct kvm_context *ctx, struct vcpu *v)
{
    void *fp = ctx->fp;
    int err;

    if (!fp) {
        fp = new_xsave(ctx->platform);
        if (!fp)
            return -ENOMEM;
        fill_fresh(fp);
    }
    err = write_fp(v, fp);
    free(fp);
    ctx->fp = NULL;
    ctx->bases_changed = true; /* the switch puts them in */
    return err < 0 ? err : 0;
}

int kvm_ctx_create(struct platform *p, struct context **ret)
{
    struct kvm_context *ctx = calloc(1, sizeof(*ctx));

    if (!ctx)
        return -ENOMEM;
    ctx->base.ops = &kvm_platform_ops;
    ctx->platform = to_platform(p);
    ctx->bases_changed = true;
    *ret = &ctx->base;
    return 0;
}

void kvm_ctx_destroy(struct context *base)
{
    struct kvm_context *ctx = to_context(base);

    exitless_leave(ctx);
    pool_forget(ctx);
    free(ctx->fp);
    free(ctx);
}

/*
 * The latch is set before `running` is read here, and `running` is set before the latch is read in
 * kvm_ctx_switch(): one of the two sees the other. A vCPU that is in other hands by now only
 * returns once too often.
 */
void kvm_ctx_interrupt(struct context *base)
{
    struct kvm_context *ctx = to_context(base);
    struct kvm_run *run;

    __atomic_store_n(&ctx->interrupted, 1, __ATOMIC_SEQ_CST);
    run = __atomic_load_n(&ctx->running, __ATOMIC_SEQ_CST);
    if (!run)
        return;
    WRITE_ONCE(run->immediate_exit, 1);
    host_kick_thread(READ_ONCE(ctx->tid));
}

uint32_t kvm_fp_size(struct platform *p)
{
    return to_platform(p)->fp_size;
}

uint64_t kvm_fp_features(struct platform *p)
{
    return to_platform(p)->xcr0;
}

int kvm_ctx_get_fp(struct context *base, void *buf, uint32_t size)
{
    struct kvm_context *ctx = to_context(base);
    struct kvm_platform *p = ctx->platform;
    struct vcpu *v;
    uint8_t *xsave;
    int err = 0;

    if (size != p->fp_size)
        return -EINVAL;
    xsave = new_xsave(p);
    if (!xsave)
        return -ENOMEM;
    exitless_leave(ctx);
    v = pool_acquire_own(ctx);
    if (v) {
        err = read_fp(p, v, xsave);
        pool_release(p, v);
    } else {
        if (ctx->fp)
            memcpy(xsave, ctx->fp, p->xsave_size);
        else
            fill_fresh(xsave);
    }
    if (err >= 0)
        memcpy(buf, xsave, size);
    free(xsave);
    return err < 0 ? err : 0;
}

/* What a signal frame of a hostile program may hold, made into what XRSTOR takes. */
static int sanitise(struct kvm_platform *p, uint8_t *xsave)
{
    uint64_t components;
    uint32_t mxcsr;

    for (unsigned int i = XSAVE_XCOMP_BV; i < XSAVE_HEADER_END; i++) {
        if (xsave[i] != 0)
            return -EINVAL;
    }
    memcpy(&components, xsave + XSAVE_XSTATE_BV, sizeof(components));
    components &= p->xcr0;
    memcpy(xsave + XSAVE_XSTATE_BV, &components, sizeof(components));
    memcpy(&mxcsr, xsave + XSAVE_MXCSR, sizeof(mxcsr));
    mxcsr &= MXCSR_MASK;
    memcpy(xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
    return 0;
}

/* Takes the buffer over. */
static int replace_fp(struct kvm_context *ctx, void *xsave)
{
    struct kvm_platform *p = ctx->platform;
    struct vcpu *v;
    int err = 0;

    exitless_leave(ctx);
    v = pool_acquire_own(ctx);
    if (v) {
        err = write_fp(v, xsave);
        pool_release(p, v);
        free(xsave);
        return err < 0 ? err : 0;
    }
    free(ctx->fp);
    ctx->fp = xsave;
    return 0;
}

int kvm_ctx_set_fp(struct context *base, const void *buf, uint32_t size)
{
    struct kvm_context *ctx = to_context(base);
    uint8_t *xsave;
    int err;

    if (size != ctx->platform->fp_size)
        return -EINVAL;
    xsave = new_xsave(ctx->platform);
    if (!xsave)
        return -ENOMEM;
    memcpy(xsave, buf, size);
    err = sanitise(ctx->platform, xsave);
    if (err) {
        free(xsave);
        return err;
    }
    return replace_fp(ctx, xsave);
}

void kvm_ctx_reset_fp(struct context *base)
{
    struct kvm_context *ctx = to_context(base);
    uint8_t *xsave = new_xsave(ctx->platform);

    if (!xsave)
        BUG("no memory for a fresh FP state");
    fill_fresh(xsave);
    if (replace_fp(ctx, xsave) != 0)
        BUG("KVM refuses a fresh FP state");
}

void kvm_ctx_get_bases(struct context *base, uint64_t *ret_fs, uint64_t *ret_gs)
{
    struct kvm_context *ctx = to_context(base);
    struct vcpu *v;

    exitless_leave(ctx);
    v = pool_acquire_own(ctx);
    if (v && !ctx->bases_changed) {
        if (vcpu_know_sregs(v) < 0)
            BUG("KVM does not tell the segment bases");
        *ret_fs = v->run->s.regs.sregs.fs.base;
        *ret_gs = v->run->s.regs.sregs.gs.base;
        pool_release(ctx->platform, v);
        return;
    }
    if (v)
        pool_release(ctx->platform, v);
    *ret_fs = ctx->fs_base;
    *ret_gs = ctx->gs_base;
}

int kvm_ctx_set_bases(struct context *base, uint64_t fs, uint64_t gs)
{
    struct kvm_context *ctx = to_context(base);

    if (fs >= USER_MAX || gs >= USER_MAX)
        return -EPERM; /* arch_prctl(2) */
    lock_acquire(&ctx->platform->pool_lock);
    ctx->fs_base = fs;
    ctx->gs_base = gs;
    ctx->bases_changed = true;
    lock_release(&ctx->platform->pool_lock);
    return 0;
}

struct fastpath_page *kvm_ctx_fastpath(struct context *ctx)
{
    return &to_context(ctx)->fastpath;
}

/*
 * The guest runs on the thread itself, or on a runner while that changes nothing: not where the
 * thread may use but one processor, or is to leave them to others.
 */
void kvm_ctx_set_cpus(struct context *ctx, const uint64_t *mask, size_t size)
{
    int count = 0;

    for (size_t i = 0; i < size / sizeof(*mask); i++)
        count += __builtin_popcountll(mask[i]);
    to_context(ctx)->exitless.one_cpu = count < 2;
    host_set_affinity(0, mask, size);
}

void kvm_ctx_set_nice(struct context *ctx, int nice)
{
    to_context(ctx)->exitless.is_nice = nice > 0;
    host_set_nice(0, nice);
}

void kvm_ctx_set_policy(struct context *ctx, int policy, int priority)
{
    to_context(ctx)->exitless.special_policy = policy != SCHED_OTHER;
    host_set_policy(policy, priority);
}
