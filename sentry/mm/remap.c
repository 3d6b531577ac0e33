/*
 * mremap(2): mm/mremap.c of Linux 6.18, in its order of checks.
 *
 * Pages move by their entries in the page map; the platform forgets the old place at once and
 * learns the new one by faults, which map around themselves what is there (fault.c).
 */
#include <errno.h>

#include "sentry/mm/internal.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct remap {
    struct mm *mm;
    uaddr_t old, new;
    uint64_t old_size, new_size;
    int flags;
    struct trash *trash;
    uaddr_t populate_start, populate_end; /* what a locked mapping has grown by */
};

static bool has_new_place(const struct remap *r)
{
    return r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
}

/* check_mremap_params() */
static int check_arguments(const struct remap *r)
{
    uaddr_t max = r->mm->env->limits.user_max;

    if (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
        return -EINVAL;
    if (!is_aligned(r->old, PAGE_SIZE) || r->new_size == 0 || r->new_size > max)
        return -EINVAL;
    if (!has_new_place(r))
        return 0;
    if (r->new > max - r->new_size || !is_aligned(r->new, PAGE_SIZE))
        return -EINVAL;
    if (!(r->flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if ((r->flags & MREMAP_DONTUNMAP) && r->old_size != r->new_size)
        return -EINVAL;
    if (r->old + r->old_size > r->new && r->new + r->new_size > r->old)
        return -EINVAL;
    return r->mm->vma_count + 5 >= mm_max_map_count() ? -ENOMEM : 0;
}

/* check_prep_vma() */
static int check_vma(const struct remap *r, const struct vma *vma)
{
    uint64_t delta = r->new_size - r->old_size;

    if (!vma)
        return -EFAULT;
    if (vma->flags & VMA_SEALED)
        return -EPERM;
    if (r->new_size <= r->old_size && !has_new_place(r))
        return 0;
    /* Only shared pages can be had twice. */
    if (r->old_size == 0 && vma_is_private(vma))
        return -EINVAL;
    /* When it shrinks, the rest is unmapped first, whatever lies there. */
    if (MIN(r->old_size, r->new_size) > vma->end - r->old)
        return -EFAULT;
    if (r->new_size <= r->old_size)
        return 0;
    if (vma->object && vma_offset_of(vma, r->old) > (uint64_t)INT64_MAX - r->new_size)
        return -EINVAL;
    if (!mm_may_lock(r->mm, vma->flags, delta))
        return -EAGAIN;
    if (!mm_may_expand(r->mm, vma->prot, vma->flags, delta) ||
        !mm_may_commit(r->mm, vma->prot, vma->flags, r->new_size))
        return -ENOMEM;
    return 0;
}

/* Makes sure that the entries of [from, from+size) find nodes at `to`. */
static int reserve_entries(struct mm *mm, uaddr_t from, uaddr_t to, uint64_t size)
{
    struct pmap_iter it;

    for (pmap_iter_init(&it, &mm->pmap, from, from + size); pmap_iter_next(&it);) {
        if (pmap_reserve(&mm->pmap, to + (it.addr - from)) < 0) {
            pmap_trim(&mm->pmap, to, to + size);
            return -ENOMEM;
        }
    }
    return 0;
}

/* `kept`: PMAP_UFFD_WP when that goes along, else 0. */
static void move_entries(struct mm *mm, uaddr_t from, uaddr_t to, uint64_t size, uint64_t kept)
{
    uaddr_t mapped_start = 0, mapped_end = 0;
    struct pmap_iter it;

    for (pmap_iter_init(&it, &mm->pmap, from, from + size); pmap_iter_next(&it);) {
        uint64_t entry = it.entry;

        if (entry & PMAP_RIGHTS) {
            mapped_start = mapped_end ? mapped_start : it.addr;
            mapped_end = it.addr + PAGE_SIZE;
        }
        pmap_iter_set(&it, 0);
        if (pmap_is_marker(entry) && !kept)
            continue;
        /* Reserved: cannot fail. */
        (void)pmap_set_run(&mm->pmap, to + (it.addr - from), PAGE_SIZE,
                           entry & ~(PMAP_RIGHTS | (PMAP_UFFD_WP & ~kept)));
    }
    if (mapped_end)
        mm_platform_unmap(mm, mapped_start, mapped_end);
    pmap_trim(&mm->pmap, from, from + size);
}

static void unlock_range(struct mm *mm, uaddr_t start, uaddr_t end)
{
    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = vma_next(v))
        vma_change(mm, v, v->prot, v->flags & ~(uint32_t)(VMA_LOCKED | VMA_LOCKONFAULT));
}

/* move_vma(): r->new is free now. */
static int move(struct remap *r)
{
    struct mm *mm = r->mm;
    uint64_t moved = MIN(r->old_size, r->new_size);
    struct vma like, *vma;
    int err, watched;

    if (mm->vma_count + 3 >= mm_max_map_count())
        return -ENOMEM;
    if (r->old_size) {
        err = vma_split_range(mm, r->old, r->old + r->old_size);
        if (err)
            return err;
    }
    err = reserve_entries(mm, r->old, r->new, moved);
    if (err)
        return err;
    like = *vma_at(mm, r->old);
    like.offset = vma_offset_of(&like, r->old);
    like.start = r->new;
    like.end = r->new + r->new_size;
    vma = vma_new(mm, &like);
    watched = vma ? mm_userfault_note_remap(vma, r->old, r->old_size, r->new, r->trash) : -ENOMEM;
    if (watched < 0) {
        pmap_trim(&mm->pmap, r->new, r->new + r->new_size);
        if (vma)
            vma_free(vma);
        return -ENOMEM;
    }
    if (!watched) {
        vma->userfault = mm_userfault_unref(vma->userfault); /* not the last: the old one has it */
        vma->userfault_modes = 0;
    }
    vma_insert(mm, vma);
    move_entries(mm, r->old, r->new, moved, watched ? PMAP_UFFD_WP : 0);
    if (r->flags & MREMAP_DONTUNMAP)
        unlock_range(mm, r->old, r->old + r->old_size);
    else if (r->old_size)
        (void)mm_unmap_locked(mm, r->old, r->old + r->old_size, r->trash); /* split already */
    if ((like.flags & VMA_LOCKED) && r->new_size > moved) {
        r->populate_start = r->new + moved;
        r->populate_end = r->new + r->new_size;
    }
    vma_merge(mm, vma);
    return 0;
}

static int shrink(struct remap *r)
{
    uaddr_t start = r->old + r->new_size, max = r->mm->env->limits.user_max;
    uint64_t size = r->old_size - r->new_size;

    if (start > max || size > max - start)
        return -EINVAL;
    return mm_unmap_locked(r->mm, start, start + size, r->trash);
}

/* mremap_to(): FIXED or DONTUNMAP. */
static int remap_to(struct remap *r)
{
    struct mm *mm = r->mm;
    struct vma *vma;
    int err;

    if (r->flags & MREMAP_FIXED) {
        /* Before the target is destroyed. */
        err = mm_place(mm, r->new, r->new_size, MAP_FIXED, false, &r->new);
        if (!err)
            err = mm_unmap_locked(mm, r->new, r->new + r->new_size, r->trash);
        if (err)
            return err;
    }
    vma = vma_at(mm, r->old);
    if (!vma)
        return -EFAULT;
    if (r->old_size > r->new_size) {
        err = shrink(r);
        if (err)
            return err;
        r->old_size = r->new_size;
    }
    if ((r->flags & MREMAP_DONTUNMAP) && !mm_may_expand(mm, vma->prot, vma->flags, r->old_size))
        return -ENOMEM;
    if (!(r->flags & MREMAP_FIXED)) {
        err = mm_place(mm, r->new, r->new_size, 0, false, &r->new);
        if (err)
            return err;
    }
    return move(r);
}

static int expand(struct remap *r, struct vma *vma)
{
    struct mm *mm = r->mm;
    uaddr_t end = r->old + r->new_size;
    struct vma *next = vma_next(vma);
    int err;

    if (vma->end - r->old == r->old_size && end <= mm->env->limits.user_max && end > r->old &&
        (!next || next->start >= end)) {
        if (vma->flags & VMA_LOCKED) {
            r->populate_start = vma->end;
            r->populate_end = end;
        }
        vma_resize(mm, vma, vma->start, end);
        vma_merge(mm, vma);
        r->new = r->old;
        return 0;
    }
    if (!(r->flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    err = mm_place(mm, 0, r->new_size, 0, !vma->object && r->new_size >= HUGE_PAGE_SIZE, &r->new);
    return err ? err : move(r);
}

/* mremap_at() */
static int remap_here(struct remap *r, struct vma *vma)
{
    if (r->new_size > r->old_size)
        return expand(r, vma);
    r->new = r->old;
    if (r->new_size == r->old_size)
        return 0;
    return shrink(r);
}

/* remap_move(): a move without resizing may take several mappings, with the gaps between them. */
static int remap_many(struct remap *r)
{
    uaddr_t end = r->old + r->old_size, at = r->old;
    struct vma *vma = vma_find(r->mm, at);
    int err = -EFAULT;

    if (!vma || vma->start > at)
        return -EFAULT;
    /* What was moved may have become one with what follows the range: hence `at < end`. */
    while (vma && at < end && vma->start < end) {
        struct remap part = *r;

        part.old = MAX(vma->start, at);
        part.old_size = MIN(vma->end, end) - part.old;
        part.new_size = part.old_size;
        part.new = r->new + (part.old - r->old);
        err = check_vma(&part, vma);
        if (!err)
            err = remap_to(&part);
        if (err)
            return err;
        at = part.old + part.old_size;
        vma = vma_find(r->mm, at);
    }
    return err;
}

static int remap_locked(struct remap *r)
{
    struct vma *vma;
    int err = check_arguments(r);

    if (err)
        return err;
    if ((r->flags & MREMAP_FIXED) && r->old_size == r->new_size)
        return remap_many(r);
    vma = vma_at(r->mm, r->old);
    err = check_vma(r, vma);
    if (err)
        return err;
    return has_new_place(r) ? remap_to(r) : remap_here(r, vma);
}

int mm_remap(struct mm *mm, uaddr_t old, uint64_t old_size, uint64_t new_size, int flags,
             uaddr_t new_addr, uaddr_t *ret_addr)
{
    struct trash trash = TRASH_INIT;
    struct remap r = {
        .mm = mm,
        .old = old,
        .new = new_addr,
        .old_size = round_up(old_size, PAGE_SIZE),
        .new_size = round_up(new_size, PAGE_SIZE),
        .flags = flags,
        .trash = &trash,
    };
    int err;

    lock_acquire(&mm->lock);
    err = remap_locked(&r);
    mm_unlock(mm, &trash);
    if (err)
        return err;
    if (r.populate_end)
        (void)mm_populate(mm, r.populate_start, r.populate_end, true);
    *ret_addr = r.new;
    return 0;
}
