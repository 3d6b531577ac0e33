#include "base/bpf.h"

#include <errno.h>
#include <string.h>

#define WORD_BITS 32

/* What a program reads: a call, or a packet. */
struct bpf_input {
    const struct seccomp_data *call; /* NULL: a packet */
    const struct bpf_packet *packet;
};

/* Instructions that seccomp and sockets both know. */
static bool opcode_shared(uint16_t code)
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

/* Modulo, and loads that seccomp has not. */
static bool opcode_of_packets(uint16_t code)
{
    switch (code) {
    case BPF_LD | BPF_H | BPF_ABS:
    case BPF_LD | BPF_B | BPF_ABS:
    case BPF_LD | BPF_W | BPF_IND:
    case BPF_LD | BPF_H | BPF_IND:
    case BPF_LD | BPF_B | BPF_IND:
    case BPF_LDX | BPF_B | BPF_MSH:
    case BPF_ALU | BPF_MOD | BPF_K:
    case BPF_ALU | BPF_MOD | BPF_X:
        return true;
    default:
        return opcode_shared(code);
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
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
        return insn->k < BPF_MEMWORDS;
    case BPF_ALU | BPF_DIV | BPF_K:
    case BPF_ALU | BPF_MOD | BPF_K:
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

/* Words of a call; the ancillary data of packets that there are. */
static bool load_ok(const struct sock_filter *insn, bool packets)
{
    uint32_t offset = insn->k - (uint32_t)SKF_AD_OFF;

    if (BPF_CLASS(insn->code) != BPF_LD || BPF_MODE(insn->code) != BPF_ABS)
        return true;
    if (!packets)
        return insn->k % sizeof(uint32_t) == 0 && insn->k < sizeof(struct seccomp_data);
    return insn->k < (uint32_t)SKF_AD_OFF || (offset % 4 == 0 && offset <= SKF_AD_VLAN_TPID);
}

static int check(const struct sock_filter *program, uint32_t count, bool packets)
{
    if (count == 0 || count > BPF_PROGRAM_MAX)
        return -EINVAL;
    for (uint32_t pc = 0; pc < count; pc++) {
        const struct sock_filter *insn = &program[pc];
        bool known = packets ? opcode_of_packets(insn->code) : opcode_shared(insn->code);

        if (!known || !operand_ok(insn) || !load_ok(insn, packets))
            return -EINVAL;
        if (BPF_CLASS(insn->code) == BPF_JMP && !jump_ok(insn, count - 1 - pc))
            return -EINVAL;
    }
    if (BPF_CLASS(program[count - 1].code) != BPF_RET || !memory_ok(program, count))
        return -EINVAL;
    return 0;
}

int bpf_check(const struct sock_filter *program, uint32_t count)
{
    return check(program, count, false);
}

int bpf_check_packet(const struct sock_filter *program, uint32_t count)
{
    return check(program, count, true);
}

/* ---- loads ------------------------------------------------------------------------------------
 */

/* Where `size` bytes at this offset are; NULL: not all of them are there. */
static const uint8_t *find_bytes(const struct bpf_packet *p, uint32_t offset, uint32_t size)
{
    uint64_t end = (uint64_t)p->data + p->size, at;

    if (offset >= (uint32_t)SKF_AD_OFF)
        return NULL;
    if (offset >= (uint32_t)SKF_NET_OFF)
        at = (uint64_t)p->network + (offset - (uint32_t)SKF_NET_OFF);
    else if (offset >= (uint32_t)SKF_LL_OFF)
        at = offset - (uint32_t)SKF_LL_OFF;
    else
        at = (uint64_t)p->data + offset;
    return at + size <= end ? p->bytes + at : NULL;
}

/* SKF_AD_NLATTR: where behind `from` there is an attribute of this type; 0: nowhere. */
static uint32_t find_attribute(const struct bpf_packet *p, uint64_t from, uint32_t type)
{
    while (from + 4 <= p->size) {
        const uint8_t *at = p->bytes + p->data + from;
        uint16_t length, kind;

        memcpy(&length, at, sizeof(length));
        memcpy(&kind, at + 2, sizeof(kind));
        if (length < 4 || from + length > p->size)
            return 0;
        if ((kind & 0x3fffU) == type)
            return (uint32_t)from;
        from += (length + 3U) & ~3U;
    }
    return 0;
}

static uint32_t load_ancillary(const struct bpf_packet *p, uint32_t what, uint32_t a, uint32_t x)
{
    switch (what) {
    case SKF_AD_PROTOCOL:
        return p->protocol;
    case SKF_AD_PKTTYPE:
        return p->kind;
    case SKF_AD_IFINDEX:
        return p->interface;
    case SKF_AD_NLATTR:
        return find_attribute(p, a, x);
    case SKF_AD_NLATTR_NEST: /* in the attribute at `a` */
        return a + 4ULL <= p->size ? find_attribute(p, a + 4ULL, x) : 0;
    case SKF_AD_MARK:
        return p->mark;
    case SKF_AD_HATYPE:
        return p->hardware_type;
    case SKF_AD_CPU:
        return p->cpu;
    case SKF_AD_ALU_XOR_X:
        return a ^ x;
    case SKF_AD_PAY_OFFSET:
        return p->payload;
    case SKF_AD_RANDOM:
        return p->random;
    default: /* hash, queue, and VLANs, of which there are none */
        return 0;
    }
}

/* `*ret_end`: what is wanted is not in the packet. */
static uint32_t load_packet(const struct sock_filter *insn, const struct bpf_packet *p, uint32_t a,
                            uint32_t x, bool *ret_end)
{
    uint32_t size = BPF_SIZE(insn->code) == BPF_W ? 4 : BPF_SIZE(insn->code) == BPF_H ? 2 : 1;
    uint32_t offset = insn->k, value = 0;
    const uint8_t *at;

    if (BPF_MODE(insn->code) == BPF_ABS && offset >= (uint32_t)SKF_AD_OFF)
        return load_ancillary(p, offset - (uint32_t)SKF_AD_OFF, a, x);
    if (BPF_MODE(insn->code) == BPF_IND)
        offset += x;
    at = find_bytes(p, offset, size);
    *ret_end = at == NULL;
    for (uint32_t i = 0; at && i < size; i++)
        value = value << 8 | at[i];
    /* BPF_MSH: four times the low half of a byte, the size of an IP header. */
    return BPF_MODE(insn->code) == BPF_MSH ? (value & 15) * 4 : value;
}

static uint32_t load_call(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t word;

    memcpy(&word, (const char *)data + offset, sizeof(word));
    return word;
}

static uint32_t load(const struct sock_filter *insn, const struct bpf_input *in, uint32_t a,
                     uint32_t x, const uint32_t *memory, bool *ret_end)
{
    switch (BPF_MODE(insn->code)) {
    case BPF_ABS:
    case BPF_IND:
    case BPF_MSH:
        return in->call ? load_call(in->call, insn->k)
                        : load_packet(insn, in->packet, a, x, ret_end);
    case BPF_LEN:
        return in->call ? (uint32_t)sizeof(*in->call) : in->packet->size;
    case BPF_MEM:
        return memory[insn->k];
    default: /* BPF_IMM */
        return insn->k;
    }
}

/* ---- running ----------------------------------------------------------------------------------
 */

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
    case BPF_MOD:
        *ret_end = b == 0;
        return b ? a % b : 0;
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

static uint32_t run(const struct sock_filter *program, const struct bpf_input *in)
{
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    bool end = false;

    for (const struct sock_filter *insn = program; !end; insn++) {
        uint32_t operand = BPF_SRC(insn->code) == BPF_X ? x : insn->k;

        switch (BPF_CLASS(insn->code)) {
        case BPF_LD:
            a = load(insn, in, a, x, memory, &end);
            break;
        case BPF_LDX:
            x = load(insn, in, a, x, memory, &end);
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

uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *data)
{
    return run(program, &(struct bpf_input){.call = data});
}

uint32_t bpf_run_packet(const struct sock_filter *program, const struct bpf_packet *packet)
{
    return run(program, &(struct bpf_input){.packet = packet});
}
