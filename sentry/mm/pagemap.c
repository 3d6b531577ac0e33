/* What /proc/PID/pagemap tells of pages, one by one or by PAGEMAP_SCAN. */
#include <errno.h>
#include <string.h>

#include "sentry/mm/internal.h"

#define STEP_ENTRIES 4096 /* while the lock is held */

void mm_pagemap(struct mm *mm, uaddr_t addr, size_t count, uint64_t *entries)
{
    memset(entries, 0, count * sizeof(*entries));
    lock_acquire(&mm->lock);
    for (size_t i = 0; i < count && addr + i * PAGE_SIZE < mm->env->limits.user_max; i++) {
        uaddr_t at = addr + i * PAGE_SIZE;
        uint64_t entry = pmap_get(&mm->pmap, at);
        struct vma *vma;

        if (entry & PMAP_UFFD_WP)
            entries[i] = MM_PAGE_PROTECTED;
        if (!(entry & PMAP_PRESENT))
            continue;
        vma = vma_at(mm, at);
        entries[i] |= MM_PAGE_PRESENT;
        if (vma && vma->object && !(entry & PMAP_ANON))
            entries[i] |= MM_PAGE_OF_OBJECT;
    }
    lock_release(&mm->lock);
}

static bool may_protect(const struct vma *vma)
{
    return vma->userfault && (vma->userfault_modes & MM_UFFD_WP) && vma->userfault->lets_writes;
}

/* Nothing there counts as written where somebody watches: what was there has gone. */
static uint64_t categories_of(const struct vma *vma, uint64_t entry)
{
    uint64_t set = may_protect(vma) ? MM_PAGE_MAY_PROTECT : 0;

    if (!entry)
        return set | (vma->userfault_modes & MM_UFFD_WP ? MM_PAGE_WRITTEN : 0);
    if (!(entry & PMAP_UFFD_WP))
        set |= MM_PAGE_WRITTEN;
    if (!(entry & PMAP_PRESENT))
        return set | MM_PAGE_SWAPPED |
               ((entry & (PMAP_GUARD | PMAP_POISON | PMAP_UFFD_WP)) == PMAP_GUARD ? MM_PAGE_GUARD
                                                                                  : 0);
    return set | MM_PAGE_THERE | (vma->object && !(entry & PMAP_ANON) ? MM_PAGE_FILE : 0);
}

static bool matches(const struct mm_scan *scan, uint64_t categories)
{
    categories ^= scan->inverted;
    return (categories & scan->mask) == scan->mask &&
           (!scan->any_of || (categories & scan->any_of));
}

static bool keep(struct mm_scan *scan, uint64_t categories, uaddr_t start, uaddr_t end)
{
    struct mm_scan_region *last = scan->count ? &scan->region[scan->count - 1] : NULL;

    if (last && last->end == start && last->categories == categories) {
        last->end = end;
        return true;
    }
    if (scan->count == scan->room)
        return false;
    scan->region[scan->count++] = (struct mm_scan_region){start, end, categories};
    return true;
}

/* Where what was found ends that there was room for; `start`: there was none. */
static uaddr_t tell(struct mm_scan *scan, uint64_t categories, uaddr_t start, uaddr_t end)
{
    if (!scan->keeps)
        return end;
    if ((end - start) / PAGE_SIZE > scan->pages)
        end = start + scan->pages * PAGE_SIZE;
    if (end == start || !keep(scan, categories & scan->told, start, end))
        return start;
    scan->pages -= (end - start) / PAGE_SIZE;
    return end;
}

/* The end of what is like the page at `at`: an entry, or as far as there is none. */
static uaddr_t end_of_kind(struct mm *mm, uaddr_t at, uaddr_t end)
{
    uaddr_t used = pmap_next_used(&mm->pmap, at, end);

    return used > at ? used : at + PAGE_SIZE;
}

/* From scan->at within the VMA. 1: through; 0: enough for now; -ENOSPC. */
static int scan_vma(struct mm *mm, struct mm_scan *scan, const struct vma *vma, int *budget)
{
    uaddr_t end = MIN(scan->end, vma->end), to_protect = scan->at;
    int err = 1, failed = 0;

    while (scan->at < end && err == 1) {
        uaddr_t stop = end_of_kind(mm, scan->at, end), told = stop;
        uint64_t categories = categories_of(vma, pmap_get(&mm->pmap, scan->at));
        bool match = matches(scan, categories);

        if (match)
            told = tell(scan, categories, scan->at, stop);
        if (told < stop)
            err = -ENOSPC;
        else if (--*budget <= 0)
            err = 0;
        /* What was found in a row is protected in one go. */
        if (!match && scan->protects && to_protect < scan->at)
            failed = mm_userfault_protect_vma(mm, vma, to_protect, scan->at);
        scan->at = told;
        if (!match)
            to_protect = told;
        if (failed)
            return failed;
    }
    if (scan->protects && to_protect < scan->at)
        failed = mm_userfault_protect_vma(mm, vma, to_protect, scan->at);
    return failed ? failed : err;
}

/* 1: its pages are to be looked at; 0: none of them. -EPERM. */
static int wants_vma(const struct mm_scan *scan, const struct vma *vma)
{
    bool allowed = may_protect(vma);
    uint64_t required = scan->mask & MM_PAGE_MAY_PROTECT;

    if (!allowed && scan->checks)
        return -EPERM;
    if (!allowed && scan->protects)
        return 0;
    return (((allowed ? MM_PAGE_MAY_PROTECT : 0) ^ scan->inverted) & required) == required;
}

int mm_scan(struct mm *mm, struct mm_scan *scan)
{
    int budget = STEP_ENTRIES, result = 1;

    lock_acquire(&mm->lock);
    while (result == 1 && scan->at < scan->end) {
        struct vma *vma = vma_find(mm, scan->at);

        if (!vma || vma->start >= scan->end)
            break;
        scan->at = MAX(scan->at, vma->start);
        result = wants_vma(scan, vma);
        if (result == 1) {
            result = scan_vma(mm, scan, vma, &budget);
        } else if (result == 0) {
            scan->at = MIN(scan->end, vma->end);
            result = 1;
        }
    }
    lock_release(&mm->lock);
    if (result == 1)
        scan->at = scan->end;
    return result;
}
