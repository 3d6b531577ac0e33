/*
 * UFFDIO_MOVE: pages go from one place to another by their entries in the page map, without a copy.
 *
 *   src   private anonymous memory; the platform forgets it before the lock is released
 *   dst   the descriptor's, empty; faults map what has come (fault.c)
 *
 * What others see as well stays where it is: pages shared by fork, and those into which the host
 * reads data just now.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

#define BATCH 512 /* pages or holes, while the lock is held */

/* validate_move_areas() of Linux mm/userfaultfd.c */
static bool may_move(const struct mm_userfault *u, const struct vma *dst, const struct vma *src)
{
    return vma_is_private(src) && vma_is_private(dst) && !src->object && !dst->object &&
           src->prot == dst->prot && (src->prot & PROT_WRITE) &&
           (src->flags & VMA_LOCKED) == (dst->flags & VMA_LOCKED) && dst->userfault == u;
}

static int check_move(struct mm *mm, const struct mm_userfault *u, uaddr_t dst, uaddr_t src,
                      uint64_t size) __must_hold(mm->lock)
{
    const struct vma *to = vma_at(mm, dst), *from = vma_at(mm, src);

    if (!to || !from)
        return -ENOENT;
    if (size > from->end - src || size > to->end - dst || !may_move(u, to, from))
        return -EINVAL;
    return mm_userfault_check(to);
}

static int move_page(struct mm *mm, uaddr_t dst, uaddr_t src, uint64_t entry) __must_hold(mm->lock)
{
    if (!(entry & PMAP_PRESENT))
        return -EFAULT; /* a guard, or said to be broken */
    entry = mm_entry_settle(mm, entry);
    if ((entry & PMAP_COW) || mm_page_is_pinned(mm, entry & ~PMAP_FLAGS))
        return -EBUSY;
    if (pmap_set_run(&mm->pmap, dst, PAGE_SIZE, entry & ~(PMAP_RIGHTS | PMAP_UFFD_WP)) < 0)
        return -ENOMEM;
    (void)pmap_set_run(&mm->pmap, src, PAGE_SIZE, 0); /* its leaf exists: cannot fail */
    return 0;
}

/* How far it is to the next page, at `dst` or `src`: holes are passed over at once. */
static uint64_t hole_size(struct mm *mm, uaddr_t dst, uaddr_t src, uint64_t size)
    __must_hold(mm->lock)
{
    uint64_t until_src = pmap_next_used(&mm->pmap, src, src + size) - src;

    return pmap_next_used(&mm->pmap, dst, dst + until_src) - dst;
}

static int64_t move_batch(struct mm *mm, uaddr_t dst, uaddr_t src, uint64_t size, bool holes)
    __must_hold(mm->lock)
{
    uaddr_t mapped_start = 0, mapped_end = 0;
    uint64_t done = 0;
    int err = 0;

    for (int i = 0; i < BATCH && done < size && !err; i++) {
        uint64_t entry = pmap_get(&mm->pmap, src + done);

        if (pmap_get(&mm->pmap, dst + done)) {
            err = -EEXIST;
        } else if (entry) {
            err = move_page(mm, dst + done, src + done, entry);
            if (!err && (entry & PMAP_RIGHTS)) {
                mapped_start = mapped_end ? mapped_start : src + done;
                mapped_end = src + done + PAGE_SIZE;
            }
            done += err ? 0 : PAGE_SIZE;
        } else if (holes) {
            done += hole_size(mm, dst + done, src + done, size - done);
        } else {
            err = -ENOENT;
        }
    }
    if (mapped_end)
        mm_platform_unmap(mm, mapped_start, mapped_end);
    if (done)
        pmap_trim(&mm->pmap, src, src + done);
    return done ? (int64_t)done : err;
}

int64_t mm_userfault_move(struct mm *mm, const struct mm_userfault *u, uaddr_t dst, uaddr_t src,
                          uint64_t size, bool holes)
{
    int64_t result;

    lock_acquire(&mm->lock);
    result = check_move(mm, u, dst, src, size);
    if (!result)
        result = move_batch(mm, dst, src, size, holes);
    lock_release(&mm->lock);
    return result;
}
