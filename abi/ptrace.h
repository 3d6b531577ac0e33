/*
 * ptrace(2) as programs see it where the headers at hand may be older: structures and numbers up to
 * Linux 6.18.
 */
#ifndef ABI_PTRACE_H
#define ABI_PTRACE_H

#include <assert.h>
#include <linux/ptrace.h>
#include <stdint.h>

#define LINUX_PTRACE_SET_SYSCALL_INFO 0x4212
#define LINUX_PTRACE_GET_RSEQ         0x420f
#define LINUX_PTRACE_SET_DISPATCH     0x4210
#define LINUX_PTRACE_GET_DISPATCH     0x4211

#define LINUX_PTRACE_EVENTMSG_ENTRY   1
#define LINUX_PTRACE_EVENTMSG_EXIT    2

#define LINUX_SYSCALL_INFO_NONE       0
#define LINUX_SYSCALL_INFO_ENTRY      1
#define LINUX_SYSCALL_INFO_EXIT       2
#define LINUX_SYSCALL_INFO_SECCOMP    3

#define LINUX_PTRACE_O_MASK           (0xffU | PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP)

/* struct user_regs_struct: PTRACE_GETREGS, NT_PRSTATUS, and the head of struct user. */
struct linux_user_regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
    uint64_t rax, rcx, rdx, rsi, rdi, orig_rax;
    uint64_t rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};
static_assert(sizeof(struct linux_user_regs) == 27 * 8, "struct user_regs_struct");

/* struct user, of which only registers are alive. */
#define LINUX_USER_SIZE     928
#define LINUX_USER_DEBUGREG 848

struct linux_ptrace_syscall_info {
    uint8_t op;
    uint8_t reserved;
    uint16_t flags;
    uint32_t arch;
    uint64_t instruction_pointer;
    uint64_t stack_pointer;
    union {
        struct {
            uint64_t nr;
            uint64_t args[6];
        } entry;
        struct {
            int64_t rval;
            uint8_t is_error;
        } exit;
        struct {
            uint64_t nr;
            uint64_t args[6];
            uint32_t ret_data;
            uint32_t reserved2;
        } seccomp;
    };
};
static_assert(sizeof(struct linux_ptrace_syscall_info) == 88, "struct ptrace_syscall_info");

struct linux_ptrace_rseq {
    uint64_t pointer;
    uint32_t size, signature, flags, pad;
};
static_assert(sizeof(struct linux_ptrace_rseq) == 24, "struct ptrace_rseq_configuration");

struct linux_ptrace_dispatch {
    uint64_t mode, selector, start, size;
};
static_assert(sizeof(struct linux_ptrace_dispatch) == 32, "struct ptrace_sud_config");

struct linux_ptrace_peeksiginfo {
    uint64_t offset;
    uint32_t flags; /* PTRACE_PEEKSIGINFO_SHARED */
    int32_t count;
};
static_assert(sizeof(struct linux_ptrace_peeksiginfo) == 16, "struct ptrace_peeksiginfo_args");

#endif
