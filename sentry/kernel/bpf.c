#include "sentry/kernel/bpf.h"

#include <errno.h>
#include <string.h>

#define WORD_BITS 32

/* Instructions that seccomp knows: all of classic BPF but packet access and modulo. */
static bool opcode_known(uint16_t code)
{
    switch (code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_ALU | BPF_NEG:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_JMP | BPF_JA:
        return true;
    default:
        break;
    }
    if (code & ~(BPF_CLASS(0xff) | BPF_OP(0xff) | BPF_SRC(0xff)))
        return false;
    switch (BPF_CLASS(code)) {
    case BPF_ALU:
        return BPF_OP(code) <= BPF_RSH || BPF_OP(code) == BPF_XOR;
    case BPF_JMP:
        return BPF_OP(code) >= BPF_JEQ && BPF_OP(code) <= BPF_JSET;
    default:
        return false;
    }
}

/* Of `left` instructions behind this one. */
static bool jump_ok(const struct sock_filter *insn, uint32_t left)
{
    if (insn->code == (BPF_JMP | BPF_JA))
        return insn->k < left;
    return insn->jt < left && insn->jf < left;
}

static bool operand_ok(const struct sock_filter *insn)
{
    switch (insn->code) {
    case BPF_LD | BPF_W | BPF_ABS:
        return insn->k % sizeof(uint32_t) == 0 && insn->k < sizeof(struct seccomp_data);
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
        return insn->k < BPF_MEMWORDS;
    case BPF_ALU | BPF_DIV | BPF_K:
        return insn->k != 0;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
        return insn->k < WORD_BITS;
    default:
        return true;
    }
}

/*
 * Words of the scratch memory are written before they are read, on every way that leads there.
 * `valid[pc]`: those that are written on all ways to pc that were seen so far.
 */
static bool memory_ok(const struct sock_filter *program, uint32_t count)
{
    uint16_t valid[BPF_PROGRAM_MAX], now = 0;

    memset(valid, 0xff, count * sizeof(valid[0]));
    for (uint32_t pc = 0; pc < count; pc++) {
        const struct sock_filter *insn = &program[pc];

        now &= valid[pc];
        switch (BPF_CLASS(insn->code)) {
        case BPF_ST:
        case BPF_STX:
            now |= (uint16_t)(1U << insn->k);
            break;
        case BPF_LD:
        case BPF_LDX:
            if (BPF_MODE(insn->code) == BPF_MEM && !(now >> insn->k & 1))
                return false;
            break;
        case BPF_JMP:
            if (insn->code == (BPF_JMP | BPF_JA)) {
                valid[pc + 1 + insn->k] &= now;
            } else {
                valid[pc + 1 + insn->jt] &= now;
                valid[pc + 1 + insn->jf] &= now;
            }
            now = 0xffff; /* whoever gets to the next one says so by its own jump */
            break;
        default:
            break;
        }
    }
    return true;
}

int bpf_check(const struct sock_filter *program, uint32_t count)
{
    if (count == 0 || count > BPF_PROGRAM_MAX)
        return -EINVAL;
    for (uint32_t pc = 0; pc < count; pc++) {
        const struct sock_filter *insn = &program[pc];

        if (!opcode_known(insn->code) || !operand_ok(insn))
            return -EINVAL;
        if (BPF_CLASS(insn->code) == BPF_JMP && !jump_ok(insn, count - 1 - pc))
            return -EINVAL;
    }
    if (BPF_CLASS(program[count - 1].code) != BPF_RET || !memory_ok(program, count))
        return -EINVAL;
    return 0;
}

static uint32_t load_word(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t word;

    memcpy(&word, (const char *)data + offset, sizeof(word));
    return word;
}

/* `*ret_end`: a division by zero ends the program with 0. */
static uint32_t calculate(uint16_t code, uint32_t a, uint32_t b, bool *ret_end)
{
    switch (BPF_OP(code)) {
    case BPF_ADD:
        return a + b;
    case BPF_SUB:
        return a - b;
    case BPF_MUL:
        return a * b;
    case BPF_DIV:
        *ret_end = b == 0;
        return b ? a / b : 0;
    case BPF_OR:
        return a | b;
    case BPF_AND:
        return a & b;
    case BPF_XOR:
        return a ^ b;
    case BPF_LSH:
        return a << (b % WORD_BITS);
    case BPF_RSH:
        return a >> (b % WORD_BITS);
    default: /* BPF_NEG */
        return -a;
    }
}

static bool compare(uint16_t code, uint32_t a, uint32_t b)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ:
        return a == b;
    case BPF_JGT:
        return a > b;
    case BPF_JGE:
        return a >= b;
    default: /* BPF_JSET */
        return a & b;
    }
}

static uint32_t load(const struct sock_filter *insn, const struct seccomp_data *data,
                     const uint32_t *memory)
{
    switch (BPF_MODE(insn->code)) {
    case BPF_ABS:
        return load_word(data, insn->k);
    case BPF_LEN:
        return sizeof(*data);
    case BPF_MEM:
        return memory[insn->k];
    default: /* BPF_IMM */
        return insn->k;
    }
}

uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *data)
{
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    bool end = false;

    for (const struct sock_filter *insn = program; !end; insn++) {
        uint32_t operand = BPF_SRC(insn->code) == BPF_X ? x : insn->k;

        switch (BPF_CLASS(insn->code)) {
        case BPF_LD:
            a = load(insn, data, memory);
            break;
        case BPF_LDX:
            x = load(insn, data, memory);
            break;
        case BPF_ST:
            memory[insn->k] = a;
            break;
        case BPF_STX:
            memory[insn->k] = x;
            break;
        case BPF_ALU:
            a = calculate(insn->code, a, operand, &end);
            break;
        case BPF_JMP:
            if (BPF_OP(insn->code) == BPF_JA)
                insn += insn->k;
            else
                insn += compare(insn->code, a, operand) ? insn->jt : insn->jf;
            break;
        case BPF_RET:
            return BPF_RVAL(insn->code) == BPF_A ? a : insn->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(insn->code) == BPF_TAX)
                x = a;
            else
                a = x;
            break;
        }
    }
    return 0;
}
