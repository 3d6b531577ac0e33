/*
 * Rewritten call sites: which are, who gets to see it, and that no page with rewritten calls is
 * ever mapped without the island that they lead to.
 */
#include <errno.h>

#include "sentry/mm/usercopy.h"
#include "tests/unit/callsite_make.h"

Test(callsite, one_that_comes_often_is_rewritten)
{
    cr_assert_not(calls(box.mm, FIRST, NUMBER, ONCE - 1));
    cr_assert_not(is_rewritten(box.mm, FIRST), "not yet");
    cr_assert_not(call(box.mm, FIRST, NUMBER), "it was not, when it trapped");
    check_site(box.mm, FIRST, NUMBER);
    cr_assert(call(box.mm, FIRST, NUMBER));
    cr_assert_eq(seen(box.mm, SECOND)[0], 0xb8, "the one beside it stays");
    cr_assert_eq(seen(box.mm, ISLAND)[0x104], 0x90);
    cr_assert_eq(seen(box.mm, ISLAND)[0x105], 0, "the text does not run into the island");
}

Test(callsite, the_sentry_sees_the_file)
{
    uint8_t bytes[MAP_SIZE];

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert(is_rewritten(box.mm, FIRST));
    cr_assert_eq(mm_remote_read(box.mm, AT, bytes, MAP_SIZE), MAP_SIZE);
    cr_assert_eq(memcmp(bytes, file.bytes + TEXT, MAP_SIZE), 0);
    cr_assert_eq(mm_remote_write(box.mm, SECOND, "\xcc", 1), 1);
    cr_assert_eq(seen(box.mm, SECOND)[0], 0xcc);
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8, "a copy is made of the file's page");
}

Test(callsite, a_second_site_makes_a_version_and_others_keep_theirs)
{
    struct mm *other;

    cr_assert_eq(mm_create(&box.env, &other), 0);
    map_text(other, MAP_PRIVATE);
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_not(is_rewritten(other, FIRST));
    cr_assert_not(calls(other, FIRST, NUMBER, HERE - 1));
    cr_assert_not(is_rewritten(other, FIRST), "a few calls are not worth it");
    cr_assert_not(call(other, FIRST, NUMBER));
    check_site(other, FIRST, NUMBER);
    cr_assert(call(other, FIRST, NUMBER));

    calls(box.mm, SECOND, 39, HOT);
    check_site(box.mm, FIRST, NUMBER);
    check_site(box.mm, SECOND, 39);
    check_site(other, FIRST, NUMBER);
    cr_assert_not(is_rewritten(other, SECOND));
    calls(other, SECOND, 39, HOT);
    check_site(other, SECOND, 39);
    mm_check(other);
    mm_unref(other);
}

Test(callsite, refused)
{
    in_file(FIRST)[-1] = 0x49;        /* all of it is a movabs */
    put_site(AT + PAGE_SIZE - 3, 39); /* over the end of a page */
    put_site(ISLAND + 0x40, 39);      /* in the page of the island */
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(calls(box.mm, SECOND, 40, HOT), "not the number");
    cr_assert_not(calls(box.mm, AT + PAGE_SIZE - 3, 39, HOT));
    cr_assert_not(calls(box.mm, ISLAND + 0x40, 39, HOT));
    for (uaddr_t at = AT; at < AT + MAP_SIZE; at += PAGE_SIZE)
        cr_assert_eq(memcmp(seen(box.mm, at), in_file(at), PAGE_SIZE), 0);
}

Test(callsite, text_that_fills_its_last_page_has_no_island)
{
    *in_file(ISLAND + PAGE_SIZE - 1) = 1;
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, what_is_no_elf_file_has_no_island)
{
    file.bytes[0] = 0;
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, shared_or_writable_text_stays)
{
    map_text(box.mm, MAP_SHARED);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    map_text(box.mm, MAP_PRIVATE);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX | PROT_WRITE), 0);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX), 0);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT), "what was hopeless is looked at anew");
}

Test(callsite, a_platform_that_forgets_gets_the_same_again)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    calls(box.mm, OTHER, 39, HOT);
    fake_fail_map(mm_address_space(box.mm), 1, -ENOMEM);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, PROT_READ), 0);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX), 0);
    mm_check(box.mm);
    check_site(box.mm, FIRST, NUMBER);
    check_site(box.mm, OTHER, 39);
    mm_check(box.mm);
}

Test(callsite, a_page_has_many_sites)
{
    uaddr_t sites = AT + PAGE_SIZE + 0x200;

    for (uint32_t i = 0; i < 100; i++)
        put_site(sites + 16UL * i, i + 330);
    for (uint32_t i = 0; i < 100; i++)
        calls(box.mm, sites + 16UL * i, i + 330, HOT);
    for (uint32_t i = 0; i < 100; i++)
        check_site(box.mm, sites + 16UL * i, i + 330);
    for (uint32_t i = 100; i-- > 0;)
        cr_assert(calls(box.mm, sites + 16UL * i, i + 330, HOT), "the table may have lost it");
}

Test(callsite, the_island_ends_with_the_page)
{
    uaddr_t sites = AT + PAGE_SIZE + 0x100;
    int rewritten = 0, fit = (0x1000 - 0x110 - 16) / 17;

    for (uint32_t i = 0; i < 230; i++)
        put_site(sites + 16UL * i, i + 400);
    for (uint32_t i = 0; i < 230; i++)
        calls(box.mm, sites + 16UL * i, i + 400, HOT);
    for (uint32_t i = 0; i < 230; i++)
        rewritten += is_rewritten(box.mm, sites + 16UL * i);
    cr_assert_eq(rewritten, fit);
}

Test(callsite, a_child_keeps_what_fits)
{
    struct mm *child;

    fake_offer_mappings(mm_address_space(box.mm));
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert(is_rewritten(box.mm, FIRST));
    (void)seen(box.mm, ISLAND);
    cr_assert_eq(mm_fork(box.mm, &child), 0);
    mm_check(child);
    cr_assert(is_mapped(child, FIRST));
    check_site(child, FIRST, NUMBER);
    cr_assert(call(child, FIRST, NUMBER), "it is known there");
    mm_unref(child);
}

Test(callsite, a_child_takes_no_old_version)
{
    struct mm *child, *other;

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_create(&box.env, &other), 0);
    map_text(other, MAP_PRIVATE);
    calls(other, SECOND, 39, HOT);
    check_site(other, SECOND, 39);
    mm_unref(other);

    fake_offer_mappings(mm_address_space(box.mm));
    cr_assert_eq(mm_fork(box.mm, &child), 0);
    mm_check(child);
    cr_assert_not(is_mapped(child, FIRST));
    cr_assert_eq(mm_unmap(box.mm, AT, MAP_SIZE), 0);
    cr_assert(calls(child, FIRST, NUMBER, HOT));
    check_site(child, SECOND, 39);
    mm_unref(child);
}

Test(callsite, none_is_kept_beside_the_page_without_the_island)
{
    struct mm *child, *plain;

    /* The child's page map has the island's page; its platform is offered the file's. */
    cr_assert_eq(mm_create(&box.env, &plain), 0);
    map_text(plain, MAP_PRIVATE);
    (void)seen(plain, FIRST);
    (void)seen(plain, ISLAND);
    calls(box.mm, FIRST, NUMBER, HOT);
    fake_offer_mappings(mm_address_space(plain));
    cr_assert_eq(mm_fork(plain, &child), 0);
    mm_check(child);
    cr_assert_eq(seen(child, FIRST)[0], 0xb8);
    cr_assert(calls(child, FIRST, NUMBER, HOT));
    check_site(child, FIRST, NUMBER);
    mm_unref(child);
    mm_unref(plain);
}
