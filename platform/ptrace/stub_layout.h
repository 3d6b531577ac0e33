/*
 * The stub's three pages, at the very top of the user range: where everything lies. Included by
 * stub.S and handover.S too.
 *
 *   STUB_ORDERS          orders (orders.c), once there were some; the guest can read it
 *   STUB_HANDOVER        slots (handover.h), of the space's own and writable once needed
 *   STUB_BASE + 0x000    ELF header and program headers (the page is also the executable)
 *             + 0x100    stub_call:   syscall; int3
 *             + 0x110    stub_clone:  syscall; the parent: int3, the new thread: pause for ever
 *             + 0x120    stub_batch:  r14 calls by the orders at r15, to the first that fails; int3
 *             + 0x160    stub_enter:  where a program's rewritten call sites go (handover.S)
 *             + 0x800    seccomp filter: struct sock_fprog, then its instructions
 */
#ifndef PLATFORM_PTRACE_STUB_LAYOUT_H
#define PLATFORM_PTRACE_STUB_LAYOUT_H

#define STUB_BASE       0x7fffffffe000 /* the last page below TASK_SIZE_MAX */
#define STUB_SIZE       0x1000
#define STUB_HANDOVER   0x7fffffffd000
#define STUB_ORDERS     0x7fffffffc000 /* so everything below is the guest's */
#define STUB_LOADED     0x10000000     /* where execve puts the page first */

#define STUB_CODE       0x100
#define STUB_CALL       0x100
#define STUB_CALLED     0x102 /* behind its syscall instruction: what the host's filter sees */
#define STUB_DONE       0x103 /* behind its int3 */
#define STUB_CLONE      0x110
#define STUB_CLONED     0x112
#define STUB_CLONE_DONE 0x117 /* behind the parent's int3 */
#define STUB_PAUSED     0x11e
#define STUB_BATCH      0x120
#define STUB_BATCHED    0x13f
#define STUB_BATCH_DONE 0x14e
#define STUB_ENTER      0x160
#define STUB_FILTER     0x800

/* An order: six words, of a call's number and arguments; the descriptor is always the memfile's. */
#define ORDER_NUMBER 0
#define ORDER_ADDR   8
#define ORDER_SIZE   16
#define ORDER_PROT   24
#define ORDER_FLAGS  32
#define ORDER_OFFSET 40
#define ORDER_STRIDE 48
#define ORDERS_MAX   64

/* The handover page: slots of so many bytes, and their fields (handover.h). */
#define HANDOVER_SLOTS  16
#define HANDOVER_STRIDE 192
#define HANDOVER_KEY    0
#define HANDOVER_STATE  8
#define HANDOVER_FLAGS  12
#define HANDOVER_RAX    16
#define HANDOVER_RIP    24
#define HANDOVER_RFLAGS 32
#define HANDOVER_RSP    40
#define HANDOVER_RBX    48
#define HANDOVER_RDX    56
#define HANDOVER_RSI    64
#define HANDOVER_RDI    72
#define HANDOVER_RBP    80
#define HANDOVER_R8     88
#define HANDOVER_R9     96
#define HANDOVER_R10    104
#define HANDOVER_R12    112
#define HANDOVER_R13    120
#define HANDOVER_R14    128
#define HANDOVER_R15    136

/* Values of its state. */
#define HANDOVER_ANSWERED  0 /* or nothing was asked yet */
#define HANDOVER_POSTED    1
#define HANDOVER_TAKEN     2
#define HANDOVER_RECALLED  3 /* taken, and not to be answered there */
#define HANDOVER_WITHDRAWN 4 /* nobody took it: an ordinary call will follow */
#define HANDOVER_ASLEEP    5 /* taken, and who did sleeps */

/*
 * So often a program looks for its answer before it stops: some 80 us while somebody is at it. A
 * look while nobody is counts four times.
 */
#define HANDOVER_LOOKS 4000
#define HANDOVER_IDLE  4

#define STUB_CS        0x33 /* __USER_CS and __USER_DS of 64-bit Linux */
#define STUB_SS        0x2b

#endif
