/*
 * Memory policies of mappings: mbind(2) and its family on a machine with one node. What is set is
 * told again, and pages are where they always are.
 */
#include <errno.h>
#include <linux/mempolicy.h>

#include "sentry/mm/internal.h"

#define LINUX_MPOL_PREFERRED_MANY 5 /* newer than Debian 12's headers */

int mm_set_policy(struct mm *mm, uaddr_t start, uaddr_t end, const struct mm_policy *policy,
                  bool holes)
{
    struct vma *vma;
    int err = 0;

    lock_acquire(&mm->lock);
    if (holes ? !vma_overlaps(mm, start, end) : vma_hole_in(mm, start, end))
        err = -EFAULT;
    if (!err)
        err = vma_split_range(mm, start, end);
    while (!err && (vma = vma_find(mm, start)) && vma->start < end) {
        start = vma->end;
        vma->policy = *policy;
        vma_merge(mm, vma);
    }
    lock_release(&mm->lock);
    return err;
}

int mm_get_policy(struct mm *mm, uaddr_t addr, struct mm_policy *ret)
{
    struct vma *vma;

    lock_acquire(&mm->lock);
    vma = vma_at(mm, addr);
    if (vma)
        *ret = vma->policy;
    lock_release(&mm->lock);
    return vma ? 0 : -EFAULT;
}

int mm_set_home_node(struct mm *mm, uaddr_t start, uaddr_t end)
{
    int err = -ENOENT;

    lock_acquire(&mm->lock);
    for (struct vma *vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma)) {
        uint32_t mode = vma->policy.mode & ~(uint32_t)MPOL_MODE_FLAGS;

        if (mode == MPOL_DEFAULT)
            continue;
        err = mode == MPOL_BIND || mode == LINUX_MPOL_PREFERRED_MANY ? 0 : -EOPNOTSUPP;
        if (err)
            break;
    }
    lock_release(&mm->lock);
    return err;
}

int mm_page_node(struct mm *mm, uaddr_t addr)
{
    int node = -EFAULT;

    if (addr >= mm->env->limits.user_max)
        return node;
    lock_acquire(&mm->lock);
    if (vma_at(mm, addr))
        node = pmap_get(&mm->pmap, round_down(addr, PAGE_SIZE)) & PMAP_PRESENT ? 0 : -ENOENT;
    lock_release(&mm->lock);
    return node;
}
