/*
 * Every CPU exception that a program can raise, and the signal, si_code and si_addr it becomes
 * (Linux arch/x86/kernel/traps.c, arch/x86/mm/fault.c). The handler steps out with siglongjmp().
 */
#include <sys/mman.h>

#include "catch.h"

static char *page; /* three pages: read-only, none, read-write */

static void store(void *address)
{
    *(volatile char *)address = 1;
}

static void load(void *address)
{
    (void)*(volatile char *)address;
}

static void call(void *address)
{
    ((void (*)(void))address)();
}

static void divide(void *argument)
{
    int low = 1, high = 0;

    __asm__ volatile("idivl %2" : "+a"(low), "+d"(high) : "r"((int)(long)argument));
}

static void divide_overflow(void *argument)
{
    int low = (int)0x80000000, high = -1;

    __asm__ volatile("idivl %2" : "+a"(low), "+d"(high) : "r"((int)(long)argument));
}

static void undefined(void *argument)
{
    (void)argument;
    __asm__ volatile("ud2");
}

static void breakpoint(void *argument)
{
    (void)argument;
    __asm__ volatile("int3");
}

static void icebp(void *argument)
{
    (void)argument;
    __asm__ volatile(".byte 0xf1");
}

static void single_step(void *argument)
{
    (void)argument;
    __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop\n nop\n" ::: "memory", "cc");
}

static void noncanonical_stack(void *argument)
{
    __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n push %%rax\n mov %%rbx, %%rsp\n"
                     :
                     : "r"(argument)
                     : "rbx", "memory");
}

static void misaligned_sse(void *argument)
{
    __asm__ volatile("movaps %%xmm0, 1(%0)" : : "r"(argument) : "memory");
}

static void privileged(void *argument)
{
    (void)argument;
    __asm__ volatile("hlt");
}

static void bad_selector(void *argument)
{
    __asm__ volatile("mov %0, %%ds" : : "r"((uint16_t)(uintptr_t)argument));
}

static void alignment_check(void *argument)
{
    __asm__ volatile("pushfq\n orl $0x40000, (%%rsp)\n popfq\n"
                     "movl 1(%0), %%eax\n"
                     "pushfq\n andl $~0x40000, (%%rsp)\n popfq\n"
                     :
                     : "r"(argument)
                     : "rax", "memory", "cc");
}

/* Unmasks one SSE exception and raises it. */
static void sse_exception(uint32_t unmask, double a, double b, char operation)
{
    uint32_t mxcsr = 0x1f80 & ~unmask;

    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    switch (operation) {
    case '/':
        __asm__ volatile("divsd %1, %0" : "+x"(a) : "x"(b));
        break;
    case '*':
        __asm__ volatile("mulsd %1, %0" : "+x"(a) : "x"(b));
        break;
    }
    mxcsr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

static void sse_divide(void *argument)
{
    (void)argument;
    sse_exception(0x200, 1, 0, '/');
}

static void sse_invalid(void *argument)
{
    (void)argument;
    sse_exception(0x80, 0, 0, '/');
}

static void sse_overflow(void *argument)
{
    (void)argument;
    sse_exception(0x400, 1e300, 1e300, '*');
}

static void sse_underflow(void *argument)
{
    (void)argument;
    sse_exception(0x800, 1e-300, 1e-300, '*');
}

static void sse_inexact(void *argument)
{
    (void)argument;
    sse_exception(0x1000, 1, 3, '/');
}

static void x87_divide(void *argument)
{
    uint16_t control = 0x37f & ~4;

    (void)argument;
    __asm__ volatile("fninit\n fldcw %0\n fld1\n fldz\n fdivrp\n fwait\n fninit" : : "m"(control));
}

__attribute__((noinline)) static long overflow(long depth)
{
    volatile char frame[4096];

    frame[0] = (char)depth;
    return depth > 1 << 20 ? 0 : overflow(depth + 1) + frame[0]; /* 4 GiB deep would be the end */
}

static void stack_overflow(void *argument)
{
    (void)argument;
    overflow(0);
}

static const char *signal_name(int signo)
{
    return signo == 0 ? "none" : sigabbrev_np(signo);
}

/* One line for each: signal, code, and where the address lies relative to what we know. */
static struct caught expect(const char *name, void (*function)(void *), uintptr_t argument)
{
    struct caught c = catch_signal(function, (void *)argument);
    const char *where = "elsewhere";

    __asm__ volatile("fninit");
    if (c.addr == 0)
        where = "0";
    else if (c.addr == argument)
        where = "the argument";
    else if (c.addr == c.rip)
        where = "rip";
    else if (c.addr == c.rip - 1)
        where = "rip - 1";
    note("%s: %s, code %d, at %s, trap %d", name, signal_name(c.signo), c.code, where,
         (int)c.trapno);
    return c;
}

static void test_page_faults(void)
{
    struct caught c;

    c = expect("store to address 16", store, 16);
    CHECK_EQ(c.error & 6, 6); /* a user's write */
    CHECK_EQ(c.cr2, 16);
    c = expect("load from unmapped", load, (uintptr_t)page + 5 * 4096 + 123);
    CHECK_EQ(c.error & 4, 4);
    expect("store to read-only, untouched", store, (uintptr_t)page + 77);
    load(page);
    expect("store to read-only, read before", store, (uintptr_t)page + 77);
    expect("load from PROT_NONE", load, (uintptr_t)page + 4096);
    expect("store to PROT_NONE", store, (uintptr_t)page + 4096 + 4095);
    page[2 * 4096] = (char)0xc3;
    expect("execute without PROT_EXEC", call, (uintptr_t)page + 2 * 4096);
    CHECK_EQ(mprotect(page + 2 * 4096, 4096, PROT_READ | PROT_EXEC), 0);
    expect("execute with PROT_EXEC", call, (uintptr_t)page + 2 * 4096);
    expect("store to executable", store, (uintptr_t)page + 2 * 4096);
    CHECK_EQ(mprotect(page + 2 * 4096, 4096, PROT_READ | PROT_WRITE), 0);
    expect("store after mprotect", store, (uintptr_t)page + 2 * 4096);
    expect("execute after mprotect", call, (uintptr_t)page + 2 * 4096);
    expect("jump to 0", call, 0);
    expect("jump to a wild address", call, 0x123456789000);
    expect("store to the kernel's half", store, 0xffff888000000000);
    expect("load at the end of the user's half", load, 0x7ffffffff000);
    expect("jump to the kernel's half", call, 0xffff888000000000);
    expect("stack overflow", stack_overflow, 1);
}

static void test_protection(void)
{
    expect("store to a non-canonical address", store, 0x8000000000000000);
    expect("load from a non-canonical address", load, 0x0000800000000000);
    expect("push to a non-canonical stack", noncanonical_stack, 0x8000000000000000);
    expect("misaligned SSE store", misaligned_sse, (uintptr_t)page + 2 * 4096);
    expect("hlt", privileged, 1);
    expect("load of a bad selector", bad_selector, 0x1238);
    expect("alignment check", alignment_check, (uintptr_t)page + 2 * 4096);
}

static void test_arithmetic(void)
{
    expect("integer division by 0", divide, 0);
    expect("integer division overflow", divide_overflow, (uintptr_t)-1);
    expect("SSE division by 0", sse_divide, 1);
    expect("SSE invalid", sse_invalid, 1);
    expect("SSE overflow", sse_overflow, 1);
    expect("SSE underflow", sse_underflow, 1);
    expect("SSE inexact", sse_inexact, 1);
    expect("x87 division by 0", x87_divide, 1);
}

static void test_traps(void)
{
    expect("ud2", undefined, 1);
    expect("int3", breakpoint, 1);
    expect("icebp", icebp, 1);
    expect("single step", single_step, 1);
}

int main(void)
{
    page = mmap(NULL, 6 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK_EQ(munmap(page + 3 * 4096, 3 * 4096), 0);
    CHECK_EQ(mprotect(page, 4096, PROT_READ), 0);
    CHECK_EQ(mprotect(page + 4096, 4096, PROT_NONE), 0);
    catch_setup();
    test_page_faults();
    test_protection();
    test_arithmetic();
    test_traps();
    return check_done();
}
