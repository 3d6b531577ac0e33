/*
 * The gates of the IDT: one exiting instruction each, so that the VMM finds all registers as the
 * program left them. It reads the CPU's frame from the vCPU's stack page and knows the vector from
 * rip (CODE_STUBS). Ring 0 on every host; included by both code pages.
 *
 *   stack at the `out`, from rsp up:   [rax, only at CODE_PAGE_FAULT]
 *                                      [error code, for those vectors that have one]
 *                                      rip, cs, rflags, rsp, ss
 */
    .org    CODE_PAGE_FAULT, 0xcc
    pushq   %rax
    movq    %cr2, %rax                      /* for the VMM, which puts rax back */
    outb    %al, $PORT_EXCEPTION

    .org    CODE_STUBS, 0xcc
    .rept   CODE_STUB_COUNT
    outb    %al, $PORT_EXCEPTION
    ud2                                     /* never reached: the VMM moves rip */
    .endr
