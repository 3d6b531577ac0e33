/*
 * A program that attacks the machine: privileged and odd instructions, jumps to random addresses,
 * random bytes as code. Whatever it tries ends as a signal of its own, and it lives on.
 *
 *   hostile             all but the ports
 *   hostile emulated    without what QEMU's TCG itself dies of: random code (an assertion), and far
 *                       returns to ring 0 (the emulated kernel crashes)
 *   hostile ports       in and out on each of the 65,536 I/O ports
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "catch.h"

static bool emulated;
static unsigned char *code; /* one page to execute from */

static uint64_t random_state = 88172645463325252;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Named by assembly, thus not static. */
void *run_target;
uint64_t run_saved_rsp;
unsigned char run_stack[8192] __attribute__((aligned(16)));

/*
 * Runs the bytes at the argument with harmless registers, all zero: memory operands lead to address
 * 0 and near. The stack is one of its own, so that pops and pushes do not reach our frames.
 */
static void run_code(void *argument)
{
    run_target = argument;
    __asm__ volatile("push %%rbp\n"
                     "mov %%rsp, run_saved_rsp(%%rip)\n"
                     "lea run_stack+4096(%%rip), %%rsp\n"
                     "xor %%eax, %%eax\n xor %%ebx, %%ebx\n xor %%ecx, %%ecx\n xor %%edx, %%edx\n"
                     "xor %%esi, %%esi\n xor %%edi, %%edi\n xor %%ebp, %%ebp\n xor %%r8d, %%r8d\n"
                     "xor %%r9d, %%r9d\n xor %%r10d, %%r10d\n xor %%r11d, %%r11d\n"
                     "xor %%r12d, %%r12d\n xor %%r13d, %%r13d\n xor %%r14d, %%r14d\n"
                     "xor %%r15d, %%r15d\n"
                     "call *run_target(%%rip)\n"
                     "mov run_saved_rsp(%%rip), %%rsp\n"
                     "pop %%rbp\n"
                     :
                     :
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
                       "r13", "r14", "r15", "memory", "cc");
}

static struct caught run_bytes(const void *bytes, size_t size)
{
    memset(code, 0xcc, 4096);
    memcpy(code, bytes, size);
    struct caught c = catch_signal(run_code, code);
    /* Whatever it did to the segments and to the FP unit, the next one starts clean. */
    __asm__ volatile("fninit\n cld");
    return c;
}

/* Instructions with one outcome on every CPU: the signal is printed and compared. */
static const struct {
    const char *name, *bytes;
    size_t size;
} instructions[] = {
    {"hlt", "\xf4", 1},
    {"cli", "\xfa", 1},
    {"sti", "\xfb", 1},
    {"clts", "\x0f\x06", 2},
    {"invd", "\x0f\x08", 2},
    {"wbinvd", "\x0f\x09", 2},
    {"ud2", "\x0f\x0b", 2},
    {"ud1", "\x0f\xb9\xc0", 3},
    {"ud0", "\x0f\xff\xc0", 3},
    {"mov from cr0", "\x0f\x20\xc0", 3},
    {"mov to cr0", "\x0f\x22\xc0", 3},
    {"mov from cr3", "\x0f\x20\xd8", 3},
    {"mov to cr3", "\x0f\x22\xd8", 3},
    {"mov to cr4", "\x0f\x22\xe0", 3},
    {"mov to cr8", "\x44\x0f\x22\xc0", 4},
    {"mov from dr7", "\x0f\x21\xf8", 3},
    {"mov to dr7", "\x0f\x23\xf8", 3},
    {"rdmsr", "\x0f\x32", 2},
    {"wrmsr", "\x0f\x30", 2},
    {"swapgs", "\x0f\x01\xf8", 3},
    {"sysretq", "\x48\x0f\x07", 3},
    {"lgdt", "\x0f\x01\x10", 3},
    {"lidt", "\x0f\x01\x18", 3},
    {"lldt", "\x0f\x00\xd0", 3},
    {"ltr", "\x0f\x00\xd8", 3},
    {"lmsw", "\x0f\x01\xf0", 3},
    {"invlpg", "\x0f\x01\x38", 3},
    {"xsetbv", "\x0f\x01\xd1", 3},
    {"in al, dx", "\xec", 1},
    {"out dx, al", "\xee", 1},
    {"in al, 0x80", "\xe4\x80", 2},
    {"out 0x80, al", "\xe6\x80", 2},
    {"insb", "\x6c", 1},
    {"outsb", "\x6e", 1},
    {"rep outsb", "\xb1\x01\xf3\x6e", 4},
    {"int 0x00", "\xcd\x00", 2},
    {"int 0x0d", "\xcd\x0d", 2},
    {"int 0x0e", "\xcd\x0e", 2},
    {"int 0x20", "\xcd\x20", 2},
    {"int 0xff", "\xcd\xff", 2},
    {"push es", "\x06", 1},
    {"into", "\xce", 1},
    {"aaa", "\x37", 1},
    {"bound", "\x62\x00", 2},
    {"far jump", "\xea\x00\x00\x00\x00\x10\x00", 7},
    {"mov ds, 0x1238", "\xb8\x38\x12\x00\x00\x8e\xd8", 7},
    {"mov ss, 0", "\x31\xc0\x8e\xd0", 4},
    {"mov ss, 0x10", "\xb8\x10\x00\x00\x00\x8e\xd0", 7},
    {"retf to ring 0", "\x6a\x10\x6a\x00\xcb", 5},
    {"iretq to ring 0", "\x6a\x18\x6a\x00\x6a\x02\x6a\x10\x6a\x00\x48\xcf", 12},
    {"lock nop", "\xf0\x90", 2},
    {"15 prefixes", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 16},
    {"div by 0", "\xf7\xf1", 2},
    {"load of 0", "\x8a\x00", 2},
    {"store to 0", "\x88\x00", 2},
    {"non-canonical load", "\x48\xb8\0\0\0\0\0\0\0\x80\x8a\x00", 12},
    {"non-canonical call", "\x48\xb8\0\0\0\0\0\0\0\x80\xff\xd0", 12},
    {"store to the vsyscall page", "\x48\xb8\x00\x00\x60\xff\xff\xff\xff\xff\x88\x00", 12},
    {"store to the kernel", "\x48\xb8\x00\x00\x00\x81\xff\xff\xff\xff\x88\x00", 12},
    {"return", "\xc3", 1},
};

/* Their outcome differs between CPUs and hypervisors; the program must only live on. */
static const struct {
    const char *bytes;
    size_t size;
} odd_instructions[] = {
    {"\x0f\x01\xc1", 3}, /* vmcall */
    {"\x0f\x01\xd9", 3}, /* vmmcall */
    {"\x0f\x01\xc2", 3}, /* vmlaunch */
    {"\x0f\x01\xd8", 3}, /* vmrun */
    {"\x0f\x01\xdd", 3}, /* clgi */
    {"\x0f\x01\x00", 3}, /* sgdt */
    {"\x0f\x01\xe0", 3}, /* smsw */
    {"\x0f\x00\xc8", 3}, /* str */
    {"\x0f\x01\xc8", 3}, /* monitor */
    {"\x0f\x01\xc9", 3}, /* mwait */
    {"\x0f\x35", 2},     /* sysexit */
    {"\x0f\x37", 2},     /* getsec */
    {"\x0f\xaa", 2},     /* rsm */
    {"\x0f\x33", 2},     /* rdpmc */
    {"\x0f\x31", 2},     /* rdtsc */
    {"\x0f\x01\xf9", 3}, /* rdtscp */
    {"\x0f\xa2", 2},     /* cpuid */
    {"\x0f\xc7\xf0", 3}, /* rdrand */
    {"\x0f\x01\xd0", 3}, /* xgetbv */
    {"\x0f\x01\xd5", 3}, /* xend */
    {"\xc6\xf8\x00", 3}, /* xabort */
    {"\x0f\x01\xee", 3}, /* rdpkru */
    {"\xf1", 1},         /* icebp */
};

static void test_instructions(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(instructions); i++) {
        if (emulated && strstr(instructions[i].name, "to ring 0"))
            continue;
        struct caught c = run_bytes(instructions[i].bytes, instructions[i].size);
        note("%s: signal %d, code %d", instructions[i].name, c.signo, c.code);
    }
    for (size_t i = 0; i < ARRAY_COUNT(odd_instructions); i++) {
        /* Followed by a return: whether it did something or was refused, we are back. */
        unsigned char bytes[16];
        memcpy(bytes, odd_instructions[i].bytes, odd_instructions[i].size);
        bytes[odd_instructions[i].size] = 0xc3;
        struct caught c = run_bytes(bytes, odd_instructions[i].size + 1);
        CHECK(c.signo == 0 || c.signo == SIGSEGV || c.signo == SIGILL || c.signo == SIGTRAP);
    }
}

static void jump(void *address)
{
    __asm__ volatile("jmp *%0" : : "r"(address) : "memory");
}

static void test_jumps(void)
{
    int counts[3] = {0}, other = 0;

    for (int i = 0; i < 600; i++) {
        uint64_t target = next_random();
        int kind = i % 3;
        if (kind == 0)
            target &= 0x3fffffffffff; /* the user's lower half, where little is */
        else if (kind == 1)
            target |= 0xffff800000000000;
        else
            target = (target & 0x7fff7fffffffffff) | 0x0001000000000000;
        /* Our own image and the first pages of libraries lie there: leave them out. */
        if (kind == 0 && target < 0x10000000)
            target += 0x10000000;
        struct caught c = catch_signal(jump, (void *)target);
        if (c.signo == SIGSEGV && c.code == (kind == 2 ? SI_KERNEL : SEGV_MAPERR))
            counts[kind]++;
        else
            other++;
    }
    note("jumps: %d to the lower half, %d to the upper, %d to neither; %d others", counts[0],
         counts[1], counts[2], other);
}

/* Bytes that would make a system call, or leave for where a signal cannot reach, are replaced. */
static bool harmless(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++) {
        unsigned char a = bytes[i], b = bytes[i + 1];
        if (a == 0x0f && (b == 0x05 || b == 0x34 || b == 0xae || b == 0x01 || b == 0xc7))
            return false;
        if (a == 0x0f && (b == 0xa1 || b == 0xa9 || b == 0xb2 || b == 0xb4 || b == 0xb5))
            return false; /* pop fs and the like: our handler needs its thread pointer */
        /* int 0x80; far transfers; loops and short jumps backwards; selectors */
        if (a == 0xcd || a == 0xcf || a == 0xca || a == 0xcb || a == 0x8e || a == 0xff)
            return false;
        if (((a >= 0x70 && a <= 0x7f) || (a >= 0xe0 && a <= 0xeb)) && b >= 0x80)
            return false;
        if (a == 0xe8 || a == 0xe9 || (a == 0x0f && b >= 0x80 && b <= 0x8f))
            return false;
    }
    return true;
}

static void test_random_code(void)
{
    unsigned char bytes[24];
    int ran = 0, by_signal[65] = {0};

    while (ran < 3000) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)(next_random() >> 24);
        if (!harmless(bytes, sizeof(bytes)))
            continue;
        struct caught c = run_bytes(bytes, sizeof(bytes));
        ran++;
        if (c.signo >= 0 && c.signo < 65)
            by_signal[c.signo]++;
    }
    CHECK(by_signal[SIGSEGV] > 100);
    CHECK(by_signal[SIGILL] > 10);
    CHECK_EQ(by_signal[0] + by_signal[SIGSEGV] + by_signal[SIGILL] + by_signal[SIGTRAP] +
                 by_signal[SIGFPE] + by_signal[SIGBUS],
             ran);
}

static void test_ports(void)
{
    static const unsigned char in[] = {0xec}, out[] = {0xee}, out_eax[] = {0xef};
    int refused = 0;

    for (int port = 0; port < 65536; port++) {
        unsigned char bytes[8] = {0x66, 0xba, (unsigned char)port, (unsigned char)(port >> 8),
                                  0,    0xc3};
        bytes[4] = port % 3 == 0 ? in[0] : port % 3 == 1 ? out[0] : out_eax[0];
        memcpy(code, bytes, 6);
        struct caught c = catch_signal(run_code, code);
        if (c.signo == SIGSEGV && c.code == SI_KERNEL)
            refused++;
        else
            note("port %#x: signal %d, code %d", port, c.signo, c.code);
    }
    note("%d ports refused", refused);
    CHECK_EQ(refused, 65536);
}

static void *in_thread(void *argument)
{
    (void)argument;
    catch_setup();
    test_instructions();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;

    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    catch_setup();
    emulated = argc > 1 && strcmp(argv[1], "emulated") == 0;
    if (argc > 1 && strcmp(argv[1], "ports") == 0) {
        test_ports();
        return check_done();
    }
    test_instructions();
    test_jumps();
    if (!emulated)
        test_random_code();
    CHECK_EQ(pthread_create(&thread, NULL, in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return check_done();
}
