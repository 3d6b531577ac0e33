/*
 * The gate itself: a system call keeps the flags and everything below the stack pointer, needs no
 * stack at all, can be stepped through, and works from any place a program can put it.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "catch.h"

#define FLAGS_AC     0x40000
#define FLAGS_ID     0x200000
#define FLAGS_DF     0x400
#define FLAGS_STATUS 0x8d5

/* Makes getppid() with the given flags set; gives the flags afterwards. */
static uint64_t flags_around_call(uint64_t set, long nr, long *ret_result)
{
    uint64_t after;

    __asm__ volatile("pushfq\n"
                     "orq %[set], (%%rsp)\n"
                     "popfq\n"
                     "syscall\n"
                     "pushfq\n"
                     "popq %[after]\n"
                     "pushq $0x202\n"
                     "popfq\n"
                     : "+a"(nr), [after] "=r"(after)
                     : [set] "r"(set)
                     : "rcx", "r11", "memory", "cc");
    *ret_result = nr;
    return after;
}

static void test_flags(void)
{
    static const uint64_t sets[] = {0,        FLAGS_STATUS,
                                    FLAGS_DF, FLAGS_AC,
                                    FLAGS_ID, FLAGS_STATUS | FLAGS_DF | FLAGS_AC | FLAGS_ID};
    static const long calls[] = {SYS_getppid, SYS_getpid, SYS_sched_yield, SYS_rt_sigreturn};
    long result;

    for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
        for (size_t j = 0; j < 3; j++) {
            uint64_t after = flags_around_call(sets[i], calls[j], &result);
            CHECK_EQ(after & sets[i], sets[i]);
            CHECK(result >= 0);
        }
    }
}

/* rsp may be anything while a call is made: nobody writes there. */
static void test_no_stack(void)
{
    static const uint64_t stacks[] = {
        0, 8, 0x123456789000, 0x7ffffffff000, 0xffff800000000000, 0xdead000000000001, -8UL};
    static const long calls[] = {SYS_getppid, SYS_getuid, SYS_sched_yield, 9999};

    for (size_t i = 0; i < ARRAY_COUNT(stacks); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(calls); j++) {
            long result = calls[j];
            uint64_t rsp;
            __asm__ volatile("mov %%rsp, %%rbx\n"
                             "mov %[stack], %%rsp\n"
                             "syscall\n"
                             "mov %%rsp, %[rsp]\n"
                             "mov %%rbx, %%rsp\n"
                             : "+a"(result), [rsp] "=r"(rsp)
                             : [stack] "r"(stacks[i])
                             : "rbx", "rcx", "r11", "memory");
            CHECK_EQ(rsp, stacks[i]);
            CHECK_EQ(result, calls[j] == 9999 ? -ENOSYS : RAW(calls[j]));
        }
    }
}

static volatile int signals;

static void on_signal(int signo)
{
    volatile char junk[512];

    (void)signo;
    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (char)0xee;
    signals++;
}

/* The 128 bytes below rsp are the program's, also when a signal comes (ABI, 3.2.2). */
static void test_red_zone(void)
{
    const long pid = getpid();
    uint64_t wrong = 0;

    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 3; i++) {
        long nr = i == 0 ? SYS_getppid : i == 1 ? 9999 : SYS_kill;
        __asm__ volatile("mov $-128, %%rdx\n"
                         "1: mov %%rdx, (%%rsp,%%rdx)\n"
                         "add $8, %%rdx\n"
                         "jnz 1b\n"
                         "syscall\n"
                         "mov $-128, %%rdx\n"
                         "2: cmp %%rdx, (%%rsp,%%rdx)\n"
                         "je 3f\n"
                         "inc %[wrong]\n"
                         "3: add $8, %%rdx\n"
                         "jnz 2b\n"
                         : "+a"(nr), [wrong] "+r"(wrong)
                         : "D"(pid), "S"(SIGUSR1)
                         : "rcx", "r11", "rdx", "memory", "cc");
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(signals, 1);
}

/* Single steps through a system call: each instruction once, the call counts as one. */
static uintptr_t steps[32];
static volatile int step_count;

static void on_step(int signo, siginfo_t *info, void *context)
{
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)signo;
    (void)info;
    if (step_count < 32)
        steps[step_count] = (uintptr_t)regs[REG_RIP];
    step_count++;
}

extern char step_first[], step_call[], step_after[], step_last[];

static void test_step(void)
{
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    long nr = SYS_getppid;

    CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
    __asm__ volatile("pushfq\n"
                     "orq $0x100, (%%rsp)\n"
                     "popfq\n"
                     ".globl step_first, step_call, step_after, step_last\n"
                     "step_first: nop\n"
                     "step_call: syscall\n"
                     "step_after: nop\n"
                     "pushfq\n"
                     "andq $~0x100, (%%rsp)\n"
                     "popfq\n"
                     "step_last: nop\n"
                     : "+a"(nr)
                     :
                     : "rcx", "r11", "memory", "cc");
    CHECK_EQ(nr, getppid());
    note("%d steps", step_count);
    for (int i = 0; i < step_count && i < 32; i++)
        note("step %d: at first%+ld", i, (long)(steps[i] - (uintptr_t)step_first));
}

static void call_code(void *code)
{
    long result;

    __asm__ volatile("call *%1"
                     : "=a"(result)
                     : "r"(code), "a"(SYS_getppid)
                     : "rcx", "r11", "memory");
    CHECK_EQ(result, getppid());
}

/* A call as the last bytes before unmapped memory: its return address is where nothing is. */
static void call_at_edge(void *code)
{
    __asm__ volatile("jmp *%0" : : "r"(code), "a"(SYS_getppid) : "rcx", "r11", "memory");
}

static void test_places(void)
{
    static const unsigned char code[] = {0x0f, 0x05, 0xc3};
    char *p =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    for (size_t at = 4090; at < 4099; at++) {
        memcpy(p + at, code, sizeof(code)); /* also across the border of two pages */
        CHECK_EQ(catch_signal(call_code, p + at).signo, 0);
    }
    CHECK_EQ(munmap(p + 4096, 4096), 0);
    memcpy(p + 4094, code, 2);
    struct caught c = catch_signal(call_at_edge, p + 4094);
    CHECK_EQ(c.signo, SIGSEGV);
    CHECK_EQ(c.code, SEGV_MAPERR);
    CHECK_EQ(c.addr, (uintptr_t)p + 4096);
    CHECK_EQ(c.rip, (uintptr_t)p + 4096);

    /* Code that writes itself anew: no stale translation is executed. */
    for (int i = 0; i < 200; i++) {
        const unsigned char load[] = {0xb8, (unsigned char)i, 0x01, 0, 0, 0xc3}; /* mov, ret */
        int got;
        memcpy(p, load, sizeof(load));
        __asm__ volatile("call *%1" : "=a"(got) : "r"(p) : "rcx", "memory");
        CHECK_EQ(got, 0x100 + (i & 0xff));
    }
    CHECK_EQ(munmap(p, 4096), 0);
}

static void test_selectors(void)
{
    uint16_t cs, ss, ds, es, fs, gs;

    __asm__ volatile(
        "mov %%cs, %0; mov %%ss, %1; mov %%ds, %2; mov %%es, %3; mov %%fs, %4; mov %%gs, %5"
        : "=r"(cs), "=r"(ss), "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
    note("cs %x, ss %x, ds %x, es %x, fs %x, gs %x", cs, ss, ds, es, fs, gs);
}

int main(void)
{
    catch_setup();
    test_flags();
    test_no_stack();
    test_red_zone();
    test_places();
    test_step();
    test_selectors();
    return check_done();
}
