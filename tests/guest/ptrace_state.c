/*
 * ptrace(2): what a tracer reads and changes in a stopped tracee. Memory past its protection,
 * registers of all kinds, single steps, breakpoints in text, queued signals, the call it is in.
 */
#include <linux/elf.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "tracee.h"

#define REG(name) offsetof(struct user, regs.name)

static const long fixed[512] __attribute__((aligned(4096))) = {7};
static long target = 5;

__attribute__((noinline)) static int twice(int x)
{
    __asm__ volatile("" : "+r"(x));
    return 2 * x;
}

static int look(void)
{
    raise(SIGUSR1);
    return target == 6 && *(const volatile long *)fixed == 8 ? twice(4) : 1;
}

static void test_memory(void)
{
    void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = start_tracee(look, 0);

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, &target, 0), 5);
    CHECK_EQ(ptrace(PTRACE_POKEDATA, pid, &target, 6), 0);
    CHECK_EQ(ptrace(PTRACE_PEEKTEXT, pid, fixed, 0), 7);
    CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, fixed, 8), 0);
    CHECK_EQ(ptrace(PTRACE_PEEKTEXT, pid, fixed, 0), 8);
    CHECK(target == 5 && *(const volatile long *)fixed == 7);
    CHECK_ERRNO(ptrace(PTRACE_PEEKDATA, pid, 8, 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_POKEDATA, pid, 8, 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_PEEKDATA, pid, -4096L, 0), EIO);
    errno = 0;
    CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, none, 0), 0);
    CHECK_EQ(errno, 0);
    CHECK_EQ(ptrace(PTRACE_POKEDATA, pid, none, 3), 0);
    CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, none, 0), 3);
    CHECK_ERRNO(ptrace(PTRACE_POKEDATA, pid, shared, 3), EIO);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 8 << 8);
}

/* A breakpoint as debuggers set it: in the text, lifted, stepped over. */
static void test_breakpoint(void)
{
    pid_t pid = start_tracee(look, 0);
    struct user_regs_struct regs;
    siginfo_t info;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    ptrace(PTRACE_POKEDATA, pid, &target, 6);
    ptrace(PTRACE_POKEDATA, pid, fixed, 8);
    long code = ptrace(PTRACE_PEEKTEXT, pid, twice, 0);
    CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, twice, (code & ~0xffL) | 0xcc), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
    CHECK_EQ(info.si_code, SI_KERNEL);
    regs = regs_of(pid);
    CHECK_EQ(regs.rip, (unsigned long)twice + 1);
    CHECK_EQ(regs.orig_rax, -1);
    CHECK_EQ(regs.rdi, 4);
    CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, twice, code), 0);
    regs.rip = (unsigned long)twice;
    regs.rdi = 50;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
    CHECK_EQ(go(pid, PTRACE_SINGLESTEP, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
    CHECK_EQ(info.si_code, TRAP_TRACE);
    regs = regs_of(pid);
    CHECK(regs.rip > (unsigned long)twice && regs.rip < (unsigned long)twice + 8);
    CHECK_EQ(regs.eflags & 0x100, 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 100 << 8);
}

extern const char steps_start[], steps_call[], steps_end[];

static int steps(void)
{
    long result;

    __asm__ volatile("steps_start: nop\n"
                     "movl $39, %%eax\n"
                     "steps_call: syscall\n"
                     "nop\n"
                     "steps_end: nop"
                     : "=a"(result)
                     :
                     : "rcx", "r11", "memory");
    return 3;
}

/* Each instruction is one step, also the one that calls. */
static void test_steps(void)
{
    pid_t pid = start_tracee(steps, 0);
    unsigned long rip = 0;
    int count = 0;

    while (rip != (unsigned long)steps_start && ++count < 100000) {
        if (go(pid, PTRACE_SINGLESTEP, 0) != STOPPED(SIGTRAP, 0))
            break;
        rip = regs_of(pid).rip;
    }
    CHECK_EQ(rip, (unsigned long)steps_start);
    for (count = 0; rip != (unsigned long)steps_end && count < 10; count++) {
        CHECK_EQ(go(pid, PTRACE_SINGLESTEP, 0), STOPPED(SIGTRAP, 0));
        rip = regs_of(pid).rip;
        if (count == 2) {
            CHECK_EQ(rip, (unsigned long)steps_call + 2);
            CHECK_EQ((pid_t)regs_of(pid).rax, pid);
        }
    }
    CHECK_EQ(count, 4);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 3 << 8);
}

static int vectors(void)
{
    double got;

    __asm__ volatile("movq %1, %%xmm7\n"
                     "movl $39, %%eax\n"
                     "syscall\n"
                     "movq %%xmm7, %0"
                     : "=r"(got)
                     : "r"(1.5)
                     : "rax", "rcx", "r11", "xmm7", "memory");
    return got == 2.5 ? 4 : 5;
}

/* The extended state three ways, which agree. */
static void test_vectors(void)
{
    pid_t pid = start_tracee(vectors, PTRACE_O_TRACESYSGOOD);
    static char area[16384], again[16384];
    struct user_fpregs_struct fp, fp2;
    struct iovec iov = {&fp2, sizeof(fp2)};
    double value = 0, changed = 2.5;

    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    CHECK_EQ(ptrace(PTRACE_GETFPREGS, pid, 0, &fp), 0);
    memcpy(&value, &fp.xmm_space[7 * 4], sizeof(value));
    CHECK(value == 1.5);
    CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &iov), 0);
    CHECK(iov.iov_len == sizeof(fp2) && memcmp(&fp, &fp2, sizeof(fp)) == 0);
    iov = (struct iovec){area, sizeof(area)};
    CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov), 0);
    size_t size = iov.iov_len;
    CHECK(size >= 576 && size % 8 == 0 && memcmp(area, &fp, 464) == 0);
    CHECK_EQ(area[464] & 3, 3); /* XCR0 */
    memcpy(&area[160 + 7 * 16], &changed, sizeof(changed));
    CHECK_EQ(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov), 0);
    iov = (struct iovec){again, sizeof(again)};
    CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov), 0);
    CHECK(iov.iov_len == size && memcmp(area, again, 512) == 0);
    iov.iov_len = 12;
    CHECK_ERRNO(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov), EINVAL);
    iov.iov_len = 64;
    CHECK_ERRNO(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov), EFAULT);
    CHECK_ERRNO(ptrace(PTRACE_GETREGSET, pid, 0x12345, &iov), EINVAL);
    CHECK_ERRNO(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, 8), EFAULT);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 4 << 8);
}

static int call_write(void)
{
    return RAW(SYS_write, -1, 0x1234, 9, 4, 5, 6) == -EBADF ? 0 : 1;
}

static void test_registers(void)
{
    pid_t pid = start_tracee(call_write, PTRACE_O_TRACESYSGOOD);
    struct user_regs_struct regs, set;
    struct iovec iov = {&set, sizeof(set)};
    char info[256];

    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    regs = regs_of(pid);
    CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov), 0);
    CHECK(iov.iov_len == sizeof(regs) && memcmp(&regs, &set, sizeof(regs)) == 0);
    CHECK(regs.cs == 0x33 && regs.ss == 0x2b && regs.fs_base != 0);
    CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, REG(rsi), 0), 0x1234);
    CHECK_ERRNO(ptrace(PTRACE_PEEKUSER, pid, REG(rsi) + 1, 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_PEEKUSER, pid, 928, 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_tsize), 1), EIO);
    CHECK_ERRNO(ptrace(PTRACE_POKEUSER, pid, REG(cs), 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_POKEUSER, pid, REG(fs_base), 1UL << 63), EIO);
    /* The call: op 1, its number and arguments; later op 2 and the result. */
    CHECK_EQ(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), info), 80);
    CHECK_EQ(info[0], 1);
    CHECK_EQ(*(unsigned long *)(info + 24), SYS_write);
    CHECK_EQ(*(unsigned long *)(info + 40), 0x1234);
    CHECK_EQ(*(unsigned long *)(info + 72), 6);
    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    CHECK_EQ(ptrace(PTRACE_GET_SYSCALL_INFO, pid, 4, info), 33);
    CHECK_EQ(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), info), 33);
    CHECK_EQ(info[0], 2);
    CHECK_EQ(*(long *)(info + 24), -EBADF);
    CHECK_EQ(info[32], 1);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 0);
}

static int blocked_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 70});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 71});
    raise(SIGUSR2);
    return 2;
}

/* Signals that wait, and the mask. */
static void test_queue(void)
{
    pid_t pid = start_tracee(blocked_signals, 0);
    struct __ptrace_peeksiginfo_args args = {0, PTRACE_PEEKSIGINFO_SHARED, 9};
    siginfo_t info[9];
    unsigned long mask = 0;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR2, 0));
    CHECK_EQ(ptrace(PTRACE_PEEKSIGINFO, pid, &args, info), 2);
    CHECK(info[0].si_value.sival_int == 70 && info[1].si_value.sival_int == 71);
    args.flags = 0;
    CHECK_EQ(ptrace(PTRACE_PEEKSIGINFO, pid, &args, info), 1);
    CHECK_EQ(info[0].si_signo, SIGUSR1);
    args.flags = 2;
    CHECK_ERRNO(ptrace(PTRACE_PEEKSIGINFO, pid, &args, info), EINVAL);
    CHECK_EQ(ptrace(PTRACE_GETSIGMASK, pid, 8, &mask), 0);
    CHECK_EQ(mask, 1UL << (SIGUSR1 - 1) | 1UL << (SIGRTMIN - 1));
    CHECK_ERRNO(ptrace(PTRACE_GETSIGMASK, pid, 4, &mask), EINVAL);
    mask = 1UL << (SIGRTMIN - 1);
    CHECK_EQ(ptrace(PTRACE_SETSIGMASK, pid, 8, &mask), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    /* What the tracer makes of the siginfo is what comes. */
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info[0]), 0);
    CHECK_EQ(info[0].si_pid, pid);
    info[0].si_value.sival_int = 5;
    CHECK_EQ(ptrace(PTRACE_SETSIGINFO, pid, 0, &info[0]), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 2 << 8);
}

/* A call that was interrupted goes on after registers were borrowed and given back. */
static int nap(void)
{
    struct timespec ts = {0, 300000000};

    return nanosleep(&ts, NULL) == 0 ? 14 : 15;
}

static void test_borrowed(void)
{
    pid_t pid = fork();
    struct user_regs_struct regs, other;
    int status;

    if (pid == 0)
        _exit(nap());
    usleep(100000);
    CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
    CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    other = regs = regs_of(pid);
    CHECK_EQ(regs.orig_rax, SYS_clock_nanosleep);
    other.orig_rax = -1UL;
    other.rip = (unsigned long)twice;
    other.rsp -= 512;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &other), 0);
    CHECK_EQ(go(pid, PTRACE_SINGLESTEP, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 14 << 8);
}

static volatile int watched, unwatched __attribute__((aligned(64)));

static int write_watched(void)
{
    raise(SIGUSR1);
    watched = 1;
    watched = 2;
    unwatched = 3;
    return twice(watched);
}

static unsigned long debug_of(pid_t pid, int n)
{
    return (unsigned long)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[n]), 0);
}

static long set_debug(pid_t pid, int n, unsigned long value)
{
    return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[n]), value);
}

/* Debug registers: four bytes that are written, an instruction that is reached. */
static void test_watchpoints(void)
{
    pid_t pid = start_tracee(write_watched, 0);
    siginfo_t info;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_ERRNO(set_debug(pid, 4, 1), EIO);
    CHECK_ERRNO(set_debug(pid, 0, 1UL << 63), EINVAL);
    CHECK_EQ(set_debug(pid, 0, (unsigned long)&watched), 0);
    CHECK_EQ(set_debug(pid, 1, (unsigned long)twice), 0);
    CHECK_EQ(set_debug(pid, 7, 0xdUL << 16 | 4 | 1), 0);
    CHECK_EQ(debug_of(pid, 0), (unsigned long)&watched);
    for (int value = 1; value <= 2; value++) {
        CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, 0));
        CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
        CHECK_EQ(info.si_code, TRAP_HWBKPT);
        CHECK_EQ(debug_of(pid, 6) & 0xf, 1);
        CHECK_EQ((int)ptrace(PTRACE_PEEKDATA, pid, &watched, 0), value);
    }
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(regs_of(pid).rip, (unsigned long)twice);
    CHECK_EQ(debug_of(pid, 6) & 0xf, 2);
    CHECK_EQ(set_debug(pid, 7, 0), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 4 << 8);
}

/* Reads count, too: two writes, and a read for the call. */
static void test_access_watch(void)
{
    pid_t pid = start_tracee(write_watched, 0);
    int status, hits = 0;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_EQ(set_debug(pid, 0, (unsigned long)&watched), 0);
    CHECK_EQ(set_debug(pid, 7, 0xfUL << 16 | 1), 0);
    while ((status = go(pid, PTRACE_CONT, 0)) == STOPPED(SIGTRAP, 0))
        hits++;
    CHECK_EQ(status, 4 << 8);
    CHECK_EQ(hits, 3);
}

int main(void)
{
    test_memory();
    test_breakpoint();
    test_steps();
    test_vectors();
    test_registers();
    test_queue();
    test_borrowed();
    test_watchpoints();
    test_access_watch();
    return check_done();
}
