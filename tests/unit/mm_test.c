#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "tests/unit/mm_check.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define KIB  (1UL << 10)
#define MIB  (1UL << 20)
#define GIB  (1UL << 30)
#define AT   0x10000000UL

static struct sandbox box;

static void setup(void)
{
    sandbox_init(&box, 256 * MIB);
}

static void teardown(void)
{
    mm_check(box.mm);
    sandbox_fini(&box);
}

TestSuite(mm, .init = setup, .fini = teardown);

static uint64_t allocated(void)
{
    struct memfile_stats stats;

    memfile_get_stats(box.memfile, &stats);
    return stats.allocated;
}

Test(mm, mmap_refuses_what_linux_refuses)
{
    struct mm *mm = box.mm;

    cr_assert_eq(map_anon(mm, 0, RW), -EINVAL);
    cr_assert_eq(map_anon(mm, UINT64_MAX - 10, RW), -ENOMEM);
    cr_assert_eq(map_anon(mm, 1UL << 47, RW), -ENOMEM);
    cr_assert_eq(map_anon(mm, 512 * MIB, RW), -ENOMEM, "more than the machine has");
    cr_assert_gt(map_at(mm, 0, 512 * MIB, RW, ANON | MAP_NORESERVE), 0);
    cr_assert_gt(map_at(mm, 0, 1UL << 42, PROT_NONE, ANON), 0);
    cr_assert_eq(map_at(mm, AT + 1, 4096, RW, ANON | MAP_FIXED), -EINVAL);
    cr_assert_eq(map_at(mm, 0, 4096, RW, ANON | MAP_FIXED), -EPERM);
    cr_assert_eq(map_at(mm, FAKE_USER_MAX, 4096, RW, ANON | MAP_FIXED), -ENOMEM);
    cr_assert_eq(map_at(mm, 0, 4096, RW, MAP_ANONYMOUS), -EINVAL, "no type");
    cr_assert_eq(map_at(mm, 0, 4096, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE), -EINVAL);
    cr_assert_eq(map_at(mm, 0, 4096, RW, MAP_ANONYMOUS | MAP_SHARED | MAP_GROWSDOWN), -EINVAL);
    cr_assert_eq(map_at(mm, 0, 2 * MIB, RW, ANON | MAP_HUGETLB), -ENOMEM);
    cr_assert_eq(map_at(mm, 0, 2 * MIB, RW, ANON | MAP_HUGETLB | (5 << 26)), -EINVAL);
    cr_assert_eq((uaddr_t)map_at(mm, AT, 8192, RW, ANON | MAP_FIXED_NOREPLACE), AT);
    cr_assert_eq(map_at(mm, AT + 4096, 8192, RW, ANON | MAP_FIXED_NOREPLACE), -EEXIST);
}

Test(mm, places_are_taken_from_the_top_and_reused)
{
    struct mm *mm = box.mm;
    int64_t a = map_anon(mm, 4096, RW), b = map_anon(mm, 4096, PROT_READ), c;

    cr_assert_eq(a, 0x7f0000000000 - 4096);
    cr_assert_eq(b, a - 4096);
    c = map_anon(mm, 64 * KIB, RW);
    cr_assert_eq(c, b - (int64_t)(64 * KIB));
    cr_assert_eq(mm_unmap(mm, (uaddr_t)b, 4096), 0);
    cr_assert_eq(map_anon(mm, 4096, PROT_READ | PROT_EXEC), b, "the hole is used again");
    cr_assert_eq(map_anon(mm, 8192, RW), c - 8192);
    /* Hints: a free one is taken, an occupied one is not. */
    cr_assert_eq((uaddr_t)map_at(mm, AT, 4096, RW, ANON), AT);
    cr_assert_neq(map_at(mm, AT, 4096, RW, ANON), AT);
    cr_assert_eq(map_at(mm, 0, 4096, RW, ANON | MAP_32BIT), 0x40000000);
    cr_assert_eq(map_at(mm, 0, 4096, RW, ANON | MAP_32BIT), 0x40001000);
    cr_assert(is_aligned(map_anon(mm, 4 * MIB, RW), HUGE_PAGE_SIZE));
}

Test(mm, above_the_base_when_nothing_is_free_below)
{
    mm_set_mmap_base(box.mm, 0x20000);
    cr_assert_eq(map_anon(box.mm, 64 * KIB, RW), 0x10000); /* vm.mmap_min_addr */
    cr_assert_eq(map_anon(box.mm, 64 * KIB, PROT_READ), 0x20000);
}

Test(mm, a_page_reads_zero_and_keeps_what_is_written)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, MIB, RW);
    uint32_t value = 0;

    cr_assert_eq(peek(mm, a + 5), 0);
    cr_assert_eq(poke(mm, a + 5, 77), 0);
    cr_assert_eq(peek(mm, a + 5), 77);
    cr_assert_eq(allocated(), 256 * KIB, "one fault brings one run");
    cr_assert_eq(map_calls(mm), 1);
    cr_assert_eq(touch(mm, a + MIB, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(copy_from_user(mm, &value, a + 5, 1), 0);
    cr_assert_eq(value, 77);
    cr_assert_eq(mm_unmap(mm, a, MIB), 0);
    cr_assert_eq(allocated(), 0);
    cr_assert_eq(touch(mm, a, ACCESS_READ), -SEGV_MAPERR);
}

Test(mm, faults_in_order_bring_larger_runs)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 64 * MIB, RW);

    for (uint64_t at = 0; at < 64 * MIB; at += PAGE_SIZE)
        cr_assert_eq(touch(mm, a + at, ACCESS_WRITE), 0);
    cr_assert_eq(allocated(), 64 * MIB);
    cr_assert_lt(map_calls(mm), 45);
    cr_assert_eq(mm_unmap(mm, a, 64 * MIB), 0);
    cr_assert_leq(unmap_calls(mm), 4, "unmapped in large pieces");
}

/* Pages whose places in the memfile are not in order. */
static uaddr_t map_scattered(struct mm *mm, uint64_t size)
{
    uaddr_t a = (uaddr_t)map_anon(mm, size, RW);

    box.env.limits.maps_give_memory = true; /* so that runs are small */
    for (uint64_t at = size; at > 0; at -= 64 * KIB)
        cr_assert_eq(poke(mm, a + at - 1, 1), 0);
    return a;
}

Test(mm, scattered_pages_are_protected_and_unmapped)
{
    struct mm *mm = box.mm;
    uaddr_t a = map_scattered(mm, 4 * MIB);
    size_t calls = map_calls(mm);

    cr_assert_eq(fake_mapping_count(mm_address_space(mm)), 64);
    cr_assert_eq(mm_protect(mm, a, 4 * MIB, PROT_READ), 0);
    cr_assert_leq(map_calls(mm) - calls, 17, "not one call for each run");
    mm_check(mm);
    for (uint64_t at = 0; at < 4 * MIB; at += PAGE_SIZE)
        cr_assert_eq(touch(mm, a + at, ACCESS_WRITE), -SEGV_ACCERR);
    for (uint64_t at = 0; at < 4 * MIB; at += PAGE_SIZE)
        cr_assert_geq(peek(mm, a + at), 0);
    cr_assert_eq(mm_unmap(mm, a, 4 * MIB), 0);
    mm_check(mm);
    cr_assert_eq(allocated(), 0);
}

/* The fake platform looks whether one goes that it may still have mapped. */
Test(mm, what_is_replaced_goes_after_the_platform_has_forgotten_it)
{
    struct mm *mm = box.mm;
    uaddr_t a = map_scattered(mm, 8 * MIB);

    cr_assert_eq(map_at(mm, a, 8 * MIB, RW, ANON | MAP_FIXED), (intptr_t)a);
    cr_assert_eq(allocated(), 0);
    mm_check(mm);
    cr_assert_eq(mm_protect(mm, a, 8 * MIB, PROT_READ), 0);
    mm_check(mm);
}

Test(mm, scattered_pages_of_which_some_are_read_only_already)
{
    struct mm *mm = box.mm, *child;
    uaddr_t a = map_scattered(mm, 4 * MIB);

    cr_assert_eq(mm_fork(mm, &child), 0);
    for (uint64_t at = 0; at < 4 * MIB; at += 64 * KIB) {
        cr_assert_eq(peek(mm, a + at), 0);
        cr_assert_eq(poke(mm, a + at + 32 * KIB, 1), 0);
    }
    cr_assert_eq(mm_protect(mm, a, 4 * MIB, PROT_READ), 0);
    mm_check(mm);
    mm_unref(child);
}

Test(mm, sparse_terabytes_are_cheap)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_at(mm, 0, 16UL << 40, RW, ANON | MAP_NORESERVE);

    for (uint64_t i = 0; i < 1024; i++)
        cr_assert_eq(poke(mm, a + i * (16 * GIB), 1), 0);
    cr_assert_leq(allocated(), 256 * MIB);
    cr_assert_eq(mm_unmap(mm, a, 16UL << 40), 0);
    cr_assert_eq(allocated(), 0);
}

Test(mm, when_memory_gets_short_runs_get_small)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_at(mm, 0, 2 * GIB, RW, ANON | MAP_NORESERVE);
    uint64_t pages = 0;

    while (touch(mm, a + pages * 64 * KIB, ACCESS_WRITE) == 0)
        pages++;
    cr_assert_gt(pages, 256 * MIB / (64 * KIB) * 3 / 4 + 10000);
    cr_assert_eq(touch(mm, a + pages * 64 * KIB, ACCESS_WRITE), -ENOMEM);
}

Test(mm, protection_is_enforced)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 64 * KIB, RW);
    char byte = 1;

    cr_assert_eq(poke(mm, a, 9), 0);
    cr_assert_eq(mm_protect(mm, a + 4096, 4096, PROT_READ), 0);
    cr_assert_eq(touch(mm, a + 4096, ACCESS_WRITE), -SEGV_ACCERR);
    cr_assert_eq(touch(mm, a + 4096, ACCESS_EXEC), -SEGV_ACCERR);
    cr_assert_eq(copy_to_user(mm, a + 4096, &byte, 1), -EFAULT);
    cr_assert_eq(copy_from_user(mm, &byte, a + 4096, 1), 0);
    mm_check(mm);
    cr_assert_eq(mm_protect(mm, a, 64 * KIB, PROT_NONE), 0);
    cr_assert_eq(fake_mapping_count(mm_address_space(mm)), 0);
    cr_assert_eq(touch(mm, a, ACCESS_READ), -SEGV_ACCERR);
    cr_assert_eq(copy_from_user(mm, &byte, a, 1), -EFAULT);
    mm_check(mm);
    cr_assert_eq(mm_protect(mm, a, 64 * KIB, PROT_READ | PROT_EXEC), 0);
    cr_assert_eq(peek(mm, a), 9, "the bytes survive");
    cr_assert_eq(touch(mm, a, ACCESS_EXEC), 0);
    cr_assert_eq(mm_protect(mm, a, 64 * KIB, PROT_WRITE), 0);
    cr_assert_eq(peek(mm, a), 9, "write implies read");
}

Test(mm, mprotect_errors)
{
    struct mm *mm = box.mm;

    cr_assert_eq((uaddr_t)map_at(mm, AT, 16 * KIB, RW, ANON | MAP_FIXED), AT);
    cr_assert_eq(mm_protect(mm, AT + 1, 4096, PROT_READ), -EINVAL);
    cr_assert_eq(mm_protect(mm, AT + 1, 0, PROT_READ), -EINVAL);
    cr_assert_eq(mm_protect(mm, AT, 0, PROT_READ), 0);
    cr_assert_eq(mm_protect(mm, AT, UINT64_MAX - AT, PROT_READ), -ENOMEM);
    cr_assert_eq(mm_protect(mm, AT, 4096, 0x100), -EINVAL);
    cr_assert_eq(mm_protect(mm, AT - 4096, 8192, PROT_READ), -ENOMEM);
    cr_assert_eq(mm_protect(mm, AT, 4096, PROT_READ | PROT_GROWSDOWN), -EINVAL);
    cr_assert_eq(mm_protect(mm, AT, 4096, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP), -EINVAL);
    cr_assert_eq(mm_protect(mm, AT + 8192, 16 * KIB, PROT_READ), -ENOMEM);
    cr_assert_eq(touch(mm, AT + 8192, ACCESS_WRITE), -SEGV_ACCERR, "what was there is changed");
    cr_assert_eq(touch(mm, AT, ACCESS_WRITE), 0);
}

Test(mm, munmap_splits_and_checks)
{
    struct mm *mm = box.mm;

    cr_assert_eq((uaddr_t)map_at(mm, AT, 64 * KIB, RW, ANON | MAP_FIXED), AT);
    for (uint64_t at = 0; at < 64 * KIB; at += PAGE_SIZE)
        cr_assert_eq(poke(mm, AT + at, (uint8_t)(at / PAGE_SIZE)), 0);
    cr_assert_eq(mm_unmap(mm, AT + 1, 4096), -EINVAL);
    cr_assert_eq(mm_unmap(mm, AT, 0), -EINVAL);
    cr_assert_eq(mm_unmap(mm, AT, UINT64_MAX), -EINVAL);
    cr_assert_eq(mm_unmap(mm, FAKE_USER_MAX, 4096), -EINVAL);
    cr_assert_eq(mm_unmap(mm, AT + MIB, 4096), 0, "nothing there is no error");
    cr_assert_eq(mm_unmap(mm, AT + 16 * KIB, 5000), 0);
    cr_assert_eq(allocated(), 56 * KIB);
    cr_assert_eq(touch(mm, AT + 16 * KIB, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(touch(mm, AT + 20 * KIB, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(peek(mm, AT + 12 * KIB), 3);
    cr_assert_eq(peek(mm, AT + 24 * KIB), 6);
}

static int count_vmas(const struct vma_info *vma, void *arg)
{
    (*(int *)arg)++;
    return 0;
}

static int vma_count(struct mm *mm)
{
    int count = 0;

    cr_assert_eq(mm_for_each_vma(mm, count_vmas, &count), 0);
    return count;
}

Test(mm, equal_neighbours_merge)
{
    struct mm *mm = box.mm;

    cr_assert_eq((uaddr_t)map_at(mm, AT, 4096, RW, ANON | MAP_FIXED), AT);
    cr_assert_eq((uaddr_t)map_at(mm, AT + 8192, 4096, RW, ANON | MAP_FIXED), AT + 8192);
    cr_assert_eq(vma_count(mm), 2);
    cr_assert_eq((uaddr_t)map_at(mm, AT + 4096, 4096, RW, ANON | MAP_FIXED), AT + 4096);
    cr_assert_eq(vma_count(mm), 1);
    cr_assert_eq(mm_protect(mm, AT + 4096, 4096, PROT_READ), 0);
    cr_assert_eq(vma_count(mm), 3);
    cr_assert_eq(mm_protect(mm, AT + 4096, 4096, RW), 0);
    cr_assert_eq(vma_count(mm), 1);
}

Test(mm, the_number_of_vmas_is_limited)
{
    struct mm *mm = box.mm;
    uint64_t n = 0;

    while (map_at(mm, AT + n * 8192, 4096, RW, ANON | MAP_FIXED) > 0)
        n++;
    cr_assert_eq(n, 65531, "as Linux: the check is > 65530");
    cr_assert_eq(map_anon(mm, 4096, RW), -ENOMEM);
    cr_assert_eq(mm_unmap(mm, AT, 4096), 0);
    cr_assert_gt(map_anon(mm, 8192, PROT_READ), 0);
    mm_check(mm);
    cr_assert_eq(mm_protect(mm, AT + 8192, 8192, PROT_READ), -ENOMEM, "a hole behind");
}

Test(mm, brk_grows_shrinks_and_refuses)
{
    struct mm *mm = box.mm;
    struct mm_limits limits = {UINT64_MAX, MIB, UINT64_MAX, UINT64_MAX};

    mm_set_brk_start(mm, AT + 100);
    cr_assert_eq(mm_brk(mm, 0), AT + 100);
    cr_assert_eq(mm_brk(mm, AT + 10000), AT + 10000);
    cr_assert_eq(touch(mm, AT + 10, ACCESS_READ), -SEGV_MAPERR, "the page before is the data's");
    cr_assert_eq(poke(mm, AT + 4096, 5), 0);
    cr_assert_eq(mm_brk(mm, AT + 40000), AT + 40000);
    cr_assert_eq(vma_count(mm), 1);
    cr_assert_eq(peek(mm, AT + 4096), 5);
    cr_assert_eq(touch(mm, AT + 40960, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq((uaddr_t)map_at(mm, AT + 0x100000, 4096, RW, ANON | MAP_FIXED), AT + 0x100000);
    cr_assert_eq(mm_brk(mm, AT + 0x100001), AT + 40000, "something is in the way");
    mm_set_limits(mm, &limits);
    cr_assert_eq(mm_brk(mm, AT + 2 * MIB), AT + 40000, "RLIMIT_DATA");
    cr_assert_eq(mm_brk(mm, AT + 100), AT + 100);
    cr_assert_eq(touch(mm, AT + 4096, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(mm_brk(mm, AT + 99), AT + 100);
    cr_assert_eq(mm_brk(mm, UINT64_MAX), AT + 100);
}

Test(mm, limits_of_address_space_and_data)
{
    struct mm *mm = box.mm;
    struct mm_limits limits = {MIB, 512 * KIB, UINT64_MAX, UINT64_MAX};

    mm_set_limits(mm, &limits);
    cr_assert_gt(map_anon(mm, 512 * KIB, RW), 0);
    cr_assert_eq(map_anon(mm, 4096, RW), -ENOMEM);
    cr_assert_gt(map_anon(mm, 512 * KIB, PROT_READ), 0);
    cr_assert_eq(map_anon(mm, 4096, PROT_READ), -ENOMEM);
}

Test(mm, a_stack_grows_down_to_its_limit_and_its_gap)
{
    struct mm *mm = box.mm;
    struct mm_limits limits = {UINT64_MAX, UINT64_MAX, 8 * MIB, UINT64_MAX};
    uaddr_t top = AT + 64 * MIB;

    mm_set_limits(mm, &limits);
    cr_assert_eq((uaddr_t)map_at(mm, top - 8192, 8192, RW, ANON | MAP_FIXED | MAP_GROWSDOWN),
                 top - 8192);
    cr_assert_eq(poke(mm, top - 3 * 4096, 1), 0);
    cr_assert_eq(poke(mm, top - 8 * MIB, 1), 0);
    cr_assert_eq(touch(mm, top - 8 * MIB - 1, ACCESS_WRITE), -SEGV_MAPERR);
    cr_assert_eq(mm_unmap(mm, AT, 64 * MIB), 0);

    cr_assert_eq((uaddr_t)map_at(mm, top - 8192, 8192, RW, ANON | MAP_FIXED | MAP_GROWSDOWN),
                 top - 8192);
    cr_assert_eq((uaddr_t)map_at(mm, top - 2 * MIB, 4096, RW, ANON | MAP_FIXED), top - 2 * MIB);
    cr_assert_eq(poke(mm, top - MIB + 4096, 1), 0);
    cr_assert_eq(touch(mm, top - MIB, ACCESS_WRITE), -SEGV_MAPERR, "1 MiB stays free below");
    /* Nor is that gap given to mmap. */
    mm_set_mmap_base(mm, top);
    cr_assert_lt((uaddr_t)map_anon(mm, 64 * KIB, RW), top - 2 * MIB);
}

Test(mm, unknown_access_grants_all_and_finds_violations)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, 64 * KIB, PROT_READ);
    int signo = 0, code = 0;

    cr_assert_eq(mm_fault(mm, a, ACCESS_UNKNOWN, &signo, &code), 0);
    cr_assert_eq(fake_mapping_find(mm_address_space(mm), a)->prot, PROT_READ);
    /* A write to it: once in doubt, then a violation. */
    cr_assert_eq(mm_fault(mm, a, ACCESS_UNKNOWN, &signo, &code), 0);
    cr_assert_eq(mm_fault(mm, a, ACCESS_UNKNOWN, &signo, &code), -EFAULT);
    cr_assert_eq(signo, SIGSEGV);
    cr_assert_eq(code, SEGV_ACCERR);
    /* In doubt, but rights were taken away and given again meanwhile: no violation. */
    cr_assert_eq(mm_fault(mm, a, ACCESS_UNKNOWN, &signo, &code), 0);
    cr_assert_eq(mm_protect(mm, a, 4096, PROT_NONE), 0);
    cr_assert_eq(mm_protect(mm, a, 4096, PROT_READ), 0);
    cr_assert_eq(touch(mm, a, ACCESS_READ), 0);
    cr_assert_eq(mm_fault(mm, a, ACCESS_UNKNOWN, &signo, &code), 0);
    cr_assert_eq(mm_fault(mm, a, ACCESS_UNKNOWN, &signo, &code), -EFAULT);
}

Test(mm, the_platform_is_a_cache)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_anon(mm, MIB, RW);

    cr_assert_eq(poke(mm, a, 1), 0);
    cr_assert_eq(poke(mm, a + 512 * KIB, 2), 0);
    fake_fail_map(mm_address_space(mm), 0, -ENOMEM);
    cr_assert_eq(poke(mm, a + 256 * KIB, 3), 0, "emptied, then mapped");
    mm_check(mm);
    cr_assert_eq(peek(mm, a), 1);
    cr_assert_eq(peek(mm, a + 512 * KIB), 2);
    fake_fail_map(mm_address_space(mm), 0, -ENOMEM);
    cr_assert_eq(mm_protect(mm, a, MIB, PROT_READ), 0);
    mm_check(mm);
    cr_assert_eq(peek(mm, a + 256 * KIB), 3);
    cr_assert_eq(mm_protect(mm, a, MIB, PROT_NONE), 0);
    cr_assert_eq(mm_protect(mm, a, MIB, PROT_READ), 0);
    fake_fail_maps(mm_address_space(mm), -ENOMEM);
    cr_assert_eq(touch(mm, a + 512 * KIB, ACCESS_READ), -ENOMEM);
    mm_check(mm);
}

/* ---- fork --------------------------------------------------------------------------------- */

Test(mm, fork_copies_on_write)
{
    struct mm *mm = box.mm, *child;
    uaddr_t a = (uaddr_t)map_anon(mm, MIB, RW);

    for (uint64_t at = 0; at < MIB; at += PAGE_SIZE)
        cr_assert_eq(poke(mm, a + at, 1), 0);
    cr_assert_eq(mm_fork(mm, &child), 0);
    mm_check(mm);
    mm_check(child);
    cr_assert_eq(allocated(), MIB, "nothing is copied yet");
    cr_assert_eq(poke(mm, a, 2), 0);
    cr_assert_eq(peek(child, a), 1);
    cr_assert_eq(poke(child, a + 512 * KIB, 3), 0);
    cr_assert_eq(peek(mm, a + 512 * KIB), 1);
    cr_assert_leq(allocated(), MIB + 32 * KIB);
    mm_check(mm);
    mm_check(child);
    mm_unref(child);
    /* Alone again: written in place. */
    for (uint64_t at = 0; at < MIB; at += PAGE_SIZE)
        cr_assert_eq(poke(mm, a + at, 4), 0);
    cr_assert_eq(allocated(), MIB);
}

Test(mm, fork_shares_what_is_shared)
{
    struct mm *mm = box.mm, *child, *grandchild;
    uaddr_t a = (uaddr_t)map_at(mm, 0, MIB, RW, MAP_SHARED | MAP_ANONYMOUS);
    struct mm_futex_key key, key2;

    cr_assert_eq(poke(mm, a, 1), 0);
    cr_assert_eq(mm_fork(mm, &child), 0);
    cr_assert_eq(mm_fork(child, &grandchild), 0);
    cr_assert_eq(peek(child, a), 1);
    cr_assert_eq(poke(child, a + 4096, 2), 0);
    cr_assert_eq(poke(grandchild, a, 3), 0);
    cr_assert_eq(peek(mm, a + 4096), 2);
    cr_assert_eq(peek(mm, a), 3);
    cr_assert_eq(mm_futex_key(mm, a + 8, true, &key), 0);
    cr_assert_eq(mm_futex_key(grandchild, a + 8, true, &key2), 0);
    cr_assert_eq(memcmp(&key, &key2, sizeof(key)), 0);
    cr_assert_eq(mm_futex_key(child, a + 8, false, &key2), 0);
    cr_assert_neq(key.object, key2.object);
    mm_check(child);
    mm_unref(child);
    mm_unref(grandchild);
}

Test(mm, fork_does_not_take_a_page_from_a_read_in_flight)
{
    struct mm *mm = box.mm, *child;
    uaddr_t a = (uaddr_t)map_anon(mm, 64 * KIB, RW);
    struct uio_pin pin;
    struct uio uio;

    cr_assert_eq(poke(mm, a + 100, 1), 0);
    uio_init_user(&uio, mm, a, 50);
    cr_assert_eq(uio_pin(&uio, 50, true, &pin), 0);
    cr_assert_eq(mm_fork(mm, &child), 0);
    cr_assert_eq(poke(mm, a + 100, 2), 0);
    memset(pin.iov[0].iov_base, 9, 50); /* the host's read completes */
    uio_unpin(&pin);
    cr_assert_eq(peek(mm, a), 9);
    cr_assert_eq(peek(mm, a + 100), 2);
    cr_assert_eq(peek(child, a), 0);
    cr_assert_eq(peek(child, a + 100), 1);
    mm_unref(child);
}
