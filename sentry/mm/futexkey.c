#include <errno.h>

#include "sentry/mm/internal.h"

int mm_futex_key(struct mm *mm, uaddr_t addr, bool shared, struct mm_futex_key *ret_key)
{
    uaddr_t max = mm->env->limits.user_max;
    int err = 0;

    if (addr > max - sizeof(uint32_t))
        return -EFAULT;
    *ret_key = (struct mm_futex_key){mm->id, addr};
    /* Callers look at the word with locks held, under which nobody may wait for a userfaultfd. */
    if (!shared && list_empty(&mm->userfaults))
        return 0;
    lock_acquire(&mm->lock);
    for (;;) {
        struct vma *vma;
        struct fault_info info;

        if (!(pmap_get(&mm->pmap, addr) & PROT_READ)) {
            err = mm_fault_locked(mm, addr, ACCESS_READ, 0, &info);
            if (err)
                break;
            continue; /* the lock may have been away */
        }
        /* Private pages, also of files, are this address space's own (futex(2)). */
        vma = vma_at(mm, addr);
        if (shared && (vma->flags & VMA_SHARED))
            *ret_key = (struct mm_futex_key){vma->object->id, vma_offset_of(vma, addr)};
        break;
    }
    lock_release(&mm->lock);
    return err ? -EFAULT : 0;
}
