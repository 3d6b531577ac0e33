/*
 * madvise(2): mm/madvise.c of Linux. Holes in the range are passed over and reported as ENOMEM at
 * the end. What is only a hint there and has nothing to steer here is checked all the same.
 *
 * MADV_FREE lets go at once: the manual allows any moment before memory gets short.
 */
#include <errno.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

/* Newer than Debian 12's headers, or not in them. */
#define LINUX_MADV_COLLAPSE        25
#define LINUX_MADV_GUARD_INSTALL   102
#define LINUX_MADV_GUARD_REMOVE    103
#define LINUX_MADV_DONTNEED_LOCKED 24

/* MADV_HWPOISON and MADV_SOFT_OFFLINE are a machine's, and of a kernel with MEMORY_FAILURE. */
static bool is_known(int advice)
{
    switch (advice) {
    case MADV_NORMAL ... MADV_DONTNEED:
    case MADV_FREE ... MADV_PAGEOUT: /* without gaps: asm-generic/mman-common.h */
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case LINUX_MADV_DONTNEED_LOCKED:
    case LINUX_MADV_COLLAPSE:
    case LINUX_MADV_GUARD_INSTALL:
    case LINUX_MADV_GUARD_REMOVE:
        return true;
    default:
        return false;
    }
}

static bool is_anonymous(const struct vma *vma)
{
    return !vma->object;
}

/* madvise_vma_behavior(): the new flags, or -errno. */
static int64_t new_flags(const struct vma *vma, int advice)
{
    uint32_t f = vma->flags;

    switch (advice) {
    case MADV_NORMAL:
        return f & ~(uint32_t)(VMA_SEQUENTIAL | VMA_RANDOM);
    case MADV_SEQUENTIAL:
        return (f & ~(uint32_t)VMA_RANDOM) | VMA_SEQUENTIAL;
    case MADV_RANDOM:
        return (f & ~(uint32_t)VMA_SEQUENTIAL) | VMA_RANDOM;
    case MADV_DONTFORK:
        return f | VMA_DONTFORK;
    case MADV_DOFORK:
        return f & ~(uint32_t)VMA_DONTFORK;
    case MADV_WIPEONFORK:
        return is_anonymous(vma) ? (int64_t)(f | VMA_WIPEONFORK) : -EINVAL;
    case MADV_KEEPONFORK:
        return f & VMA_DROPPABLE ? -EINVAL : (int64_t)(f & ~(uint32_t)VMA_WIPEONFORK);
    case MADV_DONTDUMP:
        return f | VMA_DONTDUMP;
    case MADV_DODUMP:
        return f & VMA_DROPPABLE ? -EINVAL : (int64_t)(f & ~(uint32_t)VMA_DONTDUMP);
    case MADV_HUGEPAGE:
        return (f & ~(uint32_t)VMA_NOHUGEPAGE) | VMA_HUGEPAGE;
    case MADV_NOHUGEPAGE:
        return (f & ~(uint32_t)VMA_HUGEPAGE) | VMA_NOHUGEPAGE;
    case MADV_MERGEABLE:
        return vma_is_mergeable(f) ? (int64_t)(f | VMA_MERGEABLE) : f;
    case MADV_UNMERGEABLE:
        return f & ~(uint32_t)VMA_MERGEABLE;
    default:
        return -EINVAL;
    }
}

/* can_madvise_modify(): what is sealed and cannot be written must not lose its contents either. */
static bool is_sealed_against(const struct vma *vma, int advice)
{
    if (!(vma->flags & VMA_SEALED) || !vma_is_private(vma) || (vma->prot & PROT_WRITE))
        return false;
    switch (advice) {
    case MADV_FREE:
    case MADV_DONTNEED:
    case LINUX_MADV_DONTNEED_LOCKED:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_WIPEONFORK:
    case LINUX_MADV_GUARD_INSTALL:
        return true;
    default:
        return false;
    }
}

/* Guards replace pages; existing ones stay. */
static int install_guards(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end,
                          struct trash *trash)
{
    if (vma->flags & VMA_LOCKED)
        return -EINVAL;
    if ((end - start) / PAGE_SIZE + mm->pmap.guards > GUARD_MAX_PAGES)
        return -ENOMEM;
    mm_call_sites_replaced(mm, vma, start, end);
    mm_zap(mm, start, end, ZAP_ALL, trash);
    return pmap_set_run(&mm->pmap, start, end - start, PMAP_GUARD);
}

static void remove_guards(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct pmap_iter it;

    for (pmap_iter_init(&it, &mm->pmap, start, end); pmap_iter_next(&it);) {
        if ((it.entry & (PMAP_GUARD | PMAP_POISON | PMAP_UFFD_WP)) == PMAP_GUARD)
            pmap_iter_set(&it, 0);
    }
    pmap_trim(&mm->pmap, start, end);
}

/* One VMA's part of the range; may split and merge. */
static int advise_vma(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end, int advice,
                      struct trash *trash)
{
    bool locked = vma->flags & VMA_LOCKED;
    int64_t flags;

    switch (advice) {
    case MADV_WILLNEED:
        return 0;
    case MADV_COLD:
    case MADV_PAGEOUT:
        return locked ? -EINVAL : 0;
    case MADV_FREE:
        if (!is_anonymous(vma) || locked)
            return -EINVAL;
        mm_zap(mm, start, end, ZAP_PAGES, trash);
        return 0;
    case MADV_DONTNEED:
    case LINUX_MADV_DONTNEED_LOCKED:
        if (locked && advice == MADV_DONTNEED)
            return -EINVAL;
        mm_zap(mm, start, end, ZAP_PAGES, trash);
        return 0;
    case LINUX_MADV_GUARD_INSTALL:
        return install_guards(mm, vma, start, end, trash);
    case LINUX_MADV_GUARD_REMOVE:
        remove_guards(mm, start, end);
        return 0;
    case LINUX_MADV_COLLAPSE:
        return -EINVAL; /* as a kernel that has no huge page to give */
    default:
        flags = new_flags(vma, advice);
        return flags < 0 ? (int)flags : vma_set_flags(mm, vma, start, end, (uint32_t)flags);
    }
}

/* MADV_REMOVE, which asks the object: releases the lock in between. */
static int remove_vma(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end) __no_lock_analysis
{
    struct mappable *object = vma->object;
    uint64_t offset = vma_offset_of(vma, start);
    int err = -EOPNOTSUPP;

    if ((vma->flags & VMA_LOCKED) || !object)
        return -EINVAL;
    if (vma_is_private(vma) || !(vma->max_prot & PROT_WRITE))
        return -EACCES;
    mappable_ref(object);
    lock_release(&mm->lock);
    if (object->ops->punch)
        err = object->ops->punch(object, offset, end - start);
    mappable_unref(object);
    lock_acquire(&mm->lock);
    return err;
}

/* These take pages away. */
static bool takes_pages(const struct vma *vma, int advice)
{
    bool locked = vma->flags & VMA_LOCKED;

    switch (advice) {
    case MADV_DONTNEED:
        return !locked;
    case LINUX_MADV_DONTNEED_LOCKED:
        return true;
    case MADV_FREE:
        return is_anonymous(vma) && !locked;
    case MADV_REMOVE:
        return vma->object && !vma_is_private(vma) && (vma->max_prot & PROT_WRITE) && !locked;
    default:
        return false;
    }
}

static int advise_locked(struct mm *mm, uaddr_t start, uaddr_t end, int advice, struct trash *trash)
{
    int unmapped = 0;

    while (start < end) {
        struct vma *vma = vma_find(mm, start);
        uaddr_t stop;
        int err;

        if (!vma || vma->start > start)
            unmapped = -ENOMEM;
        if (!vma || vma->start >= end)
            break;
        start = MAX(start, vma->start);
        stop = MIN(end, vma->end);
        if (vma->userfault && takes_pages(vma, advice) && !is_sealed_against(vma, advice) &&
            mm_userfault_remove(mm, vma, start, stop, trash)) {
            vma = vma_at(mm, start); /* it may have become another one */
            if (!vma)
                return -ENOMEM;
            stop = MIN(stop, vma->end);
        }
        if (is_sealed_against(vma, advice))
            err = -EPERM;
        else if (advice == MADV_REMOVE)
            err = remove_vma(mm, vma, start, stop);
        else
            err = advise_vma(mm, vma, start, stop, advice, trash);
        if (err)
            return err;
        start = stop;
    }
    return unmapped;
}

int mm_advise(struct mm *mm, uaddr_t addr, uint64_t size, int advice)
{
    uint64_t rounded = round_up(size, PAGE_SIZE);
    uaddr_t end = addr + rounded;
    struct trash trash = TRASH_INIT;
    int err;

    if (!is_known(advice) || !is_aligned(addr, PAGE_SIZE) || (size && !rounded) || end < addr)
        return -EINVAL;
    if (end == addr)
        return 0;
    if (advice == MADV_POPULATE_READ)
        return mm_populate_for(mm, addr, end, ACCESS_READ);
    if (advice == MADV_POPULATE_WRITE)
        return mm_populate_for(mm, addr, end, ACCESS_WRITE);
    lock_acquire(&mm->lock);
    err = advise_locked(mm, addr, end, advice, &trash);
    mm_unlock(mm, &trash);
    return err;
}
