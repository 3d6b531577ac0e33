/* Which bytes are a call site that can be rewritten, and what becomes of them. */
#include <criterion/criterion.h>
#include <string.h>

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
        cr_assert_eq(site.step, AT + steps[i].step);
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
