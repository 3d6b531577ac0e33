/*
 * STUB_ENTER: where a program's rewritten call sites go instead of executing SYSCALL. While the task's
 * thread in the Sentry listens, the call is handed over in the handover page, and answered there;
 * otherwise the site's own SYSCALL, two bytes before the return address, makes an ordinary call.
 *
 *   on entry   eax = number << 16, rcx = where the program goes on; r11 is free
 *   answered   rax from the page, rcx and r11 as SYSCALL leaves them, all else as the call left it
 *   nobody     listens to this thread, or nobody took the call in time: the ordinary call
 *   taken      by somebody who needs longer: a stop at STUB_PARKED, from where the tracer sends it on
 *
 * All of this runs with the program's rights, on a page that the program may write. Those of its
 * threads that are listened to have a slot there each, known by the thread's FS base.
 *
 * Flags are kept in ax while they are needed elsewhere. The labels that stub_points names divide the
 * code by what has to be undone when a signal arrives there (handover.c).
 */
        .set    handover, stub_code - STUB_CODE - (STUB_BASE - STUB_HANDOVER)

.macro FLAGS_TO_AX
        lahf
        seto    %al
.endm
.macro FLAGS_FROM_AX
        addb    $0x7f, %al
        sahf
.endm
.macro NUMBER_TO_RAX                    /* from eax's upper half, and no flags */
        bswap   %eax
        movzwl  %ax, %eax
        xchg    %al, %ah
.endm

stub_enter:
        FLAGS_TO_AX
flags_in_ax:
        rdfsbase %r11
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        cmpq    handover + \n * HANDOVER_STRIDE + HANDOVER_KEY(%rip), %r11
        je      slot_\n
.endr
        jmp     nobody
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
slot_\n:
        leaq    handover + \n * HANDOVER_STRIDE(%rip), %r11
        jmp     found
.endr
found:                                  /* r11 = slot */
        movl    %eax, HANDOVER_FLAGS(%r11)
        FLAGS_FROM_AX
flags_back:
        NUMBER_TO_RAX
number_in_rax:
        movq    %rax, HANDOVER_RAX(%r11)
        movq    %rcx, HANDOVER_RIP(%r11)
        movq    %rbx, HANDOVER_RBX(%r11)
        movq    %rdx, HANDOVER_RDX(%r11)
        movq    %rsi, HANDOVER_RSI(%r11)
        movq    %rdi, HANDOVER_RDI(%r11)
        movq    %rbp, HANDOVER_RBP(%r11)
        movq    %r8, HANDOVER_R8(%r11)
        movq    %r9, HANDOVER_R9(%r11)
        movq    %r10, HANDOVER_R10(%r11)
        movq    %r12, HANDOVER_R12(%r11)
        movq    %r13, HANDOVER_R13(%r11)
        movq    %r14, HANDOVER_R14(%r11)
        movq    %r15, HANDOVER_R15(%r11)
        movq    %rsp, HANDOVER_RSP(%r11)
        leaq    HANDOVER_RFLAGS + 8(%r11), %rsp
rsp_in_page:
        pushfq
        movq    HANDOVER_RSP(%r11), %rsp
rsp_back:
        movl    $HANDOVER_POSTED, HANDOVER_STATE(%r11)
posted:
        movl    $HANDOVER_LOOKS, %eax
look:
        movl    HANDOVER_STATE(%r11), %ecx
        testl   %ecx, %ecx              /* HANDOVER_ANSWERED */
        jz      answered
        cmpl    $HANDOVER_RECALLED, %ecx
        je      park
        pause
        decl    %eax
        cmpl    $HANDOVER_TAKEN, %ecx
        je      taken
        subl    $HANDOVER_IDLE - 1, %eax
taken:
        testl   %eax, %eax
        jg      look
        movl    $HANDOVER_POSTED, %eax
        movl    $HANDOVER_WITHDRAWN, %ecx
        lock cmpxchgl %ecx, HANDOVER_STATE(%r11)
        je      withdrawn
        testl   %eax, %eax
        jz      answered
park:
        syscall
parked:
        int3                            /* never reached: the tracer moves rip */
answered:
        movl    HANDOVER_FLAGS(%r11), %eax
        FLAGS_FROM_AX
        movq    HANDOVER_RAX(%r11), %rax
        movq    HANDOVER_RIP(%r11), %rcx
        movq    HANDOVER_RFLAGS(%r11), %r11
        jmp     *%rcx
withdrawn:
        movl    HANDOVER_FLAGS(%r11), %eax
        FLAGS_FROM_AX
        movq    HANDOVER_RAX(%r11), %rax
        movq    HANDOVER_RIP(%r11), %rcx
        leaq    -2(%rcx), %rcx
        jmp     *%rcx
nobody:
        FLAGS_FROM_AX
nobody_flags_back:
        NUMBER_TO_RAX
nobody_number:
        leaq    -2(%rcx), %rcx
nobody_rcx:
        jmp     *%rcx
handover_end:

        .pushsection .rodata.points, "a", @progbits
        .balign 4
        .globl  stub_points
        .hidden stub_points
.macro POINT label
        .long   \label - stub_code + STUB_CODE
.endm
stub_points:                            /* struct stub_points */
        POINT   stub_enter
        POINT   flags_in_ax
        POINT   flags_back
        POINT   number_in_rax
        POINT   rsp_in_page
        POINT   rsp_back
        POINT   posted
        POINT   parked
        POINT   nobody
        POINT   nobody_flags_back
        POINT   nobody_number
        POINT   nobody_rcx
        POINT   handover_end
        .popsection
