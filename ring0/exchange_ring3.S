/*
 * Handing a call over without leaving the guest: while another thread of the VMM than the one that
 * runs this vCPU watches the exchange page, the registers are written there, and the answer comes
 * there. Ring 3 only, so all of this is done with the program's rights and to a page of the
 * program's; what the VMM reads there, the program has said.
 *
 *   on entry   rax = number, rcx = where the program goes on; r11 is free, for in ring 3 it is what
 *              rflags is, and the VMM takes that
 *   answered   rax from the page, all else as the call left it, back to the program
 *   nobody     watches: out of the guest at CODE_OUT, as if all this were not here
 *   else       out of the guest at CODE_GAVE_UP: the answer takes long, or is to come out
 *
 * The flags stay the program's own all the way. rsp is elsewhere for one instruction, to get at
 * them. As in the fast path each instruction tells how to make an ordinary call of it again.
 */

.macro SAVE register, field
    STEP    IN_R11, IN_RAX, 0
    movq    %\register, \field(%rcx)
.endm
#include "ring0/exchange_save.S"

    .org    CODE_GAVE_UP, 0xcc
gave_up:
    STEP    POSTED, POSTED, 0
    outb    %al, $PORT_SYSCALL
    ud2                                     /* never reached: the VMM moves rip */

leave_guest:
    STEP    IN_RCX, IN_RAX, 0
    movq    %rcx, %r11
    STEP    IN_R11, IN_RAX, 0
    movl    %cs, %ecx                       /* may be ring 0's: see FASTPATH_CHECK */
    STEP    IN_R11, IN_RAX, 0
    leaq    -SELECTOR_USER_CS(%rcx), %rcx
    STEP    IN_R11, IN_RAX, 0
    jrcxz   look
    STEP    IN_R11, IN_RAX, 0
    jmp     nobody
look:
    STEP    IN_R11, IN_RAX, 0
    movq    data_page + DATA_EXCHANGE(%rip), %rcx
    STEP    IN_R11, IN_RAX, 0
    jrcxz   nobody
    STEP    IN_R11, IN_RAX, 0
    jmp     save
nobody:
    STEP    IN_R11, IN_RAX, 0
    movq    %r11, %rcx
    STEP    IN_RCX, IN_RAX, 0
    jmp     miss

save:                                       /* rcx = exchange page, r11 = return address */
    SAVE    rax, EXCHANGE_RAX
    SAVE    r11, EXCHANGE_RIP
    SAVE_REST
    STEP    IN_R11, IN_RAX, 0
    leaq    EXCHANGE_RFLAGS + 8(%rcx), %rsp
    STEP    IN_R11, IN_RAX + RSP_IN_PAGE, 0
    pushfq
    STEP    IN_R11, IN_RAX + RSP_IN_PAGE, 0
    movq    EXCHANGE_RSP(%rcx), %rsp
    STEP    IN_R11, IN_RAX, 0
    movq    %rcx, %r11                      /* from here: r11 = exchange page */
    STEP    IN_PAGE, IN_RAX, 0
    movl    $1, %ecx
    STEP    IN_PAGE, IN_RAX, 0
    movl    %ecx, EXCHANGE_STATE(%r11)      /* posted: the CPU stores in this order */
    STEP    POSTED, POSTED, 0
    movl    $EXCHANGE_LOOKS, %eax
wait:
    STEP    POSTED, POSTED, 0
    movl    EXCHANGE_STATE(%r11), %ecx
    STEP    POSTED, POSTED, 0
    jrcxz   answered
    STEP    POSTED, POSTED, 0
    pause
    STEP    POSTED, POSTED, 0
    leaq    -1(%rax), %rax
    STEP    POSTED, POSTED, 0
    movq    %rax, %rcx
    STEP    POSTED, POSTED, 0
    jrcxz   give_up
    STEP    POSTED, POSTED, 0
    jmp     wait
answered:
    STEP    POSTED, POSTED, 0
    movq    EXCHANGE_RAX(%r11), %rax
    STEP    POSTED, POSTED, 0
    movq    EXCHANGE_RIP(%r11), %rcx
    STEP    POSTED, POSTED, 0
    movq    EXCHANGE_RFLAGS(%r11), %r11
    STEP    POSTED, POSTED, 0
    jmp     *%rcx
give_up:
    STEP    POSTED, POSTED, 0
    movq    EXCHANGE_RAX(%r11), %rax
    STEP    POSTED, POSTED, 0
    movq    EXCHANGE_RIP(%r11), %rcx
    STEP    POSTED, POSTED, 0
    jmp     gave_up
