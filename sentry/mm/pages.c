/*
 * Page map and platform, changed together.
 *
 * The platform is a cache of the page map and may be emptied at any time: when it refuses (ptrace
 * runs out of host VMAs), everything is unmapped in one call and comes back by faults. So rights
 * can always be taken away, and only "out of memory" is left as an error of mapping.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

/* ---- trash -------------------------------------------------------------------------------- */

void mm_gather(struct mm *mm, bool on)
{
    if (mm->as->ops->as_gather)
        mm->as->ops->as_gather(mm->as, on);
}

void mm_settle(struct mm *mm)
{
    if (mm->as->ops->as_settle)
        mm->as->ops->as_settle(mm->as);
}

void mm_defer(struct mm *mm)
{
    if (mm->as->ops->as_defer)
        mm->as->ops->as_defer(mm->as);
}

static void free_ranges(struct mm *mm, struct trash *trash)
{
    if (trash->count > 0)
        mm_settle(mm);
    for (uint32_t i = 0; i < trash->count; i++)
        memfile_unref(mm->env->memfile, trash->ranges[i]);
    trash->count = 0;
}

void trash_add_range(struct mm *mm, struct trash *trash, struct memfile_range range)
{
    struct memfile_range *last = trash->count ? &trash->ranges[trash->count - 1] : NULL;

    if (last && last->start + last->size == range.start) {
        last->size += range.size;
        return;
    }
    if (trash->count == TRASH_RANGES)
        free_ranges(mm, trash);
    trash->ranges[trash->count++] = range;
}

void mm_unlock(struct mm *mm, struct trash *trash) __no_lock_analysis
{
    lock_release(&mm->lock);
    mm_free_trash(mm, trash);
}

void mm_free_trash(struct mm *mm, struct trash *trash)
{
    free_ranges(mm, trash);
    while (trash->vmas) {
        struct vma *vma = trash->vmas;

        trash->vmas = vma->next_trash;
        vma_free(vma);
    }
    if (unlikely(trash->events)) {
        struct mm_userfault_event *events = trash->events;

        trash->events = NULL;
        mm_userfault_deliver(events);
    }
}

/* ---- platform ----------------------------------------------------------------------------- */

/* Empties the platform's address space; faults fill it again. */
static void platform_flush(struct mm *mm)
{
    const struct platform_limits *limits = &mm->env->limits;
    struct pmap_iter it;
    int err;

    err = mm->as->ops->as_unmap(mm->as, limits->user_min, limits->user_max - limits->user_min);
    if (err)
        BUG("the platform cannot forget an address space: error %d", -err);
    for (pmap_iter_init(&it, &mm->pmap, 0, PMAP_SPAN); pmap_iter_next(&it);) {
        if (it.entry & PMAP_RIGHTS)
            pmap_iter_set(&it, it.entry & ~PMAP_RIGHTS);
    }
}

static int as_map(struct mm *mm, uaddr_t addr, uint64_t rights, struct memfile_range range)
{
    if (unlikely(READ_ONCE(mm->calls_rewritten)) && (rights & PROT_EXEC))
        return mm_call_sites_map(mm, addr, rights, range);
    return mm->as->ops->as_map(mm->as, addr, (int)rights, range);
}

int mm_platform_map(struct mm *mm, uaddr_t addr, uint64_t rights, struct memfile_range range)
{
    int err;

    if (!rights) /* a debugger brought in what the program itself must not touch */
        return 0;
    err = as_map(mm, addr, rights, range);
    if (likely(!err))
        return 0;
    log_debug("as_map at %#lx: error %d, the address space is flushed", addr, -err);
    platform_flush(mm);
    err = as_map(mm, addr, rights, range);
    if (err)
        return -ENOMEM;
    /* The flush forgot these rights as well. */
    return pmap_set_run(&mm->pmap, addr, range.size,
                        (pmap_get(&mm->pmap, addr) & ~PMAP_RIGHTS) | rights);
}

void mm_platform_unmap(struct mm *mm, uaddr_t start, uaddr_t end)
{
    int err = mm->as->ops->as_unmap(mm->as, start, end - start);

    if (unlikely(err)) {
        log_debug("as_unmap at %#lx: error %d, the address space is flushed", start, -err);
        platform_flush(mm);
    }
}

/* ---- taking pages away -------------------------------------------------------------------- */

/* Not those that were asked for, nor marks that stand for an object's pages. */
static bool guard_goes(struct mm *mm, const struct pmap_iter *it)
{
    if (pmap_is_marker(it->entry))
        return !mm_userfault_left_behind(mm, it->addr);
    return it->entry & PMAP_POISON;
}

void mm_zap(struct mm *mm, uaddr_t start, uaddr_t end, enum zap_kind kind, struct trash *trash)
{
    uaddr_t mapped_start = 0, mapped_end = 0;
    uint64_t before = mm->pmap.present * PAGE_SIZE;
    struct trash batch = TRASH_INIT;
    struct pmap_iter it;

    mm->stats.peak_resident = MAX(mm->stats.peak_resident, before);
    for (pmap_iter_init(&it, &mm->pmap, start, end); pmap_iter_next(&it);) {
        struct memfile_range page = {it.entry & ~PMAP_FLAGS, PAGE_SIZE};

        if (it.entry & PMAP_GUARD) {
            if (kind == ZAP_ALL || (kind == ZAP_PAGES && guard_goes(mm, &it)))
                pmap_iter_set(&it, 0);
            continue;
        }
        if (kind == ZAP_OBJECT && (it.entry & PMAP_ANON))
            continue;
        if (batch.count == TRASH_RANGES) {
            /* The platform must forget pages before they can be given back. */
            if (mapped_end)
                mm_platform_unmap(mm, mapped_start, mapped_end);
            mapped_end = 0;
            free_ranges(mm, &batch);
        }
        if (it.entry & PMAP_RIGHTS) {
            if (!mapped_end)
                mapped_start = it.addr;
            mapped_end = it.addr + PAGE_SIZE;
        }
        trash_add_range(mm, &batch, page);
        pmap_iter_set(&it, kind != ZAP_ALL && unlikely(it.entry & PMAP_UFFD_WP)
                               ? mm_userfault_left_behind(mm, it.addr)
                               : 0);
    }
    if (mapped_end)
        mm_platform_unmap(mm, mapped_start, mapped_end);
    for (uint32_t i = 0; i < batch.count; i++)
        trash_add_range(mm, trash, batch.ranges[i]);
    pmap_trim(&mm->pmap, start, end);
}

/* ---- changing rights ---------------------------------------------------------------------- */

uint64_t mm_entry_rights(const struct vma *vma, uint64_t entry)
{
    uint64_t rights = prot_rights(vma->prot);

    if ((entry & PMAP_UFFD_WP) && (vma->userfault_modes & MM_UFFD_WP))
        rights &= ~(uint64_t)PROT_WRITE;
    if (vma_is_private(vma)) {
        if ((entry & (PMAP_ANON | PMAP_COW)) != PMAP_ANON)
            rights &= ~(uint64_t)PROT_WRITE;
    } else if (vma->object->ops->wants_write_notice && !(entry & PMAP_DIRTY)) {
        rights &= ~(uint64_t)PROT_WRITE;
    }
    return rights;
}

uint64_t mm_entry_settle(struct mm *mm, uint64_t entry)
{
    if ((entry & PMAP_COW) && memfile_page_refs(mm->env->memfile, entry & ~PMAP_FLAGS) == 1)
        entry &= ~PMAP_COW;
    return entry;
}

/* So many platform calls may one operation make before it unmaps the rest and leaves it to faults.
 */
#define REWRITE_CALLS 16

struct rewrite {
    struct mm *mm;
    uaddr_t start; /* the run that waits to be mapped anew */
    uint64_t size;
    uint64_t entry; /* its first */
    uint32_t calls;
    uaddr_t drop_start, drop_end; /* what is unmapped at the end */
};

static bool continues_run(const struct rewrite *rw, uaddr_t addr, uint64_t entry)
{
    return rw->size && rw->start + rw->size == addr && rw->entry + rw->size == entry;
}

/* False: the platform refused and was emptied, so no page has any rights now. */
static bool end_run(struct rewrite *rw)
{
    struct memfile_range range = {rw->entry & ~PMAP_FLAGS, rw->size};
    int err;

    if (!rw->size)
        return true;
    rw->size = 0;
    rw->calls++;
    err = as_map(rw->mm, rw->start, rw->entry & PMAP_RIGHTS, range);
    if (likely(!err))
        return true;
    platform_flush(rw->mm);
    return false;
}

static void drop(struct rewrite *rw, uaddr_t addr)
{
    if (!rw->drop_end)
        rw->drop_start = addr;
    rw->drop_end = addr + PAGE_SIZE;
}

void mm_rewrite(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end, mm_entry_fn fn,
                void *arg)
{
    struct rewrite rw = {.mm = mm};
    struct pmap_iter it;

    for (pmap_iter_init(&it, &mm->pmap, start, end); pmap_iter_next(&it);) {
        uint64_t old = it.entry, entry;
        bool changes;

        if (!(old & PMAP_PRESENT))
            continue;
        entry = fn(mm, vma, it.addr, old, arg);
        if (!(old & PMAP_RIGHTS))
            entry &= ~PMAP_RIGHTS; /* left to the next fault */
        changes = (entry & PMAP_RIGHTS) != (old & PMAP_RIGHTS);
        /* Between the first and the last dropped page nothing stays mapped. */
        if (rw.drop_end || (changes && rw.calls >= REWRITE_CALLS))
            entry &= ~PMAP_RIGHTS;
        changes = (entry & PMAP_RIGHTS) != (old & PMAP_RIGHTS);
        if (changes && !continues_run(&rw, it.addr, entry) && !end_run(&rw)) {
            entry &= ~PMAP_RIGHTS;
            changes = false;
        }
        pmap_iter_set(&it, entry);
        if (!changes)
            continue;
        if (!(entry & PMAP_RIGHTS)) {
            drop(&rw, it.addr);
            continue;
        }
        if (!rw.size) {
            rw.start = it.addr;
            rw.entry = entry;
        }
        rw.size += PAGE_SIZE;
    }
    (void)end_run(&rw);
    if (rw.drop_end)
        mm_platform_unmap(mm, rw.drop_start, rw.drop_end);
}
