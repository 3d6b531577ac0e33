/*
 * Registers and signals: what a handler finds in its ucontext, that rt_sigreturn() brings back
 * every general register, the flags and the FP state, and that a handler may change any of them
 * (Linux arch/x86/include/uapi/asm/sigcontext.h).
 */
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "check.h"

#define REG_TOTAL 15

/* In the order of `values`: which index of gregs each has. */
static const int greg_index[REG_TOTAL] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI,
                                          REG_RDI, REG_RBP, REG_R8,  REG_R9,  REG_R10,
                                          REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/* Written by assembly, thus not static. */
uint64_t values[REG_TOTAL], results[REG_TOTAL];
uint64_t flags_after;

static volatile int calls;
static volatile bool change;

/*
 * Loads every general register from `values`, executes an instruction that traps (ud2; the handler
 * steps over it), and stores all of them in `results`. rsp alone is not loaded.
 */
void load_trap_store(void);
extern char load_trap_store_ud2[];
__asm__("    .text\n"
        "    .globl load_trap_store, load_trap_store_ud2\n"
        "load_trap_store:\n"
        "    push %rbx\n"
        "    push %rbp\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    pushq $0x8d7\n" /* CF PF AF ZF SF OF: all arithmetic flags */
        "    popfq\n"
        "    mov values+0(%rip), %rax\n"
        "    mov values+8(%rip), %rbx\n"
        "    mov values+16(%rip), %rcx\n"
        "    mov values+24(%rip), %rdx\n"
        "    mov values+32(%rip), %rsi\n"
        "    mov values+40(%rip), %rdi\n"
        "    mov values+48(%rip), %rbp\n"
        "    mov values+56(%rip), %r8\n"
        "    mov values+64(%rip), %r9\n"
        "    mov values+72(%rip), %r10\n"
        "    mov values+80(%rip), %r11\n"
        "    mov values+88(%rip), %r12\n"
        "    mov values+96(%rip), %r13\n"
        "    mov values+104(%rip), %r14\n"
        "    mov values+112(%rip), %r15\n"
        "load_trap_store_ud2:\n"
        "    ud2\n"
        "    mov %rax, results+0(%rip)\n"
        "    mov %rbx, results+8(%rip)\n"
        "    mov %rcx, results+16(%rip)\n"
        "    mov %rdx, results+24(%rip)\n"
        "    mov %rsi, results+32(%rip)\n"
        "    mov %rdi, results+40(%rip)\n"
        "    mov %rbp, results+48(%rip)\n"
        "    mov %r8, results+56(%rip)\n"
        "    mov %r9, results+64(%rip)\n"
        "    mov %r10, results+72(%rip)\n"
        "    mov %r11, results+80(%rip)\n"
        "    mov %r12, results+88(%rip)\n"
        "    mov %r13, results+96(%rip)\n"
        "    mov %r14, results+104(%rip)\n"
        "    mov %r15, results+112(%rip)\n"
        "    pushfq\n"
        "    popq flags_after(%rip)\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbp\n"
        "    pop %rbx\n"
        "    cld\n"
        "    ret\n");

static void on_trap(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *regs = uc->uc_mcontext.gregs;

    calls++;
    CHECK_EQ(signo, SIGILL);
    CHECK_EQ(info->si_code, ILL_ILLOPN);
    CHECK(info->si_addr == load_trap_store_ud2);
    CHECK_EQ(regs[REG_RIP], (uintptr_t)load_trap_store_ud2);
    for (int i = 0; i < REG_TOTAL; i++) {
        CHECK_EQ(regs[greg_index[i]], values[i]);
        if (change)
            regs[greg_index[i]] = (greg_t)~values[i];
    }
    CHECK_EQ(regs[REG_EFL] & 0x8d5, 0x8d5);
    CHECK_EQ(regs[REG_CSGSFS] & 0xffff, 0x33);
    CHECK_EQ((uint64_t)regs[REG_CSGSFS] >> 48, 0x2b); /* ss */
    CHECK_EQ(regs[REG_TRAPNO], 6);
    CHECK_EQ(regs[REG_ERR], 0);
    if (change)
        regs[REG_EFL] &= ~0x8d5L;
    regs[REG_RIP] += 2;
}

static void test_general(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

    CHECK_EQ(sigaction(SIGILL, &action, NULL), 0);
    for (int i = 0; i < REG_TOTAL; i++)
        values[i] = 0x1111111111111111UL * (uint64_t)(i + 1) ^ 0x8000000000000000UL;
    for (int round = 0; round < 2; round++) {
        change = round == 1;
        memset(results, 0, sizeof(results));
        load_trap_store();
        CHECK_EQ(calls, round + 1);
        for (int i = 0; i < REG_TOTAL; i++)
            CHECK_EQ(results[i], change ? ~values[i] : values[i]);
        CHECK_EQ(flags_after & 0x8d5, change ? 0 : 0x8d5);
    }
}

static const double pattern[2] = {1.0 / 3.0, -2.0e200};

static void on_fp(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const __typeof__(*uc->uc_mcontext.fpregs) *fp = uc->uc_mcontext.fpregs;
    double low;

    (void)signo;
    (void)info;
    calls++;
    if (!CHECK(fp != NULL))
        return;
    CHECK_EQ((uintptr_t)fp % 16, 0);
    memcpy(&low, &fp->_xmm[7], sizeof(low));
    CHECK(low == pattern[0]);
    CHECK_EQ(fp->mxcsr & 0x6000, 0x2000); /* rounding down, as main() set it */
    CHECK_EQ(fp->cwd & 0xc00, 0x400);
    /* The handler starts with Linux's initial FP state. */
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    CHECK_EQ(mxcsr, 0x1f80);
    CHECK_EQ(control, 0x37f);
    __asm__ volatile("fninit\n pcmpeqd %%xmm7, %%xmm7\n pcmpeqd %%xmm15, %%xmm15" ::
                         : "xmm7", "xmm15");
    if (change) {
        const double other = 42.5;
        memcpy(&uc->uc_mcontext.fpregs->_xmm[7], &other, sizeof(other));
    }
}

static void test_fp(void)
{
    struct sigaction action = {.sa_sigaction = on_fp, .sa_flags = SA_SIGINFO};
    const long pid = getpid();
    long double x87 = 0;
    double low = 0, high = 0;
    uint32_t mxcsr = 0x3f80; /* rounding down */
    uint16_t control = 0x77f;

    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(control));
    for (int round = 0; round < 2; round++) {
        long result = SYS_kill;

        calls = 0;
        change = round == 1;
        __asm__ volatile("movupd %[pattern], %%xmm7\n"
                         "movapd %%xmm7, %%xmm15\n"
                         "fldpi\n"
                         "syscall\n"
                         "fstpt %[x87]\n"
                         "movlpd %%xmm7, %[low]\n"
                         "movhpd %%xmm15, %[high]\n"
                         : "+a"(result), [x87] "=m"(x87), [low] "=m"(low), [high] "=m"(high)
                         : [pattern] "m"(pattern), "D"(pid), "S"(SIGUSR1)
                         : "rcx", "r11", "memory", "xmm7", "xmm15", "st", "st(1)", "st(2)", "st(3)",
                           "st(4)", "st(5)", "st(6)", "st(7)");
        CHECK_EQ(result, 0);
        CHECK_EQ(calls, 1);
        CHECK(low == (change ? 42.5 : pattern[0]));
        CHECK(high == pattern[1]);
        CHECK(x87 > 3.14159L && x87 < 3.1416L);
    }
    mxcsr = control = 0;
    __asm__ volatile("stmxcsr %0; fnstcw %1; fninit" : "=m"(mxcsr), "=m"(control));
    CHECK_EQ(mxcsr & ~0x3fu, 0x3f80);
    CHECK_EQ(control, 0x77f);
}

/* A system call changes rax, rcx and r11 and nothing else. */
static void test_syscall(void)
{
    register uint64_t r8 __asm__("r8") = 8, r9 __asm__("r9") = 9, r10 __asm__("r10") = 10;
    register uint64_t r12 __asm__("r12") = 12, r15 __asm__("r15") = 15;
    uint64_t rax = SYS_getppid, rbx = 3, rdx = 4, rsi = 5, rdi = 6, rcx = 7, r11;

    __asm__ volatile("stc\n syscall\n lea 0(%%rip), %%r9\n mov %%r11, %[r11]"
                     : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx), "+S"(rsi), "+D"(rdi), "+r"(r8),
                       "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r15), [r11] "=&r"(r11)
                     :
                     : "r11", "memory");
    CHECK(rbx == 3 && rdx == 4 && rsi == 5 && rdi == 6);
    CHECK(r8 == 8 && r10 == 10 && r12 == 12 && r15 == 15);
    CHECK_EQ(rcx, r9 - 7); /* the address behind the instruction: lea takes seven bytes */
    CHECK_EQ(r11 & 0x201, 0x201);
}

/* A frame whose contents are nonsense must kill or be ignored, and never more than that. */
static void on_bad_frame(int signo, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)signo;
    (void)info;
    calls++;
    /* IOPL, VM, VIF, VIP and the like are not a program's to set; IF not to clear. */
    regs[REG_EFL] = (regs[REG_EFL] | 0x1a3000) & ~0x200L;
}

static void test_flags_masked(void)
{
    struct sigaction action = {.sa_sigaction = on_bad_frame, .sa_flags = SA_SIGINFO};
    uint64_t flags;

    calls = 0;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    raise(SIGUSR1);
    CHECK_EQ(calls, 1);
    __asm__ volatile("pushfq\n popq %0" : "=r"(flags));
    CHECK_EQ(flags & 0x1a3200, 0x200);
}

int main(void)
{
    test_general();
    test_fp();
    test_syscall();
    test_flags_masked();
    return check_done();
}
