/* Which bytes are a call site that can be rewritten, and what becomes of them. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "sentry/mm/callsite_code.h"

#define AT 0x400

static uint8_t page[PAGE_SIZE];

static void setup(void)
{
    memset(page, 0x90, sizeof(page));
}

TestSuite(callsite_code, .init = setup);

static bool is_site(uint32_t behind, uint64_t number)
{
    struct callsite site;

    return callsite_recognize(page, page, behind, number, &site);
}

static void put(uint32_t at, const void *bytes, size_t size)
{
    memcpy(page + at, bytes, size);
}

Test(callsite_code, forms)
{
    static const struct {
        uint8_t before[2], code[7];
        uint64_t number;
        bool good;
    } forms[] = {
        {{0x90, 0x90}, "\xb8\x27\0\0\0\x0f\x05", 39, true},
        {{0x0f, 0x90}, "\xb8\x00\x03\0\0\x0f\x05", 0x300, true},
        {{0x90, 0x49}, "\xb8\x27\0\0\0\x0f\x05", 39, false}, /* movabs */
        {{0x90, 0x41}, "\xb8\x27\0\0\0\x0f\x05", 39, false}, /* mov to r8d */
        {{0x90, 0x66}, "\xb8\x27\0\0\0\x0f\x05", 39, false}, /* mov to ax */
        {{0x90, 0x8d}, "\xb8\x27\0\0\0\x0f\x05", 39, false}, /* lea 39(%rax), %edi */
        {{0x8d, 0x84}, "\xb8\x27\0\0\0\x0f\x05", 39, false}, /* lea 39(%rax,%rdi,4) */
        {{0x90, 0x90}, "\xb8\x27\0\0\0\x0f\x34", 39, false}, /* sysenter */
        {{0x90, 0x90}, "\xb9\x27\0\0\0\x0f\x05", 39, false}, /* mov to ecx */
        {{0x90, 0x90}, "\xb8\x27\0\0\0\x0f\x05", 40, false}, /* of another number */
        {{0x90, 0x90}, "\xb8\x27\0\0\0\x0f\x05", 39 | 1UL << 32, false},
        {{0x90, 0x90}, "\xb8\x0f\0\0\0\x0f\x05", 15, false},         /* sigreturn */
        {{0x90, 0x90}, "\xb8\x00\x10\0\0\x0f\x05", 0x1000, false},   /* no number */
        {{0x90, 0x90}, "\x41\x8b\x78\x68\x90\x0f\x05", 0x68, false}, /* nothing of the kind */
        {{0x90, 0x90}, "\x90\x90\x90\x31\xc0\x0f\x05", 0, false},    /* there is no step */
        {{0x90, 0x90}, "\x4c\x8b\x4c\x24\x08\x0f\x05", 39, true},
        {{0x89, 0xc8}, "\x4c\x8b\x4c\x24\x08\x0f\x05", 56, true}, /* of any number */
        {{0x89, 0xc8}, "\x4c\x8b\x4c\x24\x08\x0f\x05", -1UL, true},
        {{0x90, 0x8d}, "\x4c\x8b\x4c\x24\x08\x0f\x05", 39, false}, /* lea 76(%rbx,%rcx,4) */
        {{0x90, 0x66}, "\x4c\x8b\x4c\x24\x08\x0f\x05", 39, false},
        {{0x90, 0x90}, "\x48\x8b\x4c\x24\x08\x0f\x05", 39, false}, /* mov to rcx */
        {{0x90, 0x90}, "\x4c\x8b\x4c\x24\x10\x0f\x05", 39, false}, /* from elsewhere */
        {{0x90, 0x90}, "\x4c\x8b\x4c\x24\x08\x0f\x34", 39, false},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        put(AT - 2, forms[i].before, 2);
        put(AT, forms[i].code, 7);
        cr_assert_eq(is_site(AT + 7, forms[i].number), forms[i].good, "form %zu", i);
    }
}

Test(callsite_code, all_of_it_lies_in_the_page)
{
    put(2, "\xb8\x27\0\0\0\x0f\x05", 7);
    cr_assert(is_site(9, 39));
    put(1, "\xb8\x27\0\0\0\x0f\x05", 7);
    cr_assert_not(is_site(8, 39), "what is before it is not known");
    put(PAGE_SIZE - 7, "\xb8\x27\0\0\0\x0f\x05", 7);
    cr_assert(is_site(PAGE_SIZE, 39));
    put(2, "\x4c\x8b\x4c\x24\x08\x0f\x05", 7);
    cr_assert(is_site(9, 39));
    put(1, "\x4c\x8b\x4c\x24\x08\x0f\x05", 7);
    cr_assert_not(is_site(8, 39));
    put(PAGE_SIZE - 7, "\x4c\x8b\x4c\x24\x08\x0f\x05", 7);
    cr_assert(is_site(PAGE_SIZE, 39));
    for (uint32_t behind = 0; behind < 8; behind++) {
        setup();
        put(0, "\x31\xc0\x0f\x05", 4);
        (void)is_site(behind, 0);
    }
    cr_assert_not(is_site(4, 0));
}

Test(callsite_code, a_step_is_within_reach)
{
    static const struct {
        int64_t step; /* from the site's first byte */
        bool good;
    } steps[] = {{2 - 128, true}, {2 - 129, false}, {2 + 127, true}, {2 + 128, false}, {16, true}};
    struct callsite site;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        setup();
        put(AT, "\x31\xc0\x0f\x05", 4);
        put((uint32_t)(AT + steps[i].step - 3), "\x0f\x1f\x84\0\0\0\0", 8);
        cr_assert_eq(callsite_recognize(page, page, AT + 4, 0, &site), steps[i].good, "%zu", i);
        if (!steps[i].good)
            continue;
        cr_assert_eq((int64_t)site.step, AT + steps[i].step);
        cr_assert_eq(callsite_start(&site), AT);
        callsite_write(page, 0, &site, 0x10000);
        cr_assert_eq(page[AT], 0xeb);
        cr_assert_eq((int8_t)page[AT + 1], steps[i].step - 2);
        cr_assert_not(callsite_recognize(page, page, AT + 4, 0, &site));
    }
}

Test(callsite_code, steps_at_the_ends_of_the_page)
{
    put(0x40, "\x31\xc0\x0f\x05", 4);
    put(0, "\x0f\x1f\x84\0\0\0\0", 8);
    cr_assert(is_site(0x44, 0));
    put(PAGE_SIZE - 0x40, "\x31\xc0\x0f\x05", 4);
    put(PAGE_SIZE - 7, "\x0f\x1f\x84\0\0\0\0", 7);
    cr_assert_not(is_site(PAGE_SIZE - 0x3c, 0));
    put(PAGE_SIZE - 8, "\x0f\x1f\x84\0\0\0\0", 8);
    cr_assert(is_site(PAGE_SIZE - 0x3c, 0));
}

#define ENTRY 0x10040
#define TAIL  0x10000

/* The end of syscall(2), rewritten. */
static struct callsite load_site(uint8_t *entry)
{
    struct callsite site;

    put(AT, "\x4c\x8b\x4c\x24\x08\x0f\x05", 7);
    cr_assert(callsite_recognize(page, page, AT + 7, 202, &site));
    callsite_write(page, 0, &site, ENTRY);
    callsite_write_entry(entry, ENTRY, TAIL, &site);
    return site;
}

Test(callsite_code, the_end_of_syscall)
{
    static const uint8_t want[] = {
        0x4c, 0x8b, 0x4c, 0x24, 0x08,       /* mov 8(%rsp), %r9 */
        0x44, 0x0f, 0xb7, 0xd8,             /* movzwl %ax, %r11d */
        0x49, 0xf7, 0xd3,                   /* not %r11 */
        0x49, 0x8d, 0x4c, 0x03, 0x01,       /* lea 1(%r11, %rax), %rcx */
        0xe3, 0x05,                         /* jrcxz, over the jmp */
        0xe9, 0xad, 0x03, 0xff, 0xff,       /* jmp AT + 5, from 0x10058 */
        0x86, 0xc4,                         /* xchg %al, %ah */
        0x0f, 0xc8,                         /* bswap %eax */
        0x48, 0x8d, 0x0d, 0xa4, 0x03, 0xff, /* lea AT + 7(%rip), %rcx, from 0x10063 */
        0xff, 0xe9, 0x98, 0xff, 0xff, 0xff, /* jmp TAIL, from 0x10068 */
    };
    uint8_t entry[3 * ISLAND_SLOT_SIZE];
    struct callsite site;

    memset(entry, 0x55, sizeof(entry));
    site = load_site(entry);
    cr_assert_eq(sizeof(want), 40);
    cr_assert_eq(callsite_slots(&site), 3);
    cr_assert_eq(callsite_start(&site), AT);
    cr_assert_eq(memcmp(page + AT, "\xe9\x3b\xfc\0\0\x0f\x05", 7), 0, "jmp ENTRY; syscall");
    cr_assert_eq(memcmp(entry, want, sizeof(want)), 0);
    cr_assert_eq(entry[sizeof(want)], 0x55);
}

Test(callsite_code, a_file_opened_below_the_working_directory)
{
    static const char code[] = "\xb8\x01\x01\0\0\x48\x89\xfe\xbf\x9c\xff\xff\xff\x0f\x05";
    const uint32_t behind = AT + sizeof(code) - 1;
    uint8_t entry[3 * ISLAND_SLOT_SIZE];
    struct callsite site;

    put(AT, code, sizeof(code) - 1);
    cr_assert(callsite_recognize(page, page, behind, 257, &site));
    cr_assert_eq(callsite_start(&site), behind - 7);
    callsite_write(page, 0, &site, ENTRY);
    callsite_write_entry(entry, ENTRY, TAIL, &site);
    cr_assert_eq(memcmp(page + AT, code, 8), 0, "what comes before stays");
    cr_assert_eq(page[AT + 8], 0xe9);
    cr_assert_eq(memcmp(page + AT + 13, "\x0f\x05", 2), 0);
    cr_assert_eq(memcmp(entry, "\xbf\x9c\xff\xff\xff\x44\x0f\xb7\xd8", 9), 0);

    put(AT, code, sizeof(code) - 1);
    cr_assert_not(is_site(behind, 258), "another number");
    for (size_t i = 0; i < sizeof(code) - 3; i++) {
        put(AT, code, sizeof(code) - 1);
        page[AT + i] ^= 0x20;
        cr_assert_not(is_site(behind, 257), "byte %zu", i);
    }
    put(AT, code, sizeof(code) - 1);
    page[AT - 1] = 0x41; /* mov $N, %r8d */
    cr_assert_not(is_site(behind, 257));
    page[AT - 1] = 0xf2;
    cr_assert_not(is_site(behind, 257), "a prefix");
    page[AT - 2] = 0x89; /* mov %esi, %edx */
    cr_assert(is_site(behind, 257));
}

Test(callsite_code, the_last_byte_of_a_call_may_be_in_the_next_page)
{
    struct callsite site;

    memcpy(page + PAGE_SIZE - 6, "\xb8\x27\0\0\0\x0f", 6);
    cr_assert(callsite_recognize(page, page, PAGE_SIZE + 1, 39, &site));
    cr_assert_eq(callsite_start(&site), PAGE_SIZE - 6);
    callsite_write(page, 0, &site, ENTRY);
    cr_assert_eq(page[PAGE_SIZE - 6], 0xe9);
    cr_assert_eq(page[PAGE_SIZE - 1], 0x0f);
    memcpy(page + PAGE_SIZE - 5, "\xb8\x27\0\0\0", 5);
    cr_assert_not(is_site(PAGE_SIZE + 2, 39), "none of it is here");
}

/* Where who is at that offset of the entry is taken, and with what in rax. */
Test(callsite_code, the_end_of_syscall_undone)
{
    static const struct {
        uint64_t at, rax, rip, want;
    } undone[] = {
        {0, 0x1234567800ca, AT, 0x1234567800ca},
        {5, 0x1234567800ca, AT + 5, 0x1234567800ca},
        {9, 0x1234567800ca, AT + 5, 0x1234567800ca},
        {12, -1UL, AT + 5, -1UL},
        {17, -1UL, AT + 5, -1UL},
        {19, 0x100ca, AT + 5, 0x100ca},
        {24, 0x12ca, AT + 5, 0x12ca},
        {26, 0xca12, AT + 5, 0x12ca},
        {28, 0x12ca0000, AT + 5, 0x12ca},
        {35, 0x12ca0000, AT + 5, 0x12ca},
        {35, 0xffff0000, AT + 5, 0xffff},
    };
    uint8_t entry[3 * ISLAND_SLOT_SIZE];
    struct callsite site = load_site(entry);
    uint64_t rip, rax, next = 0;

    for (size_t i = 0; i < sizeof(undone) / sizeof(undone[0]); i++) {
        for (; next < undone[i].at; next++) {
            rip = rax = 4711;
            cr_assert_not(callsite_undo_entry(next, &site, &rip, &rax), "at %lu", next);
            cr_assert(rip == 4711 && rax == 4711);
        }
        next = undone[i].at + 1;
        rax = undone[i].rax;
        cr_assert(callsite_undo_entry(undone[i].at, &site, &rip, &rax), "at %lu", undone[i].at);
        cr_assert_eq(rip, undone[i].rip, "at %lu", undone[i].at);
        cr_assert_eq(rax, undone[i].want, "at %lu", undone[i].at);
    }
    for (; next < sizeof(entry); next++)
        cr_assert_not(callsite_undo_entry(next, &site, &rip, &rax));
    for (uint64_t at = 0; at < ISLAND_TAIL_SIZE; at++) {
        rax = 0xca0000;
        cr_assert_eq(callsite_undo_tail(at, &site, &rip, &rax), at == 0 || at == 10);
        cr_assert(at % 10 || (rip == AT + 5 && rax == 0xca));
    }
}

#define TARGET      0x11000 /* stands for call_entry */
#define CODE_SIZE   0x12000
#define STATUS_BITS 0xcd5 /* CF PF AF ZF SF DF OF */

/* The processor itself goes through it, and is undone at each step. */
static struct {
    uint8_t *code;
    struct callsite site;
    uint64_t number, sixth, flags;
    int steps, bad;
} stepped;

static void on_step(int signo, siginfo_t *info, void *context)
{
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t at = (uint64_t)regs[REG_RIP] - (uintptr_t)stepped.code, rip = 0;
    uint64_t rax = (uint64_t)regs[REG_RAX], flags = (uint64_t)regs[REG_EFL] & STATUS_BITS;
    bool good;

    if (at - ENTRY < 3UL * ISLAND_SLOT_SIZE)
        good = callsite_undo_entry(at - ENTRY, &stepped.site, &rip, &rax);
    else if (at - TAIL < ISLAND_TAIL_SIZE)
        good = callsite_undo_tail(at - TAIL, &stepped.site, &rip, &rax);
    else
        return;
    if (stepped.steps++ == 0)
        stepped.flags = flags;
    good &= rax == stepped.number && flags == stepped.flags;
    good &= rip == AT || (rip == AT + 5 && (uint64_t)regs[REG_R9] == stepped.sixth);
    stepped.bad += !good;
}

/* What is in rax when it comes back. */
static uint64_t step_through(uint64_t number)
{
    __asm__ volatile("leaq -256(%%rsp), %%rsp\n pushq %[sixth]\n"
                     "cmpq $1, %[sixth]\n" /* some flags */
                     "pushfq\n orl $0x100, (%%rsp)\n popfq\n"
                     "call *%[site]\n"
                     "pushfq\n andl $~0x100, (%%rsp)\n popfq\n"
                     "leaq 264(%%rsp), %%rsp"
                     : "+a"(number)
                     : [site] "b"(stepped.code + AT), [sixth] "d"(stepped.sixth)
                     : "rcx", "r9", "r11", "cc", "memory");
    return number;
}

Test(callsite_code, the_end_of_syscall_step_by_step)
{
    static const struct {
        uint64_t number, rax;
        int steps;
    } runs[] = {
        {202, 202 << 16, 11},      {0, 0, 11},
        {0x12ca, 0x12ca0000, 11},  {0xffff, 0xffff0000, 11},
        {0x10000, 0x10000, 6},     {0x100ca, 0x100ca, 6},
        {-1UL, -1UL, 6},           {1UL << 32 | 39, 1UL << 32 | 39, 6},
        {1UL << 63, 1UL << 63, 6},
    };
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    stepped.code = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(stepped.code, MAP_FAILED);
    stepped.site = load_site(stepped.code + ENTRY);
    callsite_write_tail(stepped.code + TAIL, (uintptr_t)stepped.code + TARGET);
    memcpy(stepped.code + TARGET, "\xff\xe1", 2); /* jmp *%rcx */
    put(AT + 5, "\x90\x90\xc3", 3);               /* no call is made; ret */
    memcpy(stepped.code, page, sizeof(page));
    cr_assert_eq(sigaction(SIGTRAP, &action, NULL), 0);
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        stepped.number = runs[i].number;
        stepped.sixth = 0x123456789 * i;
        stepped.steps = 0;
        cr_assert_eq(step_through(runs[i].number), runs[i].rax, "run %zu", i);
        cr_assert_eq(stepped.steps, runs[i].steps, "run %zu", i);
        cr_assert_eq(stepped.bad, 0, "run %zu", i);
    }
    munmap(stepped.code, CODE_SIZE);
}

Test(callsite_code, an_island_needs_place)
{
    memset(page, 0, sizeof(page));
    cr_assert_eq(callsite_island_start(page, 0x5000), 0, "the page is full");
    cr_assert_eq(callsite_island_start(page, 0x5001), 0x10);
    cr_assert_eq(callsite_island_start(page, 0x500f), 0x10);
    cr_assert_eq(callsite_island_start(page, 0x5010), 0x20, "a byte is between");
    cr_assert_eq(callsite_island_start(page, 0x5fbf), 0xfc0);
    cr_assert_eq(callsite_island_start(page, 0x5fc0), 0);
    page[0xfff] = 1;
    cr_assert_eq(callsite_island_start(page, 0x5001), 0);
    page[0xfff] = 0;
    page[0] = 1;
    cr_assert_eq(callsite_island_start(page, 0x5001), 0x10, "that is text");
}

Test(callsite_code, headers_may_say_anything)
{
    uint32_t seed = 1;

    for (int i = 0; i < 100000; i++) {
        for (size_t at = 0; at < 200; at++)
            page[at] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
        memcpy(page,
               "\x7f"
               "ELF\x02",
               5);
        page[0x36] = 56; /* e_phentsize */
        page[0x37] = 0;
        memset(page + 0x22, 0, 6);
        (void)callsite_text_end(page, 0x1000);
    }
}
