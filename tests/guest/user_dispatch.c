/*
 * Syscall user dispatch: PR_SET_SYSCALL_USER_DISPATCH of prctl(2). Calls from outside of the
 * allowed range come back as SIGSYS while the selector says so.
 */
#include <linux/audit.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"

#define DISPATCH_OFF 0
#define DISPATCH_ON  1
#define ALLOW        0
#define BLOCK        1

#define GET_RSEQ     0x420f
#define SET_CONFIG   0x4210
#define GET_CONFIG   0x4211

static volatile char selector;
static volatile int hits;
static volatile long last_nr, last_rax, last_addr, last_code, last_arch;

/* The call whose end the handler can tell. */
__attribute__((noinline)) static long call(long nr, long a)
{
    long result;

    __asm__ volatile("syscall\n.globl user_dispatch_call_end\nuser_dispatch_call_end:"
                     : "=a"(result)
                     : "a"(nr), "D"(a)
                     : "rcx", "r11", "memory");
    return result;
}
extern char user_dispatch_call_end[];

static void on_sys(int signo, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    selector = ALLOW;
    hits++;
    last_nr = info->si_syscall;
    last_addr = (long)info->si_call_addr;
    last_code = info->si_code;
    last_arch = info->si_arch;
    last_rax = regs[REG_RAX];
    regs[REG_RAX] = 4242;
}

static long on(unsigned long mode, unsigned long start, unsigned long size, volatile char *sel)
{
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, start, size, sel);
}

static void test_refusals(void)
{
    CHECK_ERRNO(on(3, 0, 0, &selector), EINVAL);
    CHECK_ERRNO(on(DISPATCH_OFF, 1, 0, NULL), EINVAL);
    CHECK_ERRNO(on(DISPATCH_OFF, 0, 1, NULL), EINVAL);
    CHECK_ERRNO(on(DISPATCH_OFF, 0, 0, &selector), EINVAL);
    CHECK_ERRNO(on(DISPATCH_ON, 1, 0, &selector), EINVAL);
    CHECK_ERRNO(on(DISPATCH_ON, -1UL, 2, &selector), EINVAL);
    CHECK_ERRNO(on(DISPATCH_ON, 0, 0, (char *)-1L), EFAULT);
    CHECK_EQ(on(DISPATCH_OFF, 0, 0, NULL), 0);
}

static void test_dispatch(void)
{
    pid_t pid = getpid();

    CHECK_EQ(on(DISPATCH_ON, 0, 0, &selector), 0);
    CHECK_EQ(call(SYS_getpid, 0), pid);
    selector = BLOCK;
    CHECK_EQ(call(SYS_getpid, 7), 4242);
    CHECK_EQ(hits, 1);
    CHECK_EQ(last_nr, SYS_getpid);
    CHECK_EQ(last_rax, SYS_getpid);
    CHECK_EQ(last_code, 2);
    CHECK_EQ(last_arch, (long)AUDIT_ARCH_X86_64);
    CHECK_EQ(last_addr, (long)user_dispatch_call_end);
    selector = BLOCK;
    CHECK_EQ(call(4000, 0), 4242); /* no such call, and yet it is told */
    CHECK_EQ(last_nr, 4000);
    CHECK_EQ(hits, 2);
    for (int i = 0; i < 100; i++) {
        selector = BLOCK;
        CHECK_EQ(call(SYS_getppid, 0), 4242);
    }
    CHECK_EQ(hits, 102);
    CHECK_EQ(on(DISPATCH_OFF, 0, 0, NULL), 0);
    selector = BLOCK;
    CHECK_EQ(call(SYS_getpid, 0), pid);
}

/* Calls from within the range are not looked at. */
static void test_range(void)
{
    unsigned long at = (unsigned long)user_dispatch_call_end;

    hits = 0;
    selector = ALLOW;
    CHECK_EQ(on(DISPATCH_ON, at, 1, &selector), 0);
    selector = BLOCK;
    CHECK_EQ(call(SYS_getpid, 0) > 1000000, 0);
    selector = ALLOW;
    CHECK_EQ(hits, 0);
    CHECK_EQ(on(DISPATCH_ON, at - 2, 2, &selector), 0);
    selector = BLOCK;
    CHECK_EQ(call(SYS_getpid, 0), 4242);
    CHECK_EQ(hits, 1);
    CHECK_EQ(on(DISPATCH_OFF, 0, 0, NULL), 0);
}

static int status_of(void (*fn)(void))
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        fn();
        _exit(9);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status & 0x7f ? status & 0x7f : status;
}

static void bad_value(void)
{
    on(DISPATCH_ON, 0, 0, &selector);
    selector = 2;
    call(SYS_getpid, 0);
}

static void bad_selector(void)
{
    on(DISPATCH_ON, 0, 0, (char *)16);
    call(SYS_getpid, 0);
}

static void child_is_free(void)
{
    pid_t pid;
    int status;

    on(DISPATCH_ON, 0, 0, &selector);
    pid = fork();
    selector = BLOCK;
    if (pid == 0)
        _exit(call(SYS_getpid, 0) == 4242);
    selector = ALLOW;
    waitpid(pid, &status, 0);
    _exit(status == 0 ? 3 : 4);
}

static void always(void)
{
    unsigned long at = (unsigned long)user_dispatch_call_end;

    signal(SIGSYS, SIG_IGN); /* to no avail */
    on(DISPATCH_ON, at, 1, NULL);
    call(SYS_getpid, 0);
    syscall(SYS_getpid);
}

static void test_ends(void)
{
    selector = ALLOW;
    CHECK_EQ(status_of(bad_value), SIGSYS);
    selector = ALLOW;
    CHECK_EQ(status_of(bad_selector), SIGSEGV);
    CHECK_EQ(status_of(child_is_free), 3 << 8);
    CHECK_EQ(status_of(always), SIGSYS);
}

struct config {
    uint64_t mode, selector, start, size;
};

struct rseq_config {
    uint64_t pointer;
    uint32_t size, signature, flags, pad;
};

/* What libc has registered for its restartable sequences; nothing here makes another. */
static void check_rseq(pid_t pid)
{
    struct rseq_config config = {0, 9, 9, 9, 9};

    CHECK_EQ(ptrace(GET_RSEQ, pid, sizeof(config), &config), sizeof(config));
    CHECK(config.size == 0 || config.size >= 32);
    CHECK_EQ(config.pointer != 0, config.size != 0);
    CHECK_EQ(config.signature, config.size ? 0x53053053 : 0);
    CHECK_EQ(config.flags, 0);
    config.size = 9;
    CHECK_EQ(ptrace(GET_RSEQ, pid, 8, &config), sizeof(config));
    CHECK_EQ(config.size, 9);
}

static void test_tracer(void)
{
    struct config config = {9, 9, 9, 9};
    pid_t pid = fork();
    int status;

    selector = ALLOW;
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        selector = BLOCK;
        _exit(call(SYS_getpid, 0) == 4242 ? 5 : 6);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    check_rseq(pid);
    CHECK_EQ(ptrace(GET_CONFIG, pid, sizeof(config), &config), 0);
    CHECK_EQ(config.mode, DISPATCH_OFF);
    CHECK_EQ(config.start | config.size | config.selector, 0);
    CHECK_ERRNO(ptrace(GET_CONFIG, pid, 8, &config), EINVAL);
    CHECK_ERRNO(ptrace(SET_CONFIG, pid, 8, &config), EINVAL);
    config = (struct config){7, (uintptr_t)&selector, 0, 0};
    CHECK_ERRNO(ptrace(SET_CONFIG, pid, sizeof(config), &config), EINVAL);
    config.mode = DISPATCH_ON;
    CHECK_EQ(ptrace(SET_CONFIG, pid, sizeof(config), &config), 0);
    config = (struct config){9, 9, 9, 9};
    CHECK_EQ(ptrace(GET_CONFIG, pid, sizeof(config), &config), 0);
    CHECK_EQ(config.mode, DISPATCH_ON);
    CHECK_EQ(config.selector, (uintptr_t)&selector);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSYS);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, NULL, SIGSYS), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 5 << 8);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};

    CHECK_EQ(sigaction(SIGSYS, &action, NULL), 0);
    test_refusals();
    test_dispatch();
    test_range();
    test_ends();
    test_tracer();
    return check_done();
}
