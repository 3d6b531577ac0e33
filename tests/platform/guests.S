/* Guest code for the platform tests. Each entry is told its operands in registers. */
#define GUEST(name)             \
        .balign 8;              \
        .globl  name;           \
        .hidden name;           \
        name

#define MARK(name)              \
        .globl  name;           \
        .hidden name;           \
        name

        .section .rodata
        .balign 16
GUEST(guests):
GUEST(guest_syscall):
1:      syscall
        jmp     1b

GUEST(guest_count):                     /* rbx counts answered calls, r12 sums results */
1:      syscall
        add     %rax, %r12
        inc     %rbx
        mov     %rbx, %rax
        jmp     1b

GUEST(guest_load):                      /* rax = *rdi, then a call */
        mov     (%rdi), %rax
        syscall
        jmp     guest_load

GUEST(guest_store):                     /* *rdi = rsi, then a call */
        mov     %rsi, (%rdi)
        syscall
        jmp     guest_store

GUEST(guest_jump):
        jmp     *%rdi

GUEST(guest_div):
        div     %rcx

GUEST(guest_ud2):
        ud2

GUEST(guest_int3):
        int3

GUEST(guest_hlt):
        hlt

GUEST(guest_step):                      /* sets TF: #DB behind the next instruction */
        pushfq
        orq     $0x100, (%rsp)
        popfq
        nop
MARK(guest_step_at):
        nop

GUEST(guest_sse):                       /* 1/0 with the exception unmasked */
        sub     $16, %rsp
        movl    $0x1d80, (%rsp)
        ldmxcsr (%rsp)
        mov     $1, %eax
        cvtsi2ss %eax, %xmm0
        xorps   %xmm1, %xmm1
MARK(guest_sse_at):
        divss   %xmm1, %xmm0

GUEST(guest_x87):                       /* the same on the x87: raised by the instruction after */
        sub     $16, %rsp
        movw    $0x37b, (%rsp)
        fldcw   (%rsp)
        fld1
        fldz
        fdivrp
MARK(guest_x87_at):
        fwait

GUEST(guest_align):                     /* sets AC, reads across alignment */
        pushfq
        orq     $0x40000, (%rsp)
        popfq
MARK(guest_align_at):
        mov     1(%rdi), %eax

GUEST(guest_int80):
        mov     $20, %eax
MARK(guest_int80_at):
        int     $0x80
        ud2

GUEST(guest_compat):                    /* into 32-bit code, a call from there */
        lea     1f(%rip), %rax
        movl    %eax, (%rdi)
        movl    $0x23, 4(%rdi)
        ljmp    *(%rdi)
        .code32
1:      mov     $20, %eax
        int     $0x80
        ud2
        .code64

GUEST(guest_segments):                  /* selectors of any privilege level, then a call */
        mov     $0x28, %eax
        mov     %eax, %ds
        mov     $1, %eax
        mov     %eax, %es
        xor     %eax, %eax
        mov     %eax, %gs
        syscall

GUEST(guest_xmm):                       /* rax = low half of xmm5, xmm5 += 1, a call */
        movq    %xmm5, %rax
        lea     1(%rax), %rcx
        movq    %rcx, %xmm5
        syscall
        jmp     guest_xmm

GUEST(guest_fs):                        /* rax = fs:0, rbx = gs:8 */
        mov     %fs:0, %rax
        mov     %gs:8, %rbx
        syscall
        jmp     guest_fs

GUEST(guest_spin_load):                 /* until *rdi == rsi; counts in *rdx */
1:      incq    (%rdx)
        cmp     %rsi, (%rdi)
        jne     1b
        syscall
        jmp     1b

GUEST(guest_spin_store):                /* writes to *rdi, counts in *rdx */
1:      incq    (%rdx)
        incq    (%rdi)
        jmp     1b

GUEST(guest_spin):
1:      inc     %rbx
        jmp     1b

GUEST(guest_vsyscall):                  /* time(NULL) by the legacy page */
        xor     %edi, %edi
        mov     $0xffffffffff600400, %rax
        call    *%rax
MARK(guest_vsyscall_back):
        ud2

GUEST(guest_ymm):                       /* ymm3 from *rdi, a call, ymm3 to *rsi, a call */
        vmovdqu (%rdi), %ymm3
        syscall
        vmovdqu %ymm3, (%rsi)
        syscall
        jmp     guest_ymm

GUEST(guest_fast):                      /* r12 times call rbx, r13 sums; flags to r8; call 500 */
        mov     %rbx, %rax
        stc
        std
        syscall
        pushfq
        pop     %r8
        cld
        add     %rax, %r13
        dec     %r12
        jnz     guest_fast
        mov     $500, %eax
MARK(guest_fast_end):
        syscall
        jmp     guest_fast_end

GUEST(guest_out):                       /* the exiting instruction itself */
        out     %al, $0x10
        ud2

GUEST(guest_in):
        in      $0x10, %al
        ud2

/*
 * A call as by a rewritten call site: by way of the entry that is in r15. rdi is passed on, r14 counts
 * answered calls, r13 sums results; the flags after each are checked, and its registers: what is wrong
 * is told by call 501.
 */
.macro HAND_OVER number
        jmp     2f
        syscall
1:      jmp     3f
2:      lea     1b(%rip), %rcx
        mov     $(\number << 16), %eax
        mov     %r15, %r11
        jmp     *%r11
3:
.endm

GUEST(guest_handover):
        mov     %r14, %rbx
        lea     3(%r14), %rbp
        lea     5(%r14), %r12
        mov     $0x7fffffffffffffff, %r9
        mov     %rsp, %r8
        test    $1, %r14b
        jz      1f
        std
        inc     %r9                     /* OF SF PF AF */
        stc
1:      pushfq
        pop     %r10
        HAND_OVER 500
        pushfq
        cld
        pop     %rdx
        add     %rax, %r13
        cmp     %r10, %rdx
        jne     wrong
        cmp     %rsp, %r8
        jne     wrong
        cmp     %rbx, %r14
        jne     wrong
        sub     $3, %rbp
        cmp     %rbp, %r14
        jne     wrong
        sub     $5, %r12
        cmp     %r12, %r14
        jne     wrong
        inc     %r14
        jmp     guest_handover
wrong:  mov     $501, %eax
        syscall
        ud2

GUEST(guest_scribble):                  /* random words into the page at rdi, for ever */
1:      imul    $0x5851f42d, %rax, %rax
        inc     %rax
        mov     %rax, %rcx
        shr     $33, %rcx
        mov     %ecx, %edx
        and     $0xfff8, %ecx
        and     $0xff8, %ecx
        and     $3, %edx                /* mostly what a state may be */
        mov     %rdx, (%rdi,%rcx)
        jmp     1b

MARK(guests_end):
        .section .note.GNU-stack, "", @progbits
