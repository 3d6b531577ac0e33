/*
 * mprotect(2): mm/mprotect.c of Linux. Like there, VMAs before the one that refuses are changed.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

#define LINUX_PROT_SEM 0x8

static uint64_t entry_for_vma(struct mm *mm, const struct vma *vma, uaddr_t addr, uint64_t entry,
                              void *arg)
{
    entry = mm_entry_settle(mm, entry);
    return (entry & ~PMAP_RIGHTS) | mm_entry_rights(vma, entry);
}

/* One VMA, of which [start, end) is a part. Returns what covers it now in *vma. */
static int protect_vma(struct mm *mm, struct vma **vma, uaddr_t start, uaddr_t end, int prot)
{
    struct vma *v = *vma;
    uint64_t size = end - start;

    if (prot & ~v->max_prot)
        return -EACCES;
    if (v->flags & VMA_SEALED)
        return -EPERM;
    if (v->prot == prot)
        return 0;
    if (mm_denies_exec(mm, v->prot, prot))
        return -EACCES;
    if ((prot & PROT_WRITE) && !mm_may_expand(mm, prot, v->flags, size) &&
        mm_may_expand(mm, v->prot, v->flags, size))
        return -ENOMEM;
    if ((prot & PROT_WRITE) && !(v->prot & PROT_WRITE) && !mm_may_commit(mm, prot, v->flags, size))
        return -ENOMEM;
    v = vma_isolate(mm, v, start, end);
    if (!v)
        return -ENOMEM;
    vma_change(mm, v, prot, v->flags);
    mm_rewrite(mm, v, start, end, entry_for_vma, NULL);
    *vma = vma_merge(mm, v);
    return 0;
}

static int protect_locked(struct mm *mm, uaddr_t start, uaddr_t end, int prot, int grows)
{
    struct vma *vma = vma_find(mm, start);
    uaddr_t at;
    int err;

    if (!vma)
        return -ENOMEM;
    if (grows & PROT_GROWSDOWN) {
        if (vma->start >= end)
            return -ENOMEM;
        start = vma->start;
        if (!(vma->flags & VMA_GROWSDOWN))
            return -EINVAL;
    } else if (vma->start > start) {
        return -ENOMEM;
    } else if (grows & PROT_GROWSUP) {
        return -EINVAL; /* no stack grows up here */
    }
    for (at = start; at < end;) {
        uaddr_t stop;

        vma = vma_find(mm, at);
        if (!vma || vma->start > at)
            return -ENOMEM;
        stop = MIN(vma->end, end);
        err = protect_vma(mm, &vma, at, stop, prot);
        if (err)
            return err;
        at = stop;
    }
    return 0;
}

int mm_protect(struct mm *mm, uaddr_t addr, uint64_t size, int prot)
{
    int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP), err;
    uaddr_t end;

    prot &= ~grows;
    if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || !is_aligned(addr, PAGE_SIZE))
        return -EINVAL;
    if (size == 0)
        return 0;
    end = addr + round_up(size, PAGE_SIZE);
    if (end <= addr)
        return -ENOMEM;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | LINUX_PROT_SEM))
        return -EINVAL;
    mm_gather(mm, true);
    lock_acquire(&mm->lock);
    err = protect_locked(mm, addr, end, prot & ~LINUX_PROT_SEM, grows);
    lock_release(&mm->lock);
    mm_gather(mm, false);
    return err;
}
