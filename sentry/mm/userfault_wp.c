/*
 * userfaultfd(2), write protection: PMAP_UFFD_WP in the entries of pages, and PMAP_MARKER where
 * there is none. A marker makes a protected page of whatever comes there, and what is mapped from
 * an object leaves one behind when it is taken away, so that it is protected again when it returns.
 * Markers count as guards do, which bounds them (Linux: pte markers, mm/userfaultfd.c).
 */
#include <errno.h>

#include "sentry/mm/internal.h"

static uint64_t unprotect_entry(struct mm *mm, const struct vma *vma, uaddr_t addr, uint64_t entry,
                                void *arg)
{
    entry = mm_entry_settle(mm, entry) & ~PMAP_UFFD_WP;
    return (entry & ~PMAP_RIGHTS) | mm_entry_rights(vma, entry);
}

static uint64_t protect_entry(struct mm *mm, const struct vma *vma, uaddr_t addr, uint64_t entry,
                              void *arg)
{
    entry = mm_entry_settle(mm, entry) | PMAP_UFFD_WP;
    return (entry & ~PMAP_RIGHTS) | mm_entry_rights(vma, entry);
}

static void drop_markers(struct mm *mm, uaddr_t start, uaddr_t end) __must_hold(mm->lock)
{
    struct pmap_iter it;

    if (mm->pmap.guards == 0)
        return;
    for (pmap_iter_init(&it, &mm->pmap, start, end); pmap_iter_next(&it);) {
        if (pmap_is_marker(it.entry))
            pmap_iter_set(&it, 0);
    }
    pmap_trim(&mm->pmap, start, end);
}

static int set_markers(struct mm *mm, uaddr_t start, uaddr_t end) __must_hold(mm->lock)
{
    int err = 0;

    while (start < end && !err) {
        uaddr_t used = pmap_next_used(&mm->pmap, start, end);
        uint64_t size = used - start;

        if (size && mm->pmap.guards + size / PAGE_SIZE > GUARD_MAX_PAGES)
            err = -ENOMEM;
        else if (size)
            err = pmap_set_run(&mm->pmap, start, size, PMAP_MARKER);
        start = used + PAGE_SIZE;
    }
    return err;
}

void mm_userfault_unprotect(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end)
{
    mm_rewrite(mm, vma, start, end, unprotect_entry, NULL);
    drop_markers(mm, start, end);
}

int mm_userfault_protect_vma(struct mm *mm, const struct vma *vma, uaddr_t start, uaddr_t end)
{
    mm_rewrite(mm, vma, start, end, protect_entry, NULL);
    return vma->object || vma->userfault->protects_holes ? set_markers(mm, start, end) : 0;
}

int mm_userfault_protect(struct mm *mm, uaddr_t start, uaddr_t end, bool protect)
{
    int err = -ENOENT;

    lock_acquire(&mm->lock);
    for (struct vma *vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma)) {
        uaddr_t from = MAX(start, vma->start), to = MIN(end, vma->end);

        err = vma->userfault_modes & MM_UFFD_WP ? mm_userfault_check(vma) : -ENOENT;
        if (err)
            break;
        if (protect)
            err = mm_userfault_protect_vma(mm, vma, from, to);
        else
            mm_userfault_unprotect(mm, vma, from, to);
        if (err)
            break;
    }
    lock_release(&mm->lock);
    return err;
}

uint64_t mm_userfault_left_behind(struct mm *mm, uaddr_t addr)
{
    const struct vma *vma = vma_at(mm, addr);

    if (!vma || !vma->object || !(vma->userfault_modes & MM_UFFD_WP) ||
        mm->pmap.guards >= GUARD_MAX_PAGES)
        return 0;
    return PMAP_MARKER;
}

/* The page is ours alone or its object's: the next look at it maps it for writing. */
int mm_userfault_let_write(struct mm *mm, uaddr_t page)
{
    uint64_t entry = pmap_get(&mm->pmap, page);

    return pmap_set_run(&mm->pmap, page, PAGE_SIZE, entry & ~PMAP_UFFD_WP);
}
