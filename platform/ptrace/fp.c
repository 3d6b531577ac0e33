/*
 * Extended state, read from and written to the stub only when somebody asks (PTRACE_GETREGSET with
 * NT_X86_XSTATE, which has the standard XSAVE format).
 *
 * AMX tiles are hidden: the host lets a process use them only after arch_prctl() in that process,
 * and they would make every signal frame 8 KiB longer.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "platform/ptrace/internal.h"

/* SDM vol. 1, 13.4: the XSAVE area */
#define FXSAVE_FCW        0
#define FXSAVE_MXCSR      24
#define FXSAVE_MXCSR_MASK 28
#define XSAVE_HEADER      512
#define XSAVE_HEADER_END  576

#define XFEATURE_X87_SSE  3UL
#define XFEATURE_PKRU     9
#define XFEATURE_AMX      (3UL << 17)

/* What Linux starts a program with: pkey 0 only, as its init_pkru_value. */
#define PKRU_INIT 0x55555554U
/* More than any host's regset: x86 has 11 KiB with AMX. */
#define FP_HOST_MAX 65536

#define MXCSR_INIT  0x1f80U
#define FCW_INIT    0x37fU

static uint64_t read_xcr0(void)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

/* CPUID leaf 0xd tells where each component lies in the standard format. */
static uint32_t component_end(unsigned int n, uint32_t *ret_offset)
{
    uint32_t size, offset, c, d;

    __cpuid_count(0xd, n, size, offset, c, d);
    *ret_offset = offset;
    return offset + size;
}

static void put32(uint8_t *area, uint32_t offset, uint32_t value)
{
    memcpy(area + offset, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *area, uint32_t offset)
{
    uint32_t value;

    memcpy(&value, area + offset, sizeof(value));
    return value;
}

static void put64(uint8_t *area, uint32_t offset, uint64_t value)
{
    memcpy(area + offset, &value, sizeof(value));
}

static uint64_t get64(const uint8_t *area, uint32_t offset)
{
    uint64_t value;

    memcpy(&value, area + offset, sizeof(value));
    return value;
}

/* The state of a fresh program in `area`. */
static void fill_initial(const struct ptrace_platform *p, uint8_t *area)
{
    uint64_t features = XFEATURE_X87_SSE;
    uint32_t offset;

    memset(area, 0, p->fp_host_size);
    put32(area, FXSAVE_FCW, FCW_INIT);
    put32(area, FXSAVE_MXCSR, MXCSR_INIT);
    put32(area, FXSAVE_MXCSR_MASK, 0xffff);
    if (p->fp_features >> XFEATURE_PKRU & 1) {
        component_end(XFEATURE_PKRU, &offset);
        put32(area, offset, PKRU_INIT);
        features |= 1UL << XFEATURE_PKRU;
    }
    put64(area, XSAVE_HEADER, features);
}

int fp_setup(struct ptrace_platform *p)
{
    uint32_t a, b, c, d;
    uint32_t offset;
    size_t size;
    int err;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return -EOPNOTSUPP;
    p->fp_features = read_xcr0() & ~XFEATURE_AMX;
    p->fp_size = XSAVE_HEADER_END;
    for (unsigned int n = 2; n < 63; n++) {
        if (p->fp_features >> n & 1)
            p->fp_size = MAX(p->fp_size, component_end(n, &offset));
    }
    p->fp_initial = calloc(1, FP_HOST_MAX);
    if (!p->fp_initial)
        return -ENOMEM;
    err = host_ptrace_get_xstate(p->master.tid, p->fp_initial, FP_HOST_MAX, &size);
    if (err < 0)
        return err;
    p->fp_host_size = (uint32_t)size;
    if (size < p->fp_size)
        return -EOPNOTSUPP;
    fill_initial(p, p->fp_initial);
    return 0;
}

uint32_t fp_area_size(struct platform *p)
{
    return ptrace_platform(p)->fp_size;
}

uint64_t fp_area_features(struct platform *p)
{
    return ptrace_platform(p)->fp_features;
}

static int ensure_area(struct ptrace_context *ctx)
{
    if (!ctx->fp)
        ctx->fp = malloc(ctx->p->fp_host_size);
    return ctx->fp ? 0 : -ENOMEM;
}

int fp_fetch(struct ptrace_context *ctx)
{
    size_t size;
    int err;

    if (ctx->fp_state == FP_SAVED || ctx->fp_state == FP_BOTH)
        return 0;
    err = ensure_area(ctx);
    if (err < 0)
        return err;
    /* without a stub: never ran, or it was killed */
    if (ctx->fp_state == FP_INITIAL || ctx->stub.tid == 0) {
        memcpy(ctx->fp, ctx->p->fp_initial, ctx->p->fp_host_size);
        ctx->fp_state = FP_SAVED;
        return 0;
    }
    if (handover_stop(ctx) < 0)
        return -ESRCH;
    memset(ctx->fp, 0, ctx->p->fp_host_size);
    err = host_ptrace_get_xstate(ctx->stub.tid, ctx->fp, ctx->p->fp_host_size, &size);
    if (err == 0)
        ctx->fp_state = FP_BOTH;
    return err;
}

int context_get_fp(struct context *base, void *buf, uint32_t size)
{
    struct ptrace_context *ctx = ptrace_context(base);
    int err;

    if (size < ctx->p->fp_size)
        return -EINVAL;
    err = fp_fetch(ctx);
    if (err < 0)
        return err;
    memcpy(buf, ctx->fp, ctx->p->fp_size);
    put64(buf, XSAVE_HEADER, get64(buf, XSAVE_HEADER) & ctx->p->fp_features);
    return 0;
}

int context_set_fp(struct context *base, const void *buf, uint32_t size)
{
    struct ptrace_context *ctx = ptrace_context(base);
    const uint8_t *area = buf;
    uint32_t mask;
    int err;

    if (size < ctx->p->fp_size)
        return -EINVAL;
    for (uint32_t i = XSAVE_HEADER + 8; i < XSAVE_HEADER_END; i += 8) {
        if (get64(area, i)) /* compacted, or reserved bits: XRSTOR refuses */
            return -EINVAL;
    }
    /* the CPU's own mask of MXCSR bits is in the state that it saved */
    err = fp_fetch(ctx);
    if (err < 0)
        return err;
    mask = get32(ctx->fp, FXSAVE_MXCSR_MASK);
    memset(ctx->fp, 0, ctx->p->fp_host_size);
    memcpy(ctx->fp, area, ctx->p->fp_size);
    put32(ctx->fp, FXSAVE_MXCSR, get32(area, FXSAVE_MXCSR) & (mask ? mask : 0xffbf));
    put32(ctx->fp, FXSAVE_MXCSR_MASK, mask);
    put64(ctx->fp, XSAVE_HEADER, get64(area, XSAVE_HEADER) & ctx->p->fp_features);
    ctx->fp_state = FP_SAVED;
    return 0;
}

void context_reset_fp(struct context *base)
{
    struct ptrace_context *ctx = ptrace_context(base);

    ctx->fp_state = ctx->stub.tid ? FP_INITIAL : FP_IN_STUB;
}

int fp_load(struct ptrace_context *ctx)
{
    const uint8_t *area = ctx->fp_state == FP_INITIAL ? ctx->p->fp_initial : ctx->fp;
    int err = 0;

    if (likely(ctx->fp_state == FP_IN_STUB))
        return 0;
    if (ctx->fp_state != FP_BOTH)
        err = host_ptrace_set_xstate(ctx->stub.tid, area, ctx->p->fp_host_size);
    ctx->fp_state = FP_IN_STUB;
    return err;
}

void fp_detach(struct ptrace_context *ctx)
{
    if (ctx->fp_state == FP_INITIAL)
        ctx->fp_state = FP_IN_STUB; /* a new stub starts so */
    else if (fp_fetch(ctx) == 0)
        ctx->fp_state = FP_SAVED;
}
