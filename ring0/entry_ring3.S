/*
 * The code page where SYSCALL stays in ring 3 (a software KVM): offset 0 runs with the program's
 * rights, so whatever it does the program could do as well, and it may be entered in the middle.
 * The VMM trusts nothing but rip and the port: an `out` from exactly CODE_OUT is a system
 * call that returns to rcx, any other `out` of ring 3 is a #GP. The same `out` may come from ring 0,
 * see FASTPATH_CHECK.
 *
 * The way back to the program needs no code: the VMM sets its registers and, behind an exception,
 * its segments.
 */
#include "ring0/layout.h"

    .section .rodata.steps, "a", @progbits
    .balign 8
    .globl  ring3_steps
    .hidden ring3_steps
ring3_steps:

    .section .rodata, "a", @progbits
    .balign 4096
    .globl  ring3_code_start
    .hidden ring3_code_start
ring3_code_start:
code_start:
    .set    data_page, code_start + RING0_AREA_DATA

/*
 * When such a KVM happens to emulate a SYSCALL (a non-canonical rsp is enough), it does enter ring 0,
 * and a plain jump back would run the program there. So the CS of ring 3 is a condition.
 */
.macro FASTPATH_CHECK number                /* rax = return address, rcx is free */
    STEP    IN_RAX, IN_NO_REG, \number
    movl    %cs, %ecx
    STEP    IN_RAX, IN_NO_REG, \number
    leaq    -SELECTOR_USER_CS(%rcx), %rcx
    STEP    IN_RAX, IN_NO_REG, \number
    jrcxz   ring3_\number
    STEP    IN_RAX, IN_NO_REG, \number
    jmp     off_\number
ring3_\number:
.endm
.macro FASTPATH_RETURN number
    jmp     *%rcx
.endm
#include "ring0/fastpath.S"
#include "ring0/gates.S"
#include "ring0/exchange_ring3.S"

    .globl  ring3_code_end
    .hidden ring3_code_end
ring3_code_end:
    .section .rodata.steps, "a", @progbits
    .globl  ring3_steps_end
    .hidden ring3_steps_end
ring3_steps_end:
    .section .note.GNU-stack, "", @progbits
