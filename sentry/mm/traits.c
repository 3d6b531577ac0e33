/*
 * What prctl(2) lays on a whole address space, and forks and execs of it inherit: no memory that
 * is both written and executed (mm/mprotect.c of Linux: map_deny_write_exec()), which memory may
 * be merged with equal one, which goes into a core file.
 *
 * Merging is asked for and shown, and done as often as by a Linux whose /sys/kernel/mm/ksm/run is
 * 0, as it is unless somebody changes it: never.
 */
#include "sentry/mm/internal.h"

uint32_t mm_traits(const struct mm *mm)
{
    return __atomic_load_n(&mm->traits, __ATOMIC_RELAXED);
}

void mm_set_traits(struct mm *mm, uint32_t traits)
{
    __atomic_fetch_or(&mm->traits, traits, __ATOMIC_RELAXED);
}

bool mm_denies_exec(const struct mm *mm, int old, int new)
{
    if (likely(!(mm_traits(mm) & MM_DENY_WRITE_EXEC)) || !(new &PROT_EXEC))
        return false;
    return (new &PROT_WRITE) || !(old & PROT_EXEC);
}

bool vma_is_mergeable(uint32_t flags)
{
    return !(flags & (VMA_SHARED | VMA_DROPPABLE));
}

uint32_t mm_new_flags(const struct mm *mm, uint32_t flags)
{
    bool merge = (mm_traits(mm) & MM_MERGE_ANY) && vma_is_mergeable(flags);

    return merge ? flags | VMA_MERGEABLE : flags;
}

void mm_set_merge_any(struct mm *mm, bool on)
{
    bool was;

    lock_acquire(&mm->lock);
    was = mm_traits(mm) & MM_MERGE_ANY;
    if (on)
        __atomic_fetch_or(&mm->traits, (uint32_t)MM_MERGE_ANY, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&mm->traits, ~(uint32_t)MM_MERGE_ANY, __ATOMIC_RELAXED);
    for (struct vma *vma = vma_first(mm); vma && on != was; vma = vma_next(vma)) {
        vma->flags &= ~(uint32_t)VMA_MERGEABLE;
        vma->flags = mm_new_flags(mm, vma->flags);
    }
    lock_release(&mm->lock);
}

void mm_inherit(struct mm *mm, const struct mm *old)
{
    uint32_t traits = mm_traits(old);

    if (traits & MM_DENY_NOT_INHERITED)
        traits &= ~(uint32_t)(MM_DENY_WRITE_EXEC | MM_DENY_NOT_INHERITED);
    __atomic_store_n(&mm->traits, traits, __ATOMIC_RELAXED);
    mm_set_dump_filter(mm, mm_dump_filter(old));
}

uint32_t mm_dump_filter(const struct mm *mm)
{
    return __atomic_load_n(&mm->dump_filter, __ATOMIC_RELAXED);
}

void mm_set_dump_filter(struct mm *mm, uint32_t filter)
{
    __atomic_store_n(&mm->dump_filter, filter & MM_DUMP_ALL, __ATOMIC_RELAXED);
}
