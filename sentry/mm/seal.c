/*
 * mseal(2): mappings that can no longer be unmapped, moved, changed or emptied. The checks stand
 * with the calls that would (mmap.c, protect.c, remap.c, advise.c).
 */
#include <errno.h>

#include "sentry/mm/internal.h"

static int seal_locked(struct mm *mm, uaddr_t start, uaddr_t end)
{
    if (vma_hole_in(mm, start, end))
        return -ENOMEM;
    while (start < end) {
        struct vma *vma = vma_at(mm, start);
        uaddr_t stop = MIN(vma->end, end);
        int err = vma_set_flags(mm, vma, start, stop, vma->flags | VMA_SEALED);

        if (err)
            return err;
        start = stop;
    }
    return 0;
}

int mm_seal(struct mm *mm, uaddr_t addr, uint64_t size)
{
    uint64_t rounded = round_up(size, PAGE_SIZE);
    int err;

    if (!is_aligned(addr, PAGE_SIZE) || (size && !rounded) || addr + rounded < addr)
        return -EINVAL;
    lock_acquire(&mm->lock);
    err = seal_locked(mm, addr, addr + rounded);
    lock_release(&mm->lock);
    return err;
}
