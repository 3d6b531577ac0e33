/*
 * A decoder for one question: does this instruction write to memory? (SDM vol. 2, appendix A.)
 *
 * Rules are looked up by opcode map and opcode; an opcode without a rule reads. Where one
 * instruction both reads and writes memory at two places, the address decides.
 */
#include "platform/ptrace/access.h"

enum map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };

enum kind {
    RM,      /* the ModRM operand, when it is memory and ModRM.reg is in `regs` */
    PUSH,    /* below the stack pointer; nothing else is accessed */
    RM_PUSH, /* reads the ModRM operand, writes below the stack pointer */
    POP_RM,  /* reads at the stack pointer, writes the ModRM operand */
    STORE,   /* one operand without ModRM */
    MOVE,    /* from one string to another, at rdi */
};

#define ALL        0xff
#define REG(n)     (1u << (n))
#define REGS_FPU   (REG(2) | REG(3) | REG(6) | REG(7))
#define REGS_FISTP (REG(1) | REG(2) | REG(3))

#define PREFIX_66  1u
#define PREFIX_F2  2u
#define PREFIX_F3  4u
#define PLAIN      8u /* neither VEX nor EVEX */
#define VECTOR     16u

struct rule {
    enum map map;
    uint8_t first, last;
    enum kind kind;
    uint8_t regs;
    uint8_t without; /* does not hold with one of these */
};

static const struct rule rules[] = {
    {MAP_ONE, 0x00, 0x01, RM, ALL, 0},
    {MAP_ONE, 0x08, 0x09, RM, ALL, 0},
    {MAP_ONE, 0x10, 0x11, RM, ALL, 0},
    {MAP_ONE, 0x18, 0x19, RM, ALL, 0},
    {MAP_ONE, 0x20, 0x21, RM, ALL, 0},
    {MAP_ONE, 0x28, 0x29, RM, ALL, 0},
    {MAP_ONE, 0x30, 0x31, RM, ALL, 0},
    {MAP_ONE, 0x50, 0x57, PUSH, ALL, 0},
    {MAP_ONE, 0x68, 0x68, PUSH, ALL, 0},
    {MAP_ONE, 0x6a, 0x6a, PUSH, ALL, 0},
    {MAP_ONE, 0x80, 0x83, RM, ALL & ~REG(7), 0}, /* not cmp */
    {MAP_ONE, 0x86, 0x89, RM, ALL, 0},           /* xchg, mov */
    {MAP_ONE, 0x8c, 0x8c, RM, ALL, 0},
    {MAP_ONE, 0x8f, 0x8f, POP_RM, REG(0), 0},
    {MAP_ONE, 0x9c, 0x9c, PUSH, ALL, 0},
    {MAP_ONE, 0xa2, 0xa3, STORE, ALL, 0},
    {MAP_ONE, 0xa4, 0xa5, MOVE, ALL, 0},
    {MAP_ONE, 0xaa, 0xab, STORE, ALL, 0},
    {MAP_ONE, 0xc0, 0xc1, RM, ALL, 0}, /* shifts */
    {MAP_ONE, 0xc6, 0xc7, RM, REG(0), 0},
    {MAP_ONE, 0xc8, 0xc8, PUSH, ALL, 0}, /* enter */
    {MAP_ONE, 0xd0, 0xd3, RM, ALL, 0},
    {MAP_ONE, 0xd9, 0xd9, RM, REGS_FPU, 0},
    {MAP_ONE, 0xdb, 0xdb, RM, REGS_FISTP | REG(7), 0},
    {MAP_ONE, 0xdd, 0xdd, RM, REGS_FPU | REG(1), 0},
    {MAP_ONE, 0xdf, 0xdf, RM, REGS_FPU | REG(1), 0},
    {MAP_ONE, 0xe8, 0xe8, PUSH, ALL, 0},
    {MAP_ONE, 0xf6, 0xf7, RM, REG(2) | REG(3), 0}, /* not, neg */
    {MAP_ONE, 0xfe, 0xfe, RM, REG(0) | REG(1), 0},
    {MAP_ONE, 0xff, 0xff, RM, REG(0) | REG(1), 0},
    {MAP_ONE, 0xff, 0xff, RM_PUSH, REG(2) | REG(6), 0}, /* call, push */
    {MAP_0F, 0x11, 0x11, RM, ALL, 0},                   /* movups and its like */
    {MAP_0F, 0x13, 0x13, RM, ALL, 0},
    {MAP_0F, 0x17, 0x17, RM, ALL, 0},
    {MAP_0F, 0x29, 0x29, RM, ALL, 0},
    {MAP_0F, 0x2b, 0x2b, RM, ALL, 0},
    {MAP_0F, 0x7e, 0x7e, RM, ALL, PREFIX_F3}, /* movd; with F3 movq, a load */
    {MAP_0F, 0x7f, 0x7f, RM, ALL, 0},
    {MAP_0F, 0x90, 0x9f, RM, ALL, VECTOR}, /* setcc; with VEX mask registers' moves */
    {MAP_0F, 0x91, 0x91, RM, ALL, PLAIN},
    {MAP_0F, 0xa0, 0xa0, PUSH, ALL, 0},
    {MAP_0F, 0xa4, 0xa5, RM, ALL, 0}, /* shld, shrd */
    {MAP_0F, 0xa8, 0xa8, PUSH, ALL, 0},
    {MAP_0F, 0xab, 0xad, RM, ALL, 0}, /* bts */
    {MAP_0F, 0xae, 0xae, RM, REG(0) | REG(3) | REG(4), 0},
    {MAP_0F, 0xae, 0xae, RM, REG(6), PREFIX_66}, /* xsaveopt; with 66 clwb */
    {MAP_0F, 0xb0, 0xb1, RM, ALL, 0},            /* cmpxchg */
    {MAP_0F, 0xb3, 0xb3, RM, ALL, 0},
    {MAP_0F, 0xba, 0xba, RM, REG(5) | REG(6) | REG(7), 0},
    {MAP_0F, 0xbb, 0xbb, RM, ALL, 0},
    {MAP_0F, 0xc0, 0xc1, RM, ALL, 0}, /* xadd */
    {MAP_0F, 0xc3, 0xc3, RM, ALL, 0}, /* movnti */
    {MAP_0F, 0xc7, 0xc7, RM, REG(1) | REG(4), 0},
    {MAP_0F, 0xd6, 0xd6, RM, ALL, 0},
    {MAP_0F, 0xe7, 0xe7, RM, ALL, 0},
    {MAP_0F38, 0x2e, 0x2f, RM, ALL, PLAIN}, /* vmaskmov */
    {MAP_0F38, 0x63, 0x63, RM, ALL, PLAIN}, /* vpcompressb */
    {MAP_0F38, 0x8a, 0x8b, RM, ALL, PLAIN},
    {MAP_0F38, 0x8e, 0x8e, RM, ALL, PLAIN},
    {MAP_0F38, 0xa0, 0xa3, RM, ALL, PLAIN},     /* scatter */
    {MAP_0F38, 0xf1, 0xf1, RM, ALL, PREFIX_F2}, /* movbe; with F2 crc32 */
    {MAP_0F38, 0xf9, 0xf9, RM, ALL, 0},         /* movdiri */
    {MAP_0F3A, 0x14, 0x17, RM, ALL, 0},         /* pextr */
    {MAP_0F3A, 0x19, 0x19, RM, ALL, PLAIN},     /* vextractf128 */
    {MAP_0F3A, 0x1b, 0x1b, RM, ALL, PLAIN},
    {MAP_0F3A, 0x1d, 0x1d, RM, ALL, PLAIN},
    {MAP_0F3A, 0x39, 0x39, RM, ALL, PLAIN},
    {MAP_0F3A, 0x3b, 0x3b, RM, ALL, PLAIN},
};

struct insn {
    enum map map;
    uint8_t opcode, modrm;
    uint8_t marks; /* PREFIX_*, PLAIN or VECTOR */
};

static uint8_t prefix_mark(uint8_t byte)
{
    switch (byte) {
    case 0x66:
        return PREFIX_66;
    case 0xf2:
        return PREFIX_F2;
    case 0xf3:
        return PREFIX_F3;
    default:
        return 0;
    }
}

static bool is_prefix(uint8_t byte)
{
    return prefix_mark(byte) || byte == 0x67 || byte == 0xf0 || byte == 0x2e || byte == 0x36 ||
           byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65;
}

/* The pp field of VEX and EVEX. */
static uint8_t implied_prefix(uint8_t pp)
{
    static const uint8_t marks[] = {0, PREFIX_66, PREFIX_F3, PREFIX_F2};

    return marks[pp & 3];
}

static bool map_by_number(uint8_t number, enum map *ret_map)
{
    *ret_map = (enum map)number;
    return number >= MAP_0F && number <= MAP_0F3A;
}

/* Reads past VEX or EVEX: false when it is neither, or of a map we do not know. */
static bool decode_vector(const uint8_t *code, size_t *at, struct insn *insn)
{
    size_t i = *at;

    insn->marks = VECTOR;
    switch (code[i]) {
    case 0xc5:
        insn->map = MAP_0F;
        insn->marks |= implied_prefix(code[i + 1]);
        *at = i + 2;
        return true;
    case 0xc4:
        insn->marks |= implied_prefix(code[i + 2]);
        *at = i + 3;
        return map_by_number(code[i + 1] & 0x1f, &insn->map);
    case 0x62:
        insn->marks |= implied_prefix(code[i + 2]);
        *at = i + 4;
        return map_by_number(code[i + 1] & 7, &insn->map);
    default:
        return false;
    }
}

static bool decode(const uint8_t *code, struct insn *insn)
{
    size_t at = 0;

    *insn = (struct insn){.map = MAP_ONE, .marks = PLAIN};
    while (at < 3 && is_prefix(code[at]))
        insn->marks |= prefix_mark(code[at++]);
    if (code[at] == 0xc4 || code[at] == 0xc5 || code[at] == 0x62) {
        if (!decode_vector(code, &at, insn))
            return false;
    } else {
        if ((code[at] & 0xf0) == 0x40) /* REX */
            at++;
        if (code[at] == 0x0f) {
            at++;
            insn->map = MAP_0F;
            if (code[at] == 0x38 || code[at] == 0x3a)
                insn->map = code[at++] == 0x38 ? MAP_0F38 : MAP_0F3A;
        }
    }
    if (at + 1 >= ACCESS_CODE_SIZE)
        return false;
    insn->opcode = code[at];
    insn->modrm = code[at + 1];
    return true;
}

static bool is_in(uaddr_t addr, uaddr_t start, uint64_t size)
{
    return addr - start < size;
}

static bool rule_writes(const struct rule *rule, const struct insn *insn,
                        const struct cpu_regs *regs, uaddr_t addr)
{
    bool selected = rule->regs >> (insn->modrm >> 3 & 7) & 1;
    bool memory = insn->modrm >> 6 != 3;

    switch (rule->kind) {
    case RM:
        return selected && memory;
    case RM_PUSH:
        return selected && is_in(addr, regs->rsp - 8, 8);
    case POP_RM:
        return selected && memory && !is_in(addr, regs->rsp, 8);
    case MOVE:
        return is_in(addr, regs->rdi, 8);
    case PUSH:
    case STORE:
        return true;
    }
    return false;
}

bool access_is_write(const uint8_t code[ACCESS_CODE_SIZE], const struct cpu_regs *regs,
                     uaddr_t addr)
{
    struct insn insn;

    if (!decode(code, &insn))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        const struct rule *rule = &rules[i];

        if (rule->map == insn.map && insn.opcode >= rule->first && insn.opcode <= rule->last &&
            !(rule->without & insn.marks) && rule_writes(rule, &insn, regs, addr))
            return true;
    }
    return false;
}
