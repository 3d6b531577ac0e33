/*
 * The handover page: where a program hands calls over to the thread of the Sentry that listens to
 * it, without a stop (handover.S). The program can write all of it at any time, from any of its
 * threads: the Sentry reads each field once, and takes it for what a program's register would be.
 */
#ifndef PLATFORM_PTRACE_HANDOVER_H
#define PLATFORM_PTRACE_HANDOVER_H

#include "base/compiler.h"
#include "platform/platform.h"
#include "platform/ptrace/stub_layout.h"

struct handover_slot {
    uint64_t key;   /* atomic; the FS base of the thread that is listened to, or HANDOVER_NOBODY */
    uint32_t state; /* atomic; HANDOVER_ANSWERED... */
    uint32_t flags; /* SF ZF AF PF CF as `lahf` has them, in bits 8 to 15; bit 0: OF */
    uint64_t rax, rip, rflags, rsp, rbx;
    uint64_t rdx, rsi, rdi, rbp, r8, r9, r10;
    uint64_t r12, r13, r14, r15;
    uint8_t pad[HANDOVER_STRIDE - HANDOVER_R15 - 8];
};
static_assert(sizeof(struct handover_slot) == HANDOVER_STRIDE, "stub_layout.h");
static_assert(HANDOVER_SLOTS * HANDOVER_STRIDE <= PAGE_SIZE, "one page");
static_assert(offsetof(struct handover_slot, key) == HANDOVER_KEY, "stub_layout.h");
static_assert(offsetof(struct handover_slot, state) == HANDOVER_STATE, "stub_layout.h");
static_assert(offsetof(struct handover_slot, flags) == HANDOVER_FLAGS, "stub_layout.h");
static_assert(offsetof(struct handover_slot, rax) == HANDOVER_RAX, "stub_layout.h");
static_assert(offsetof(struct handover_slot, rbx) == HANDOVER_RBX, "stub_layout.h");
static_assert(offsetof(struct handover_slot, r10) == HANDOVER_R10, "stub_layout.h");
static_assert(offsetof(struct handover_slot, r15) == HANDOVER_R15, "stub_layout.h");

/* No FS base that a program can have by arch_prctl(2), nor one that it needs. */
#define HANDOVER_NOBODY UINT64_MAX

/* Offsets into the stub's page: where which registers are elsewhere than the program left them. */
struct stub_points {
    uint32_t enter, flags_in_ax, flags_back, number_in_rax, rsp_in_page, rsp_back, posted, parked;
    uint32_t nobody, nobody_flags_back, nobody_number, nobody_rcx, end;
};
extern const struct stub_points stub_points;

/*
 * A program stopped `at` that offset into the stub's page on its way to handing a call over, or
 * back from it: the registers as they were right before its call, or right behind it.
 */
void handover_undo(struct handover_slot *slot, uint32_t at, struct cpu_regs *regs);

#endif
