/*
 * mremap, madvise, mlock, msync, mincore: results and errors as Linux 6.18 gives them. What is
 * expected here was compared with a real kernel.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "sentry/mm/mappable.h"
#include "tests/unit/mm_check.h"

#define RW                       (PROT_READ | PROT_WRITE)
#define FIXED                    (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define KIB                      (1UL << 10)
#define MIB                      (1UL << 20)
#define AT                       0x20000000UL
#define TO                       0x30000000UL

#define LINUX_MADV_GUARD_INSTALL 102
#define LINUX_MADV_GUARD_REMOVE  103
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

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

TestSuite(mm_calls, .init = setup, .fini = teardown);

static void map_here(uaddr_t addr, uint64_t size, int prot)
{
    cr_assert_eq((uaddr_t)map_at(box.mm, addr, size, prot, FIXED), addr);
}

static int64_t remap(uaddr_t old, uint64_t old_size, uint64_t new_size, int flags, uaddr_t new)
{
    uaddr_t got = 0;
    int err = mm_remap(box.mm, old, old_size, new_size, flags, new, &got);

    return err ? err : (int64_t)got;
}

Test(mm_calls, mremap_errors)
{
    const int move = MREMAP_MAYMOVE, fixed = MREMAP_MAYMOVE | MREMAP_FIXED;

    map_here(AT, 16 * KIB, RW);
    cr_assert_eq(remap(AT, 4096, 4096, 8, 0), -EINVAL);
    cr_assert_eq(remap(AT + 1, 4096, 4096, 0, 0), -EINVAL);
    cr_assert_eq(remap(AT, 4096, 0, 0, 0), -EINVAL);
    cr_assert_eq(remap(AT, 4096, 4096, MREMAP_FIXED, TO), -EINVAL, "FIXED needs MAYMOVE");
    cr_assert_eq(remap(AT, 4096, 4096, fixed, TO + 1), -EINVAL);
    cr_assert_eq(remap(AT, 8192, 4096, fixed, AT + 4096), -EINVAL, "they overlap");
    cr_assert_eq(remap(AT, 4096, 4096, fixed, FAKE_USER_MAX), -EINVAL);
    cr_assert_eq(remap(AT, 8192, 4096, move | MREMAP_DONTUNMAP, 0), -EINVAL);
    cr_assert_eq(remap(AT, 0, 4096, move, 0), -EINVAL, "a private mapping is not had twice");
    cr_assert_eq(remap(AT - 4096, 4096, 8192, move, 0), -EFAULT);
    cr_assert_eq(remap(AT, 20 * KIB, 24 * KIB, move, 0), -EFAULT, "over the end of the mapping");
    cr_assert_eq(remap(AT, 4096, 8192, 0, 0), -ENOMEM, "the next page is in use");
    cr_assert_eq(remap(AT, 4096, 512 * MIB, move, 0), -ENOMEM);
    cr_assert_eq(remap(AT, UINT64_MAX - 12287, 8192, move, 0), -EINVAL);
}

Test(mm_calls, mremap_in_place)
{
    struct mm *mm = box.mm;

    map_here(AT, 16 * KIB, RW);
    cr_assert_eq(poke(mm, AT + 12 * KIB, 7), 0);
    cr_assert_eq((uaddr_t)remap(AT, 16 * KIB, 64 * KIB, 0, 0), AT);
    cr_assert_eq(peek(mm, AT + 12 * KIB), 7);
    cr_assert_eq(poke(mm, AT + 60 * KIB, 8), 0);
    cr_assert_eq((uaddr_t)remap(AT, 64 * KIB, 8 * KIB, 0, 0), AT);
    cr_assert_eq(touch(mm, AT + 12 * KIB, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq((uaddr_t)remap(AT, 8 * KIB, 8 * KIB, 0, 0), AT);
}

Test(mm_calls, mremap_moves_pages)
{
    struct mm *mm = box.mm;
    int64_t to;

    map_here(AT, MIB, RW);
    map_here(AT + MIB, 4096, PROT_READ);
    for (uint64_t at = 0; at < MIB; at += PAGE_SIZE)
        cr_assert_eq(poke(mm, AT + at, (uint8_t)(at / PAGE_SIZE)), 0);
    to = remap(AT, MIB, 2 * MIB, MREMAP_MAYMOVE, 0);
    cr_assert_gt(to, 0);
    mm_check(mm);
    for (uint64_t at = 0; at < MIB; at += PAGE_SIZE)
        cr_assert_eq(peek(mm, (uaddr_t)to + at), (int)(uint8_t)(at / PAGE_SIZE));
    cr_assert_eq(peek(mm, (uaddr_t)to + MIB), 0);
    cr_assert_eq(touch(mm, AT, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(peek(mm, AT + MIB), 0, "the neighbour stays");
}

Test(mm_calls, mremap_several_mappings_with_their_gaps)
{
    struct mm *mm = box.mm;
    const int fixed = MREMAP_MAYMOVE | MREMAP_FIXED;

    map_here(AT, 8 * KIB, RW);
    map_here(AT + 12 * KIB, 4 * KIB, PROT_READ);
    map_here(TO, 16 * KIB, PROT_NONE);
    cr_assert_eq(poke(mm, AT + 4096, 5), 0);
    cr_assert_eq((uaddr_t)remap(AT, 16 * KIB, 16 * KIB, fixed, TO), TO);
    cr_assert_eq(peek(mm, TO + 4096), 5);
    cr_assert_eq(touch(mm, TO + 8 * KIB, ACCESS_READ), -SEGV_ACCERR, "the gap is left alone");
    cr_assert_eq(touch(mm, TO + 12 * KIB, ACCESS_WRITE), -SEGV_ACCERR);
    cr_assert_eq(peek(mm, TO + 12 * KIB), 0);
    cr_assert_eq(remap(AT, 4096, 4096, fixed, TO), -EFAULT, "a gap at the start");
}

Test(mm_calls, mremap_dontunmap_and_duplicate)
{
    struct mm *mm = box.mm;
    uaddr_t shared;
    int64_t twin;

    map_here(AT, 8 * KIB, RW);
    cr_assert_eq(poke(mm, AT, 3), 0);
    cr_assert_eq(
        (uaddr_t)remap(AT, 8 * KIB, 8 * KIB, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, TO),
        TO);
    cr_assert_eq(peek(mm, TO), 3);
    cr_assert_eq(peek(mm, AT), 0, "still mapped, empty");
    shared = (uaddr_t)map_at(mm, 0, 8 * KIB, RW, MAP_SHARED | MAP_ANONYMOUS);
    cr_assert_eq(poke(mm, shared + 4096, 9), 0);
    twin = remap(shared, 0, 8 * KIB, MREMAP_MAYMOVE, 0);
    cr_assert_gt(twin, 0);
    cr_assert_eq(peek(mm, (uaddr_t)twin + 4096), 9);
    cr_assert_eq(poke(mm, (uaddr_t)twin, 4), 0);
    cr_assert_eq(peek(mm, shared), 4);
}

/* ---- madvise ------------------------------------------------------------------------------ */

Test(mm_calls, madvise_errors)
{
    struct mm *mm = box.mm;
    uaddr_t shared = (uaddr_t)map_at(mm, 0, 8 * KIB, RW, MAP_SHARED | MAP_ANONYMOUS);

    map_here(AT, 8 * KIB, RW);
    cr_assert_eq(mm_advise(mm, AT, 4096, 5), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, 4096, 12345), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, 0, 12345), -EINVAL, "an unknown advice is looked at first");
    cr_assert_eq(mm_advise(mm, AT + 1, 0, MADV_DONTNEED), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, UINT64_MAX - 5, MADV_DONTNEED), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, 0, MADV_DONTNEED), 0);
    cr_assert_eq(mm_advise(mm, AT, 12 * KIB, MADV_NORMAL), -ENOMEM);
    cr_assert_eq(mm_advise(mm, AT - 4096, 12 * KIB, MADV_COLD), -ENOMEM);
    cr_assert_eq(mm_advise(mm, shared, 4096, MADV_FREE), -EINVAL);
    cr_assert_eq(mm_advise(mm, shared, 4096, MADV_WIPEONFORK), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, 4096, MADV_REMOVE), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, 4096, MADV_HWPOISON), -EINVAL);
    cr_assert_eq(mm_lock_range(mm, AT, 4096, true), 0);
    cr_assert_eq(mm_advise(mm, AT, 8192, MADV_DONTNEED), -EINVAL, "locked");
    cr_assert_eq(mm_advise(mm, AT, 8192, MADV_PAGEOUT), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT, 8192, 24), 0, "MADV_DONTNEED_LOCKED");
}

Test(mm_calls, madvise_takes_pages)
{
    struct mm *mm = box.mm;
    uaddr_t shared = (uaddr_t)map_at(mm, 0, 8 * KIB, RW, MAP_SHARED | MAP_ANONYMOUS);

    map_here(AT, 64 * KIB, RW);
    cr_assert_eq(poke(mm, AT, 1), 0);
    cr_assert_eq(poke(mm, AT + 8192, 1), 0);
    cr_assert_eq(mm_advise(mm, AT, 8192, MADV_DONTNEED), 0);
    cr_assert_eq(peek(mm, AT), 0);
    cr_assert_eq(peek(mm, AT + 8192), 1);
    cr_assert_eq(mm_advise(mm, AT, 64 * KIB, MADV_FREE), 0);
    cr_assert_eq(peek(mm, AT + 8192), 0);
    cr_assert_eq(poke(mm, shared, 5), 0);
    cr_assert_eq(mm_advise(mm, shared, 8192, MADV_DONTNEED), 0);
    cr_assert_eq(peek(mm, shared), 5, "the object keeps it");
    cr_assert_eq(mm_advise(mm, shared, 8192, MADV_REMOVE), 0);
    cr_assert_eq(peek(mm, shared), 0);
}

Test(mm_calls, madvise_populate)
{
    struct mm *mm = box.mm;
    size_t calls;

    map_here(AT, 8 * MIB, RW);
    map_here(AT + 8 * MIB, 4096, PROT_READ);
    cr_assert_eq(mm_advise(mm, AT, 8 * MIB, MADV_POPULATE_WRITE), 0);
    calls = map_calls(mm);
    cr_assert_leq(calls, 6);
    for (uint64_t at = 0; at < 8 * MIB; at += PAGE_SIZE)
        cr_assert_eq(touch(mm, AT + at, ACCESS_WRITE), 0);
    cr_assert_eq(map_calls(mm), calls);
    cr_assert_eq(mm_advise(mm, AT + 8 * MIB, 4096, MADV_POPULATE_WRITE), -EINVAL);
    cr_assert_eq(mm_advise(mm, AT + 8 * MIB, 8192, MADV_POPULATE_READ), -ENOMEM);
}

Test(mm_calls, guards)
{
    struct mm *mm = box.mm, *child;

    map_here(AT, 64 * KIB, RW);
    cr_assert_eq(poke(mm, AT + 4096, 1), 0);
    cr_assert_eq(mm_advise(mm, AT, 8192, LINUX_MADV_GUARD_INSTALL), 0);
    cr_assert_eq(touch(mm, AT + 4096, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(mm_advise(mm, AT, 64 * KIB, MADV_DONTNEED), 0);
    cr_assert_eq(touch(mm, AT, ACCESS_WRITE), -SEGV_MAPERR, "guards stay");
    cr_assert_eq(mm_advise(mm, AT, 8192, MADV_POPULATE_READ), -EFAULT);
    cr_assert_eq(mm_fork(mm, &child), 0);
    cr_assert_eq(touch(child, AT, ACCESS_WRITE), -SEGV_MAPERR);
    mm_unref(child);
    cr_assert_eq(mm_advise(mm, AT, 64 * KIB, LINUX_MADV_GUARD_REMOVE), 0);
    cr_assert_eq(peek(mm, AT + 4096), 0);
    cr_assert_gt(map_at(mm, TO, 64UL << 30, RW, FIXED | MAP_NORESERVE), 0);
    cr_assert_eq(mm_advise(mm, TO, 64UL << 30, LINUX_MADV_GUARD_INSTALL), -ENOMEM);
}

Test(mm_calls, fork_advice)
{
    struct mm *mm = box.mm, *child;

    map_here(AT, 4096, RW);
    map_here(AT + 4096, 4096, RW);
    map_here(AT + 8192, 4096, RW);
    for (uint64_t at = 0; at < 12 * KIB; at += 4096)
        cr_assert_eq(poke(mm, AT + at, 6), 0);
    cr_assert_eq(mm_advise(mm, AT, 4096, MADV_DONTFORK), 0);
    cr_assert_eq(mm_advise(mm, AT + 4096, 4096, MADV_WIPEONFORK), 0);
    cr_assert_eq(mm_fork(mm, &child), 0);
    cr_assert_eq(touch(child, AT, ACCESS_READ), -SEGV_MAPERR);
    cr_assert_eq(peek(child, AT + 4096), 0);
    cr_assert_eq(peek(child, AT + 8192), 6);
    cr_assert_eq(peek(mm, AT + 4096), 6);
    mm_check(child);
    mm_unref(child);
}

Test(mm_calls, huge_page_advice_brings_large_runs)
{
    struct mm *mm = box.mm;

    map_here(AT, 8 * MIB, RW);
    cr_assert_eq(mm_advise(mm, AT, 8 * MIB, MADV_HUGEPAGE), 0);
    cr_assert_eq(touch(mm, AT + 3 * MIB, ACCESS_WRITE), 0);
    cr_assert_eq(fake_mapping_find(mm_address_space(mm), AT + 3 * MIB)->range.size, 2 * MIB);
    cr_assert_eq(fake_mapping_find(mm_address_space(mm), AT + 3 * MIB)->range.start % (2 * MIB), 0);
}

/* ---- mlock, msync, mincore ---------------------------------------------------------------- */

static uint64_t locked(void)
{
    struct mm_stats stats;

    mm_get_stats(box.mm, &stats);
    return stats.locked;
}

Test(mm_calls, mlock_counts_and_limits)
{
    struct mm *mm = box.mm;
    struct mm_limits limits = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 64 * KIB};

    mm_set_limits(mm, &limits);
    map_here(AT, 128 * KIB, RW);
    cr_assert_eq(mm_lock_range(mm, AT + 100, 4096, true), 0, "rounded to two pages");
    cr_assert_eq(locked(), 8 * KIB);
    cr_assert_eq(mm_lock_range(mm, AT, 64 * KIB, true), 0, "what is locked counts once");
    cr_assert_eq(mm_lock_range(mm, AT + 64 * KIB, 4096, true), -ENOMEM);
    cr_assert_eq(map_at(mm, 0, 4096, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED), -EAGAIN);
    cr_assert_eq(mm_lock_range(mm, AT, 4096, false), 0);
    cr_assert_eq(locked(), 60 * KIB);
    cr_assert_eq(mm_lock_range(mm, AT, UINT64_MAX - 8191, true), -ENOMEM);
    cr_assert_eq(mm_lock_range(mm, TO, 4096, false), -ENOMEM, "nothing there");
    cr_assert_eq(mm_lock_all(mm, MCL_CURRENT), -ENOMEM);
    cr_assert_eq(mm_lock_all(mm, 0), -EINVAL);
    cr_assert_eq(mm_lock_all(mm, MCL_ONFAULT), -EINVAL);
    cr_assert_eq(mm_lock_all(mm, 8), -EINVAL);
    mm_unlock_all(mm);
    cr_assert_eq(locked(), 0);
    limits.locked = 0;
    mm_set_limits(mm, &limits);
    cr_assert_eq(mm_lock_range(mm, AT, 4096, true), -EPERM);
    cr_assert_eq(map_at(mm, 0, 4096, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED), -EPERM);
    cr_assert_eq(mm_lock_all(mm, MCL_FUTURE), -EPERM);
}

Test(mm_calls, mlockall_locks_what_is_and_what_comes)
{
    struct mm *mm = box.mm;
    uint8_t vec[2] = {0};

    map_here(AT, 8 * KIB, RW);
    cr_assert_eq(mm_lock_all(mm, MCL_CURRENT | MCL_FUTURE), 0);
    cr_assert_eq(mm_incore(mm, AT, 8 * KIB, vec), 0);
    cr_assert_eq(vec[0] & vec[1], 1);
    map_here(TO, 4 * KIB, RW);
    cr_assert_eq(mm_incore(mm, TO, 4 * KIB, vec), 0);
    cr_assert_eq(vec[0], 1);
    cr_assert_eq(locked(), 12 * KIB);
}

Test(mm_calls, mlock_of_what_cannot_be_touched)
{
    map_here(AT, 4096, PROT_NONE);
    cr_assert_eq(mm_lock_range(box.mm, AT, 4096, true), -ENOMEM);
    cr_assert_eq(mm_lock_on_fault(box.mm, AT, 4096), 0);
}

Test(mm_calls, msync_checks)
{
    struct mm *mm = box.mm;

    map_here(AT, 8 * KIB, RW);
    cr_assert_eq(mm_sync(mm, AT, 4096, MS_SYNC), 0);
    cr_assert_eq(mm_sync(mm, AT, 0, 0), 0);
    cr_assert_eq(mm_sync(mm, AT, 4096, MS_SYNC | MS_ASYNC), -EINVAL);
    cr_assert_eq(mm_sync(mm, AT, 4096, 8), -EINVAL);
    cr_assert_eq(mm_sync(mm, AT + 1, 4096, MS_SYNC), -EINVAL);
    cr_assert_eq(mm_sync(mm, AT, 12 * KIB, MS_ASYNC), -ENOMEM);
    cr_assert_eq(mm_sync(mm, AT, UINT64_MAX - AT, MS_ASYNC), -ENOMEM);
    cr_assert_eq(mm_lock_range(mm, AT, 4096, true), 0);
    cr_assert_eq(mm_sync(mm, AT, 4096, MS_INVALIDATE), -EBUSY);
}

Test(mm_calls, mincore_tells_what_is_there)
{
    struct mm *mm = box.mm;
    uaddr_t a = (uaddr_t)map_at(mm, 0, 256 * KIB, RW, MAP_SHARED | MAP_ANONYMOUS);
    uint8_t vec[64] = {0};

    cr_assert_eq(mm_incore(mm, a, 256 * KIB, vec), 0);
    cr_assert_eq(vec[0] | vec[40], 0);
    cr_assert_eq(poke(mm, a + 130 * KIB, 1), 0);
    cr_assert_eq(mm_advise(mm, a, 256 * KIB, MADV_DONTNEED), 0);
    cr_assert_eq(mm_incore(mm, a, 256 * KIB, vec), 0);
    cr_assert_eq(vec[0], 0);
    cr_assert_eq(vec[130 / 4], 1, "the object has it, though it is not mapped");
    map_here(AT, 64 * KIB, RW);
    cr_assert_eq(poke(mm, AT + 8 * KIB, 1), 0);
    cr_assert_eq(mm_incore(mm, AT, 64 * KIB, vec), 0);
    cr_assert_eq(vec[2], 1);
    cr_assert_eq(vec[1] | vec[3], 0, "of the run that came, only what was touched");
    cr_assert_eq(mm_incore(mm, a + 1, 4096, vec), -EINVAL);
    cr_assert_eq(mm_incore(mm, a, 260 * KIB, vec), -ENOMEM);
    cr_assert_eq(mm_incore(mm, FAKE_USER_MAX, 4096, vec), -ENOMEM);
}
