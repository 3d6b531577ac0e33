/*
 * Can ptrace carry a guest here, and what does a trap cost? A guest of two instructions tells. The
 * bare loop of the benchmark runs it too, past everything that the platform adds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/thread.h"
#include "host/clock.h"
#include "platform/ptrace/internal.h"
#include "platform/ptrace/ptrace.h"

#define CODE_ADDR  0x400000UL
#define DATA_ADDR  0x500000UL
#define ROUNDS     9
#define PROBE_SIZE HUGE_PAGE_SIZE

/* 1: syscall; mov (%rbx), %al; jmp 1b */
static const uint8_t probe_code[] = {0x0f, 0x05, 0x8a, 0x03, 0xeb, 0xfa};

struct probe {
    struct memfile *mf;
    struct platform *p;
    struct address_space *as;
    struct context *ctx;
    struct memfile_range code, data;
};

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *samples, size_t count)
{
    qsort(samples, count, sizeof(*samples), compare_u64);
    return samples[count / 2];
}

static int set_up(struct probe *b, struct memfile *mf, struct platform_report *report)
{
    const char *step = "guest memory";
    int err = platform_create_stubs(mf, &b->p, &step);

    b->mf = mf;
    if (err < 0)
        goto out;
    step = "a stub process";
    err = space_create(b->p, NULL, &b->as);
    if (err == 0)
        err = context_create(b->p, &b->ctx);
    if (err == 0)
        err = memfile_alloc(b->mf, PAGE_SIZE, PAGE_SIZE, &b->code);
    if (err == 0)
        err = memfile_alloc(b->mf, PAGE_SIZE, PAGE_SIZE, &b->data);
    if (err == 0) {
        memcpy(memfile_ptr(b->mf, b->code.start), probe_code, sizeof(probe_code));
        step = "mapping memory into a stub";
        err = space_map(b->as, CODE_ADDR, PROT_READ | PROT_EXEC, b->code);
    }
out:
    if (err < 0)
        snprintf(report->why_not, sizeof(report->why_not), "%s: %s%s", step, strerror(-err),
                 err == -EPERM ? " (seccomp, or kernel.yama.ptrace_scope above 1?)" : "");
    return err;
}

/* What the guest was made of, but not the platform. */
static void clear(struct probe *b)
{
    if (b->ctx)
        context_destroy(b->ctx);
    if (b->as)
        space_destroy(b->as);
    /* The keeper has shed its privileges and we have not yet: it could not unbind this thread. */
    if (b->p)
        host_set_affinity(0, &ptrace_platform(b->p)->cpus, sizeof(cpu_set_t));
    if (b->code.size)
        memfile_unref(b->mf, b->code);
    if (b->data.size)
        memfile_unref(b->mf, b->data);
}

static void tear_down(struct probe *b)
{
    clear(b);
    if (b->p)
        b->p->ops->destroy(b->p);
    memfile_destroy(b->mf);
}

/* One call and one fault, served. False: the stub did something else, said in the report. */
static bool one_round(struct probe *b, uint64_t *ret_call, uint64_t *ret_fault,
                      struct platform_report *report)
{
    struct trap_info info;
    uint64_t start = host_monotonic_ns();
    enum trap trap = context_switch(b->ctx, b->as, &info);

    *ret_call = host_monotonic_ns() - start;
    if (trap != TRAP_SYSCALL || b->ctx->regs.rip != CODE_ADDR + 2)
        goto wrong;
    start = host_monotonic_ns();
    trap = context_switch(b->ctx, b->as, &info);
    if (trap != TRAP_FAULT || info.addr != DATA_ADDR)
        goto wrong;
    if (space_map(b->as, DATA_ADDR, PROT_READ, b->data) < 0)
        goto wrong;
    *ret_fault = host_monotonic_ns() - start;
    trap = context_switch(b->ctx, b->as, &info);
    if (trap == TRAP_SYSCALL && space_unmap(b->as, DATA_ADDR, PAGE_SIZE) == 0) {
        b->ctx->regs.rip = CODE_ADDR;
        return true;
    }
wrong:
    snprintf(report->why_not, sizeof(report->why_not), "a stub answered trap %d at %#lx", trap,
             (unsigned long)b->ctx->regs.rip);
    return false;
}

static bool measure(struct probe *b, struct platform_report *report)
{
    uint64_t call[ROUNDS], fault[ROUNDS];

    b->ctx->regs.rip = CODE_ADDR;
    b->ctx->regs.rbx = DATA_ADDR;
    for (int i = 0; i < ROUNDS; i++) {
        if (!one_round(b, &call[i], &fault[i], report))
            return false;
    }
    report->syscall_ns = median(call, ROUNDS);
    report->fault_ns = median(fault, ROUNDS);
    return true;
}

struct platform *ptrace_measure(struct memfile *mf, struct platform_report *ret_report)
{
    struct probe b = {0};

    memset(ret_report, 0, sizeof(*ret_report));
    snprintf(ret_report->how, sizeof(ret_report->how), "PTRACE_SYSEMU");
    ret_report->usable = set_up(&b, mf, ret_report) == 0 && measure(&b, ret_report);
    clear(&b);
    if (ret_report->usable)
        return b.p;
    if (b.p)
        b.p->ops->destroy(b.p);
    return NULL;
}

static int small_memory(struct memfile **ret, struct platform_report *report)
{
    int err = memfile_create(PROBE_SIZE, ret);

    if (err < 0)
        snprintf(report->why_not, sizeof(report->why_not), "guest memory: %s", strerror(-err));
    return err;
}

void ptrace_probe(struct platform_report *ret_report)
{
    struct memfile *mf;
    struct platform *p;

    memset(ret_report, 0, sizeof(*ret_report));
    if (small_memory(&mf, ret_report) < 0)
        return;
    p = ptrace_measure(mf, ret_report);
    if (p)
        p->ops->destroy(p);
    memfile_destroy(mf);
}

static int bare_round(pid_t tid)
{
    struct host_user_regs regs;
    int status;
    int err = host_ptrace_sysemu(tid);

    if (err == 0)
        err = host_wait_stub(tid, &status);
    if (err == 0)
        err = host_ptrace_get_regs(tid, &regs);
    if (err < 0)
        return err;
    regs.rip = CODE_ADDR;
    regs.rax = 0;
    regs.orig_rax = -1UL;
    return host_ptrace_set_regs(tid, &regs);
}

static int64_t bare_loop(struct probe *b, unsigned int rounds)
{
    struct ptrace_context *ctx = ptrace_context(b->ctx);
    uint64_t *samples = calloc(rounds, sizeof(*samples));
    struct trap_info info;
    cpu_set_t one;
    int64_t result = -ENOMEM;
    int err = 0;

    b->ctx->regs.rip = CODE_ADDR;
    if (!samples || context_switch(b->ctx, b->as, &info) != TRAP_SYSCALL)
        goto out;
    CPU_ZERO(&one);
    CPU_SET(host_current_cpu(), &one);
    host_set_affinity(0, &one, sizeof(one));
    host_set_affinity(ctx->stub.tid, &one, sizeof(one));
    bare_round(ctx->stub.tid); /* the registers are where the loop wants them */
    for (unsigned int i = 0; i < rounds && err == 0; i++) {
        uint64_t start = host_monotonic_ns();

        err = bare_round(ctx->stub.tid);
        samples[i] = host_monotonic_ns() - start;
    }
    host_set_affinity(0, &ctx->p->cpus, sizeof(ctx->p->cpus));
    result = err < 0 ? err : (int64_t)median(samples, rounds);
out:
    free(samples);
    return result;
}

int64_t ptrace_bench_bare_roundtrip(unsigned int rounds)
{
    struct platform_report report;
    struct probe b = {0};
    struct memfile *mf;
    int64_t result = small_memory(&mf, &report);

    if (result < 0)
        return result;
    result = set_up(&b, mf, &report);

    if (result == 0)
        result = bare_loop(&b, MAX(rounds, 1u));
    tear_down(&b);
    return result;
}
