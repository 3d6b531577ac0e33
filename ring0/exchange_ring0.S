/*
 * As exchange_ring3.S, in ring 0: handing a call over without leaving the guest. The exchange page is
 * a part of the vCPU's data page, which no program reaches. Simpler than in ring 3, since sysretq
 * brings the program's flags back from r11; and without `pause`, for which a CPU leaves the guest when
 * it comes often enough.
 *
 *   on entry   rax = number, rcx = where the program goes on, r11 = its flags
 *   answered   rax from the page, all else as it was, back to the program
 *   nobody     watches, or the call is single-stepped: out of the guest at CODE_OUT
 *   else       out of the guest at CODE_GAVE_UP: the answer takes long, or is to come out
 */
    .set    exchange, data_page + DATA_EXCHANGE_PAGE

.macro SAVE register, field
    STEP    IN_RCX, IN_RAX, 0
    movq    %\register, exchange + \field(%rip)
.endm
#include "ring0/exchange_save.S"

    .org    CODE_GAVE_UP, 0xcc
gave_up:
    STEP    POSTED, POSTED, 0
    outb    %al, $PORT_SYSCALL
    ud2                                     /* never reached: the VMM moves rip */

leave_guest:
    STEP    IN_RCX, IN_RAX, 0
    cmpq    $0, data_page + DATA_EXCHANGE(%rip)
    STEP    IN_RCX, IN_RAX, 0
    je      miss
    STEP    IN_RCX, IN_RAX, 0
    testl   $FLAG_TF, %r11d                 /* see FASTPATH_CHECK */
    STEP    IN_RCX, IN_RAX, 0
    jnz     miss
    SAVE    rax, EXCHANGE_RAX
    SAVE    rcx, EXCHANGE_RIP
    SAVE    r11, EXCHANGE_RFLAGS
    SAVE_REST
    STEP    IN_RCX, IN_RAX, 0
    movl    $1, exchange + EXCHANGE_STATE(%rip) /* posted */
    STEP    POSTED, POSTED, 0
    movl    $EXCHANGE_LOOKS, %eax
wait:
    STEP    POSTED, POSTED, 0
    cmpl    $0, exchange + EXCHANGE_STATE(%rip)
    STEP    POSTED, POSTED, 0
    je      answered
    STEP    POSTED, POSTED, 0
    lfence                                  /* instead of pause: a while, and no looks ahead */
    STEP    POSTED, POSTED, 0
    decl    %eax
    STEP    POSTED, POSTED, 0
    jnz     wait
    STEP    POSTED, POSTED, 0
    movq    exchange + EXCHANGE_RAX(%rip), %rax
    STEP    POSTED, POSTED, 0
    jmp     gave_up
answered:
    STEP    POSTED, POSTED, 0
    movq    exchange + EXCHANGE_RAX(%rip), %rax
    STEP    POSTED, POSTED, 0
    cmpl    $0, exchange + EXCHANGE_LEAVE(%rip)
    STEP    POSTED, POSTED, 0
    jne     gave_up
    STEP    POSTED, POSTED, 0
    sysretq
