/*
 * A copy-on-write twin. What it costs follows the pages that exist: a private one gets one more
 * reference, an entry in the child's page map, and loses its write right in the parent; or, when
 * it was written after earlier forks, the child gets a copy at once (struct hot_pages).
 *
 * Where mapping is cheap, all that is there is mapped in the child. Where it is not, its address
 * space stays empty and its faults map what it touches. Of large objects only the first pages
 * that the parent has are noted for the child, whose faults find the others where the parent did.
 *
 * The child's lock is held too, though nobody knows the child yet: its mappings hang in their
 * objects' lists at once, and an invalidation comes by those (mappable.c).
 */
#include <errno.h>
#include <string.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"
#include "sentry/mm/uio.h"

#define MAP_CALLS_MAX 4096 /* for each VMA */
#define OBJECT_PAGES  1024 /* likewise */

struct twin {
    struct mm *child;
    const struct hot_pages *hot;       /* NULL: copy nothing ahead */
    uint64_t kept;                     /* of the entries of this VMA: PMAP_UFFD_WP or nothing */
    struct mm_userfault_event *events; /* FORK */
    int err;
};

bool mm_page_is_pinned(struct mm *mm, uint64_t offset)
{
    const struct uio_pin *pin;

    list_for_each (pin, &mm->pins, node) {
        for (int i = 0; i < pin->count; i++) {
            if (offset - pin->range[i].start < pin->range[i].size)
                return true;
        }
    }
    return false;
}

/* The parent keeps its page: the host's write to it is on its way, or its own will be soon. */
static int copy_for_child(const struct twin *twin, uaddr_t addr, uint64_t entry)
{
    struct mm *child = twin->child;
    struct memfile *mf = child->env->memfile;
    struct memfile_range range;
    int err = memfile_alloc_dirty(mf, PAGE_SIZE, &range);

    if (err)
        return err;
    memcpy(memfile_ptr(mf, range.start), memfile_ptr(mf, entry & ~PMAP_FLAGS), PAGE_SIZE);
    err = pmap_set_run(&child->pmap, addr, PAGE_SIZE,
                       range.start | PMAP_PRESENT | PMAP_ANON | (entry & twin->kept));
    if (err)
        memfile_unref(mf, range);
    return err;
}

static uint64_t share_entry(struct mm *mm, const struct vma *vma, uaddr_t addr, uint64_t entry,
                            void *arg)
{
    struct twin *twin = arg;
    struct memfile_range page = {entry & ~PMAP_FLAGS, PAGE_SIZE};

    if (!(entry & PMAP_ANON) || twin->err)
        return entry;
    if ((twin->hot && hot_pages_has(twin->hot, addr)) ||
        (!list_empty(&mm->pins) && mm_page_is_pinned(mm, page.start))) {
        twin->err = copy_for_child(twin, addr, entry);
        entry = mm_entry_settle(mm, entry);
        return entry | mm_entry_rights(vma, entry);
    }
    twin->err =
        pmap_set_run(&twin->child->pmap, addr, PAGE_SIZE,
                     page.start | PMAP_PRESENT | PMAP_ANON | PMAP_COW | (entry & twin->kept));
    if (twin->err)
        return entry;
    memfile_ref(mm->env->memfile, page);
    return (entry | PMAP_COW) & ~(uint64_t)PROT_WRITE;
}

/* What is not private memory: guards, and pages of the object, of which it learns no write yet. */
static int copy_others(struct mm *mm, const struct vma *vma, const struct twin *twin)
{
    struct pmap *map = &twin->child->pmap;
    struct pmap_iter it;
    int err = 0, noted = 0;

    for (pmap_iter_init(&it, &mm->pmap, vma->start, vma->end); !err && pmap_iter_next(&it);) {
        struct memfile_range page = {it.entry & ~PMAP_FLAGS, PAGE_SIZE};

        if (pmap_is_marker(it.entry) && !twin->kept) {
            continue;
        } else if (it.entry & PMAP_GUARD) {
            err = pmap_set_run(map, it.addr, PAGE_SIZE, it.entry);
        } else if ((it.entry & (PMAP_PRESENT | PMAP_ANON)) == PMAP_PRESENT &&
                   (noted++ < OBJECT_PAGES || (it.entry & twin->kept))) {
            err = pmap_set_run(map, it.addr, PAGE_SIZE,
                               page.start | PMAP_PRESENT | (it.entry & twin->kept));
            if (!err)
                memfile_ref(mm->env->memfile, page);
        }
    }
    return err;
}

static int fork_vma(struct mm *mm, struct vma *vma, struct twin *twin)
{
    unsigned int calls = MAP_CALLS_MAX;
    struct mm *child = twin->child;
    struct vma *copy;
    int err;

    if (vma->flags & VMA_DONTFORK)
        return 0;
    if (!mm_may_commit(mm, vma->prot, vma->flags, vma->end - vma->start))
        return -ENOMEM;
    copy = vma_new(child, vma);
    if (!copy)
        return -ENOMEM;
    copy->flags &= ~(uint32_t)(VMA_LOCKED | VMA_LOCKONFAULT);
    copy->rewritten = VMA_ORIGINAL;
    err = mm_userfault_fork(vma, copy, &twin->events);
    vma_insert(child, copy);
    if (err || (vma->flags & VMA_WIPEONFORK))
        return err;
    twin->kept = copy->userfault_modes & MM_UFFD_WP ? PMAP_UFFD_WP : 0;
    err = copy_others(mm, vma, twin);
    if (!err && vma_is_private(vma)) {
        mm_rewrite(mm, vma, vma->start, vma->end, share_entry, twin);
        err = twin->err;
    }
    if (!err && mm->env->limits.maps_cheaply)
        err = mm_map_present(child, copy, copy->start, copy->end, 0, &calls);
    return err;
}

/* As mm_map_present() would have mapped it, or with fewer rights. */
static bool keep_mapping(uaddr_t addr, int prot, struct memfile_range range, void *arg)
{
    struct mm *child = arg;
    struct vma *vma = NULL;

    for (uint64_t at = 0; at < range.size; at += PAGE_SIZE) {
        uint64_t entry = pmap_get(&child->pmap, addr + at);

        if (!vma || vma->end <= addr + at)
            vma = vma_at(child, addr + at);
        if (!vma || !(entry & PMAP_PRESENT) || ((uint64_t)prot & ~mm_entry_rights(vma, entry)) ||
            !mm_call_sites_keep(child, vma, addr + at, entry, prot, range.start + at))
            return false;
    }
    for (uint64_t at = 0; at < range.size; at += PAGE_SIZE) {
        uint64_t entry = pmap_get(&child->pmap, addr + at) & ~PMAP_RIGHTS;

        (void)pmap_set_run(&child->pmap, addr + at, PAGE_SIZE, entry | (uint64_t)prot);
    }
    return true;
}

/* Other threads that write while we copy would see to it that a page never was as we got it. */
static const struct hot_pages *share_hot_pages(struct mm *mm, struct mm *child)
{
    if (!mm->hot)
        mm->hot = hot_pages_create();
    if (mm->hot)
        child->hot = hot_pages_ref(mm->hot);
    return refcount_read(&mm->refs) == 1 ? mm->hot : NULL;
}

int mm_fork(struct mm *mm, struct mm **ret) __no_lock_analysis
{
    struct twin twin = {.err = 0};
    struct mm *child;
    int err = mm_create_like(mm->env, mm->as, &child);

    if (err)
        return err;
    lock_acquire(&mm->lock);
    lock_acquire(&child->lock);
    child->layout = mm->layout;
    child->calls_untouched = mm->calls_untouched;
    mm_inherit(child, mm);
    twin.child = child;
    twin.hot = share_hot_pages(mm, child);
    child->mmap_base = mm->mmap_base;
    child->bottom_up = mm->bottom_up;
    child->brk_start = mm->brk_start;
    child->brk = mm->brk;
    child->limits = mm->limits;
    for (struct vma *vma = vma_first(mm); vma && !err; vma = vma_next(vma))
        err = fork_vma(mm, vma, &twin);
    if (!err && child->as->ops->as_recall)
        child->as->ops->as_recall(child->as, keep_mapping, child);
    lock_release(&child->lock);
    lock_release(&mm->lock);
    if (err) {
        mm_userfault_drop(twin.events);
        mm_unref(child);
        return err;
    }
    mm_userfault_deliver(twin.events);
    *ret = child;
    return 0;
}
