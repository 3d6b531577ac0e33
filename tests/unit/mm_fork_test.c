/*
 * What fork does ahead of the faults that would come: copies of pages that forks made hot, and
 * mappings where the platform makes them cheaply.
 */
#include <criterion/criterion.h>

#include "sentry/mm/mappable.h"
#include "tests/unit/mm_check.h"

#define RW (PROT_READ | PROT_WRITE)
#define AT 0x10000000UL

static struct sandbox box;

static void setup(void)
{
    sandbox_init(&box, 64UL << 20);
    cr_assert_eq(
        (uaddr_t)map_at(box.mm, AT, 2 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
        AT);
    cr_assert_eq(poke(box.mm, AT, 1), 0);
    cr_assert_eq(poke(box.mm, AT + PAGE_SIZE, 1), 0);
}

static void teardown(void)
{
    mm_check(box.mm);
    sandbox_fini(&box);
}

TestSuite(mm_fork, .init = setup, .fini = teardown);

static struct mm *fork_child(void)
{
    struct mm *child;

    cr_assert_eq(mm_fork(box.mm, &child), 0);
    mm_check(child);
    mm_check(box.mm);
    return child;
}

static int rights_at(struct mm *mm, uaddr_t addr)
{
    const struct fake_mapping *mapping = fake_mapping_find(mm_address_space(mm), addr);

    return mapping ? mapping->prot : 0;
}

Test(mm_fork, a_page_written_after_a_fork_is_copied_by_the_next)
{
    struct mm *child = fork_child();

    cr_assert_not(rights_at(box.mm, AT) & PROT_WRITE, "the first fork knows nothing yet");
    cr_assert_eq(poke(box.mm, AT, 2), 0);
    mm_unref(child);

    child = fork_child();
    cr_assert(rights_at(box.mm, AT) & PROT_WRITE, "the parent goes on without a fault");
    cr_assert_eq(poke(box.mm, AT, 3), 0);
    cr_assert_eq(peek(child, AT), 2);
    cr_assert_eq(poke(child, AT, 4), 0);
    cr_assert_eq(peek(box.mm, AT), 3);
    mm_unref(child);
}

Test(mm_fork, a_child_teaches_its_parent)
{
    struct mm *child = fork_child();

    cr_assert_eq(poke(child, AT + PAGE_SIZE, 2), 0);
    mm_unref(child);
    child = fork_child();
    cr_assert(rights_at(box.mm, AT + PAGE_SIZE) & PROT_WRITE);
    cr_assert_eq(peek(child, AT + PAGE_SIZE), 1);
    mm_unref(child);
}

Test(mm_fork, threads_that_run_meanwhile_get_copy_on_write)
{
    struct mm *child = fork_child(), *other_thread = mm_ref(box.mm);

    cr_assert_eq(poke(box.mm, AT, 2), 0);
    mm_unref(child);
    child = fork_child();
    cr_assert_not(rights_at(box.mm, AT) & PROT_WRITE);
    mm_unref(child);
    mm_unref(other_thread);
}

Test(mm_fork, a_cheap_platform_finds_all_mapped)
{
    struct mappable *object;
    struct mm_map_args args = {
        .size = PAGE_SIZE, .prot = PROT_READ, .flags = MAP_SHARED, .max_prot = RW};
    struct mm *child;
    uaddr_t shared;

    cr_assert_eq(shmem_create(box.memfile, PAGE_SIZE, &object), 0);
    args.object = object;
    cr_assert_eq(mm_map(box.mm, &args, &shared), 0);
    mappable_unref(object);
    cr_assert_eq(touch(box.mm, shared, ACCESS_READ), 0);

    child = fork_child();
    cr_assert_eq(rights_at(child, AT), 0, "where mapping is dear, faults do it");
    cr_assert_eq(rights_at(child, shared), 0);
    mm_unref(child);

    box.env.limits.maps_cheaply = true;
    child = fork_child();
    cr_assert_eq(rights_at(child, AT), PROT_READ, "shared still, so not writable");
    cr_assert_eq(rights_at(child, shared), PROT_READ);
    cr_assert_eq(poke(child, AT, 5), 0);
    cr_assert_eq(peek(box.mm, AT), 1);
    mm_unref(child);
}
