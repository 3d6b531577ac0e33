/*
 * Rewritten call sites that load no number: syscall(2), which passes on what it is given, and
 * read(2), whose number is 0.
 */
#include <sys/syscall.h>

#include "tests/unit/callsite_make.h"

/* ---- syscall(2): mov 8(%rsp), %r9; syscall -------------------------------------------------- */

#define LOAD (AT + 2 * PAGE_SIZE + 0x300)

static void put_load(uaddr_t site)
{
    memcpy(in_file(site), "\x4c\x8b\x4c\x24\x08\x0f\x05", 7);
}

/* Its entry is at `entry`. */
static void check_load(struct mm *mm, uaddr_t site, uaddr_t entry)
{
    const uint8_t *code = seen(mm, site);

    cr_assert_eq(code[0], 0xe9);
    cr_assert_eq(leads_to(mm, site, 5), entry);
    cr_assert_eq(memcmp(code + 5, "\x0f\x05", 2), 0, "the instruction stays");
    code = seen(mm, entry);
    cr_assert_eq(memcmp(code, in_file(site), 5), 0, "the first instruction of the site");
    cr_assert_eq(leads_to(mm, entry, 24), site + 5);
    cr_assert_eq(leads_to(mm, entry, 35), site + 7);
    cr_assert_eq(leads_to(mm, entry, 40), TAIL);
}

static void check_undone(struct cpu_regs regs, uaddr_t rip, uint64_t rax)
{
    mm_call_site_undo(box.mm, &regs);
    cr_assert_eq(regs.rip, rip);
    cr_assert_eq(regs.rax, rax);
}

Test(callsite, one_of_any_number)
{
    uaddr_t entry = TAIL + 16 + 17;

    put_load(LOAD);
    calls(box.mm, FIRST, NUMBER, HOT);
    for (uint64_t i = 0; i < HOT; i++)
        call(box.mm, LOAD, i % 2 ? SYS_clone : 202 + i);
    check_load(box.mm, LOAD, entry);
    cr_assert(call(box.mm, LOAD, 39));
    cr_assert_not(call(box.mm, LOAD, 0x10000), "that is a trap, whoever listens");
    cr_assert(call(box.mm, LOAD, 0xffff));
    calls(box.mm, OTHER, 39, HOT);
    check_site(box.mm, FIRST, NUMBER);
    check_site(box.mm, OTHER, 39);
    cr_assert_eq(memcmp(seen(box.mm, entry + 40), "\0\0\0\0\0\0\0\0\0\0\0\xb8", 12), 0,
                 "the next one begins behind three slots");

    check_undone((struct cpu_regs){.rip = entry, .rax = 202}, LOAD, 202);
    check_undone((struct cpu_regs){.rip = entry + 19, .rax = -1UL}, LOAD + 5, -1UL);
    check_undone((struct cpu_regs){.rip = entry + 26, .rax = 0xca00}, LOAD + 5, 202);
    check_undone((struct cpu_regs){.rip = entry + 28, .rax = 202 << 16}, LOAD + 5, 202);
    check_undone((struct cpu_regs){.rip = entry + 34, .rax = 202}, entry + 34, 202);
    check_undone((struct cpu_regs){.rip = entry + 40, .rax = 202}, entry + 40, 202);
    check_undone((struct cpu_regs){.rip = entry + 51, .rax = 202}, OTHER, 202);
    check_undone((struct cpu_regs){.rip = TAIL, .rax = 202 << 16, .rcx = LOAD + 7}, LOAD + 5, 202);
    check_undone((struct cpu_regs){.rip = TAIL + 10, .rax = 202 << 16, .rcx = LOAD + 7}, LOAD + 5,
                 202);
    check_undone((struct cpu_regs){.rip = TAIL, .rax = 202 << 16, .rcx = LOAD}, TAIL, 202 << 16);

    cr_assert_eq(mm_protect(box.mm, AT + 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
    check_undone((struct cpu_regs){.rip = entry + 28, .rax = 202 << 16}, entry + 28, 202 << 16);
}

Test(callsite, the_island_has_room_for_a_whole_entry)
{
    uaddr_t sites = AT + PAGE_SIZE + 0x100, last = TAIL + 16;
    int fit = (0x1000 - 0x110 - 16) / 17;

    for (int i = 0; i < 78; i++)
        put_load(sites + 16UL * (unsigned int)i);
    for (int i = 0; i < 78; i++)
        calls(box.mm, sites + 16UL * (unsigned int)i, 39, HOT);
    for (int i = 0; i < 78; i++, last += 51) {
        if (i < fit / 3)
            check_load(box.mm, sites + 16UL * (unsigned int)i, last);
        else
            cr_assert_not(is_rewritten(box.mm, sites + 16UL * (unsigned int)i));
    }
    cr_assert_neq(fit % 3, 0);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT), "there is room for a small one");
}

/* ---- one whose SYSCALL is in two pages ------------------------------------------------------ */

#define ACROSS (AT + 2 * PAGE_SIZE - 6)

static void check_across(void)
{
    cr_assert(is_rewritten(box.mm, ACROSS));
    cr_assert_eq(leads_to(box.mm, ACROSS, 5), TAIL + 16);
    cr_assert_eq(*seen(box.mm, ACROSS + 5), 0x0f, "the instruction stays");
    cr_assert_eq(*seen(box.mm, ACROSS + 6), 0x05);
    cr_assert_eq(leads_to(box.mm, TAIL + 16, 12), ACROSS + 7);
}

Test(callsite, a_site_may_end_in_the_next_page)
{
    put_site(ACROSS, 39);
    cr_assert(calls(box.mm, ACROSS, 39, HOT));
    check_across();
    cr_assert_eq(undone(TAIL + 16, 0), ACROSS);
    cr_assert_eq(undone(TAIL, ACROSS + 7), ACROSS);
    cr_assert(calls(box.mm, OTHER, 39, HOT), "another one of the same page");
    check_across();
}

Test(callsite, what_the_next_page_has_is_looked_at)
{
    put_site(ACROSS, 39);
    *in_file(ACROSS + 6) = 0x0b;
    cr_assert_not(calls(box.mm, ACROSS, 39, HOT));
    cr_assert_not(is_rewritten(box.mm, ACROSS));
}

/* ---- read(2): xor %eax, %eax; syscall ------------------------------------------------------- */

#define ZERO (AT + 2 * PAGE_SIZE + 0x100)
#define NOP  (ZERO + 20) /* of ten bytes */
#define STEP (NOP + 5)

static void put_zero(uaddr_t site)
{
    memcpy(in_file(site), "\x31\xc0\x0f\x05", 4);
}

static void put_nop(uaddr_t at)
{
    memcpy(in_file(at), "\x66\x2e\x0f\x1f\x84\0\0\0\0", 10);
}

static bool call_zero(struct mm *mm, uaddr_t site, int times)
{
    return calls_of(mm, site, 4, 0, times);
}

static void check_zero(struct mm *mm, uaddr_t site, uaddr_t step)
{
    const uint8_t *code = seen(mm, site);
    uaddr_t entry;

    cr_assert_eq(code[0], 0xeb);
    cr_assert_eq(site + 2 + (uint64_t)(int8_t)code[1], step);
    cr_assert_eq(memcmp(code + 2, "\x0f\x05", 2), 0, "the instruction stays");
    code = seen(mm, step);
    cr_assert_eq(memcmp(code - 3, "\x0f\x1f\x84\xe9", 4), 0, "in the nop");
    entry = leads_to(mm, step, 5);
    code = seen(mm, entry);
    cr_assert_eq(memcmp(code, "\x31\xc0\x0f\x1f\0\x48\x8d\x0d", 8), 0);
    cr_assert_eq(leads_to(mm, entry, 12), site + 4);
    cr_assert_eq(code[12], 0xe9);
    cr_assert_eq(leads_to(mm, entry, 17), TAIL);
}

Test(callsite, a_short_one_has_a_step_in_a_nop)
{
    put_zero(ZERO);
    put_nop(NOP);
    cr_assert(call_zero(box.mm, ZERO, HOT));
    check_zero(box.mm, ZERO, STEP);
    cr_assert_eq(memcmp(seen(box.mm, NOP), in_file(NOP), 5), 0);
    cr_assert_eq(undone(STEP, 0), ZERO, "a signal finds no step");
    cr_assert_eq(undone(TAIL + 16 + 2, 0), ZERO);
    cr_assert_eq(undone(TAIL, ZERO + 4), ZERO);
}

Test(callsite, a_step_is_of_one_site)
{
    put_zero(ZERO);
    put_zero(ZERO + 8);
    put_nop(NOP);
    call_zero(box.mm, ZERO, HOT);
    cr_assert_not(call_zero(box.mm, ZERO + 8, HOT));
    check_zero(box.mm, ZERO, STEP);
    cr_assert_eq(seen(box.mm, ZERO + 8)[0], 0x31);
}

Test(callsite, who_is_on_a_step_when_all_is_undone_gets_back)
{
    const uint8_t *code;

    put_zero(ZERO);
    put_nop(NOP);
    put_site(ZERO + 0x40, 39);
    call_zero(box.mm, ZERO, HOT);
    calls(box.mm, ZERO + 0x40, 39, HOT);
    cr_assert_eq(mm_unmap(box.mm, ISLAND, PAGE_SIZE), 0);
    cr_assert_eq(memcmp(seen(box.mm, ZERO), in_file(ZERO), 4), 0);
    cr_assert_eq(seen(box.mm, ZERO + 0x40)[0], 0xb8);
    code = seen(box.mm, STEP);
    cr_assert_eq(code[0], 0xe9);
    cr_assert_eq(leads_to(box.mm, STEP, 5), ZERO);
    cr_assert_eq(undone(STEP, 0), ZERO);
    cr_assert_not(call_zero(box.mm, ZERO, HOT));
}
