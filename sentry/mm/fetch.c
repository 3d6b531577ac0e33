/*
 * Pages of objects on their way into an address space: asked for without mm->lock, noted in the
 * page map when the mapping is still the same afterwards. What the object has in memory around the
 * fault comes along, since the asking costs nothing and each fault costs much.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

/*
 * Notes the object's pages from `addr` on, unmapped, where the VMA has nothing yet. Consumes the
 * range's references.
 */
static int note_object_pages(struct mm *mm, const struct vma *vma, uaddr_t addr,
                             struct memfile_range range, bool write, struct trash *trash)
{
    uint64_t flags = PMAP_PRESENT | (write ? PMAP_DIRTY : 0), size;
    int err = 0;

    for (uint64_t at = 0; at < range.size; at += size) {
        struct memfile_range page = {range.start + at, PAGE_SIZE};
        uint64_t old = pmap_get(&mm->pmap, addr + at);
        bool wanted = addr + at >= vma->start && addr + at < vma->end && !err;

        size = PAGE_SIZE;
        /* A page that the object replaced for writing. */
        if (wanted && write && old && !(old & (PMAP_GUARD | PMAP_ANON)) &&
            (old & ~PMAP_FLAGS) != page.start) {
            mm_zap(mm, addr + at, addr + at + PAGE_SIZE, ZAP_OBJECT, trash);
            old = pmap_get(&mm->pmap, addr + at);
        }
        if (wanted && !old) {
            uaddr_t end = MIN(addr + range.size, vma->end);

            size = pmap_next_used(&mm->pmap, addr + at, end) - (addr + at);
            err = pmap_set_run(&mm->pmap, addr + at, size, page.start | flags);
            if (!err)
                continue;
            page.size = size;
        } else if (wanted && pmap_is_marker(old)) {
            (void)pmap_set_run(&mm->pmap, addr + at, PAGE_SIZE, page.start | flags | PMAP_UFFD_WP);
            continue;
        } else if (wanted && write && (old & ~PMAP_FLAGS) == page.start) {
            (void)pmap_set_run(&mm->pmap, addr + at, PAGE_SIZE, old | PMAP_DIRTY);
        }
        trash_add_range(mm, trash, page);
    }
    return err;
}

/* From around the page where that works, so that the neighbours come for free. */
static int ask_object(struct memfile *mf, struct mappable *object, uint64_t low, uint64_t offset,
                      uint64_t high, bool write, struct memfile_range *ret_range,
                      uint64_t *ret_offset)
{
    int err;

    if (low < offset && object->ops->get_pages(object, low, high - low, write, ret_range) == 0) {
        if (low + ret_range->size > offset) {
            *ret_offset = low;
            return 0;
        }
        memfile_unref(mf, *ret_range);
    }
    err = object->ops->get_pages(object, offset, high - offset, write, ret_range);
    *ret_offset = offset;
    return err;
}

/* What an object gave around a fault: runs of its pages, referenced, with their offsets. */
#define FETCH_RUNS 16
struct fetched {
    struct memfile_range range[FETCH_RUNS];
    uint64_t offset[FETCH_RUNS];
    int count;
};

/* What the object has in memory of [start, end), run by run; gaps are as large as what is read. */
static void fetch_between(struct mappable *object, uint64_t start, uint64_t end, struct fetched *f)
{
    while (start < end && f->count < FETCH_RUNS) {
        struct memfile_range *range = &f->range[f->count];

        if (!object->ops->resident(object, start) ||
            object->ops->get_pages(object, start, end - start, false, range) != 0) {
            start = round_down(start, OBJECT_AROUND) + OBJECT_AROUND;
            continue;
        }
        f->offset[f->count++] = start;
        start += range->size;
    }
}

/* Beyond what was asked for, within [low, high): all that the object has in memory anyway. */
static void fetch_resident(struct mappable *object, uint64_t low, uint64_t high, struct fetched *f)
{
    uint64_t start = f->offset[0], end = start + f->range[0].size;

    if (!object->ops->resident)
        return;
    fetch_between(object, end, high, f);
    fetch_between(object, low, start, f);
}

/* Consumes what was fetched. */
static int note_fetched(struct mm *mm, const struct vma *vma, const struct fetched *f, bool write,
                        struct trash *trash)
{
    int err = 0;

    for (int i = 0; i < f->count; i++) {
        uaddr_t at = vma->start + (f->offset[i] - vma->offset);

        if (err)
            trash_add_range(mm, trash, f->range[i]);
        else
            err = note_object_pages(mm, vma, at, f->range[i], write, trash);
    }
    return err;
}

int mm_fetch_object(struct mm *mm, struct vma *vma, uaddr_t page, bool write) __no_lock_analysis
{
    struct memfile *mf = mm->env->memfile;
    struct mappable *object = mappable_ref(vma->object);
    uint64_t offset = vma_offset_of(vma, page);
    uint64_t first = vma_offset_of(vma, MAX(round_down(page, FAULT_AROUND), vma->start));
    uint64_t last =
        vma_offset_of(vma, MIN(round_down(page, FAULT_AROUND) + FAULT_AROUND, vma->end));
    uint64_t low = MAX(round_down(offset, OBJECT_AROUND), vma->offset);
    uint64_t high =
        MIN(round_down(offset, OBJECT_AROUND) + OBJECT_AROUND, vma_offset_of(vma, vma->end));
    bool exact = __atomic_load_n(&object->exact, __ATOMIC_RELAXED);
    uint64_t seen = __atomic_load_n(&object->invalidations, __ATOMIC_ACQUIRE);
    struct trash trash = TRASH_INIT;
    struct fetched got = {.count = 1};
    int err;

    lock_release(&mm->lock);
    err = ask_object(mf, object, exact ? offset : low, offset, high, write, &got.range[0],
                     &got.offset[0]);
    if (err)
        got.count = 0;
    else if (!write)
        fetch_resident(object, first, last, &got);
    lock_acquire(&mm->lock);

    vma = vma_at(mm, page);
    if (!vma || vma->object != object || vma_offset_of(vma, page) != offset ||
        seen != __atomic_load_n(&object->invalidations, __ATOMIC_ACQUIRE)) {
        while (got.count > 0)
            trash_add_range(mm, &trash, got.range[--got.count]);
        err = 0;
    } else if (!err) {
        err = note_fetched(mm, vma, &got, write, &trash);
    } else if (err != -ENOMEM) {
        err = -EFAULT;
    }
    /* Not under the lock: this may be the object's last reference now. */
    mm_unlock(mm, &trash);
    mappable_unref(object);
    lock_acquire(&mm->lock);
    return err;
}
