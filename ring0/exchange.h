/*
 * The exchange page: where a program hands its calls over to a thread of the VMM that watches it,
 * without leaving the guest (ring0/exchange_ring3.S). The program can write all of it at any time:
 * the VMM reads each field once, and takes it for what a program's register would be.
 */
#ifndef RING0_EXCHANGE_H
#define RING0_EXCHANGE_H

#include "base/compiler.h"
#include "ring0/layout.h"

enum exchange_state {
    EXCHANGE_ANSWERED = 0, /* or nothing was asked yet */
    EXCHANGE_POSTED = 1,
};

struct exchange_page {
    uint32_t state; /* atomic; enum exchange_state */
    uint32_t leave; /* ring 0: with the answer, out of the guest */
    uint64_t rax, rip, rflags;
    uint8_t pad1[32];
    uint64_t rsp, rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15;
};
static_assert(offsetof(struct exchange_page, state) == EXCHANGE_STATE, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, leave) == EXCHANGE_LEAVE, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, rax) == EXCHANGE_RAX, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, rip) == EXCHANGE_RIP, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, rflags) == EXCHANGE_RFLAGS, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, rsp) == EXCHANGE_RSP, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, r10) == EXCHANGE_R10, "ring0/layout.h");
static_assert(offsetof(struct exchange_page, r15) == EXCHANGE_R15, "ring0/layout.h");

#endif
