/* The fake platform's contexts, and its table. fake.h tells how it is used. */
#include "platform/fake/fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "platform/fake/internal.h"

#define CALL_SIZE 2 /* bytes of `syscall` */

/* An XSAVE area of x87, SSE and AVX: enough for code that must not assume one size. */
#define FP_FEATURES 7UL
#define FP_SIZE     832
#define FP_FCW      0
#define FP_MXCSR    24
#define FP_HEADER   512
#define FP_RESERVED 520
#define FP_EXTENDED 576

struct script {
    const struct fake_step *steps;
    size_t count;
};

struct fake_platform {
    struct platform base;
    struct memfile *memfile;             /* borrowed */
    struct script scripts[FAKE_SCRIPTS]; /* waiting for contexts */
    size_t script_count;
};

struct fake_context {
    struct context base;
    struct script script;
    size_t played;
    struct fake_switch *switches;
    size_t switch_count, switch_room;
    bool interrupted; /* any thread */
    uint64_t fs, gs;
    uint8_t fp[FP_SIZE];
    struct fastpath_page fastpath;
};

static struct fake_platform *platform(struct platform *p)
{
    return container_of(p, struct fake_platform, base);
}

static struct fake_context *context(const struct context *ctx)
{
    return container_of((struct context *)ctx, struct fake_context, base);
}

static void probe(struct platform_report *ret_report)
{
    *ret_report = (struct platform_report){.usable = true};
    snprintf(ret_report->how, sizeof(ret_report->how), "scripted, runs nothing");
}

static int create(struct memfile *mf, struct platform **ret);

static struct platform *create_measured(struct memfile *mf, struct platform_report *ret_report)
{
    struct platform *p;

    probe(ret_report);
    return create(mf, &p) == 0 ? p : NULL;
}

static int create(struct memfile *mf, struct platform **ret)
{
    struct fake_platform *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->base.ops = &fake_platform_ops;
    p->memfile = mf;
    *ret = &p->base;
    return 0;
}

struct memfile *fake_platform_memfile(struct platform *p)
{
    return platform(p)->memfile;
}

static void destroy(struct platform *p)
{
    free(platform(p));
}

static void jail(struct platform *p, struct jail_request *req)
{
}

static void limits(struct platform *p, struct platform_limits *ret_limits)
{
    *ret_limits = (struct platform_limits){FAKE_USER_MIN, FAKE_USER_MAX};
}

void fake_leave_script(struct platform *p, const struct fake_step *steps, size_t count)
{
    struct fake_platform *fp = platform(p);

    BUG_ON(fp->script_count == FAKE_SCRIPTS);
    fp->scripts[fp->script_count++] = (struct script){steps, count};
}

void fake_set_script(struct context *ctx, const struct fake_step *steps, size_t count)
{
    context(ctx)->script = (struct script){steps, count};
    context(ctx)->played = 0;
}

static void reset_fp(struct context *ctx)
{
    uint8_t *area = context(ctx)->fp;

    memset(area, 0, FP_SIZE);
    memcpy(area + FP_FCW, &(uint16_t){0x37f}, sizeof(uint16_t));
    memcpy(area + FP_MXCSR, &(uint32_t){0x1f80}, sizeof(uint32_t));
    memcpy(area + FP_HEADER, &(uint64_t){3}, sizeof(uint64_t));
}

static int ctx_create(struct platform *p, struct context **ret)
{
    struct fake_platform *fp = platform(p);
    struct fake_context *ctx = calloc(1, sizeof(*ctx));

    if (!ctx)
        return -ENOMEM;
    ctx->base.ops = p->ops;
    reset_fp(&ctx->base);
    if (fp->script_count) {
        ctx->script = fp->scripts[0];
        fp->script_count--;
        memmove(fp->scripts, fp->scripts + 1, fp->script_count * sizeof(fp->scripts[0]));
    }
    *ret = &ctx->base;
    return 0;
}

static void ctx_destroy(struct context *ctx)
{
    free(context(ctx)->switches);
    free(context(ctx));
}

static struct fake_switch *new_switch(struct fake_context *ctx)
{
    if (ctx->switch_count == ctx->switch_room) {
        ctx->switch_room = 2 * ctx->switch_room + 8;
        ctx->switches = realloc(ctx->switches, ctx->switch_room * sizeof(*ctx->switches));
        BUG_ON(!ctx->switches);
    }
    return &ctx->switches[ctx->switch_count++];
}

static void play_call(struct cpu_regs *r, const struct fake_step *step)
{
    r->rax = step->number;
    r->rdi = step->args[0];
    r->rsi = step->args[1];
    r->rdx = step->args[2];
    r->r10 = step->args[3];
    r->r8 = step->args[4];
    r->r9 = step->args[5];
    r->rip += CALL_SIZE;
    r->rcx = r->rip;
    r->r11 = r->rflags;
}

static enum trap play(struct fake_context *ctx, struct trap_info *ret_info)
{
    const struct fake_step *step;

    if (__atomic_exchange_n(&ctx->interrupted, false, __ATOMIC_SEQ_CST))
        return TRAP_INTERRUPT;
    if (ctx->played == ctx->script.count)
        return TRAP_KILLED;
    step = &ctx->script.steps[ctx->played++];
    if (step->act)
        step->act(&ctx->base, step->arg);
    if (step->trap == TRAP_SYSCALL)
        play_call(&ctx->base.regs, step);
    *ret_info = step->info;
    return step->trap;
}

static enum trap ctx_switch(struct context *base, struct address_space *as,
                            struct trap_info *ret_info)
{
    struct fake_context *ctx = context(base);
    size_t n = ctx->switch_count;
    enum trap trap;

    *new_switch(ctx) = (struct fake_switch){.regs = base->regs, .as = as};
    *ret_info = (struct trap_info){0};
    trap = play(ctx, ret_info);
    ctx->switches[n].trap = trap;
    return trap;
}

static void ctx_interrupt(struct context *ctx)
{
    __atomic_store_n(&context(ctx)->interrupted, true, __ATOMIC_SEQ_CST);
}

size_t fake_switch_count(const struct context *ctx)
{
    return context(ctx)->switch_count;
}

const struct fake_switch *fake_switch_at(const struct context *ctx, size_t n)
{
    BUG_ON(n >= context(ctx)->switch_count);
    return &context(ctx)->switches[n];
}

size_t fake_steps_left(const struct context *ctx)
{
    return context(ctx)->script.count - context(ctx)->played;
}

static uint32_t fp_size(struct platform *p)
{
    return FP_SIZE;
}

static uint64_t fp_features(struct platform *p)
{
    return FP_FEATURES;
}

static int get_fp(struct context *ctx, void *buf, uint32_t size)
{
    if (size < FP_SIZE)
        return -EINVAL;
    memcpy(buf, context(ctx)->fp, FP_SIZE);
    return 0;
}

static int set_fp(struct context *ctx, const void *buf, uint32_t size)
{
    const uint8_t *area = buf;
    uint64_t features;
    uint32_t mxcsr;

    if (size < FP_SIZE)
        return -EINVAL;
    for (size_t i = FP_RESERVED; i < FP_EXTENDED; i++) {
        if (area[i])
            return -EINVAL;
    }
    memcpy(&features, area + FP_HEADER, sizeof(features));
    memcpy(&mxcsr, area + FP_MXCSR, sizeof(mxcsr));
    features &= FP_FEATURES;
    mxcsr &= 0xffff;
    memcpy(context(ctx)->fp, buf, FP_SIZE);
    memcpy(context(ctx)->fp + FP_HEADER, &features, sizeof(features));
    memcpy(context(ctx)->fp + FP_MXCSR, &mxcsr, sizeof(mxcsr));
    return 0;
}

static void get_bases(struct context *ctx, uint64_t *ret_fs, uint64_t *ret_gs)
{
    *ret_fs = context(ctx)->fs;
    *ret_gs = context(ctx)->gs;
}

static int set_bases(struct context *ctx, uint64_t fs, uint64_t gs)
{
    if (fs >= FAKE_USER_MAX || gs >= FAKE_USER_MAX)
        return -EPERM;
    context(ctx)->fs = fs;
    context(ctx)->gs = gs;
    return 0;
}

static struct fastpath_page *fastpath(struct context *ctx)
{
    return &context(ctx)->fastpath;
}

const struct platform_ops fake_platform_ops = {
    .name = "fake",
    .probe = probe,
    .create_measured = create_measured,
    .create = create,
    .destroy = destroy,
    .jail = jail,
    .limits = limits,
    .as_create = fake_space_create,
    .as_destroy = fake_space_destroy,
    .as_recall = fake_space_recall,
    .as_map = fake_space_map,
    .as_unmap = fake_space_unmap,
    .as_gather = fake_space_gather,
    .as_settle = fake_space_settle,
    .ctx_create = ctx_create,
    .ctx_destroy = ctx_destroy,
    .ctx_switch = ctx_switch,
    .ctx_interrupt = ctx_interrupt,
    .fp_size = fp_size,
    .fp_features = fp_features,
    .ctx_get_fp = get_fp,
    .ctx_set_fp = set_fp,
    .ctx_reset_fp = reset_fp,
    .ctx_get_bases = get_bases,
    .ctx_set_bases = set_bases,
    .ctx_fastpath = fastpath,
};
