/*
 * brk(2): the heap is an ordinary private mapping from brk_start to the break, rounded up.
 */
#include <errno.h>

#include "sentry/mm/internal.h"

void mm_set_brk_start(struct mm *mm, uaddr_t start)
{
    lock_acquire(&mm->lock);
    mm->brk_start = start;
    mm->brk = start;
    lock_release(&mm->lock);
}

/* check_data_rlimit() counts the data segment too. */
static bool data_limit_ok(const struct mm *mm, uaddr_t brk)
{
    uint64_t data = mm->layout.data_end - mm->layout.data_start;

    return mm->limits.data == UINT64_MAX || brk - mm->brk_start + data <= mm->limits.data;
}

static int grow(struct mm *mm, uaddr_t from, uaddr_t to)
{
    struct vma like = {
        .start = from,
        .end = to,
        .prot = PROT_READ | PROT_WRITE,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
        .flags = mm_new_flags(mm, mm->future_flags),
    };
    struct vma *next = vma_find(mm, from), *vma;

    if (to > mm->env->limits.user_max)
        return -ENOMEM;
    /* Nothing in the way, nor in the gap below a stack. */
    if (next && next->start < to + (next->flags & VMA_GROWSDOWN ? STACK_GUARD_GAP : 0))
        return -ENOMEM;
    if (!mm_may_lock(mm, like.flags, to - from))
        return -EAGAIN;
    if (!mm_may_expand(mm, like.prot, like.flags, to - from) ||
        mm->vma_count > mm_max_map_count() || !mm_may_commit(mm, like.prot, like.flags, to - from))
        return -ENOMEM;
    vma = vma_new(mm, &like);
    if (!vma)
        return -ENOMEM;
    vma_insert(mm, vma);
    vma_merge(mm, vma);
    return 0;
}

uaddr_t mm_brk(struct mm *mm, uaddr_t brk)
{
    struct trash trash = TRASH_INIT;
    uaddr_t old, new, ret;
    bool populate = false;

    lock_acquire(&mm->lock);
    old = round_up(mm->brk, PAGE_SIZE);
    new = round_up(brk, PAGE_SIZE);
    if (brk >= mm->brk_start && new >= brk && data_limit_ok(mm, brk)) {
        int err = 0;

        if (new < old)
            err = mm_unmap_locked(mm, new, old, &trash);
        else if (new > old)
            err = grow(mm, old, new);
        if (!err) {
            mm->brk = brk;
            populate = new > old && (mm->future_flags & VMA_LOCKED);
            if (new > old)
                mm_anticipate(mm, old, new - old, true);
        }
    }
    ret = mm->brk;
    mm_unlock(mm, &trash);
    if (populate)
        (void)mm_populate(mm, old, new, true);
    return ret;
}
