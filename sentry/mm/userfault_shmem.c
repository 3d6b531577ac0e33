/*
 * userfaultfd(2) on shared memory. Here a page can be missing in two ways:
 *
 *   the object has none ....................... missing; UFFDIO_COPY and _ZEROPAGE put one in
 *   it has one that this VMA does not map ..... minor; UFFDIO_CONTINUE maps it
 *
 * What is not watched for comes as by any fault, but alone: a neighbour that came along would never
 * be told of. The object's lock is taken under mm->lock, which is held from the look at the object
 * to the entry in the page map: an invalidation comes before both or after both.
 */
#include <errno.h>
#include <linux/userfaultfd.h>

#include "sentry/mm/internal.h"
#include "sentry/mm/shmem.h"

int mm_userfault_take(struct mm *mm, struct vma *vma, uaddr_t page, uint64_t *ret_flags)
{
    bool creates = !(vma->userfault_modes & MM_UFFD_MISSING);
    struct memfile_range range;
    uint64_t kept = pmap_get(&mm->pmap, page) & PMAP_UFFD_WP; /* of a marker */
    bool fresh;
    int err = shmem_page(vma->object, vma_offset_of(vma, page), creates, &range, &fresh);

    *ret_flags = err == -ENOENT ? 0 : UFFD_PAGEFAULT_FLAG_MINOR;
    if (err == -ENOENT)
        return -EAGAIN;
    if (!err && (vma->userfault_modes & MM_UFFD_MINOR) && !fresh)
        err = -EAGAIN;
    else if (!err)
        err = pmap_set_run(&mm->pmap, page, PAGE_SIZE, range.start | PMAP_PRESENT | kept);
    else
        return err == -ENOMEM ? err : -EFAULT;
    if (err)
        memfile_unref(mm->env->memfile, range); /* not the last: the object has one */
    return err;
}

int mm_userfault_insert(struct mm *mm, const struct vma *vma, uaddr_t addr,
                        struct memfile_range page, bool protect)
{
    int err = pmap_reserve(&mm->pmap, addr);

    if (!err)
        err = shmem_insert(vma->object, vma_offset_of(vma, addr), page);
    if (!err)
        err = pmap_set_run(&mm->pmap, addr, PAGE_SIZE,
                           page.start | PMAP_PRESENT | (protect ? PMAP_UFFD_WP : 0));
    else
        pmap_trim(&mm->pmap, addr, addr + PAGE_SIZE);
    return err;
}

/* What the object has there, for a VMA that has nothing yet. */
static int continue_page(struct mm *mm, const struct vma *vma, uaddr_t addr, bool protect)
    __must_hold(mm->lock)
{
    uint64_t entry = pmap_get(&mm->pmap, addr);
    struct memfile_range page;
    bool fresh;
    int err = shmem_page(vma->object, vma_offset_of(vma, addr), false, &page, &fresh);

    if (err)
        return err == -ENOENT ? -EFAULT : -EINVAL;
    if (entry && !(entry & PMAP_GUARD))
        err = -EEXIST;
    else
        err = pmap_set_run(&mm->pmap, addr, PAGE_SIZE,
                           page.start | PMAP_PRESENT | (protect ? PMAP_UFFD_WP : 0));
    if (err)
        memfile_unref(mm->env->memfile, page); /* not the last: the object has one */
    return err;
}

int mm_userfault_continue(struct mm *mm, uaddr_t addr, bool protect)
{
    struct vma *vma;
    int err;

    lock_acquire(&mm->lock);
    vma = vma_at(mm, addr);
    err = mm_userfault_check(vma);
    if (!err && (!vma->object || !shmem_is(vma->object) ||
                 (protect && !(vma->userfault_modes & MM_UFFD_WP))))
        err = -EINVAL;
    if (!err)
        err = continue_page(mm, vma, addr, protect);
    lock_release(&mm->lock);
    return err;
}
