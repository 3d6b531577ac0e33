/* The filter machine of seccomp(2): what it refuses, what it computes. */
#include <criterion/criterion.h>
#include <linux/audit.h>
#include <stdlib.h>

#include "base/bpf.h"

#define COUNT(a)      ((uint32_t)(sizeof(a) / sizeof((a)[0])))
#define STMT(code, k) BPF_STMT(code, k)
#define RETURN_A      BPF_STMT(BPF_RET | BPF_A, 0)
#define ALLOW         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static const struct seccomp_data data = {
    .nr = 39,
    .arch = AUDIT_ARCH_X86_64,
    .instruction_pointer = 0x1122334455667788,
    .args = {0x100000002, 3, 4, 5, 6, 0xfedcba9876543210},
};

static uint32_t run(const struct sock_filter *program, uint32_t count)
{
    cr_assert_eq(bpf_check(program, count), 0);
    return bpf_run(program, &data);
}

Test(bpf, loads_words_of_the_call)
{
    const struct {
        uint32_t offset, want;
    } words[] = {{0, 39}, {4, AUDIT_ARCH_X86_64}, {8, 0x55667788}, {12, 0x11223344}, {16, 2},
                 {20, 1}, {60, 0xfedcba98}};

    for (size_t i = 0; i < COUNT(words); i++) {
        const struct sock_filter p[] = {STMT(BPF_LD | BPF_W | BPF_ABS, words[i].offset), RETURN_A};

        cr_expect_eq(run(p, COUNT(p)), words[i].want);
    }
    const struct sock_filter length[] = {STMT(BPF_LD | BPF_W | BPF_LEN, 0), RETURN_A};
    cr_expect_eq(run(length, 2), sizeof(data));
}

Test(bpf, calculates)
{
    const struct {
        uint16_t op;
        uint32_t a, b, want;
    } sums[] = {
        {BPF_ADD, 0xffffffff, 2, 1},
        {BPF_SUB, 1, 2, 0xffffffff},
        {BPF_MUL, 0x10000, 0x10001, 65536},
        {BPF_DIV, 7, 2, 3},
        {BPF_OR, 5, 2, 7},
        {BPF_AND, 7, 10, 2},
        {BPF_XOR, 7, 2, 5},
        {BPF_LSH, 1, 31, 1u << 31},
        {BPF_RSH, 1u << 31, 31, 1},
    };

    for (size_t i = 0; i < COUNT(sums); i++) {
        const struct sock_filter k[] = {STMT(BPF_LD | BPF_IMM, sums[i].a),
                                        STMT(BPF_ALU | sums[i].op | BPF_K, sums[i].b), RETURN_A};
        const struct sock_filter x[] = {STMT(BPF_LD | BPF_IMM, sums[i].a),
                                        STMT(BPF_LDX | BPF_IMM, sums[i].b),
                                        STMT(BPF_ALU | sums[i].op | BPF_X, 0), RETURN_A};

        cr_expect_eq(run(k, COUNT(k)), sums[i].want);
        cr_expect_eq(run(x, COUNT(x)), sums[i].want);
    }
    const struct sock_filter neg[] = {STMT(BPF_LD | BPF_IMM, 5), STMT(BPF_ALU | BPF_NEG, 0),
                                      RETURN_A};
    cr_expect_eq(run(neg, 3), (uint32_t)-5);
    const struct sock_filter by_zero[] = {STMT(BPF_LD | BPF_IMM, 5), STMT(BPF_LDX | BPF_IMM, 0),
                                          STMT(BPF_ALU | BPF_DIV | BPF_X, 0), ALLOW};
    cr_expect_eq(run(by_zero, 4), 0);
}

Test(bpf, jumps_and_remembers)
{
    const struct sock_filter p[] = {
        STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        STMT(BPF_ST, 3),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 39, 1, 0),
        STMT(BPF_RET | BPF_K, 1),
        STMT(BPF_LD | BPF_IMM, 0),
        STMT(BPF_LDX | BPF_MEM, 3),
        STMT(BPF_MISC | BPF_TXA, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 39, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 1),
        STMT(BPF_JMP | BPF_JA, 1),
        STMT(BPF_RET | BPF_K, 2),
        RETURN_A,
    };

    cr_expect_eq(run(p, COUNT(p)), 39);
}

Test(bpf, refuses)
{
    static const struct sock_filter one[][2] = {
        {STMT(BPF_LD | BPF_W | BPF_ABS, 2), ALLOW},
        {STMT(BPF_LD | BPF_W | BPF_ABS, 64), ALLOW},
        {STMT(BPF_LD | BPF_W | BPF_ABS, 0xfffffffc), ALLOW},
        {STMT(BPF_LD | BPF_B | BPF_ABS, 0), ALLOW},
        {STMT(BPF_LD | BPF_W | BPF_IND, 0), ALLOW},
        {STMT(BPF_LDX | BPF_B | BPF_MSH, 0), ALLOW},
        {STMT(BPF_ALU | BPF_MOD | BPF_K, 3), ALLOW},
        {STMT(BPF_ALU | BPF_DIV | BPF_K, 0), ALLOW},
        {STMT(BPF_ALU | BPF_LSH | BPF_K, 32), ALLOW},
        {STMT(BPF_ALU | BPF_RSH | BPF_K, 32), ALLOW},
        {STMT(BPF_ST, 16), ALLOW},
        {STMT(BPF_LD | BPF_MEM, 1), ALLOW},
        {STMT(BPF_JMP | BPF_JA, 1), ALLOW},
        {STMT(BPF_JMP | BPF_JA, 0xffffffff), ALLOW},
        {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), ALLOW},
        {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 255), ALLOW},
        {ALLOW, STMT(BPF_LD | BPF_IMM, 0)},
        {STMT(BPF_RET | BPF_X, 0), ALLOW},
        {STMT(0xffff, 0), ALLOW},
        {STMT(0x100 | BPF_LD | BPF_IMM, 0), ALLOW},
        {STMT(BPF_JMP | BPF_JA | BPF_X, 0), ALLOW},
    };

    for (size_t i = 0; i < COUNT(one); i++)
        cr_expect_eq(bpf_check(one[i], 2), -22, "program %zu", i);
    const struct sock_filter last = ALLOW;
    cr_expect_eq(bpf_check(&last, 0), -22);
    cr_expect_eq(bpf_check(&last, 1), 0);
}

/* A word that only one of two ways writes must not be read where they meet. */
Test(bpf, knows_what_was_written)
{
    struct sock_filter p[] = {
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        STMT(BPF_ST, 0),
        STMT(BPF_LD | BPF_MEM, 0),
        RETURN_A,
    };

    cr_expect_eq(bpf_check(p, 4), -22);
    p[0].jf = 0;
    cr_expect_eq(bpf_check(p, 4), 0);
}

/* Whatever passes the check runs to its end inside its bounds (the sanitizers look on). */
Test(bpf, random_programs_end)
{
    struct sock_filter p[16];
    unsigned passed = 0;

    srand(1);
    for (int round = 0; round < 300000; round++) {
        uint32_t count = (uint32_t)rand() % COUNT(p) + 1;

        for (uint32_t i = 0; i < count; i++) {
            p[i] = (struct sock_filter){.code = (uint16_t)(rand() & 0xff),
                                        .jt = (uint8_t)(rand() % 4),
                                        .jf = (uint8_t)(rand() % 4),
                                        .k = (uint32_t)rand() % 20 * (rand() % 2 ? 4 : 1)};
        }
        p[count - 1].code = BPF_RET | BPF_K;
        if (bpf_check(p, count) == 0) {
            bpf_run(p, &data);
            passed++;
        }
    }
    cr_expect_gt(passed, 1000);
}
