/*
 * Can KVM work here, and what does it cost? The whole platform is brought up for a moment with a
 * program of a few instructions; whatever would fail in earnest fails here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "host/clock.h"
#include "host/kvm.h"
#include "platform/kvm/internal.h"
#include "ring0/code.h"

#define PROBE_MEMORY (2UL << 20)
#define CODE_ADDRESS 0x10000
#define DATA_ADDRESS 0x200000
#define CALL_TURNS   9 /* odd, for the median, most of which must be past what window.c waits for */
#define FAULT_TURNS  5
#define FAST_TURNS   10

/* 1: syscall; jmp 1b */
static const uint8_t syscall_loop[] = {0x0f, 0x05, 0xeb, 0xfc};
/* 1: mov $39, %eax; syscall; dec %ebx; jnz 1b; mov $500, %eax; 2: syscall; jmp 2b */
static const uint8_t fast_loop[] = {0xb8, 39,   0,    0,    0, 0x0f, 0x05, 0xff, 0xcb, 0x75,
                                    0xf5, 0xb8, 0xf4, 0x01, 0, 0,    0x0f, 0x05, 0xeb, 0xfc};
/* 1: mov %eax, DATA_ADDRESS; jmp 1b */
static const uint8_t fault_loop[] = {0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf7};

struct bed {
    struct memfile *mf;
    struct kvm_platform *p;
    struct address_space *as;
    struct context *ctx;
    struct memfile_range code, data;
};

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *times, size_t count)
{
    qsort(times, count, sizeof(*times), compare_times);
    return times[count / 2];
}

static void free_page(struct bed *b, struct memfile_range page)
{
    if (page.size)
        memfile_unref(b->mf, page);
}

static void bed_clear(struct bed *b)
{
    if (b->ctx)
        kvm_ctx_destroy(b->ctx);
    if (b->as)
        kvm_as_destroy(b->as);
    free_page(b, b->code);
    free_page(b, b->data);
}

static void bed_close(struct bed *b)
{
    bed_clear(b);
    if (b->p)
        platform_close(b->p);
    memfile_destroy(b->mf);
}

/* A platform in this memory, and what a program needs; bed_clear() after an error, too. */
static int bed_make(struct bed *b, struct memfile *mf, char *why, size_t why_size)
{
    int err = host_kick_init();

    *b = (struct bed){.mf = mf};
    if (err) {
        snprintf(why, why_size, "no signal to interrupt a guest: %s", strerror(-err));
        return err;
    }
    err = platform_open(b->mf, &b->p, why, why_size);
    if (err)
        return err;
    err = kvm_as_create(&b->p->base, NULL, &b->as);
    if (!err)
        err = kvm_ctx_create(&b->p->base, &b->ctx);
    if (!err)
        err = memfile_alloc(b->mf, PAGE_SIZE, PAGE_SIZE, &b->code);
    if (!err)
        err = memfile_alloc(b->mf, PAGE_SIZE, PAGE_SIZE, &b->data);
    if (!err)
        err = kvm_as_map(b->as, CODE_ADDRESS, PROT_READ | PROT_EXEC, b->code);
    if (err)
        snprintf(why, why_size, "a program cannot be set up: %s", strerror(-err));
    return err;
}

static int small_memory(struct memfile **ret, char *why, size_t why_size)
{
    int err = memfile_create(PROBE_MEMORY, ret);

    if (err)
        snprintf(why, why_size, "no memory for a guest: %s", strerror(-err));
    return err;
}

static int bed_open(struct bed *b, char *why, size_t why_size)
{
    struct memfile *mf;
    int err = small_memory(&mf, why, why_size);

    if (err)
        return err;
    err = bed_make(b, mf, why, why_size);
    if (err)
        bed_close(b);
    return err;
}

static void load_program(struct bed *b, const uint8_t *code, size_t size)
{
    memcpy(memfile_ptr(b->mf, b->code.start), code, size);
    b->ctx->regs = (struct cpu_regs){.rip = CODE_ADDRESS, .rflags = RFLAGS_FIXED};
}

/* One switch that must end in `want`; its duration. */
static int timed_switch(struct bed *b, enum trap want, uint64_t *ret_ns)
{
    struct trap_info info;
    uint64_t start = host_monotonic_ns();
    enum trap trap = kvm_ctx_switch(b->ctx, b->as, &info);

    *ret_ns = host_monotonic_ns() - start;
    return trap == want ? 0 : -EIO;
}

static int measure_syscall(struct bed *b, uint64_t *ret_ns)
{
    uint64_t times[CALL_TURNS];
    int err = 0;

    load_program(b, syscall_loop, sizeof(syscall_loop));
    b->ctx->regs.rax = 500;
    for (size_t i = 0; i < CALL_TURNS && !err; i++) {
        err = timed_switch(b, TRAP_SYSCALL, &times[i]);
        if (b->ctx->regs.rip != CODE_ADDRESS + 2 || b->ctx->regs.rcx != CODE_ADDRESS + 2)
            err = -EIO;
    }
    if (!err)
        *ret_ns = median(times, CALL_TURNS);
    return err;
}

static int measure_fast(struct bed *b, uint64_t syscall_ns, uint64_t *ret_ns)
{
    struct fastpath_page *fast = kvm_ctx_fastpath(b->ctx);
    uint64_t time;
    int err;

    fast->pid = 7;
    fast->enabled = 1;
    for (int i = 0; i < 2; i++) { /* the first time for the pages that it touches */
        load_program(b, fast_loop, sizeof(fast_loop));
        b->ctx->regs.rbx = FAST_TURNS;
        err = timed_switch(b, TRAP_SYSCALL, &time);
        if (err)
            return err;
        if (b->ctx->regs.rax != 500)
            return -EIO;
    }
    *ret_ns = time > syscall_ns ? (time - syscall_ns) / FAST_TURNS : 0;
    return 0;
}

static int measure_fault(struct bed *b, uint64_t *ret_ns)
{
    uint64_t times[FAULT_TURNS];
    int err = 0;

    load_program(b, fault_loop, sizeof(fault_loop));
    for (size_t i = 0; i < FAULT_TURNS && !err; i++) {
        uint64_t start = host_monotonic_ns();

        err = timed_switch(b, TRAP_FAULT, &times[i]);
        if (!err)
            err = kvm_as_map(b->as, DATA_ADDRESS, PROT_READ | PROT_WRITE, b->data);
        times[i] = host_monotonic_ns() - start;
        if (!err)
            err = kvm_as_unmap(b->as, DATA_ADDRESS, PAGE_SIZE);
    }
    if (!err)
        *ret_ns = median(times, FAULT_TURNS);
    return err;
}

static int measure(struct bed *b, struct platform_report *report)
{
    int err = measure_syscall(b, &report->syscall_ns);

    if (!err)
        err = measure_fast(b, report->syscall_ns, &report->fast_ns);
    if (!err)
        err = measure_fault(b, &report->fault_ns);
    if (err)
        snprintf(report->why_not, sizeof(report->why_not),
                 "a program of a few instructions did not run as it should: %s", strerror(-err));
    snprintf(report->how, sizeof(report->how), "%s",
             b->p->kind == KIND_RING0 ? "SYSCALL enters ring 0" : "ring-3 trampoline");
    report->usable = !err;
    return err;
}

struct platform *kvm_create_measured(struct memfile *mf, struct platform_report *ret)
{
    struct bed b;
    int err;

    *ret = (struct platform_report){0};
    err = bed_make(&b, mf, ret->why_not, sizeof(ret->why_not));
    if (!err)
        err = measure(&b, ret);
    bed_clear(&b);
    if (!err)
        return &b.p->base;
    if (b.p)
        platform_close(b.p);
    return NULL;
}

void kvm_probe(struct platform_report *ret)
{
    struct platform *p = NULL;
    struct memfile *mf;

    *ret = (struct platform_report){0};
    if (small_memory(&mf, ret->why_not, sizeof(ret->why_not)) < 0)
        return;
    p = kvm_create_measured(mf, ret);
    if (p)
        platform_close(to_platform(p));
    memfile_destroy(mf);
}

/* ---- the physical limit ------------------------------------------------------------------- */

/* 1: out %al, $PORT_SYSCALL; jmp 1b: where system calls leave the guest, but nothing else */
static const uint8_t out_loop[] = {0xe6, PORT_SYSCALL, 0xeb, 0xfc};

/* Puts the loop where rings 0 and 3 may run it, and the vCPU, which is in that ring, on it. */
static int stand_on_loop(struct bed *b, struct vcpu *v)
{
    uint64_t page;
    int err = table_alloc(b->p, &page);

    if (!err)
        err =
            ring0_map(b->p, RING0_PROBE + PAGE_SIZE, page, b->p->kind == KIND_RING3 ? PTE_USER : 0);
    if (err)
        return err;
    memcpy(table_ptr(b->p, page), out_loop, sizeof(out_loop));
    v->run->s.regs.regs.rip = RING0_PROBE + PAGE_SIZE;
    v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    return 0;
}

static int time_loop(struct vcpu *v, uint64_t *times, unsigned int turns)
{
    int err;

    /* The first two turns finish the system call before, and fault the page in. */
    for (unsigned int i = 0; i < turns + 2; i++) {
        uint64_t start = host_monotonic_ns();

        err = host_kvm_ioctl_number(v->fd, KVM_RUN, 0);
        v->run->kvm_dirty_regs = 0;
        if (err < 0)
            return err;
        if (v->run->exit_reason != KVM_EXIT_IO)
            return -EIO;
        if (i >= 2)
            times[i - 2] = host_monotonic_ns() - start;
    }
    return 0;
}

int kvm_bench_bare_exit(unsigned int turns, uint64_t *ret_ns)
{
    uint64_t *times = calloc(turns, sizeof(*times)), ignored;
    struct vcpu *v = NULL;
    char why[192];
    struct bed b;
    int err;

    if (!times)
        return -ENOMEM;
    err = bed_open(&b, why, sizeof(why));
    if (err) {
        free(times);
        return err;
    }
    load_program(&b, syscall_loop, sizeof(syscall_loop));
    b.ctx->regs.rax = 500;
    err = timed_switch(&b, TRAP_SYSCALL, &ignored);
    if (!err)
        v = pool_acquire(to_context(b.ctx));
    if (v)
        err = stand_on_loop(&b, v);
    if (v && !err)
        err = time_loop(v, times, turns);
    if (v && !err)
        *ret_ns = median(times, turns);
    if (v)
        pool_release(b.p, v);
    bed_close(&b);
    free(times);
    return v || err ? err : -EIO;
}
