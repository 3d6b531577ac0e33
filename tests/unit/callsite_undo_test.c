/*
 * Rewritten call sites: what makes them as they were, and what leaves them; and that a signal never
 * finds a program on its way from one to the Sentry.
 */
#include "sentry/mm/usercopy.h"
#include "tests/unit/callsite_make.h"

Test(callsite, a_mapping_that_is_cut_is_forgotten)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_unmap(box.mm, ISLAND, PAGE_SIZE), 0);
    cr_assert_not(is_mapped(box.mm, FIRST));
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT), "there is no island any more");
    cr_assert_not(is_rewritten(box.mm, FIRST));
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8);

    map_text(box.mm, MAP_PRIVATE);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_eq(mm_protect(box.mm, AT, PAGE_SIZE, PROT_READ), 0);
    cr_assert_eq(mm_protect(box.mm, AT, PAGE_SIZE, RX), 0);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT), "it is whole again");
}

Test(callsite, a_part_that_comes_back_finds_the_island)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_unmap(box.mm, ISLAND, PAGE_SIZE), 0);
    map_part(box.mm, ISLAND, PAGE_SIZE, MAP_PRIVATE);
    mm_check(box.mm);
    cr_assert(calls(box.mm, FIRST, NUMBER, HOT));
    check_site(box.mm, FIRST, NUMBER);
}

Test(callsite, what_is_not_executable_is_not_rewritten)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, PROT_READ), 0);
    cr_assert_eq(peek(box.mm, FIRST), 0xb8);
    mm_check(box.mm);
    cr_assert_eq(mm_protect(box.mm, AT, MAP_SIZE, RX), 0);
    check_site(box.mm, FIRST, NUMBER);
}

Test(callsite, moved_text_is_as_it_was)
{
    uaddr_t to = 2 * AT, got;

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(
        mm_remap(box.mm, AT, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to, &got), 0);
    mm_check(box.mm);
    cr_assert_eq(seen(box.mm, to + (FIRST - AT))[0], 0xb8);
    cr_assert_eq(memcmp(seen(box.mm, ISLAND), in_file(ISLAND), 0x105), 0);
    cr_assert_not(calls(box.mm, to + (FIRST - AT), NUMBER, HOT), "it has no island");
}

Test(callsite, all_of_the_text_moves_with_its_island)
{
    uaddr_t to = 2 * AT, got;

    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_remap(box.mm, AT, MAP_SIZE, MAP_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to, &got),
                 0);
    mm_check(box.mm);
    cr_assert_not(is_mapped(box.mm, AT));
    cr_assert(calls(box.mm, to + (FIRST - AT), NUMBER, HOT));
    mm_check(box.mm);
}

Test(callsite, a_copy_of_the_islands_page_ends_it)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_remote_write(box.mm, ISLAND, "\xcc", 1), 1);
    mm_check(box.mm);
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, a_copy_beside_the_island_leaves_it)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    (void)seen(box.mm, ISLAND);
    cr_assert_eq(mm_remote_write(box.mm, ISLAND - 1, "\xcc", 1), 1);
    mm_check(box.mm);
    cr_assert_eq(seen(box.mm, ISLAND - 1)[0], 0xcc);
    check_island(box.mm);
}

Test(callsite, a_guard_in_the_islands_place_ends_it)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    cr_assert_eq(mm_advise(box.mm, ISLAND, PAGE_SIZE, 102 /* MADV_GUARD_INSTALL */), 0);
    mm_check(box.mm);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
}

Test(callsite, text_that_changes_is_left_alone)
{
    calls(box.mm, FIRST, NUMBER, HOT);
    mappable_drop(object);
    mm_check(box.mm);
    check_site(box.mm, FIRST, NUMBER);
    mappable_invalidate(object, TEXT + 5 * PAGE_SIZE, PAGE_SIZE, false);
    mm_check(box.mm);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_eq(seen(box.mm, FIRST)[0], 0xb8);
    cr_assert_eq(memcmp(seen(box.mm, ISLAND), in_file(ISLAND), 0x105), 0);
}

Test(callsite, a_debugger_ends_it_for_all_that_follow)
{
    struct mm *child;

    calls(box.mm, FIRST, NUMBER, HOT);
    mm_call_sites_off(box.mm);
    mm_check(box.mm);
    cr_assert_not(calls(box.mm, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(box.mm, FIRST));
    check_island(box.mm);
    fake_offer_mappings(mm_address_space(box.mm));
    cr_assert_eq(mm_fork(box.mm, &child), 0);
    cr_assert_not(calls(child, FIRST, NUMBER, HOT));
    cr_assert_not(is_rewritten(child, FIRST));
    mm_unref(child);
}

Test(callsite, a_signal_finds_no_island)
{
    uaddr_t first = TAIL + 16, second = first + 17;

    cr_assert_eq(undone(first, 0), first, "there is none yet");
    calls(box.mm, FIRST, NUMBER, HOT);
    calls(box.mm, OTHER, 39, HOT);
    cr_assert_eq(undone(first, 0), FIRST);
    cr_assert_eq(undone(first + 5, 0), FIRST);
    cr_assert_eq(undone(first + 12, 0), FIRST);
    cr_assert_eq(undone(second, 0), OTHER);
    cr_assert_eq(undone(TAIL, FIRST + 7), FIRST);
    cr_assert_eq(undone(TAIL + 10, OTHER + 7), OTHER);

    cr_assert_eq(undone(TAIL, 0), TAIL, "from nowhere");
    cr_assert_eq(undone(TAIL, SECOND + 7), TAIL, "from a site that is none");
    cr_assert_eq(undone(TAIL + 1, FIRST + 7), TAIL + 1, "no instruction");
    cr_assert_eq(undone(first + 1, FIRST + 7), first + 1);
    cr_assert_eq(undone(second + 17, FIRST + 7), second + 17, "behind the last");
    cr_assert_eq(undone(FIRST, FIRST + 7), FIRST);
    cr_assert_eq(undone(UINT64_MAX, UINT64_MAX), UINT64_MAX);

    cr_assert_eq(mm_protect(box.mm, AT, PAGE_SIZE, PROT_READ), 0);
    cr_assert_eq(undone(TAIL, OTHER + 7), OTHER, "a thread may still be inside");
    cr_assert_eq(undone(second, 0), OTHER);
    cr_assert_eq(undone(first, 0), first, "the site is not in the mapping any more");
}
