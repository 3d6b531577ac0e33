/*
 * mmap(2) and munmap(2): mm/mmap.c of Linux, in its order of checks.
 *
 * Place: from mm->mmap_base downwards; MAP_32BIT between 1 and 2 GiB upwards; when nothing is free
 * below the base, above it.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

#define MAP_32BIT_LOW  0x40000000UL
#define MAP_32BIT_HIGH 0x80000000UL

/* Newer than Debian 12's headers. */
#define LINUX_MAP_DROPPABLE 0x08

static uaddr_t lowest(const struct mm *mm)
{
    return MAX(mm->env->limits.user_min, MMAP_MIN_ADDR);
}

static bool hint_is_free(struct mm *mm, uaddr_t addr, uint64_t size, uaddr_t high)
{
    struct vma *vma;
    uaddr_t limit;

    if (size > high || addr > high - size)
        return false;
    vma = vma_find(mm, addr);
    if (!vma)
        return true;
    limit = vma->start;
    if (vma->flags & VMA_GROWSDOWN)
        limit = limit > STACK_GUARD_GAP ? limit - STACK_GUARD_GAP : 0;
    return addr + size <= limit;
}

static int place_32bit(struct mm *mm, uaddr_t addr, uint64_t size, uaddr_t *ret_addr)
{
    if (size > MAP_32BIT_HIGH)
        return -ENOMEM;
    addr = round_up(addr, PAGE_SIZE);
    if (addr && hint_is_free(mm, addr, size, MAP_32BIT_HIGH)) {
        *ret_addr = addr;
        return 0;
    }
    return vma_gap_above(mm, size, PAGE_SIZE, MAP_32BIT_LOW, MAP_32BIT_HIGH, ret_addr);
}

int mm_place(struct mm *mm, uaddr_t addr, uint64_t size, int flags, bool huge, uaddr_t *ret_addr)
{
    uaddr_t low = lowest(mm), high = mm->env->limits.user_max, found;

    if (size > high)
        return -ENOMEM;
    if (flags & MAP_FIXED) {
        if (addr > high - size)
            return -ENOMEM;
        if (!is_aligned(addr, PAGE_SIZE))
            return -EINVAL;
        if (addr < low)
            return -EPERM;
        *ret_addr = addr;
        return 0;
    }
    addr = round_down(addr, PAGE_SIZE);
    if (addr && addr < low)
        addr = low;
    if (flags & MAP_32BIT)
        return place_32bit(mm, addr, size, ret_addr);
    if (addr && hint_is_free(mm, addr, size, high)) {
        *ret_addr = addr;
        return 0;
    }
    if (mm->bottom_up)
        return vma_gap_above(mm, size, PAGE_SIZE, mm->bottom_up, high, ret_addr);
    if ((huge && vma_gap_below(mm, size, HUGE_PAGE_SIZE, low, mm->mmap_base, &found) == 0) ||
        vma_gap_below(mm, size, PAGE_SIZE, low, mm->mmap_base, &found) == 0) {
        *ret_addr = found;
        return 0;
    }
    return vma_gap_above(mm, size, PAGE_SIZE, low, high, ret_addr);
}

bool mm_may_lock(struct mm *mm, uint32_t flags, uint64_t size)
{
    if (!(flags & VMA_LOCKED))
        return true;
    return size <= mm->limits.locked && mm->stats.locked <= mm->limits.locked - size;
}

/* ---- mmap --------------------------------------------------------------------------------- */

/* The checks of do_mmap() that depend on MAP_TYPE; sets the VMA's flags. */
static int check_type(const struct mm_map_args *args, struct vma *vma)
{
    int type = args->flags & MAP_TYPE;
    const int legacy = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE |
                       MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |
                       MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT |
                       (int)((uint32_t)MAP_HUGE_MASK << MAP_HUGE_SHIFT);

    if (args->object) {
        if (args->offset > (uint64_t)INT64_MAX - round_up(args->size, PAGE_SIZE))
            return -EOVERFLOW;
        if (type == MAP_SHARED_VALIDATE && (args->flags & ~(legacy | MAP_SHARED_VALIDATE)))
            return -EOPNOTSUPP;
        if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE && type != MAP_PRIVATE)
            return -EINVAL;
        if (type != MAP_PRIVATE)
            vma->flags |= VMA_SHARED;
        if ((args->prot & ~args->max_prot & (PROT_READ | PROT_WRITE)) ||
            !(args->max_prot & PROT_READ))
            return -EACCES;
        if (args->prot & ~args->max_prot & PROT_EXEC)
            return -EPERM;
        return args->flags & MAP_GROWSDOWN ? -EINVAL : 0;
    }
    switch (type) {
    case MAP_SHARED:
        vma->flags |= VMA_SHARED;
        return args->flags & MAP_GROWSDOWN ? -EINVAL : 0;
    case LINUX_MAP_DROPPABLE:
        if (args->flags & (MAP_GROWSDOWN | MAP_LOCKED))
            return -EINVAL;
        vma->flags |= VMA_DROPPABLE | VMA_NORESERVE | VMA_WIPEONFORK | VMA_DONTDUMP;
        return 0;
    case MAP_PRIVATE:
        return 0;
    default:
        return -EINVAL;
    }
}

/* MAP_HUGETLB: sizes exist, the pool is empty. */
static int check_hugetlb(const struct mm *mm, const struct mm_map_args *args)
{
    int log = (args->flags >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK, type = args->flags & MAP_TYPE;
    bool fixed = args->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);

    if (args->object && args->object->kind == MAPPABLE_HUGE) {
        if (!is_aligned(args->offset, HUGE_PAGE_SIZE))
            return -EINVAL;
        return args->flags & MAP_NORESERVE ? 0 : -ENOMEM;
    }
    if (args->object || !(args->flags & MAP_HUGETLB))
        return 0;
    if (log != 0 && log != 21 && log != 30)
        return -EINVAL;
    if (args->size > mm->env->limits.user_max)
        return -ENOMEM;
    if (fixed && !is_aligned(args->addr, 1UL << (log ? log : 21)))
        return -EINVAL;
    return type < MAP_SHARED || type > MAP_SHARED_VALIDATE ? -EINVAL : -ENOMEM;
}

static uint64_t mapped_size(struct mm *mm, uaddr_t start, uaddr_t end)
{
    uint64_t size = 0;

    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = vma_next(v))
        size += MIN(v->end, end) - MAX(v->start, start);
    return size;
}

/* Everything that needs the lock. `vma` describes the new VMA but for its place. */
static int map_locked(struct mm *mm, const struct mm_map_args *args, uint64_t size,
                      struct vma *like, struct trash *trash, uaddr_t *ret_addr)
{
    int flags = args->flags, err;
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    struct vma *vma;
    uaddr_t addr;

    if (mm->vma_count > mm_max_map_count())
        return -ENOMEM;
    err = mm_place(mm, args->addr, size, fixed ? flags | MAP_FIXED : flags,
                   !args->object && !args->addr && is_aligned(size, HUGE_PAGE_SIZE), &addr);
    if (err)
        return err;
    if ((flags & MAP_FIXED_NOREPLACE) && vma_overlaps(mm, addr, addr + size))
        return -EEXIST;
    if ((flags & MAP_LOCKED) && mm->limits.locked == 0)
        return -EPERM;
    if ((flags & MAP_TYPE) != LINUX_MAP_DROPPABLE)
        like->flags |= mm->future_flags;
    if (!mm_may_lock(mm, like->flags, size))
        return -EAGAIN;
    err = check_type(args, like);
    if (err)
        return err;
    like->flags = mm_new_flags(mm, like->flags);
    if (mm_denies_exec(mm, like->prot, like->prot))
        return -EACCES;
    if (!mm_may_expand(mm, like->prot, like->flags,
                       size - (fixed ? mapped_size(mm, addr, addr + size) : 0)))
        return -ENOMEM;
    if (!mm_may_commit(mm, like->prot, like->flags, size))
        return -ENOMEM;
    like->start = addr;
    like->end = addr + size;
    vma = vma_new(mm, like);
    if (!vma)
        return -ENOMEM;
    if (fixed) {
        err = mm_unmap_locked(mm, addr, addr + size, trash);
        if (err) {
            vma->next_trash = trash->vmas;
            trash->vmas = vma;
            return err;
        }
    }
    vma_insert(mm, vma);
    vma_merge(mm, vma);
    if (!mm->env->limits.maps_give_memory && size <= MM_ANTICIPATE_MAP &&
        !(like->flags & VMA_NORESERVE))
        mm_anticipate(mm, addr, size, false);
    *ret_addr = addr;
    return 0;
}

static uint32_t simple_flags(int flags)
{
    return (flags & MAP_GROWSDOWN ? VMA_GROWSDOWN : 0) | (flags & MAP_LOCKED ? VMA_LOCKED : 0) |
           (flags & MAP_NORESERVE && mm_overcommits() ? VMA_NORESERVE : 0);
}

/*
 * Does the program's ELF interpreter map a part of a library? It maps all of it first, and then its
 * parts over that, and looks at hardly any before it is done. *ret_before: what was left of the
 * whole, so the first part; or 0.
 */
static bool look_at_load(struct mm *mm, const struct mm_map_args *args, uaddr_t addr,
                         uaddr_t *ret_before) __must_hold(mm->lock)
{
    bool fixed = args->flags & MAP_FIXED;
    const struct vma *vma;

    if ((!fixed && !args->object) || !mm_is_loader(mm, args->caller))
        return false;
    vma = fixed && args->object ? vma_at(mm, addr - 1) : NULL;
    if (vma && vma->object == args->object)
        *ret_before = vma->start;
    return true;
}

int mm_map(struct mm *mm, const struct mm_map_args *args, uaddr_t *ret_addr)
{
    uint64_t size = round_up(args->size, PAGE_SIZE);
    struct trash trash = TRASH_INIT;
    struct mappable *shmem = NULL;
    struct vma like = {
        .object = args->object,
        .offset = args->object ? args->offset : 0,
        .name = args->name,
        .prot = args->prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
        .flags = simple_flags(args->flags),
    };
    int err = check_hugetlb(mm, args);
    bool fixed = args->flags & MAP_FIXED, populate, loads = false;
    uaddr_t addr = 0, before = 0;

    if (err)
        return err;
    if (args->size == 0 || !is_aligned(args->offset, PAGE_SIZE))
        return -EINVAL;
    if (size == 0 || size > mm->env->limits.user_max)
        return -ENOMEM;
    if (args->object || args->max_prot) /* /dev/zero is anonymous, and was opened in some way */
        like.max_prot = (uint8_t)args->max_prot;
    if (args->object && args->object->kind == MAPPABLE_SECRET)
        like.flags |= VMA_LOCKED | VMA_DONTDUMP;
    if (!args->object && (args->flags & MAP_TYPE) == MAP_SHARED) {
        struct memfile_stats stats;

        memfile_get_stats(mm->env->memfile, &stats);
        if (size > stats.limit && !(args->flags & MAP_NORESERVE))
            return -ENOMEM;
        err = shmem_create(mm->env->memfile, size, &shmem);
        if (err)
            return err;
        like.object = shmem;
        like.flags |= VMA_SHARED_ANON;
    }
    if (fixed)
        mm_gather(mm, true);
    lock_acquire(&mm->lock);
    err = map_locked(mm, args, size, &like, &trash, &addr);
    if (!err)
        loads = look_at_load(mm, args, addr, &before);
    lock_release(&mm->lock);
    populate = !err &&
               ((like.flags & (VMA_LOCKED | VMA_LOCKONFAULT)) == VMA_LOCKED ||
                (args->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE) &&
               !vma_is_secret(&like);
    if (populate)
        (void)mm_populate(mm, addr, addr + size,
                          true); /* mmap(2): failing to populate is no failure */
    else if (!err && args->object && (fixed || size <= (loads ? MM_AHEAD_SMALL : MM_AHEAD_MAX)))
        mm_map_ahead(mm, addr, args->caller);
    if (before)
        mm_map_ahead(mm, before, args->caller);
    /* Where data ends and zeros begin within a page, it writes these at once. */
    if (loads && !(args->object && (args->prot & PROT_WRITE)))
        mm_defer(mm);
    if (fixed)
        mm_gather(mm, false);
    mm_free_trash(mm, &trash);
    mappable_unref(shmem);
    if (!err)
        *ret_addr = addr;
    return err;
}

/* ---- munmap ------------------------------------------------------------------------------- */

int mm_unmap_locked(struct mm *mm, uaddr_t start, uaddr_t end, struct trash *trash)
{
    struct vma *vma = vma_find(mm, start);
    int err;

    if (!vma || vma->start >= end)
        return 0;
    for (; vma && vma->start < end; vma = vma_next(vma)) {
        if (vma->flags & VMA_SEALED)
            return -EPERM;
    }
    err = mm_userfault_note_unmap(mm, start, end, trash);
    if (!err)
        err = vma_split_range(mm, start, end);
    if (err)
        return err;
    mm_zap(mm, start, end, ZAP_ALL, trash);
    while ((vma = vma_find(mm, start)) && vma->start < end)
        vma_remove(mm, vma, trash);
    return 0;
}

int mm_unmap(struct mm *mm, uaddr_t addr, uint64_t size)
{
    uaddr_t max = mm->env->limits.user_max;
    struct trash trash = TRASH_INIT;
    int err;

    if (!is_aligned(addr, PAGE_SIZE) || addr > max || size > max - addr || size == 0)
        return -EINVAL;
    lock_acquire(&mm->lock);
    err = mm_unmap_locked(mm, addr, addr + round_up(size, PAGE_SIZE), &trash);
    mm_unlock(mm, &trash);
    return err;
}
