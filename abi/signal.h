/*
 * The x86-64 signal frame: struct rt_sigframe of Linux arch/x86/include/asm/sigframe.h and what it
 * is made of (asm/sigcontext.h, asm/ucontext.h). Handlers see it as ucontext_t.
 */
#ifndef ABI_SIGNAL_H
#define ABI_SIGNAL_H

#include "base/compiler.h"

/* uc_flags */
#define LINUX_UC_FP_XSTATE         1 /* fpstate has the software-reserved words below */
#define LINUX_UC_SIGCONTEXT_SS     2
#define LINUX_UC_STRICT_RESTORE_SS 4

#define LINUX_FP_XSTATE_MAGIC1     0x46505853u
#define LINUX_FP_XSTATE_MAGIC2     0x46505845u

#define LINUX_SA_RESTORER          0x04000000UL
#define LINUX_SS_AUTODISARM        (1U << 31)
#define LINUX_MINSIGSTKSZ          2048

#define LINUX_USER_CS              0x33
#define LINUX_USER_DS              0x2b

struct linux_sigcontext {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2;
    uint64_t fpstate; /* user address, 0 when there is none */
    uint64_t reserved[8];
};
static_assert(sizeof(struct linux_sigcontext) == 256, "sigcontext");

struct linux_stack {
    uint64_t sp;
    int32_t flags;
    uint32_t pad;
    uint64_t size;
};
static_assert(sizeof(struct linux_stack) == 24, "stack_t");

struct linux_ucontext {
    uint64_t flags;
    uint64_t link;
    struct linux_stack stack;
    struct linux_sigcontext mcontext;
    uint64_t sigmask;
};
static_assert(sizeof(struct linux_ucontext) == 304, "ucontext");

struct linux_rt_sigframe {
    uint64_t pretcode; /* the restorer: where the handler returns to */
    struct linux_ucontext uc;
    uint8_t info[128]; /* siginfo_t */
};
static_assert(sizeof(struct linux_rt_sigframe) == 440, "rt_sigframe");

/* In the last 48 bytes of the FXSAVE area, which the processor leaves to software. */
#define LINUX_FXSAVE_SW_OFFSET 464
#define LINUX_FXSAVE_SIZE      512
#define LINUX_XSAVE_MIN        576 /* with the XSAVE header */

struct linux_fpx_sw_bytes {
    uint32_t magic1;
    uint32_t extended_size; /* of everything, magic2 included */
    uint64_t xfeatures;
    uint32_t xstate_size;
    uint32_t padding[7];
};
static_assert(sizeof(struct linux_fpx_sw_bytes) == 48, "sw_reserved");

#endif
