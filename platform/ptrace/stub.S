/*
 * All code that a stub ever executes besides the guest's. What injected calls need touches no memory
 * and no stack: the guest's other threads share the address space and could change either.
 */
#include "platform/ptrace/stub_layout.h"

        .section .rodata
        .globl  stub_code, stub_code_end
        .hidden stub_code, stub_code_end
        .balign 16
stub_code:
        /* STUB_CALL: one injected call; its result stays in rax */
        syscall
        int3                            /* STUB_DONE: back to the tracer */

        .org    stub_code + STUB_CLONE - STUB_CODE, 0xcc
        /* STUB_CLONE: makes a thread that its own tracer has yet to seize */
        syscall
        test    %eax, %eax
        jz      1f
        int3                            /* STUB_CLONE_DONE: the parent is back at its tracer */
1:      mov     $34, %eax               /* SYS_pause: the new thread waits to be seized */
        syscall                         /* STUB_PAUSED */
        jmp     1b

        .org    stub_code + STUB_ENTER - STUB_CODE, 0xcc
#include "platform/ptrace/handover.S"
stub_code_end:

        .section .note.GNU-stack, "", @progbits
