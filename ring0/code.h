/*
 * The two code pages as bytes in the VMM, to be copied into the guest; they are data here and never
 * run on the host. See ring0/layout.h for the offsets inside.
 */
#ifndef RING0_CODE_H
#define RING0_CODE_H

#include "base/compiler.h"
#include "ring0/layout.h"

extern const uint8_t ring0_code_start[], ring0_code_end[];
extern const uint8_t ring3_code_start[], ring3_code_end[];
/* The one exiting instruction of the ring-3 trampoline, two bytes. */
extern const uint8_t ring3_code_out[];
#define RING0_OUT_SIZE 2 /* bytes of `out %al, $port` */

enum ring0_step_place { STEP_IN_RCX = IN_RCX, STEP_IN_RAX = IN_RAX, STEP_IN_NO_REG = IN_NO_REG };

/* How to undo the trampoline's work up to the instruction at `offset` of its code page. */
struct ring0_step {
    uint16_t offset;
    uint8_t ret;    /* enum ring0_step_place of the return address */
    uint8_t number; /* enum ring0_step_place of the call's number ... */
    int32_t add;    /* ... plus this */
};
static_assert(sizeof(struct ring0_step) == 8, "as entry_ring3.S writes it");
extern const struct ring0_step ring3_steps[], ring3_steps_end[];

/*
 * For a trampoline stopped before the instruction at `offset`: the number and the return address of
 * the system call, from the registers. False when no such instruction stands there.
 */
bool ring3_step_undo(uint64_t offset, uint64_t rax, uint64_t rcx, uint64_t *ret_number,
                     uint64_t *ret_return_address);

/* True for the numbers of the calls that the fast path answers. */
bool ring3_serves(uint64_t number);

#endif
