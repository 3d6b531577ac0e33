/*
 * mlock(2) and its family: mm/mlock.c of Linux. Nothing is ever swapped out here, so a lock means:
 * the pages are made present, counted against RLIMIT_MEMLOCK, and refused to MADV_DONTNEED.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

#define LOCK_FLAGS ((uint32_t)(VMA_LOCKED | VMA_LOCKONFAULT))

/* What may vanish at any time is not locked, nor is that an error (mlock_fixup()). */
static uint32_t flags_with_lock(const struct vma *vma, uint32_t lock_flags)
{
    if ((vma->flags & VMA_DROPPABLE) || vma_is_secret(vma))
        return vma->flags; /* the latter is locked for good */
    return (vma->flags & ~LOCK_FLAGS) | lock_flags;
}

static uint64_t locked_in(struct mm *mm, uaddr_t start, uaddr_t end)
{
    uint64_t size = 0;

    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = vma_next(v)) {
        if (v->flags & VMA_LOCKED)
            size += MIN(v->end, end) - MAX(v->start, start);
    }
    return size;
}

/* What is locked already counts once. In pages: `size` may be anything. */
static bool may_lock_range(struct mm *mm, uaddr_t start, uint64_t size)
{
    uint64_t limit = mm->limits.locked / PAGE_SIZE;
    uint64_t pages = mm->stats.locked / PAGE_SIZE + size / PAGE_SIZE;

    if (pages > limit)
        pages -= locked_in(mm, start, start + size) / PAGE_SIZE;
    return pages <= limit;
}

/* apply_vma_lock_flags(): up to the first hole. */
static int set_lock_flags(struct mm *mm, uaddr_t start, uaddr_t end, uint32_t lock_flags)
{
    while (start < end) {
        struct vma *vma = vma_at(mm, start);
        uaddr_t stop;
        int err;

        if (!vma)
            return -ENOMEM;
        stop = MIN(vma->end, end);
        err = vma_set_flags(mm, vma, start, stop, flags_with_lock(vma, lock_flags));
        if (err)
            return err;
        start = stop;
    }
    return 0;
}

static int lock_range(struct mm *mm, uaddr_t addr, uint64_t size, uint32_t lock_flags)
{
    uaddr_t start = round_down(addr, PAGE_SIZE), end;
    int err = 0;

    size = round_up(size + (addr - start), PAGE_SIZE);
    end = start + size;
    lock_acquire(&mm->lock);
    if (lock_flags && mm->limits.locked == 0)
        err = -EPERM;
    if (!err && lock_flags && !may_lock_range(mm, start, size))
        err = -ENOMEM;
    if (!err && end < start)
        err = -EINVAL;
    if (!err)
        err = set_lock_flags(mm, start, end, lock_flags);
    lock_release(&mm->lock);
    if (err || lock_flags != VMA_LOCKED)
        return err;
    err = mm_populate(mm, start, end, false);
    /* __mlock_posix_error_return() */
    return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

int mm_lock_range(struct mm *mm, uaddr_t addr, uint64_t size, bool lock)
{
    return lock_range(mm, addr, size, lock ? VMA_LOCKED : 0);
}

int mm_lock_on_fault(struct mm *mm, uaddr_t addr, uint64_t size)
{
    return lock_range(mm, addr, size, LOCK_FLAGS);
}

static void lock_current(struct mm *mm, uint32_t lock_flags)
{
    struct vma *vma = vma_first(mm);

    while (vma) {
        vma_change(mm, vma, vma->prot, flags_with_lock(vma, lock_flags));
        vma = vma_next(vma_merge(mm, vma));
    }
}

int mm_lock_all(struct mm *mm, int flags)
{
    uint32_t lock_flags = flags & MCL_ONFAULT ? LOCK_FLAGS : VMA_LOCKED;
    int err = 0;

    if (flags == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
        return -EINVAL;
    lock_acquire(&mm->lock);
    if (mm->limits.locked == 0)
        err = -EPERM;
    else if ((flags & MCL_CURRENT) && mm->stats.total > mm->limits.locked)
        err = -ENOMEM;
    if (!err) {
        mm->future_flags = flags & MCL_FUTURE ? lock_flags : 0;
        if (flags & MCL_CURRENT)
            lock_current(mm, lock_flags);
    }
    lock_release(&mm->lock);
    if (!err && (flags & (MCL_CURRENT | MCL_ONFAULT)) == MCL_CURRENT)
        (void)mm_populate(mm, 0, mm->env->limits.user_max, true);
    return err;
}

void mm_unlock_all(struct mm *mm)
{
    lock_acquire(&mm->lock);
    mm->future_flags = 0;
    lock_current(mm, 0);
    lock_release(&mm->lock);
}
