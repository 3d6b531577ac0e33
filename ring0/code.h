/*
 * The two code pages as bytes in the VMM, to be copied into the guest; they are data here and never
 * run on the host. See ring0/layout.h for the offsets inside.
 */
#ifndef RING0_CODE_H
#define RING0_CODE_H

#include "base/compiler.h"
#include "ring0/exchange.h"
#include "ring0/layout.h"

enum ring0_step_place {
    STEP_IN_RCX = IN_RCX,
    STEP_IN_RAX = IN_RAX,
    STEP_IN_NO_REG = IN_NO_REG,
    STEP_IN_R11 = IN_R11,
    STEP_IN_PAGE = IN_PAGE,
    STEP_POSTED = POSTED,
};

/* How to undo the fast path's work up to the instruction at `offset` of its code page. */
struct ring0_step {
    uint16_t offset;
    uint8_t ret;    /* enum ring0_step_place of the return address */
    uint8_t number; /* enum ring0_step_place of the call's number, RSP_IN_PAGE added ... */
    int32_t add;    /* ... plus this */
};
static_assert(sizeof(struct ring0_step) == 8, "as STEP in the assembly writes it");

struct ring0_code {
    const uint8_t *start, *end;
    const struct ring0_step *steps, *steps_end;
};

#define RING0_OUT_SIZE 2 /* bytes of `out %al, $port` */

/* Where SYSCALL enters ring 0, and where it stays in ring 3. */
extern const struct ring0_code ring0_code, ring3_code;

/* Registers of a vCPU that stopped in the entry, and the call that it was about to make. */
struct ring0_call {
    uint64_t rax, rcx, r11, rsp;
    uint64_t number, return_address; /* set by ring0_undo(), as is rsp */
};

enum ring0_undone {
    RING0_ELSEWHERE, /* no instruction of the entry stands there */
    RING0_CALL,      /* a call was about to be made */
    RING0_ANSWERED,  /* the call was handed over and taken; it is not to be made again */
};

/*
 * For a vCPU that stopped before the instruction at `offset`. `page`: the exchange page that it
 * uses, NULL for none; of a call that stands posted there it takes the post back.
 */
enum ring0_undone ring0_undo(const struct ring0_code *code, uint64_t offset,
                             struct exchange_page *page, struct ring0_call *call);
/* At the `out` at the end of a call that was handed over, or behind it: KVMs differ. */
static inline bool ring0_gave_up(uint64_t offset)
{
    return offset == CODE_GAVE_UP || offset == CODE_GAVE_UP + RING0_OUT_SIZE;
}
/* True for the numbers of the calls that the fast path answers. */
bool ring0_serves(uint64_t number);

#endif
