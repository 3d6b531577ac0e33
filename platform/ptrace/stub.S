/*
 * All code that a stub ever executes besides the guest's. What injected calls need touches no stack
 * and no memory that a guest can write: its other threads share the address space.
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

        .org    stub_code + STUB_BATCH - STUB_CODE, 0xcc
        /* STUB_BATCH: what it reads no guest can write */
2:      mov     ORDER_NUMBER(%r15), %rax
        mov     ORDER_ADDR(%r15), %rdi
        mov     ORDER_SIZE(%r15), %rsi
        mov     ORDER_PROT(%r15), %rdx
        mov     ORDER_FLAGS(%r15), %r10
        mov     ORDER_OFFSET(%r15), %r9
        mov     $3, %r8d                /* HOST_STUB_KEPT_FD */
        syscall                         /* STUB_BATCHED is behind it */
        test    %rax, %rax
        js      3f
        add     $ORDER_STRIDE, %r15
        dec     %r14
        jnz     2b
3:      int3                            /* STUB_BATCH_DONE: r14 were not made; rax of the last */

        .org    stub_code + STUB_ENTER - STUB_CODE, 0xcc
#include "platform/ptrace/handover.S"
stub_code_end:

        .section .note.GNU-stack, "", @progbits
