/*
 * A platform without a CPU, for unit tests of what drives one: contexts play a script of traps,
 * address spaces remember what was mapped. Single steps, no timing, no host calls.
 *
 * A script belongs to a context. The code under test creates its contexts itself, so the test
 * leaves scripts with the platform: the first context created takes the first script, and so on.
 * A context whose script has come to its end, or that never had one, answers TRAP_KILLED.
 */
#ifndef PLATFORM_FAKE_FAKE_H
#define PLATFORM_FAKE_FAKE_H

#include "platform/platform.h"

extern const struct platform_ops fake_platform_ops;

#define FAKE_USER_MIN PAGE_SIZE
#define FAKE_USER_MAX 0x7ffffffff000UL

/* One ctx_switch(). */
struct fake_step {
    enum trap trap;
    struct trap_info info;
    /* TRAP_SYSCALL only: the number and its arguments; rip moves behind a 2-byte instruction. */
    uint64_t number;
    uint64_t args[6];
    /* Anything else that the guest does before the trap, for instance with its registers; or what
     * the test checks or does at that moment (ctx_interrupt()). May be NULL. */
    void (*act)(struct context *ctx, void *arg);
    void *arg;
};

/* Borrowed until the contexts are destroyed. At most FAKE_SCRIPTS wait at a time. */
#define FAKE_SCRIPTS 16
void fake_leave_script(struct platform *p, const struct fake_step *steps, size_t count);
/* For a context that exists: from its first step on. */
void fake_set_script(struct context *ctx, const struct fake_step *steps, size_t count);

/* What a context saw at its n-th switch. Interrupted switches count, and play no step. */
struct fake_switch {
    struct cpu_regs regs; /* as the driver had left them: rax is the last call's result */
    struct address_space *as;
    enum trap trap; /* how it ended */
};
size_t fake_switch_count(const struct context *ctx);
const struct fake_switch *fake_switch_at(const struct context *ctx, size_t n);
/* Steps of the script that were not played yet. */
size_t fake_steps_left(const struct context *ctx);

/* What is mapped now, in address order, adjacent mappings of one protection and backing merged. */
struct fake_mapping {
    uaddr_t addr;
    int prot;
    struct memfile_range range;
};
size_t fake_mapping_count(const struct address_space *as);
const struct fake_mapping *fake_mapping_at(const struct address_space *as, size_t n);
/* The one that covers `addr`, or NULL. */
const struct fake_mapping *fake_mapping_find(const struct address_space *as, uaddr_t addr);
/* From now on a twin of it (fork) is offered what it has mapped, by as_recall(). */
void fake_offer_mappings(struct address_space *as);
/* Calls so far, failed ones too. */
size_t fake_map_calls(const struct address_space *as);
size_t fake_unmap_calls(const struct address_space *as);
/* The as_map() after `after` more ones fails with `err` (once). */
void fake_fail_map(struct address_space *as, size_t after, int err);
/* Every as_map() from now on fails with `err`; 0 ends that. */
void fake_fail_maps(struct address_space *as, int err);

#endif
