/*
 * Calls of every kind through one place, the end of syscall(2), which is given the number and loads
 * the sixth argument from the stack. When it is hot, so that whoever makes calls cheaper by
 * changing the program's text has done so, it still makes any call, those too that end the program
 * or come back elsewhere or twice; and faults where it always did.
 */
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "catch.h"

#define PAGE       4096UL
#define TIMES      1000
#define HOT        40 /* calls from one place, enough for anybody */
#define SIGNALS    200
#define AC         0x40000UL

#define STRING(x)  STRING_(x)
#define STRING_(x) #x

/* any(): as syscall(), with the result as the call gives it. */
__asm__(".text\n"
        ".balign 4096\n"
        "any:\n"
        "movq %rdi, %rax\n movq %rsi, %rdi\n movq %rdx, %rsi\n movq %rcx, %rdx\n"
        "movq %r8, %r10\n movq %r9, %r8\n"
        "any_site: movq 8(%rsp), %r9\n"
        "any_call: syscall\n"
        "any_end: ret\n"

        /* vfork(), whose child ends at once: who returns on its parent's stack ruins it. */
        "vfork_and_exit:\n"
        "movl $" STRING(
            SYS_vfork) ", %eax\n movq 8(%rsp), %r9\n syscall\n"
                       "testl %eax, %eax\n jnz 1f\n"
                       "movl $3, %edi\n"
                       "movl $" STRING(
                           SYS_exit) ", %eax\n movq 8(%rsp), %r9\n syscall\n ud2\n"
                                     "1: ret\n"

                                     "go_back: movl $" STRING(
                                         SYS_rt_sigreturn) ", %eax\n movq 8(%rsp), %r9\n syscall\n "
                                                           "ud2\n"

                                                           /* A call on that stack, with these flags
                                                              besides. */
                                                           "call_on:\n"
                                                           "pushq %rbx\n movq %rsp, %rbx\n"
                                                           "pushfq\n orq %rsi, (%rsp)\n popfq\n"
                                                           "movq %rdi, %rsp\n movl $" STRING(
                                                               SYS_getppid) ", %eax\n"
                                                                            "on_site: movq "
                                                                            "8(%rsp), %r9\n "
                                                                            "syscall\n"
                                                                            "movq %rbx, %rsp\n "
                                                                            "pushfq\n andl "
                                                                            "$~0x40000, (%rsp)\n "
                                                                            "popfq\n"
                                                                            "popq %rbx\n ret\n"
                                                                            ".balign 4096\n"
                                                                            ".fill 4096, 1, "
                                                                            "0xcc\n"); /* the end of
                                                                                          the text
                                                                                          is
                                                                                          elsewhere
                                                                                        */

extern long any(long number, ...), vfork_and_exit(void);
extern long call_on(const void *stack, uint64_t flags);
extern const char any_site[], any_call[], any_end[], go_back[], on_site[];

static long parent;

/* ---- numbers and arguments ------------------------------------------------------------------ */

static void check_numbers(void)
{
    const struct {
        long number, result;
    } calls[] = {
        {SYS_getppid, parent},     {SYS_getuid, getuid()}, {SYS_getpid, getpid()},
        {SYS_getgid, getgid()},    {1023, -ENOSYS},        {0xffff, -ENOSYS},
        {0x10000, -ENOSYS},        {0x10027, -ENOSYS},     {0x7ffffff, -ENOSYS},
        {1L << 32 | 39, getpid()}, {-1, -ENOSYS},
    };
    long good = 0;

    for (size_t i = 0; i < TIMES; i++)
        good += any(calls[i / 16 % ARRAY_COUNT(calls)].number) ==
                calls[i / 16 % ARRAY_COUNT(calls)].result;
    CHECK_EQ(good, TIMES);
    good = 0;
    for (int i = 0; i < TIMES; i++)
        good += syscall(i % 16 ? SYS_getppid : 0x10027) == (i % 16 ? parent : -1);
    CHECK_EQ(good, TIMES);
    CHECK_ERRNO(syscall(1023), ENOSYS);
}

static void check_six_arguments(void)
{
    int fd = memfd_create("six", 0);
    uint64_t word, good = 0;

    for (uint64_t page = 0; page < 8; page++)
        CHECK_EQ(pwrite(fd, &page, sizeof(page), (off_t)(page * PAGE)), sizeof(page));
    for (unsigned long i = 0; i < 200; i++) {
        long at =
            any(SYS_mmap, 0L, PAGE, (long)PROT_READ, (long)MAP_PRIVATE, (long)fd, i % 8 * PAGE);

        word = 99;
        if (at > 0)
            memcpy(&word, (void *)at, sizeof(word));
        good += word == i % 8 && any(SYS_munmap, at, PAGE) == 0;
    }
    CHECK_EQ(good, 200);
    CHECK_EQ(any(SYS_mmap, 0L, PAGE, (long)PROT_READ, (long)MAP_PRIVATE, (long)fd, 1L), -EINVAL);
    close(fd);
}

/* ---- signals -------------------------------------------------------------------------------- */

static volatile long number, sixth;
static volatile int signals, strays;

static void on_alarm(int signo, siginfo_t *info, void *context)
{
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t rip = (uintptr_t)regs[REG_RIP];
    extern const char __executable_start[], etext[];

    signals++;
    if (rip < (uintptr_t)__executable_start || rip >= (uintptr_t)etext)
        strays++;
    if ((rip == (uintptr_t)any_site || rip == (uintptr_t)any_call) && regs[REG_RAX] != number)
        strays++;
    if (rip == (uintptr_t)any_call && regs[REG_R9] != sixth)
        strays++;
}

static void check_signals(void)
{
    const long numbers[] = {SYS_getppid, 1023, 0x1006e, SYS_getppid, 0xff00};
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    long bad = 0;

    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (size_t i = 0; signals < SIGNALS; i++) {
        number = numbers[i / 16 % ARRAY_COUNT(numbers)];
        sixth = (long)i * 0x123456789;
        bad += any(number, 1L, 2L, 3L, 4L, 5L, sixth) != (number == SYS_getppid ? parent : -ENOSYS);
    }
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_EQ(bad, 0);
    CHECK_EQ(strays, 0);
}

static int pipe_ends[2];

static void on_hangup(int signo)
{
    (void)any(SYS_write, (long)pipe_ends[1], "x", 1L);
}

/* A handler that comes back by way of such a place, and a call that begins anew after it. */
static void check_return(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        const void *restorer;
        unsigned long mask;
    } action = {on_hangup, SA_RESTART | 0x04000000 /* SA_RESTORER */, go_back, 0};
    struct itimerval soon = {{0, 0}, {0, 500}};
    char byte;

    CHECK_EQ(pipe(pipe_ends), 0);
    CHECK_EQ(any(SYS_rt_sigaction, (long)SIGHUP, &action, NULL, 8L), 0);
    for (int i = 0; i < HOT; i++) {
        CHECK_EQ(any(SYS_tgkill, (long)getpid(), (long)gettid(), (long)SIGHUP), 0);
        CHECK_EQ(any(SYS_read, (long)pipe_ends[0], &byte, 1L), 1);
    }
    CHECK_EQ(any(SYS_rt_sigaction, (long)SIGALRM, &action, NULL, 8L), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(any(SYS_setitimer, (long)ITIMER_REAL, &soon, NULL), 0);
        CHECK_EQ(any(SYS_read, (long)pipe_ends[0], &byte, 1L), 1);
    }
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void check_mask(void)
{
    uint64_t mask = 1UL << (SIGUSR1 - 1), old = 0, none = 0, good = 0;

    for (int i = 0; i < 100; i++) {
        good += any(SYS_rt_sigprocmask, (long)SIG_SETMASK, i % 2 ? &none : &mask, &old, 8L) == 0;
        good += (old == mask) == (i % 2);
    }
    CHECK_EQ(good, 200);
}

/* ---- calls that come back elsewhere, twice, or never ----------------------------------------- */

static int exit_of(long pid)
{
    int status = -1;

    CHECK_EQ(any(SYS_wait4, pid, &status, 0L, NULL), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_processes(void)
{
    char *argv[] = {"rewritten_any", "again", NULL};

    for (int i = 0; i < 12; i++) {
        long pid = any(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);

        if (pid == 0) {
            long good = any(SYS_getppid) == getppid() && any(SYS_getpid) == getpid();

            if (i % 6 == 5)
                (void)any(SYS_execve, "/proc/self/exe", argv, NULL);
            (void)any(i % 2 ? SYS_exit : SYS_exit_group, good ? 7L : 1L);
        }
        CHECK_EQ(exit_of(pid), i % 6 == 5 ? 5 : 7);
    }
    for (int i = 0; i < HOT; i++)
        CHECK_EQ(exit_of(vfork_and_exit()), 3);
}

static volatile int thread_good, thread_id;

/* On a stack of its own; its FS base is that of who made it. */
__attribute__((noreturn)) static void thread_main(void)
{
    int good = 0;

    for (int i = 0; i < 2 * HOT; i++)
        good += any(SYS_getppid) == parent;
    thread_good = good;
    for (;;)
        (void)any(SYS_exit, 0L);
}

static void check_threads(void)
{
    const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                       CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    uintptr_t *stack =
        mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t *top = stack + 4 * PAGE / sizeof(*stack) - 16;

    for (int i = 0; i < 10; i++) {
        int id;

        *top = (uintptr_t)thread_main; /* any() returns there */
        thread_good = 0;
        CHECK(any(SYS_clone, flags, top, &thread_id, &thread_id, 0L) > 0);
        while ((id = thread_id))
            (void)any(SYS_futex, &thread_id, (long)FUTEX_WAIT, (long)id, NULL, NULL, 0L);
        CHECK_EQ(thread_good, 2 * HOT);
    }
    munmap(stack, 4 * PAGE);
}

static void check_bases(void)
{
    unsigned long fs = 0, gs = 0, good = 0;

    CHECK_EQ(any(SYS_arch_prctl, (long)ARCH_GET_FS, &fs), 0);
    for (unsigned long i = 1; i <= HOT; i++) {
        good += any(SYS_arch_prctl, (long)ARCH_SET_FS, fs) == 0;
        good += any(SYS_arch_prctl, (long)ARCH_SET_GS, i * PAGE) == 0;
        good += any(SYS_arch_prctl, (long)ARCH_GET_GS, &gs) == 0 && gs == i * PAGE;
    }
    CHECK_EQ(good, 3 * HOT);
    CHECK_EQ(any(SYS_arch_prctl, (long)ARCH_SET_GS, 0L), 0);
}

/* ---- faults --------------------------------------------------------------------------------- */

static void call_on_unmapped(void *arg)
{
    (void)call_on((const void *)(16 * PAGE), 0);
}

static void call_on_nowhere(void *arg)
{
    (void)call_on((const void *)0x8000000000000000, 0);
}

static void call_on_odd(void *arg)
{
    (void)call_on((const char *)arg + 1, AC);
}

static void check_faults(void)
{
    char *stack =
        mmap(NULL, HOT * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct caught caught;
    long good = 0;

    catch_setup();
    for (int i = 0; i < HOT; i++) /* each is a page that is not there yet */
        good += call_on(stack + (unsigned int)i * PAGE, 0) == parent;
    CHECK_EQ(good, HOT);
    for (int i = 0; i < 3; i++) {
        caught = catch_signal(call_on_unmapped, NULL);
        CHECK(caught.signo == SIGSEGV && caught.code == SEGV_MAPERR);
        CHECK_EQ(caught.addr, 16 * PAGE + 8);
        CHECK_EQ(caught.rip, (uintptr_t)on_site);
        caught = catch_signal(call_on_nowhere, NULL);
        CHECK(caught.signo != 0 && caught.code == SI_KERNEL); /* #SS; emulators: #GP */
        CHECK_EQ(caught.rip, (uintptr_t)on_site);
        caught = catch_signal(call_on_odd, stack);
        printf("unaligned: signal %d\n", caught.signo); /* emulators have no #AC: as natively */
        if (caught.signo) {
            CHECK(caught.signo == SIGBUS && caught.code == BUS_ADRALN);
            CHECK_EQ(caught.rip, (uintptr_t)on_site);
        }
        CHECK_EQ(call_on(stack, AC), parent);
    }
    munmap(stack, HOT * PAGE);
}

int main(int argc, char **argv)
{
    parent = getppid();
    if (argc > 1)
        return any(SYS_getppid) == parent ? 5 : 1;
    check_numbers();
    check_six_arguments();
    check_signals();
    check_return();
    check_mask();
    check_processes();
    check_threads();
    check_bases();
    check_faults();
    check_numbers();
    return check_done();
}
