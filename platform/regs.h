/*
 * General registers, from one structure to another: many have some, all by the names that struct
 * cpu_regs gives them. The macros take pointers to two such and use them several times; each
 * register is read once, since the program may be writing there (a page by which it hands its calls
 * over).
 */
#ifndef PLATFORM_REGS_H
#define PLATFORM_REGS_H

#include <string.h>

#include "platform/platform.h"

/* What SYSCALL leaves as it is. */
#define REGS_COPY_KEPT(to, from)                                                                   \
    do {                                                                                           \
        (to)->rax = READ_ONCE((from)->rax);                                                        \
        (to)->rbx = READ_ONCE((from)->rbx);                                                        \
        (to)->rdx = READ_ONCE((from)->rdx);                                                        \
        (to)->rsi = READ_ONCE((from)->rsi);                                                        \
        (to)->rdi = READ_ONCE((from)->rdi);                                                        \
        (to)->rbp = READ_ONCE((from)->rbp);                                                        \
        (to)->rsp = READ_ONCE((from)->rsp);                                                        \
        (to)->r8 = READ_ONCE((from)->r8);                                                          \
        (to)->r9 = READ_ONCE((from)->r9);                                                          \
        (to)->r10 = READ_ONCE((from)->r10);                                                        \
        (to)->r12 = READ_ONCE((from)->r12);                                                        \
        (to)->r13 = READ_ONCE((from)->r13);                                                        \
        (to)->r14 = READ_ONCE((from)->r14);                                                        \
        (to)->r15 = READ_ONCE((from)->r15);                                                        \
        (to)->rip = READ_ONCE((from)->rip);                                                        \
    } while (0)

/* All but the flags, which go by several names and are seldom copied as they are. */
#define REGS_COPY(to, from)                                                                        \
    do {                                                                                           \
        REGS_COPY_KEPT(to, from);                                                                  \
        (to)->rcx = READ_ONCE((from)->rcx);                                                        \
        (to)->r11 = READ_ONCE((from)->r11);                                                        \
    } while (0)

/* A call's, from where the program left them instead of executing SYSCALL: as behind one. */
#define REGS_COPY_HANDED_OVER(to, from)                                                            \
    do {                                                                                           \
        REGS_COPY_KEPT(to, from);                                                                  \
        (to)->rflags = READ_ONCE((from)->rflags);                                                  \
        (to)->rcx = (to)->rip;                                                                     \
        (to)->r11 = (to)->rflags;                                                                  \
    } while (0)

static inline bool regs_only_rax_differs(const struct cpu_regs *a, const struct cpu_regs *b)
{
    struct cpu_regs like_a = *b;

    like_a.rax = a->rax;
    return memcmp(&like_a, a, sizeof(like_a)) == 0;
}

#endif
