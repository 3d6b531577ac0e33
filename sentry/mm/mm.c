/*
 * Life of an address space, and what can be asked of it.
 */
#include "sentry/mm/mm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/thread.h"
#include "sentry/mm/internal.h"

#define BURIAL_YIELDS 10000 /* nobody waits for one who waits for us */

static const struct mm_limits no_limits = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

int mm_create(struct mm_env *env, struct mm **ret)
{
    return mm_create_like(env, NULL, ret);
}

int mm_create_like(struct mm_env *env, struct address_space *like, struct mm **ret)
{
    struct mm *mm = calloc(1, sizeof(*mm));
    int err;

    if (!mm)
        return -ENOMEM;
    err = env->platform->ops->as_create(env->platform, like, &mm->as);
    if (err) {
        free(mm);
        return err;
    }
    refcount_set(&mm->refs, 1);
    mm->id = mappable_new_id();
    mm->env = env;
    lock_init(&mm->lock);
    RB_INIT(&mm->vmas);
    pmap_init(&mm->pmap);
    list_init(&mm->pins);
    list_init(&mm->userfaults);
    mm->limits = no_limits;
    mm->dump_filter = MM_DUMP_DEFAULT;
    mm->mmap_base = env->limits.user_max;
    *ret = mm;
    return 0;
}

struct mm *mm_ref(struct mm *mm)
{
    refcount_get(&mm->refs);
    return mm;
}

/* Ended and not buried yet; atomic. */
static unsigned int unburied;

struct mm *mm_end(struct mm *mm)
{
    struct trash trash = TRASH_INIT;
    struct vma *vma;

    if (!mm || !refcount_put(&mm->refs))
        return NULL;
    __atomic_add_fetch(&unburied, 1, __ATOMIC_SEQ_CST);
    lock_acquire(&mm->lock);
    mm_userfaults_untie(mm);
    while ((vma = RB_ROOT(&mm->vmas)))
        vma_remove(mm, vma, &trash);
    /* With the address space goes every way to the pages: no need to unmap one by one. */
    mm->as->ops->as_destroy(mm->as);
    mm->as = NULL;
    mm_unlock(mm, &trash);
    return mm;
}

void mm_bury(struct mm *mm)
{
    if (!mm)
        return;
    pmap_unref_range(&mm->pmap, mm->env->memfile, 0, PMAP_SPAN);
    hot_pages_unref(mm->hot);
    free(mm->call_table);
    lock_destroy(&mm->lock);
    free(mm);
    __atomic_sub_fetch(&unburied, 1, __ATOMIC_SEQ_CST);
}

bool mm_await_burials(void)
{
    if (!__atomic_load_n(&unburied, __ATOMIC_SEQ_CST))
        return false;
    for (int i = 0; i < BURIAL_YIELDS && __atomic_load_n(&unburied, __ATOMIC_SEQ_CST); i++)
        host_yield();
    return true;
}

bool mm_is_shared(const struct mm *mm)
{
    return refcount_read(&mm->refs) > 1;
}

struct mm *mm_unref(struct mm *mm)
{
    mm_bury(mm_end(mm));
    return NULL;
}

struct address_space *mm_address_space(struct mm *mm)
{
    return mm->as;
}

struct mm_env *mm_environment(struct mm *mm)
{
    return mm->env;
}

struct mm_layout *mm_layout(struct mm *mm)
{
    return &mm->layout;
}

void mm_get_layout(struct mm *mm, struct mm_layout *ret)
{
    lock_acquire(&mm->lock);
    *ret = mm->layout;
    ret->brk_start = mm->brk_start;
    ret->brk = mm->brk;
    lock_release(&mm->lock);
}

void mm_set_layout(struct mm *mm, const struct mm_layout *layout)
{
    uaddr_t vdso = mm->layout.vdso;
    uint32_t count = 1;

    lock_acquire(&mm->lock);
    mm->layout = *layout;
    mm->layout.vdso = vdso;
    while (count < MM_AUXV_MAX && layout->auxv[2 * (count - 1)])
        count++;
    mm->layout.auxv_count = count;
    mm->brk_start = layout->brk_start;
    mm->brk = layout->brk;
    lock_release(&mm->lock);
}

void mm_set_mmap_base(struct mm *mm, uaddr_t base)
{
    lock_acquire(&mm->lock);
    mm->mmap_base = MIN(round_down(base, PAGE_SIZE), mm->env->limits.user_max);
    lock_release(&mm->lock);
}

void mm_set_bottom_up(struct mm *mm, uint64_t random)
{
    uint64_t room = mm->env->limits.user_max / 3;

    lock_acquire(&mm->lock);
    mm->bottom_up = round_up(room, PAGE_SIZE) + random % (room / PAGE_SIZE / 4) * PAGE_SIZE;
    lock_release(&mm->lock);
}

void mm_set_limits(struct mm *mm, const struct mm_limits *limits)
{
    lock_acquire(&mm->lock);
    mm->limits = *limits;
    lock_release(&mm->lock);
}

void mm_get_stats(struct mm *mm, struct mm_stats *ret_stats)
{
    lock_acquire(&mm->lock);
    *ret_stats = mm->stats;
    ret_stats->resident = mm->pmap.present * PAGE_SIZE;
    ret_stats->peak_resident = MAX(mm->stats.peak_resident, ret_stats->resident);
    lock_release(&mm->lock);
}

/* Tables of x86-64 that one more page needs, when the one before it was at `last`. */
static uint64_t new_tables(uaddr_t last, uaddr_t addr, bool first)
{
    uint64_t count = 0;

    for (unsigned shift = 21; shift <= 39; shift += 9)
        count += first || last >> shift != addr >> shift;
    return count;
}

void mm_get_resident(struct mm *mm, struct mm_resident *ret)
{
    uaddr_t last = 0;

    *ret = (struct mm_resident){.tables = PAGE_SIZE};
    lock_acquire(&mm->lock);
    for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
        uint64_t *object = vma->object && vma->object->ops->is_memory ? &ret->memory : &ret->file;
        struct pmap_iter it;

        for (pmap_iter_init(&it, &mm->pmap, vma->start, vma->end); pmap_iter_next(&it);) {
            if (!(it.entry & PMAP_PRESENT))
                continue;
            *(!vma->object || (it.entry & PMAP_ANON) ? &ret->anonymous : object) += PAGE_SIZE;
            ret->tables += new_tables(last, it.addr, last == 0) * PAGE_SIZE;
            last = it.addr;
        }
    }
    lock_release(&mm->lock);
}

/* [heap] and the like are told by place, as fs/proc/task_mmu.c does. */
static const char *vma_name(const struct mm *mm, const struct vma *vma)
{
    if (vma->name || vma->object)
        return vma->name;
    if (vma->start < mm->brk && vma->end > mm->brk_start)
        return "[heap]";
    return NULL;
}

static int map_flags(const struct vma *vma)
{
    int flags = vma->flags & VMA_SHARED ? MAP_SHARED : MAP_PRIVATE;

    if (!vma->object)
        flags |= MAP_ANONYMOUS;
    if (vma->flags & VMA_GROWSDOWN)
        flags |= MAP_GROWSDOWN;
    if (vma->flags & VMA_NORESERVE)
        flags |= MAP_NORESERVE;
    if (vma->flags & VMA_LOCKED)
        flags |= MAP_LOCKED;
    return flags;
}

static unsigned vma_marks(const struct vma *vma)
{
    static const struct {
        uint32_t flag, mark;
    } marks[] = {
        {VMA_SEQUENTIAL, VMA_MARK_SEQUENTIAL}, {VMA_RANDOM, VMA_MARK_RANDOM},
        {VMA_DONTFORK, VMA_MARK_DONTFORK},     {VMA_WIPEONFORK, VMA_MARK_WIPEONFORK},
        {VMA_DONTDUMP, VMA_MARK_DONTDUMP},     {VMA_HUGEPAGE, VMA_MARK_HUGEPAGE},
        {VMA_NOHUGEPAGE, VMA_MARK_NOHUGEPAGE}, {VMA_SEALED, VMA_MARK_SEALED},
        {VMA_MERGEABLE, VMA_MARK_MERGEABLE},   {VMA_SHARED_ANON, VMA_MARK_SHARED_ANON},
    };
    unsigned set = 0;

    for (size_t i = 0; i < ARRAY_COUNT(marks); i++)
        set |= vma->flags & marks[i].flag ? marks[i].mark : 0;
    if (vma->userfault_modes & MM_UFFD_MISSING)
        set |= VMA_MARK_USERFAULT_MISSING;
    if (vma->userfault_modes & MM_UFFD_WP)
        set |= VMA_MARK_USERFAULT_WP;
    if (vma->userfault_modes & MM_UFFD_MINOR)
        set |= VMA_MARK_USERFAULT_MINOR;
    return set;
}

static void count_usage(struct mm *mm, struct vma_info *info)
{
    struct pmap_iter it;

    for (pmap_iter_init(&it, &mm->pmap, info->start, info->end); pmap_iter_next(&it);) {
        if (!(it.entry & PMAP_PRESENT))
            continue;
        info->resident += PAGE_SIZE;
        info->anonymous += !info->object || (it.entry & PMAP_ANON) ? PAGE_SIZE : 0;
    }
}

static int each_vma(struct mm *mm, mm_vma_fn fn, void *arg, bool usage)
{
    int err = 0;

    lock_acquire(&mm->lock);
    for (struct vma *vma = vma_first(mm); vma && !err; vma = vma_next(vma)) {
        struct vma_info info = {
            .start = vma->start,
            .end = vma->end,
            .prot = vma->prot,
            .flags = map_flags(vma),
            .label = vma->label ? vma->label->text : NULL,
            .offset = vma->object ? vma->offset : 0,
            .name = vma_name(mm, vma),
            .object = vma->object,
            .max_prot = vma->max_prot,
            .marks = vma_marks(vma),
            .policy = vma->policy,
        };

        if (usage)
            count_usage(mm, &info);
        err = fn(&info, arg);
    }
    lock_release(&mm->lock);
    return err;
}

int mm_for_each_vma(struct mm *mm, mm_vma_fn fn, void *arg)
{
    return each_vma(mm, fn, arg, false);
}

int mm_for_each_vma_usage(struct mm *mm, mm_vma_fn fn, void *arg)
{
    return each_vma(mm, fn, arg, true);
}
