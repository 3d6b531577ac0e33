/*
 * Making pages present before they are touched: MAP_POPULATE, mlock(2), MADV_POPULATE_*. First by
 * the fault path, then the host is asked to back what came, since a run has no memory until it is
 * touched.
 */
#include <elf.h>
#include <errno.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

#define AHEAD_MAX (64UL << 20) /* of one mapping */

bool mm_is_loader(struct mm *mm, uaddr_t caller)
{
    const struct mm_layout *layout = &mm->layout;
    const struct vma *vma, *interpreter = NULL;

    if (caller == 0 || caller >= PMAP_SPAN)
        return false;
    vma = vma_at(mm, caller - 1);
    for (uint32_t i = 0; i < layout->auxv_count; i++) {
        if (layout->auxv[2 * i] == AT_BASE && layout->auxv[2 * i + 1] < PMAP_SPAN)
            interpreter = vma_at(mm, layout->auxv[2 * i + 1]);
    }
    return vma && vma->object && interpreter && vma->object == interpreter->object;
}

/*
 * Whoever maps a file at a place of its choice is a loader, nearly always: text that will run, and
 * data that will be relocated, as a whole where it is small (fault.c).
 */
static bool is_worth_it(struct mm *mm, const struct vma *vma, uaddr_t addr)
{
    const struct mappable *object = vma->object;

    return object && object->ops->resident && vma->prot != PROT_NONE &&
           (vma_is_private(vma) || !(vma->prot & PROT_WRITE)) && !vma->userfault_modes &&
           mm->env->limits.maps_cheaply && vma->start == addr &&
           !__atomic_load_n(&object->exact, __ATOMIC_RELAXED) && pmap_get(&mm->pmap, addr) == 0;
}

/* The first address in [start, end) of which the object has something in memory; or end. */
static uaddr_t find_resident(struct mappable *object, uint64_t offset, uaddr_t start, uaddr_t end)
{
    uaddr_t at = start;

    while (at < end && !object->ops->resident(object, offset + (at - start)))
        at = round_down(at, OBJECT_AROUND) + OBJECT_AROUND;
    return MIN(at, end);
}

/* What is still mapped there as it was; what fails here will do so again. */
static void bring_ahead(struct mm *mm, const struct mappable *object, uaddr_t addr,
                        enum access access)
{
    struct fault_info info;
    const struct vma *vma;

    lock_acquire(&mm->lock);
    vma = vma_at(mm, addr);
    if (vma && vma->object == object)
        (void)mm_fault_locked(mm, addr, access, 0, &info);
    lock_release(&mm->lock);
}

void mm_map_ahead(struct mm *mm, uaddr_t addr, uaddr_t caller)
{
    struct mappable *object = NULL;
    enum access access = ACCESS_READ;
    uint64_t offset = 0;
    uaddr_t end = addr, start = addr;
    struct vma *vma;

    lock_acquire(&mm->lock);
    vma = vma_at(mm, addr);
    if (vma && is_worth_it(mm, vma, addr)) {
        object = mappable_ref(vma->object);
        offset = vma->offset;
        end = MIN(vma->end, addr + AHEAD_MAX);
        if (vma->prot & PROT_EXEC) {
            mm_call_sites_apply(mm, vma, caller);
            access = ACCESS_EXEC;
        } else if ((vma->prot & PROT_WRITE) && vma->end - vma->start <= MM_AHEAD_SMALL) {
            access = ACCESS_WRITE;
        }
    }
    lock_release(&mm->lock);
    while (addr < end) {
        uaddr_t stop = MIN(round_down(addr, FAULT_AROUND) + FAULT_AROUND, end);
        uaddr_t at = find_resident(object, offset + (addr - start), addr, stop);

        if (at < stop)
            bring_ahead(mm, object, at, access);
        addr = stop;
    }
    mappable_unref(object);
}

static void back_pages(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct memfile *mf = mm->env->memfile;

    while (start < end) {
        struct memfile_range run = {0};
        struct pmap_iter it;

        lock_acquire(&mm->lock);
        pmap_iter_init(&it, &mm->pmap, start, end);
        if (!pmap_iter_next(&it)) {
            start = end;
        } else {
            start = it.addr + PAGE_SIZE;
            if (it.entry & PMAP_PRESENT) {
                run = pmap_run_at(&mm->pmap, it.addr, MIN(end - it.addr, HUGE_PAGE_SIZE));
                memfile_ref(mf, run);
                start = it.addr + run.size;
            }
        }
        lock_release(&mm->lock);
        if (run.size) {
            memfile_populate(mf, run);
            memfile_unref(mf, run);
        }
    }
}

int mm_populate(struct mm *mm, uaddr_t start, uaddr_t end, bool ignore_errors)
{
    struct fault_info info;
    uaddr_t first = start;
    int err = 0;

    lock_acquire(&mm->lock);
    while (start < end) {
        struct vma *vma = vma_find(mm, start);
        enum access access;

        if (!vma || vma->start >= end)
            break;
        start = MAX(start, vma->start);
        /* As populate_vma_page_range(): break copy-on-write of private memory at once. */
        access = (vma->prot & PROT_WRITE) && vma_is_private(vma) ? ACCESS_WRITE : ACCESS_READ;
        err = 0;
        if ((pmap_get(&mm->pmap, start) & PMAP_RIGHTS & (uint64_t)access) == 0)
            err = mm_fault_locked(mm, start, access, end - start, &info);
        if (err && !ignore_errors)
            break;
        start += PAGE_SIZE;
        if (err) {
            vma = vma_find(mm, start);
            if (vma && vma->start < start)
                start = vma->end;
        }
    }
    lock_release(&mm->lock);
    back_pages(mm, first, end);
    return ignore_errors ? 0 : err;
}

int mm_populate_for(struct mm *mm, uaddr_t start, uaddr_t end, enum access access)
{
    int right = access == ACCESS_WRITE ? PROT_WRITE : PROT_READ;
    struct fault_info info;
    uaddr_t first = start;
    int err = 0;

    lock_acquire(&mm->lock);
    while (start < end && !err) {
        struct vma *vma = vma_at(mm, start);

        if (!vma)
            err = -ENOMEM;
        else if (!(vma->prot & right))
            err = -EINVAL;
        else if (!(pmap_get(&mm->pmap, start) & (uint64_t)right))
            err = mm_fault_locked(mm, start, access, end - start, &info);
        start += PAGE_SIZE;
    }
    lock_release(&mm->lock);
    back_pages(mm, first, start);
    return err;
}
