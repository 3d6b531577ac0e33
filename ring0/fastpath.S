/*
 * The pure calls, answered without leaving the guest. Included twice: by the entry of ring 0
 * (which ends in sysretq) and by the trampoline that runs in ring 3 (which ends in jmp *%rcx).
 *
 *   on entry   rax = number, rcx = where the program goes on, r11 = its flags; nothing else is ours
 *   served     rax = result, all else as on entry, back to the program by FASTPATH_RETURN;
 *              FASTPATH_CHECK may still decide against it and jump to off_NUMBER
 *   not ours   all as on entry, to leave_guest: out of the guest at CODE_OUT, unless the call is handed
 *              over before that (ring0/exchange_ring3.S)
 *
 * No stack, no scratch memory (another thread could overwrite what ring 3 can write), and no
 * instruction that changes the flags, which in ring 3 are still the program's own: so the number is
 * compared by lea and jrcxz, with rax and rcx exchanged meanwhile.
 *
 * An interrupt may stop it anywhere. STEP tells for the instruction behind it how to get back the
 * number and the return address, so that the VMM can make an ordinary system call of it, instead of
 * running on into the program while somebody waits (struct ring0_step in ring0/code.h):
 *   ret      where the return address is
 *   nr, add  the number is register + add, or `add` alone
 */

.macro STEP ret, nr, add
    .pushsection .rodata.steps, "a", @progbits
    .short  7f - code_start
    .byte   \ret, \nr
    .long   \add
    .popsection
7:
.endm

.macro TRY number, before                   /* rax = return address, rcx = number - before */
    STEP    IN_RAX, IN_RCX, \before
    leaq    \before - \number(%rcx), %rcx
    STEP    IN_RAX, IN_RCX, \number
    jrcxz   hop_\number
.endm

.macro HOP number                           /* jrcxz reaches 127 bytes, not more */
hop_\number:
    STEP    IN_RAX, IN_NO_REG, \number
    jmp     serve_\number
.endm

.macro SERVE number, field                  /* rax = return address, rcx = 0 */
serve_\number:
    STEP    IN_RAX, IN_NO_REG, \number
    movl    data_page + FASTPATH_ENABLED(%rip), %ecx
    STEP    IN_RAX, IN_NO_REG, \number
    jrcxz   off_\number
    FASTPATH_CHECK \number
    STEP    IN_RAX, IN_NO_REG, \number
    movq    %rax, %rcx
    STEP    IN_RCX, IN_NO_REG, \number
    movl    data_page + \field(%rip), %eax
    STEP    IN_RCX, IN_NO_REG, \number
    FASTPATH_RETURN \number
off_\number:
    STEP    IN_RAX, IN_NO_REG, \number
    movq    %rax, %rcx
    STEP    IN_RCX, IN_NO_REG, \number
    movl    $\number, %eax
    STEP    IN_RCX, IN_RAX, 0
    jmp     leave_guest
.endm

    STEP    IN_RCX, IN_RAX, 0
    xchgq   %rax, %rcx                      /* rax = return address, rcx = number */
    TRY     39, 0
    TRY     102, 39
    TRY     104, 102
    TRY     107, 104
    TRY     108, 107
    TRY     110, 108
    TRY     186, 110
    STEP    IN_RAX, IN_RCX, 186
    leaq    186(%rcx), %rcx
    STEP    IN_RAX, IN_RCX, 0
    xchgq   %rax, %rcx
    STEP    IN_RCX, IN_RAX, 0
    jmp     leave_guest
    HOP     39
    HOP     102
    HOP     104
    HOP     107
    HOP     108
    HOP     110
    HOP     186
    SERVE   39, FASTPATH_PID                /* getpid */
    SERVE   102, FASTPATH_UID               /* getuid */
    SERVE   104, FASTPATH_GID               /* getgid */
    SERVE   107, FASTPATH_EUID              /* geteuid */
    SERVE   108, FASTPATH_EGID              /* getegid */
    SERVE   110, FASTPATH_PPID              /* getppid */
    SERVE   186, FASTPATH_TID               /* gettid */
    .org    CODE_OUT, 0xcc
miss:
    STEP    IN_RCX, IN_RAX, 0
    outb    %al, $PORT_SYSCALL
    ud2                                     /* never reached: the VMM moves rip */
