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
#include "tests/unit/ring0_machine.h"

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

static struct machine hand_over(const struct ring0_code *code, uint64_t number, uint64_t cs,
                                unsigned int looks)
{
    struct machine m = start(code, number, true, cs);

    m.exchange = EXCHANGE;
    m.r11 = FLAGS;
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

static const struct {
    const struct ring0_code *code;
    uint64_t cs;
} kinds[] = {{&ring3_code, SELECTOR_USER_CS}, {&ring0_code, SELECTOR_KERNEL_CS}};

Test(exchange, an_answer_leads_back_to_the_program)
{
    const unsigned int looks[] = {1, 2, 17, EXCHANGE_LOOKS};

    for (size_t i = 0; i < ARRAY_COUNT(looks) * ARRAY_COUNT(kinds); i++) {
        struct machine m = hand_over(kinds[i % 2].code, 0, kinds[i % 2].cs, looks[i / 2]);

        cr_assert(m.returned);
        cr_assert_eq(m.rax, ANSWER);
        cr_assert_eq(m.r11, FLAGS);
    }
}

Test(exchange, all_registers_are_handed_over)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct machine m = hand_over(kinds[i].code, 0, kinds[i].cs, 0);
        const struct exchange_page *p = &m.page;

        cr_assert(m.out, "nobody answers");
        cr_assert(ring0_gave_up(m.ip));
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
}

/* Ring 3 is told to return to the `out`, ring 0 by a word of its page. */
Test(exchange, ring_0_leaves_when_told_to)
{
    struct machine m = start(&ring0_code, 0, true, SELECTOR_KERNEL_CS);

    m.exchange = EXCHANGE;
    m.looks = 3;
    m.page.leave = 1;
    for (int steps = 0; steps < STEPS_MAX && !m.returned && !m.out; steps++)
        step(&m);
    cr_assert(m.out);
    cr_assert(ring0_gave_up(m.ip));
    cr_assert_eq(m.page.state, EXCHANGE_ANSWERED);
}

Test(exchange, a_single_stepped_call_is_not_handed_over_in_ring_0)
{
    struct machine m = start(&ring0_code, 0, true, SELECTOR_KERNEL_CS);

    m.exchange = EXCHANGE;
    m.r11 = FLAGS | FLAG_TF;
    for (int steps = 0; steps < STEPS_MAX && !m.out; steps++)
        step(&m);
    cr_assert_eq(m.ip, CODE_OUT);
    cr_assert_eq(m.page.rip, 0);
}

Test(exchange, pure_calls_are_not_handed_over)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct machine m = hand_over(kinds[i].code, 39, kinds[i].cs, 1);

        cr_assert_eq(m.rax, 1001);
        cr_assert_eq(m.page.rip, 0);
    }
}

Test(exchange, a_stray_ring_0_and_places_reached_by_a_jump_hand_nothing_over)
{
    struct machine m = hand_over(&ring3_code, 0, SELECTOR_KERNEL_CS, 1);
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
