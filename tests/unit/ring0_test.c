/*
 * Ring 0's tables, and the code that runs in the guest, interpreted here: each instruction of the
 * fast path may be the last one before an interrupt, so after each of them the system call must be
 * recoverable.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "ring0/code.h"
#include "ring0/layout.h"
#include "ring0/tables.h"

#define RETURN_ADDRESS 0x401234UL
#define STEPS_MAX      200
#define STACK_POINTER  0x7ffc0000UL
#define FLAGS          0x246UL
#define EXCHANGE       0xffffff7f00001000UL /* wherever: the code takes it from its data page */
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
    int32_t value = (int8_t)p[0];

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
    m->rcx = m->page.state;
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
    *(uint64_t *)((uint8_t *)&m->page + offset) = reg == RAX   ? m->rax
                                                  : reg == R11 ? m->r11
                                                  : reg == RSP ? m->rsp
                                                               : value_of(reg);
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
    } else if (p[0] == 0x75 && m->code == &ring0_code) { /* jnz */
        m->ip += 2 + (m->zero ? 0 : (uint64_t)(int64_t)(int8_t)p[1]);
    } else if (p[0] == 0xff && p[1] == 0xe1 && m->code == &ring3_code) { /* jmp *%rcx */
        m->returned = true;
    } else if (p[0] == 0x48 && p[1] == 0xff && p[2] == 0x05 && m->code == &ring0_code) {
        m->served++; /* incq data(%rip) */
        m->ip += 7;
    } else if (p[0] == 0x48 && p[1] == 0x0f && p[2] == 0x07 && m->code == &ring0_code) {
        m->returned = true;                            /* sysretq */
    } else if (p[0] == 0xe6 && p[1] == PORT_SYSCALL) { /* out %al, $port */
        m->out = true;
    } else if (!step_exchange(m)) {
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

/* What call `number` answers, or 0 when it left the guest with everything as it was. */
static uint64_t run_in(const struct ring0_code *code, uint64_t number, bool enabled, uint64_t cs)
{
    struct machine m = start(code, number, enabled, cs);

    for (int steps = 0; steps < STEPS_MAX; steps++) {
        check_undo(&m, number);
        step(&m);
        if (m.returned) {
            cr_assert_eq(m.rcx, RETURN_ADDRESS);
            cr_assert_eq(m.served, code == &ring0_code);
            return m.rax;
        }
        if (m.out) {
            cr_assert_eq(m.ip, CODE_OUT);
            cr_assert_eq(m.rax, number);
            cr_assert_eq(m.rcx, RETURN_ADDRESS);
            return 0;
        }
    }
    cr_assert_fail("call %#lx never ends", number);
    return 0;
}

/* In ring 0 a call that is single-stepped leaves the guest: sysretq would trap too early. */
Test(fastpath, single_steps_leave_ring0)
{
    struct machine m = start(&ring0_code, 39, true, SELECTOR_KERNEL_CS);

    m.r11 = 0x346; /* with TF */
    for (int steps = 0; steps < STEPS_MAX && !m.out && !m.returned; steps++) {
        check_undo(&m, 39);
        step(&m);
    }
    cr_assert(m.out);
    cr_assert_eq(m.rax, 39);
    cr_assert_eq(m.rcx, RETURN_ADDRESS);
}

/* The same in ring 3 and in ring 0. */
static uint64_t run(uint64_t number, bool enabled, uint64_t cs)
{
    uint64_t answer = run_in(&ring3_code, number, enabled, cs);

    if (cs == SELECTOR_USER_CS)
        cr_assert_eq(run_in(&ring0_code, number, enabled, SELECTOR_KERNEL_CS), answer);
    return answer;
}

static const struct {
    uint64_t number, answer;
} pure_calls[] = {{39, 1001},  {186, 1002}, {110, 1003}, {102, 1004},
                  {107, 1005}, {104, 1006}, {108, 1007}};

Test(fastpath, pure_calls_are_answered)
{
    for (size_t i = 0; i < ARRAY_COUNT(pure_calls); i++) {
        cr_assert_eq(run(pure_calls[i].number, true, SELECTOR_USER_CS), pure_calls[i].answer);
        cr_assert(ring0_serves(pure_calls[i].number));
    }
}

Test(fastpath, other_calls_and_odd_numbers_leave)
{
    static const uint64_t odd[] = {1UL << 32 | 39, ~0UL, (uint64_t)-39, 1UL << 63, 0x80000027};

    for (uint64_t number = 0; number < 600; number++) {
        bool pure = false;

        for (size_t i = 0; i < ARRAY_COUNT(pure_calls); i++)
            pure = pure || pure_calls[i].number == number;
        cr_assert_eq(ring0_serves(number), pure);
        if (!pure)
            cr_assert_eq(run(number, true, SELECTOR_USER_CS), 0, "call %lu", number);
    }
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++)
        cr_assert_eq(run(odd[i], true, SELECTOR_USER_CS), 0, "call %#lx", odd[i]);
}

Test(fastpath, nothing_is_answered_when_switched_off_or_in_ring_0)
{
    for (size_t i = 0; i < ARRAY_COUNT(pure_calls); i++) {
        cr_assert_eq(run(pure_calls[i].number, false, SELECTOR_USER_CS), 0);
        cr_assert_eq(run(pure_calls[i].number, true, SELECTOR_KERNEL_CS), 0);
    }
}

/* ---- handing over -------------------------------------------------------------------------- */

static struct machine hand_over(uint64_t number, uint64_t cs, unsigned int looks)
{
    struct machine m = start(&ring3_code, number, true, cs);

    m.exchange = EXCHANGE;
    m.looks = looks;
    for (int steps = 0; steps < 10 * EXCHANGE_LOOKS && !m.returned && !m.out; steps++) {
        check_undo(&m, number);
        step(&m);
    }
    cr_assert(m.returned || m.out);
    cr_assert_eq(m.rcx, RETURN_ADDRESS);
    cr_assert_eq(m.rsp, STACK_POINTER);
    return m;
}

Test(exchange, an_answer_leads_back_to_the_program)
{
    const unsigned int looks[] = {1, 2, 17, EXCHANGE_LOOKS};

    for (size_t i = 0; i < ARRAY_COUNT(looks); i++) {
        struct machine m = hand_over(0, SELECTOR_USER_CS, looks[i]);

        cr_assert(m.returned);
        cr_assert_eq(m.rax, ANSWER);
        cr_assert_eq(m.r11, FLAGS);
    }
}

Test(exchange, all_registers_are_handed_over)
{
    struct machine m = hand_over(0, SELECTOR_USER_CS, 0);
    const struct exchange_page *p = &m.page;

    cr_assert(m.out, "nobody answers");
    cr_assert_eq(m.ip, CODE_GAVE_UP);
    cr_assert_eq(m.rax, 0);
    cr_assert_eq(p->state, EXCHANGE_POSTED);
    cr_assert_eq(p->rax, 0);
    cr_assert_eq(p->rip, RETURN_ADDRESS);
    cr_assert_eq(p->rflags, FLAGS);
    cr_assert_eq(p->rsp, STACK_POINTER);
    cr_assert(p->rbx == value_of(RBX) && p->rdx == value_of(RDX) && p->rsi == value_of(RSI));
    cr_assert(p->rdi == value_of(RDI) && p->rbp == value_of(RBP) && p->r8 == value_of(R8));
    cr_assert(p->r9 == value_of(R9) && p->r10 == value_of(R10) && p->r12 == value_of(R12));
    cr_assert(p->r13 == value_of(R13) && p->r14 == value_of(R14) && p->r15 == value_of(R15));
}

Test(exchange, pure_calls_are_not_handed_over)
{
    struct machine m = hand_over(39, SELECTOR_USER_CS, 1);

    cr_assert_eq(m.rax, 1001);
    cr_assert_eq(m.page.rip, 0);
}

Test(exchange, ring_0_and_places_reached_by_a_jump_hand_nothing_over)
{
    struct machine m = hand_over(0, SELECTOR_KERNEL_CS, 1);
    struct ring0_call call = {0};

    cr_assert(m.out);
    cr_assert_eq(m.ip, CODE_OUT);
    cr_assert_eq(m.page.rip, 0);
    for (uint64_t offset = CODE_GAVE_UP; offset < PAGE_SIZE; offset++) {
        enum ring0_undone undone = ring0_undo(&ring3_code, offset, NULL, &call);

        cr_assert_neq(undone, RING0_ANSWERED, "without a page, at %#lx", offset);
    }
}

Test(code, both_pages_hold_what_the_layout_says)
{
    const struct ring0_code *const pages[] = {&ring0_code, &ring3_code};

    for (size_t i = 0; i < ARRAY_COUNT(pages); i++) {
        cr_assert_leq((size_t)(pages[i]->end - pages[i]->start), PAGE_SIZE);
        for (size_t v = 0; v < CODE_STUB_COUNT; v++) {
            const uint8_t *stub = pages[i]->start + CODE_STUBS + v * CODE_STUB_SIZE;

            cr_assert(stub[0] == 0xe6 && stub[1] == PORT_EXCEPTION, "stub %zu", v);
        }
        cr_assert_eq(pages[i]->start[CODE_PAGE_FAULT], 0x50, "push %%rax");
    }
    cr_assert_eq(memcmp(ring0_code.start + CODE_SYSRET, "\x48\x0f\x07", 3), 0);
    cr_assert_eq(memcmp(ring0_code.start + CODE_IRET, "\x48\xcf", 2), 0);
}

Test(tables, the_tss_is_where_its_descriptor_says)
{
    static uint8_t page[PAGE_SIZE];
    const uint64_t area = RING0_AREAS + 5 * RING0_AREA_SIZE;
    const struct ring0_tss *tss = (const struct ring0_tss *)(page + TABLES_TSS);
    uint64_t gdt[GDT_ENTRY_COUNT], low, high, base;

    ring0_fill_tables(page, area, TSS_LIMIT_WITH_PORTS);
    memcpy(gdt, page + TABLES_GDT, sizeof(gdt));
    low = gdt[SELECTOR_TSS / 8];
    high = gdt[SELECTOR_TSS / 8 + 1];
    base = (low >> 16 & 0xffffff) | (low >> 56) << 24 | high << 32;
    cr_assert_eq(base, area + RING0_AREA_TABLES + TABLES_TSS);
    cr_assert_eq(low & 0xffff, TSS_LIMIT_WITH_PORTS);
    cr_assert_eq(tss->rsp[0], area + RING0_AREA_STACK + STACK_RSP0_TOP);
    cr_assert_eq(tss->rsp[0] % 16, 0, "frames are aligned by the CPU only below this");
    cr_assert_eq(gdt[SELECTOR_USER_CS / 8] >> 45 & 3, 3, "ring 3");
    cr_assert_eq(gdt[SELECTOR_KERNEL_CS / 8] >> 45 & 3, 0);
}

Test(tables, only_our_ports_are_open)
{
    static uint8_t page[PAGE_SIZE];
    const uint8_t *bitmap = page + TABLES_IO_BITMAP;

    ring0_fill_tables(page, RING0_AREAS, TSS_LIMIT_WITH_PORTS);
    for (unsigned int port = 0; port < 32; port++) {
        bool open = !(bitmap[port / 8] >> port % 8 & 1);

        cr_assert_eq(open, port == PORT_SYSCALL || port == PORT_PROBE, "port %u", port);
    }
    cr_assert_leq(TSS_LIMIT_WITHOUT_PORTS, TABLES_IO_BITMAP - 1);
}

Test(tables, gates_lead_to_the_stubs)
{
    static uint64_t idt[PAGE_SIZE / 8];
    const uint64_t code = RING0_AREAS + RING0_AREA_CODE;

    ring0_fill_idt(idt, code, CODE_PAGE_FAULT);
    for (unsigned int v = 0; v < CODE_STUB_COUNT; v++) {
        uint64_t low = idt[2 * v], high = idt[2 * v + 1];
        uint64_t target = (low & 0xffff) | (low >> 48) << 16 | high << 32;
        uint64_t want = v == 14 ? CODE_PAGE_FAULT : CODE_STUBS + v * CODE_STUB_SIZE;

        cr_assert_eq(target, code + want, "vector %u", v);
        cr_assert_eq(low >> 16 & 0xffff, SELECTOR_KERNEL_CS);
        cr_assert_eq(low >> 45 & 3, v == 3 || v == 4 ? 3 : 0, "who may use vector %u", v);
        cr_assert_eq(low >> 32 & 7, v == 1 ? 1 : v == 2 ? 2 : v == 8 || v == 18 ? 3 : 0);
    }
}
