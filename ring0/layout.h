/*
 * What the VMM and the code inside the guest agree on: where ring 0 lives, in bytes.
 *
 * Top of the guest's virtual space, the same in every address space (one PML4 entry):
 *
 *   RING0_BASE  + 0x0000   IDT                         shared by all vCPUs
 *               + 0x1000   page of the probe           only while the platform is made
 *   RING0_AREAS + n * 16K  area of vCPU n:
 *               + 0x0000   code     one physical page for all vCPUs, seen at another address by
 * each, so that the code finds its vCPU's data relative to rip
 *               + 0x1000   data     struct fastpath_page of the context that runs here
 *               + 0x2000   tables   TSS, I/O bitmap, GDT
 *               + 0x3000   stack    frames of exceptions, the frame for iretq
 *
 * On a host where SYSCALL stays in ring 3 the pages "code" and "data" can be read (never written)
 * by the program; nothing in them is secret. Everything else is for ring 0 alone.
 *
 * This file is read by the assembler as well. The offsets into C structures are checked against
 * the structures by static_asserts (ring0/tables.c, platform/kvm/vcpu.c).
 */
#ifndef RING0_LAYOUT_H
#define RING0_LAYOUT_H

#define RING0_BASE        0xffffff0000000000
#define RING0_PML4_INDEX  510
#define RING0_IDT         RING0_BASE
#define RING0_PROBE       (RING0_BASE + 0x1000)
#define RING0_AREAS       (RING0_BASE + 0x100000)

#define RING0_AREA_SIZE   0x4000
#define RING0_AREA_CODE   0x0000
#define RING0_AREA_DATA   0x1000
#define RING0_AREA_TABLES 0x2000
#define RING0_AREA_STACK  0x3000

/* In the page "tables". The bitmap grants ring 3 the port of system calls and no other. */
#define TABLES_TSS       0x000
#define TABLES_IO_BITMAP 0x068
#define TABLES_GDT       0x100

/* In the page "stack": the iretq frame at the bottom, then three stacks of the IST, then RSP0. */
#define STACK_IRET_FRAME 0x000
#define STACK_IST1_TOP   0x400
#define STACK_IST2_TOP   0x600
#define STACK_IST3_TOP   0x800
#define STACK_RSP0_TOP   0xff0

/* Selectors, as Linux has them: programs see them in %cs and %ss, and in signal frames. */
#define SELECTOR_KERNEL_CS 0x10
#define SELECTOR_KERNEL_DS 0x18
#define SELECTOR_USER_DS   0x2b
#define SELECTOR_USER_CS   0x33
#define SELECTOR_TSS       0x40
#define GDT_ENTRY_COUNT    10

/* MSR_STAR: SYSCALL loads CS 0x10 and SS 0x18, SYSRET loads CS 0x23+16 and SS 0x23+8. */
#define STAR_VALUE 0x0023001000000000
/* Cleared by SYSCALL on its way to ring 0: all that a program can set, so NT, TF and AC too. */
#define SYSCALL_MASK_RING0 0x257fd5
#define FLAG_TF            0x100

/* I/O ports: the one exiting instruction is `out`. */
#define PORT_SYSCALL   0x10
#define PORT_PROBE     0x11
#define PORT_EXCEPTION 0x18

/* In the code page. */
#define CODE_OUT        0x3f0 /* the way out of a system call */
#define CODE_SYSRET     0x400 /* the VMM sets rip to one of these to enter the program */
#define CODE_IRET       0x408
#define CODE_PAGE_FAULT 0x410 /* gate of #PF where ring 0 must fetch CR2 itself */
#define CODE_STUBS      0x480 /* gate of exception n: CODE_STUBS + n * CODE_STUB_SIZE */
#define CODE_STUB_SIZE  4
#define CODE_STUB_COUNT 32
#define CODE_GAVE_UP    0x520 /* the way out of a call that was handed over */

/* Places in the records of STEP, see ring0/fastpath.S; enum ring0_step_place. */
#define IN_RCX      0
#define IN_RAX      1
#define IN_NO_REG   2
#define IN_R11      3
#define IN_PAGE     4    /* in the exchange page, the call not yet posted */
#define POSTED      5    /* in the exchange page, posted: perhaps answered by now */
#define RSP_IN_PAGE 0x80 /* in addition to the number's place */

/* struct fastpath_page */
#define FASTPATH_ENABLED 0
#define FASTPATH_PID     4
#define FASTPATH_TID     8
#define FASTPATH_PPID    12
#define FASTPATH_UID     16
#define FASTPATH_EUID    20
#define FASTPATH_GID     24
#define FASTPATH_EGID    28
#define FASTPATH_SERVED  32

/* In the page "data", behind struct fastpath_page: where the exchange page is, or 0: none is in
 * use. */
#define DATA_EXCHANGE 128

/* Ring 0: struct exchange_page itself, which no program reaches. */
#define DATA_EXCHANGE_PAGE 1024

/*
 * Ring 3: exchange pages, one for each thread of the VMM that may run a vCPU for another (index n
 * at EXCHANGE_BASE + n * 4K). Unlike the areas these are an address space's own, for ring 3 writes
 * them.
 */
#define EXCHANGE_BASE       0xfffffe8000000000
#define EXCHANGE_PML4_INDEX 509
/* struct exchange_page; what an answer needs is one cache line */
#define EXCHANGE_STATE  0
#define EXCHANGE_LEAVE  4
#define EXCHANGE_RAX    8
#define EXCHANGE_RIP    16
#define EXCHANGE_RFLAGS 24
#define EXCHANGE_RSP    64
#define EXCHANGE_RBX    72
#define EXCHANGE_RDX    80
#define EXCHANGE_RSI    88
#define EXCHANGE_RDI    96
#define EXCHANGE_RBP    104
#define EXCHANGE_R8     112
#define EXCHANGE_R9     120
#define EXCHANGE_R10    128
#define EXCHANGE_R12    136
#define EXCHANGE_R13    144
#define EXCHANGE_R14    152
#define EXCHANGE_R15    160
/* How often it looks for the answer before it leaves: some 30 us. */
#define EXCHANGE_LOOKS 700

#endif
