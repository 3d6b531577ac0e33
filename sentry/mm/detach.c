/*
 * shmdt(2): what is left of an attachment may be several VMAs, with holes and other mappings in
 * between. Those belong to it that show the object where the attachment showed it.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

static bool is_part(const struct vma *vma, const struct mappable *object, uaddr_t addr)
{
    return vma->object == object && vma->start - addr == vma->offset;
}

static int detach_locked(struct mm *mm, uaddr_t addr, struct mappable *object, uaddr_t end,
                         struct trash *trash)
{
    struct vma *vma = vma_find(mm, addr);
    int err = 0;

    while (vma && vma->end <= end && !err) {
        uaddr_t start = vma->start, stop = vma->end;

        if (is_part(vma, object, addr))
            err = mm_unmap_locked(mm, start, stop, trash);
        vma = vma_find(mm, stop);
    }
    return err;
}

int mm_detach(struct mm *mm, uaddr_t addr, bool (*is)(struct mappable *m, uint64_t *ret_size))
{
    struct trash trash = TRASH_INIT;
    struct vma *vma;
    int err = -EINVAL;

    lock_acquire(&mm->lock);
    for (vma = vma_find(mm, addr); vma; vma = vma_next(vma)) {
        uint64_t size;

        if (vma->object && is_part(vma, vma->object, addr) && is(vma->object, &size)) {
            err = detach_locked(mm, addr, vma->object, addr + size, &trash);
            break;
        }
    }
    mm_unlock(mm, &trash);
    return err;
}
