/*
 * The code page where SYSCALL enters ring 0 (KVM on SVM or VMX).
 *
 * SYSCALL comes to offset 0 with the program's rsp and no stack of ours; none is needed, since the
 * way out is one `out` with all registers in place. The way back: the VMM sets the registers and
 * rip to CODE_SYSRET, or for registers that sysret would not restore, a frame on the stack page
 * and rip to CODE_IRET. Both are reached with rcx and rip canonical, which the VMM has checked:
 * sysret and iretq never fault here.
 */
#include "ring0/layout.h"

    .section .rodata.steps, "a", @progbits
    .balign 8
    .globl  ring0_steps
    .hidden ring0_steps
ring0_steps:

    .section .rodata, "a", @progbits
    .balign 4096
    .globl  ring0_code_start
    .hidden ring0_code_start
ring0_code_start:
code_start:
    .set    data_page, code_start + RING0_AREA_DATA

/* A single-stepped call goes the slow way: sysretq traps at once, iretq behind the next instruction. */
.macro FASTPATH_CHECK number                /* rax = return address */
    STEP    IN_RAX, IN_NO_REG, \number
    testl   $FLAG_TF, %r11d
    STEP    IN_RAX, IN_NO_REG, \number
    jnz     off_\number
.endm
.macro FASTPATH_RETURN number
    incq    data_page + FASTPATH_SERVED(%rip) /* sysret brings the program's flags back */
    STEP    IN_RCX, IN_NO_REG, \number
    sysretq
.endm
#include "ring0/fastpath.S"

    .org    CODE_SYSRET, 0xcc
    sysretq
    .org    CODE_IRET, 0xcc
    iretq
#include "ring0/gates.S"
#include "ring0/exchange_ring0.S"

    .globl  ring0_code_end
    .hidden ring0_code_end
ring0_code_end:
    .section .rodata.steps, "a", @progbits
    .globl  ring0_steps_end
    .hidden ring0_steps_end
ring0_steps_end:
    .section .note.GNU-stack, "", @progbits
