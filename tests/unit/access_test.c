/* Which instructions write to memory. The bytes are the assembler's. */
#include <criterion/criterion.h>
#include <string.h>

#include "platform/ptrace/access.h"

#define DATA  0x10000UL /* rdi */
#define STACK 0x20000UL /* rsp */

struct insn_case {
    const char *text;
    uint8_t code[ACCESS_CODE_SIZE];
    bool writes;
};

static const struct insn_case cases[] = {
    {"mov (%rdi),%rax", {0x48, 0x8b, 0x07}, false},
    {"mov %rax,(%rdi)", {0x48, 0x89, 0x07}, true},
    {"movb $1,(%rdi)", {0xc6, 0x07, 0x01}, true},
    {"movl $1,%fs:(%rdi)", {0x64, 0xc7, 0x07, 0x01}, true},
    {"lock addl $1,(%rdi)", {0xf0, 0x83, 0x07, 0x01}, true},
    {"cmpl $1,(%rdi)", {0x83, 0x3f, 0x01}, false},
    {"test %eax,(%rdi)", {0x85, 0x07}, false},
    {"pop (%rdi)", {0x8f, 0x07}, true},
    {"rep stosb", {0xf3, 0xaa}, true},
    {"rep movsb", {0xf3, 0xa4}, true},
    {"movaps %xmm0,(%rdi)", {0x0f, 0x29, 0x07}, true},
    {"movaps (%rdi),%xmm0", {0x0f, 0x28, 0x07}, false},
    {"movq %xmm0,(%rdi)", {0x66, 0x0f, 0xd6, 0x07}, true},
    {"movq (%rdi),%xmm0", {0xf3, 0x0f, 0x7e, 0x07}, false},
    {"vmovdqu %ymm0,(%rdi)", {0xc5, 0xfe, 0x7f, 0x07}, true},
    {"vmovdqu (%rdi),%ymm0", {0xc5, 0xfe, 0x6f, 0x07}, false},
    {"vmovdqu64 %zmm0,(%rdi)", {0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x07}, true},
    {"vmovdqu64 (%rdi),%zmm0", {0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x07}, false},
    {"vextractf128 $1,%ymm0,(%rdi)", {0xc4, 0xe3, 0x7d, 0x19, 0x07, 0x01}, true},
    {"lock cmpxchg %rcx,(%rdi)", {0xf0, 0x48, 0x0f, 0xb1, 0x0f}, true},
    {"xadd %eax,(%rdi)", {0x0f, 0xc1, 0x07}, true},
    {"xchg %eax,(%rdi)", {0x87, 0x07}, true},
    {"sete (%rdi)", {0x0f, 0x94, 0x07}, true},
    {"incq (%rdi)", {0x48, 0xff, 0x07}, true},
    {"negl (%rdi)", {0xf7, 0x1f}, true},
    {"divl (%rdi)", {0xf7, 0x37}, false},
    {"shll $2,(%rdi)", {0xc1, 0x27, 0x02}, true},
    {"btl $1,(%rdi)", {0x0f, 0xba, 0x27, 0x01}, false},
    {"btsl $1,(%rdi)", {0x0f, 0xba, 0x2f, 0x01}, true},
    {"fstpl (%rdi)", {0xdd, 0x1f}, true},
    {"fldl (%rdi)", {0xdd, 0x07}, false},
    {"fxsave (%rdi)", {0x0f, 0xae, 0x07}, true},
    {"ldmxcsr (%rdi)", {0x0f, 0xae, 0x17}, false},
    {"stmxcsr (%rdi)", {0x0f, 0xae, 0x1f}, true},
    {"pextrb $1,%xmm0,(%rdi)", {0x66, 0x0f, 0x3a, 0x14, 0x07, 0x01}, true},
    {"movbe %eax,(%rdi)", {0x0f, 0x38, 0xf1, 0x07}, true},
    {"crc32l (%rdi),%eax", {0xf2, 0x0f, 0x38, 0xf1, 0x07}, false},
    {"movzbl (%rdi),%eax", {0x0f, 0xb6, 0x07}, false},
    {"movnti %rax,(%rdi)", {0x48, 0x0f, 0xc3, 0x07}, true},
    {"jmp *(%rdi)", {0xff, 0x27}, false},
    {"push (%rdi)", {0xff, 0x37}, false},
    {"call *(%rdi)", {0xff, 0x17}, false},
};

static const struct insn_case stack_cases[] = {
    {"push %rax", {0x50}, true},          {"push (%rdi)", {0xff, 0x37}, true},
    {"call *(%rdi)", {0xff, 0x17}, true}, {"call .+5", {0xe8}, true},
    {"enter", {0xc8, 0x10}, true},        {"ret", {0xc3}, false},
};

static const struct cpu_regs regs = {.rdi = DATA, .rsi = 0x30000, .rsp = STACK};

Test(access, operands)
{
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_expect_eq(access_is_write(cases[i].code, &regs, DATA), cases[i].writes, "%s",
                     cases[i].text);
}

Test(access, below_the_stack_pointer)
{
    for (size_t i = 0; i < ARRAY_COUNT(stack_cases); i++)
        cr_expect_eq(access_is_write(stack_cases[i].code, &regs, STACK - 8), stack_cases[i].writes,
                     "%s", stack_cases[i].text);
}

Test(access, the_source_of_a_move_is_read)
{
    static const uint8_t movs[ACCESS_CODE_SIZE] = {0xf3, 0xa4},
                         pop[ACCESS_CODE_SIZE] = {0x8f, 0x07};

    cr_expect_not(access_is_write(movs, &regs, regs.rsi));
    cr_expect_not(access_is_write(pop, &regs, STACK));
}

/* Hostile bytes: nothing is read past the eight. */
Test(access, any_bytes)
{
    uint8_t code[ACCESS_CODE_SIZE];
    uint64_t seed = 1;

    for (int i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        memcpy(code, &seed, sizeof(code));
        access_is_write(code, &regs, DATA);
        memset(code, (int)(seed >> 40 & 1 ? 0x66 : 0x62), (size_t)(seed >> 50 & 7));
        access_is_write(code, &regs, DATA);
    }
}
