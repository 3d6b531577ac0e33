/*
 * The code that runs in the guest, interpreted: exactly the instructions that it is made of, and a
 * look at each whether the call could be recovered there.
 */
#ifndef TESTS_UNIT_RING0_MACHINE_H
#define TESTS_UNIT_RING0_MACHINE_H

#include <criterion/criterion.h>
#include <string.h>

#include "ring0/code.h"
#include "ring0/layout.h"

#define RETURN_ADDRESS 0x401234UL
#define STEPS_MAX      200
#define STACK_POINTER  0x7ffc0000UL
#define FLAGS          0x246UL
#define EXCHANGE       EXCHANGE_BASE /* the first one: not 0, though its lower half is */
#define ANSWER         0x1234567890UL

struct machine {
    const struct ring0_code *code;
    uint64_t rax, rcx, r11, rsp;
    uint64_t cs;
    bool zero;         /* ZF */
    uint32_t data[16]; /* struct fastpath_page */
    uint64_t ip;       /* offset in the code page */
    uint64_t served;
    bool returned, out;

    uint64_t exchange; /* what the data page says */
    struct exchange_page page;
    unsigned int looks; /* so often it looks before there is an answer; 0: there never is one */
};

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* Registers that the code only ever stores, by number. */
static uint64_t value_of(unsigned int reg)
{
    return 0x100 + reg;
}

static uint32_t data_word(struct machine *m, uint64_t next, const uint8_t *displacement)
{
    int32_t d;

    memcpy(&d, displacement, sizeof(d));
    next += (uint64_t)(int64_t)d;
    cr_assert(next >= RING0_AREA_DATA && next < RING0_AREA_DATA + sizeof(m->data));
    return m->data[(next - RING0_AREA_DATA) / 4];
}

static int32_t number_at(const uint8_t *p, size_t size)
{
    int32_t value = p[0] < 128 ? p[0] : p[0] - 256;

    if (size == 4)
        memcpy(&value, p, 4);
    return value;
}

static uint64_t *page_word(struct machine *m, uint64_t address, const uint8_t *displacement)
{
    uint64_t offset = address + (uint64_t)(int64_t)(int8_t)*displacement - EXCHANGE;

    /* A displacement of one byte reaches half of the page's registers. */
    cr_assert(offset < sizeof(m->page) && offset % 8 == 0, "at %#lx", m->ip);
    return (uint64_t *)((uint8_t *)&m->page + offset);
}

static bool is_code(const struct machine *m, const char *bytes, size_t size)
{
    return m->code == &ring3_code && memcmp(m->code->start + m->ip, bytes, size) == 0;
}

static void look_for_answer(struct machine *m)
{
    if (m->looks > 0 && --m->looks == 0) {
        m->page.rax = ANSWER;
        m->page.state = EXCHANGE_ANSWERED;
    }
}

static uint64_t register_value(const struct machine *m, unsigned int reg)
{
    return reg == RAX   ? m->rax
           : reg == RCX ? m->rcx
           : reg == R11 ? m->r11
           : reg == RSP ? m->rsp
                        : value_of(reg);
}

/* mov %reg, disp(%rcx), with a displacement of one byte or four. */
static bool step_save(struct machine *m)
{
    const uint8_t *p = m->code->start + m->ip;
    unsigned int reg;
    uint64_t offset;
    bool wide = (p[2] & 0xc7) == 0x81;

    if (m->code != &ring3_code || (p[0] & 0xfb) != 0x48 || p[1] != 0x89 ||
        ((p[2] & 0xc7) != 0x41 && !wide))
        return false;
    reg = (p[2] >> 3 & 7U) | (p[0] & 4U) << 1;
    offset = m->rcx + (uint64_t)(int64_t)number_at(p + 3, wide ? 4 : 1) - EXCHANGE;
    cr_assert(offset < sizeof(m->page) && offset % 8 == 0, "at %#lx", m->ip);
    *(uint64_t *)((uint8_t *)&m->page + offset) = register_value(m, reg);
    m->ip += wide ? 7 : 4;
    return true;
}

/* The instructions of the exchange. */
static bool step_exchange(struct machine *m)
{
    const uint8_t *p = m->code->start + m->ip;

    if (is_code(m, "\x49\x89\xcb", 3)) { /* mov %rcx, %r11 */
        m->r11 = m->rcx;
        m->ip += 3;
    } else if (is_code(m, "\x4c\x89\xd9", 3)) { /* mov %r11, %rcx */
        m->rcx = m->r11;
        m->ip += 3;
    } else if (is_code(m, "\x48\x8b\x0d", 3)) { /* mov data(%rip), %rcx */
        cr_assert_eq(m->ip + 7 + (uint64_t)(int64_t)number_at(p + 3, 4),
                     RING0_AREA_DATA + DATA_EXCHANGE);
        m->rcx = m->exchange;
        m->ip += 7;
    } else if (is_code(m, "\x48\x8d\x61", 3)) { /* lea disp(%rcx), %rsp */
        m->rsp = m->rcx + p[3];
        m->ip += 4;
    } else if (is_code(m, "\x9c", 1)) { /* pushfq */
        m->rsp -= 8;
        *page_word(m, m->rsp, (const uint8_t[]){0}) = FLAGS;
        m->ip += 1;
    } else if (is_code(m, "\x48\x8b\x61", 3)) { /* mov disp(%rcx), %rsp */
        m->rsp = *page_word(m, m->rcx, p + 3);
        m->ip += 4;
    } else if (is_code(m, "\xb9", 1)) { /* mov $n, %ecx */
        m->rcx = (uint32_t)number_at(p + 1, 4);
        m->ip += 5;
    } else if (is_code(m, "\x41\x89\x0b", 3)) { /* mov %ecx, (%r11) */
        m->page.state = (uint32_t)m->rcx;
        m->ip += 3;
    } else if (is_code(m, "\x41\x8b\x0b", 3)) { /* mov (%r11), %ecx */
        look_for_answer(m);
        m->rcx = m->page.state;
        m->ip += 3;
    } else if (is_code(m, "\xf3\x90", 2)) { /* pause */
        m->ip += 2;
    } else if (is_code(m, "\x48\x8d\x40\xff", 4)) { /* lea -1(%rax), %rax */
        m->rax--;
        m->ip += 4;
    } else if (is_code(m, "\x49\x8b\x43", 3)) { /* mov disp(%r11), %rax */
        m->rax = *page_word(m, m->r11, p + 3);
        m->ip += 4;
    } else if (is_code(m, "\x49\x8b\x4b", 3)) { /* mov disp(%r11), %rcx */
        m->rcx = *page_word(m, m->r11, p + 3);
        m->ip += 4;
    } else if (is_code(m, "\x4d\x8b\x5b", 3)) { /* mov disp(%r11), %r11 */
        m->r11 = *page_word(m, m->r11, p + 3);
        m->ip += 4;
    } else {
        return step_save(m);
    }
    return true;
}

/* A doubleword of the data page that ring 0 reads or writes, from its displacement. */
static uint32_t *ring0_word(struct machine *m, uint64_t next, const uint8_t *displacement)
{
    uint64_t offset = next + (uint64_t)(int64_t)number_at(displacement, 4) - RING0_AREA_DATA;

    offset -= DATA_EXCHANGE_PAGE;
    cr_assert(offset < sizeof(m->page) && offset % 4 == 0, "at %#lx", m->ip);
    return (uint32_t *)((uint8_t *)&m->page + offset);
}

static bool is_ring0(const struct machine *m, const char *bytes, size_t size)
{
    return m->code == &ring0_code && memcmp(m->code->start + m->ip, bytes, size) == 0;
}

static void jump_if(struct machine *m, bool condition)
{
    const uint8_t *p = m->code->start + m->ip;
    bool wide = p[0] == 0x0f;

    m->ip += wide ? 6 : 2;
    if (condition)
        m->ip += (uint64_t)(int64_t)(wide ? number_at(p + 2, 4) : number_at(p + 1, 1));
}

/* The instructions of the exchange in ring 0. */
static bool step_exchange_ring0(struct machine *m)
{
    const uint8_t *p = m->code->start + m->ip;

    if (is_ring0(m, "\x48\x83\x3d", 3)) { /* cmpq $0, data(%rip) */
        cr_assert_eq(m->ip + 8 + (uint64_t)(int64_t)number_at(p + 3, 4),
                     RING0_AREA_DATA + DATA_EXCHANGE);
        m->zero = m->exchange == 0;
        m->ip += 8;
    } else if (is_ring0(m, "\x83\x3d", 2)) { /* cmpl $0, data(%rip) */
        uint32_t *word = ring0_word(m, m->ip + 7, p + 2);

        if (word == &m->page.state)
            look_for_answer(m);
        m->zero = *word == 0;
        m->ip += 7;
    } else if (is_ring0(m, "\x74", 1) || is_ring0(m, "\x0f\x84", 2)) { /* je */
        jump_if(m, m->zero);
    } else if (is_ring0(m, "\x75", 1) || is_ring0(m, "\x0f\x85", 2)) { /* jne */
        jump_if(m, !m->zero);
    } else if (is_ring0(m, "\xc7\x05", 2)) { /* movl $n, data(%rip) */
        *ring0_word(m, m->ip + 10, p + 2) = (uint32_t)number_at(p + 6, 4);
        m->ip += 10;
    } else if (is_ring0(m, "\x0f\xae\xe8", 3)) { /* lfence */
        m->ip += 3;
    } else if (is_ring0(m, "\xff\xc8", 2)) { /* decl %eax */
        m->rax = (uint32_t)(m->rax - 1);
        m->zero = m->rax == 0;
        m->ip += 2;
    } else if (is_ring0(m, "\x48\x8b\x05", 3)) { /* mov data(%rip), %rax */
        memcpy(&m->rax, ring0_word(m, m->ip + 7, p + 3), sizeof(m->rax));
        m->ip += 7;
    } else if (m->code == &ring0_code && (p[0] & 0xfb) == 0x48 && p[1] == 0x89 &&
               (p[2] & 0xc7) == 0x05) { /* mov %reg, data(%rip) */
        uint64_t value = register_value(m, (p[2] >> 3 & 7U) | (p[0] & 4U) << 1);

        memcpy(ring0_word(m, m->ip + 7, p + 3), &value, sizeof(value));
        m->ip += 7;
    } else {
        return false;
    }
    return true;
}

/* Exactly the instructions that the entry is made of; anything else fails the test. */
static void step(struct machine *m)
{
    const uint8_t *p = m->code->start + m->ip;
    uint64_t swap;

    if (p[0] == 0x48 && p[1] == 0x91) { /* xchg %rax, %rcx */
        swap = m->rax;
        m->rax = m->rcx;
        m->rcx = swap;
        m->ip += 2;
    } else if (p[0] == 0x48 && p[1] == 0x8d && (p[2] == 0x49 || p[2] == 0x89)) { /* lea n(%rcx) */
        size_t size = p[2] == 0x49 ? 1 : 4;

        m->rcx += (uint64_t)(int64_t)number_at(p + 3, size);
        m->ip += 3 + size;
    } else if (p[0] == 0xe3) { /* jrcxz */
        m->ip += 2 + (m->rcx == 0 ? (uint64_t)(int64_t)(int8_t)p[1] : 0);
    } else if (p[0] == 0xeb || p[0] == 0xe9) { /* jmp */
        size_t size = p[0] == 0xeb ? 1 : 4;

        m->ip += 1 + size + (uint64_t)(int64_t)number_at(p + 1, size);
    } else if (p[0] == 0x8b && p[1] == 0x0d) { /* mov data(%rip), %ecx */
        m->rcx = data_word(m, m->ip + 6, p + 2);
        m->ip += 6;
    } else if (p[0] == 0x8b && p[1] == 0x05) { /* mov data(%rip), %eax */
        m->rax = data_word(m, m->ip + 6, p + 2);
        m->ip += 6;
    } else if (p[0] == 0x48 && p[1] == 0x89 && p[2] == 0xc1) { /* mov %rax, %rcx */
        m->rcx = m->rax;
        m->ip += 3;
    } else if (p[0] == 0xb8) { /* mov $n, %eax */
        m->rax = (uint32_t)number_at(p + 1, 4);
        m->ip += 5;
    } else if (p[0] == 0x8c && p[1] == 0xc9) { /* mov %cs, %ecx */
        m->rcx = m->cs;
        m->ip += 2;
    } else if (p[0] == 0x41 && p[1] == 0xf7 && p[2] == 0xc3 && m->code == &ring0_code) {
        m->zero = (m->r11 & (uint32_t)number_at(p + 3, 4)) == 0; /* test $n, %r11d */
        m->ip += 7;
    } else if (p[0] == 0xff && p[1] == 0xe1 && m->code == &ring3_code) { /* jmp *%rcx */
        m->returned = true;
    } else if (p[0] == 0x48 && p[1] == 0xff && p[2] == 0x05 && m->code == &ring0_code) {
        m->served++; /* incq data(%rip) */
        m->ip += 7;
    } else if (p[0] == 0x48 && p[1] == 0x0f && p[2] == 0x07 && m->code == &ring0_code) {
        m->returned = true;                            /* sysretq */
    } else if (p[0] == 0xe6 && p[1] == PORT_SYSCALL) { /* out %al, $port */
        m->out = true;
    } else if (!step_exchange(m) && !step_exchange_ring0(m)) {
        cr_assert_fail("unknown instruction %02x %02x at %#lx", p[0], p[1], m->ip);
    }
}

static struct machine start(const struct ring0_code *code, uint64_t number, bool enabled,
                            uint64_t cs)
{
    return (struct machine){
        .code = code,
        .rax = number,
        .rcx = RETURN_ADDRESS,
        .rsp = STACK_POINTER,
        .cs = cs,
        .data = {enabled, 1001, 1002, 1003, 1004, 1005, 1006, 1007},
    };
}

static void check_undo(const struct machine *m, uint64_t number)
{
    struct ring0_call call = {.rax = m->rax, .rcx = m->rcx, .r11 = m->r11, .rsp = m->rsp};
    struct exchange_page page = m->page;
    enum ring0_undone undone = ring0_undo(m->code, m->ip, m->exchange ? &page : NULL, &call);

    if (m->page.rax == ANSWER) {
        cr_assert_eq(undone, RING0_ANSWERED, "at %#lx", m->ip);
        return;
    }
    cr_assert_eq(undone, RING0_CALL, "no record for offset %#lx", m->ip);
    cr_assert_eq(call.number, number, "at %#lx: number %#lx, not %#lx", m->ip, call.number, number);
    cr_assert_eq(call.return_address, RETURN_ADDRESS, "at %#lx: returns to %#lx", m->ip,
                 call.return_address);
    cr_assert_eq(call.rsp, STACK_POINTER, "at %#lx: rsp %#lx", m->ip, call.rsp);
    cr_assert_eq(page.state, EXCHANGE_ANSWERED, "the post is taken back at %#lx", m->ip);
}

#endif
