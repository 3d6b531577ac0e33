/*
 * How much memory may be promised: vm.overcommit_memory, as Linux's __vm_enough_memory(). What
 * counts is private memory that can be written; the sum over all address spaces is kept with the
 * VMAs.
 */
#include "sentry/mm/internal.h"

struct mm_tunables mm_tunables = {
    .overcommit = MM_OVERCOMMIT_GUESS,
    .overcommit_ratio = 50,
    .max_map_count = 65530,
};

static uint64_t committed; /* bytes; atomic */

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static bool counts(int prot, uint32_t flags)
{
    return (prot & PROT_WRITE) && !(flags & (VMA_SHARED | VMA_NORESERVE));
}

void mm_commit(int prot, uint32_t flags, uint64_t size)
{
    if (counts(prot, flags))
        __atomic_add_fetch(&committed, size, __ATOMIC_RELAXED);
}

uint64_t mm_committed(void)
{
    return load(&committed);
}

uint64_t mm_commit_limit(const struct mm_env *env)
{
    struct memfile_stats stats;
    uint64_t kbytes = load(&mm_tunables.overcommit_kbytes);

    if (kbytes)
        return kbytes * 1024;
    memfile_get_stats(env->memfile, &stats);
    return stats.limit / 100 * load(&mm_tunables.overcommit_ratio);
}

bool mm_may_commit(struct mm *mm, int prot, uint32_t flags, uint64_t size)
{
    struct memfile_stats stats;

    if (!counts(prot, flags))
        return true;
    switch (load(&mm_tunables.overcommit)) {
    case MM_OVERCOMMIT_ALWAYS:
        return true;
    case MM_OVERCOMMIT_NEVER:
        return mm_committed() + size <= mm_commit_limit(mm->env);
    default:
        memfile_get_stats(mm->env->memfile, &stats);
        return size <= stats.limit;
    }
}

uint64_t mm_max_map_count(void)
{
    return load(&mm_tunables.max_map_count);
}
