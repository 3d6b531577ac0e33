/*
 * msync(2) and mincore(2): what ranges ask of the objects behind them. Objects are asked without
 * mm->lock, so each round looks the next VMA up anew.
 */
#include <errno.h>
#include <string.h>

#include "sentry/mm/internal.h"

static int sync_object(struct mappable *object, uint64_t offset, uint64_t size)
{
    int err = object->ops->sync ? object->ops->sync(object, offset, size) : 0;

    mappable_unref(object);
    return err;
}

int mm_sync(struct mm *mm, uaddr_t addr, uint64_t size, int flags)
{
    uaddr_t end = addr + round_up(size, PAGE_SIZE);
    int unmapped = 0, err = 0;

    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || !is_aligned(addr, PAGE_SIZE) ||
        (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
        return -EINVAL;
    if (end < addr)
        return -ENOMEM;
    while (addr < end && !err) {
        struct mappable *object = NULL;
        uint64_t offset = 0, part = 0;
        struct vma *vma;

        lock_acquire(&mm->lock);
        vma = vma_find(mm, addr);
        if (!vma || vma->start > addr)
            unmapped = -ENOMEM;
        if (!vma || vma->start >= end) {
            addr = end;
        } else {
            addr = MAX(addr, vma->start);
            part = MIN(vma->end, end) - addr;
            offset = vma_offset_of(vma, addr);
            if ((flags & MS_INVALIDATE) && (vma->flags & VMA_LOCKED))
                err = -EBUSY;
            else if ((flags & MS_SYNC) && (vma->flags & VMA_SHARED))
                object = mappable_ref(vma->object);
            addr += part;
        }
        lock_release(&mm->lock);
        if (object)
            err = sync_object(object, offset, part);
    }
    return err ? err : unmapped;
}

/* ---- mincore ------------------------------------------------------------------------------ */

#define ASK_OBJECT 2 /* in vec, until the object was asked */

/* With the lock: one VMA's part from the page map. -ENOMEM: a hole. */
static int incore_vma(struct mm *mm, uaddr_t addr, uint64_t size, uint8_t *vec, uint64_t *ret_part,
                      struct mappable **ret_object, uint64_t *ret_offset)
{
    struct vma *vma = vma_at(mm, addr);
    struct pmap_iter it;

    if (!vma)
        return -ENOMEM;
    size = MIN(size, vma->end - addr);
    memset(vec, vma->object ? ASK_OBJECT : 0, size / PAGE_SIZE);
    for (pmap_iter_init(&it, &mm->pmap, addr, addr + size); pmap_iter_next(&it);) {
        struct memfile_range run;

        if (!(it.entry & PMAP_PRESENT))
            continue;
        /* A run came with the fault; what of it was touched, only the host knows. */
        run = pmap_run_at(&mm->pmap, it.addr, addr + size - it.addr);
        memfile_resident(mm->env->memfile, run, &vec[(it.addr - addr) / PAGE_SIZE]);
        pmap_iter_skip(&it, it.addr + run.size);
    }
    *ret_part = size;
    *ret_object = vma->object ? mappable_ref(vma->object) : NULL;
    *ret_offset = vma_offset_of(vma, addr);
    return 0;
}

/* What is not mapped: the object has it in memory, and the host has given that memory. */
static void incore_object(struct memfile *mf, struct mappable *object, uint64_t offset,
                          uint64_t count, uint8_t *vec)
{
    uint64_t done;

    for (uint64_t i = 0; i < count; i += done) {
        struct memfile_range run;
        uint64_t wanted = 0;

        done = 1;
        while (i + wanted < count && vec[i + wanted] == ASK_OBJECT)
            wanted++;
        if (wanted == 0)
            continue;
        vec[i] = 0;
        if (!object->ops->resident || !object->ops->resident(object, offset + i * PAGE_SIZE) ||
            object->ops->get_pages(object, offset + i * PAGE_SIZE, wanted * PAGE_SIZE, false, &run))
            continue;
        memfile_resident(mf, run, &vec[i]);
        done = run.size / PAGE_SIZE;
        memfile_unref(mf, run);
    }
}

int mm_incore(struct mm *mm, uaddr_t addr, uint64_t size, uint8_t *vec)
{
    uaddr_t max = mm->env->limits.user_max;

    if (!is_aligned(addr, PAGE_SIZE))
        return -EINVAL;
    if (addr > max || size > max - addr)
        return -ENOMEM;
    size = round_up(size, PAGE_SIZE);
    while (size > 0) {
        struct mappable *object;
        uint64_t part, offset;
        int err;

        lock_acquire(&mm->lock);
        err = incore_vma(mm, addr, size, vec, &part, &object, &offset);
        lock_release(&mm->lock);
        if (err)
            return err;
        if (object)
            incore_object(mm->env->memfile, object, offset, part / PAGE_SIZE, vec);
        mappable_unref(object);
        addr += part;
        size -= part;
        vec += part / PAGE_SIZE;
    }
    return 0;
}
