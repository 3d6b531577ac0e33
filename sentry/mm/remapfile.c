#include <errno.h>

#include "sentry/mm/internal.h"

/* The mapping at `start` reaches to `end`, if need be over equal neighbours. */
static bool reaches(struct vma *vma, uaddr_t end)
{
    while (vma->end < end) {
        struct vma *next = vma_next(vma);

        if (!next || next->start != vma->end || next->object != vma->object ||
            next->flags != vma->flags)
            return false;
        vma = next;
    }
    return true;
}

int mm_remap_file_pages(struct mm *mm, uaddr_t addr, uint64_t size, int prot, uint64_t page,
                        int flags)
{
    struct mm_map_args args = {.addr = round_down(addr, PAGE_SIZE),
                               .size = round_down(size, PAGE_SIZE),
                               .flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE};
    uaddr_t end = args.addr + args.size, mapped;
    bool gone = false;
    struct vma *vma;
    int err = 0;

    if (prot || end <= args.addr || page + args.size / PAGE_SIZE < page)
        return -EINVAL;
    if (page > (uint64_t)INT64_MAX / PAGE_SIZE)
        return -EOVERFLOW;
    args.offset = page * PAGE_SIZE;
    args.flags |= flags & MAP_NONBLOCK;
    lock_acquire(&mm->lock);
    vma = vma_at(mm, args.addr);
    if (!vma || vma_is_private(vma) || !reaches(vma, end)) {
        err = -EINVAL;
    } else {
        args.object = mappable_ref(vma->object);
        args.prot = vma->prot;
        args.max_prot = vma->max_prot;
        args.flags |= vma->flags & VMA_LOCKED ? MAP_LOCKED : 0;
        /* What makes room for the new mapping takes a removed segment with it: shm_mmap(). */
        gone = vma->start == args.addr && vma->end <= end && vma->object->ops->ends_with_mapping &&
               vma->object->ops->ends_with_mapping(vma->object);
    }
    lock_release(&mm->lock);
    if (err)
        return err;
    if (gone)
        err = mm_unmap(mm, args.addr, args.size) < 0 ? -ENOMEM : -EINVAL;
    else
        err = mm_map(mm, &args, &mapped);
    mappable_unref(args.object);
    return err;
}
