/*
 * A copy-on-write twin. What it costs follows the private pages that exist: each gets one more
 * reference, an entry in the child's page map, and loses its write right in the parent. The
 * child's platform address space stays empty: its faults map what it touches. Pages of objects
 * are not copied, the child's faults find them where the parent did.
 */
#include <errno.h>
#include <string.h>

#include "sentry/mm/internal.h"
#include "sentry/mm/uio.h"

struct twin {
    struct mm *child;
    int err;
};

/* Is the host just now reading data into this page, on behalf of one of the parent's tasks? */
static bool is_pinned(struct mm *mm, uint64_t offset)
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

/* The parent keeps its page, to which the host's write is on its way. */
static int copy_for_child(struct mm *child, uaddr_t addr, uint64_t entry)
{
    struct memfile *mf = child->env->memfile;
    struct memfile_range range;
    int err = memfile_alloc(mf, PAGE_SIZE, PAGE_SIZE, &range);

    if (err)
        return err;
    memcpy(memfile_ptr(mf, range.start), memfile_ptr(mf, entry & ~PMAP_FLAGS), PAGE_SIZE);
    err = pmap_set_run(&child->pmap, addr, PAGE_SIZE, range.start | PMAP_PRESENT | PMAP_ANON);
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
    if (!list_empty(&mm->pins) && is_pinned(mm, page.start)) {
        twin->err = copy_for_child(twin->child, addr, entry);
        return entry;
    }
    twin->err = pmap_set_run(&twin->child->pmap, addr, PAGE_SIZE,
                             page.start | PMAP_PRESENT | PMAP_ANON | PMAP_COW);
    if (twin->err)
        return entry;
    memfile_ref(mm->env->memfile, page);
    return (entry | PMAP_COW) & ~(uint64_t)PROT_WRITE;
}

static int copy_guards(struct mm *mm, const struct vma *vma, struct mm *child)
{
    struct pmap_iter it;
    int err = 0;

    for (pmap_iter_init(&it, &mm->pmap, vma->start, vma->end); !err && pmap_iter_next(&it);) {
        if (it.entry & PMAP_GUARD)
            err = pmap_set_run(&child->pmap, it.addr, PAGE_SIZE, PMAP_GUARD);
    }
    return err;
}

static int fork_vma(struct mm *mm, struct vma *vma, struct mm *child)
{
    struct twin twin = {.child = child};
    struct vma *copy;
    int err;

    if (vma->flags & VMA_DONTFORK)
        return 0;
    copy = vma_new(child, vma);
    if (!copy)
        return -ENOMEM;
    copy->flags &= ~(uint32_t)(VMA_LOCKED | VMA_LOCKONFAULT);
    vma_insert(child, copy);
    if (vma->flags & VMA_WIPEONFORK)
        return 0;
    err = copy_guards(mm, vma, child);
    if (!err && vma_is_private(vma)) {
        mm_rewrite(mm, vma, vma->start, vma->end, share_entry, &twin);
        err = twin.err;
    }
    return err;
}

int mm_fork(struct mm *mm, struct mm **ret)
{
    struct mm *child;
    int err = mm_create(mm->env, &child);

    if (err)
        return err;
    child->layout = mm->layout;
    lock_acquire(&mm->lock);
    child->mmap_base = mm->mmap_base;
    child->brk_start = mm->brk_start;
    child->brk = mm->brk;
    child->limits = mm->limits;
    for (struct vma *vma = vma_first(mm); vma && !err; vma = vma_next(vma))
        err = fork_vma(mm, vma, child);
    lock_release(&mm->lock);
    if (err) {
        mm_unref(child);
        return err;
    }
    *ret = child;
    return 0;
}
