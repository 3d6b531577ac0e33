#include "sentry/mm/userfault.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"
#include "sentry/mm/shmem.h"

void mm_userfault_init(struct mm_userfault *u, const struct mm_userfault_ops *ops)
{
    u->ops = ops;
    refcount_set(&u->refs, 1);
    lock_init(&u->lock);
    list_init(&u->mm_node);
}

void mm_userfault_tie_locked(struct mm_userfault *u, struct mm *mm)
{
    lock_acquire(&u->lock);
    u->mm = mm;
    lock_release(&u->lock);
    list_add(&mm->userfaults, &u->mm_node);
}

void mm_userfault_tie(struct mm_userfault *u, struct mm *mm)
{
    lock_acquire(&mm->lock);
    mm_userfault_tie_locked(u, mm);
    lock_release(&mm->lock);
}

struct mm_userfault *mm_userfault_ref(struct mm_userfault *u)
{
    refcount_get(&u->refs);
    return u;
}

struct mm_userfault *mm_userfault_unref(struct mm_userfault *u)
{
    if (u && refcount_put(&u->refs)) {
        lock_destroy(&u->lock);
        u->ops->release(u);
    }
    return NULL;
}

struct mm *mm_userfault_get_mm(struct mm_userfault *u)
{
    struct mm *mm;

    lock_acquire(&u->lock);
    mm = u->mm && refcount_get_unless_zero(&u->mm->refs) ? u->mm : NULL;
    lock_release(&u->lock);
    return mm;
}

void mm_userfaults_untie(struct mm *mm)
{
    struct mm_userfault *u, *next;

    list_for_each_safe (u, next, &mm->userfaults, mm_node) {
        lock_acquire(&u->lock);
        u->mm = NULL;
        lock_release(&u->lock);
        list_del_init(&u->mm_node);
    }
}

/* ---- registering -------------------------------------------------------------------------- */

/* Gives the VMA, already cut to size, to `u` (NULL: to nobody). The VMA keeps another reference. */
static void assign(struct mm *mm, struct vma *vma, struct mm_userfault *u, unsigned modes)
{
    struct mm_userfault *old = vma->userfault;

    if (vma->rewritten == VMA_VERSIONS)
        mm_call_sites_forget(mm, vma);
    if (!(modes & MM_UFFD_WP) && (vma->userfault_modes & MM_UFFD_WP))
        mm_userfault_unprotect(mm, vma, vma->start, vma->end);
    if (vma->object && u && (modes & (MM_UFFD_MISSING | MM_UFFD_MINOR)))
        __atomic_store_n(&vma->object->exact, true, __ATOMIC_RELAXED);
    vma->userfault = u ? mm_userfault_ref(u) : NULL;
    vma->userfault_modes = (uint8_t)modes;
    mm_userfault_unref(old);
}

/* Linux vma_can_userfault() */
static bool may_watch(const struct mm_userfault *u, const struct vma *vma, unsigned modes)
{
    if ((vma->flags & VMA_DROPPABLE) || (!vma->object && (modes & MM_UFFD_MINOR)))
        return false;
    return !vma->object || shmem_is(vma->object) || (u->lets_writes && modes == MM_UFFD_WP);
}

static int check_range(struct mm *mm, const struct mm_userfault *u, uaddr_t start, uaddr_t end,
                       bool registers, unsigned modes)
{
    struct vma *vma = vma_find(mm, start);

    if (!vma || vma->start >= end)
        return -EINVAL;
    for (; vma && vma->start < end; vma = vma_next(vma)) {
        if (!may_watch(u, vma, registers ? modes : vma->userfault_modes))
            return -EINVAL;
        /* What UFFDIO_COPY writes, all who map it see. */
        if (registers && !(vma->max_prot & PROT_WRITE))
            return -EPERM;
        if (vma->userfault && vma->userfault != u)
            return registers ? -EBUSY : -EINVAL;
    }
    return 0;
}

static int assign_range(struct mm *mm, struct mm_userfault *u, uaddr_t start, uaddr_t end,
                        unsigned modes)
{
    int err = vma_split_range(mm, start, end);
    struct vma *vma;

    while (!err && (vma = vma_find(mm, start)) && vma->start < end) {
        start = vma->end;
        assign(mm, vma, u, modes);
        vma_merge(mm, vma);
    }
    return err;
}

/* Whoever watches shall hear of the first access to each page, also where we were ahead of it. */
static void forget_untouched(struct mm *mm, uaddr_t start, uaddr_t end, struct trash *trash)
{
    uaddr_t at = start;

    while (at < end) {
        struct vma *vma = vma_at(mm, at);
        uint64_t entry = pmap_get(&mm->pmap, at), size = PAGE_SIZE;
        bool untouched = false;

        if (vma && !vma->object && (entry & PMAP_PRESENT))
            size = memfile_untouched(
                mm->env->memfile, pmap_run_at(&mm->pmap, at, MIN(end, vma->end) - at), &untouched);
        if (untouched)
            mm_zap(mm, at, at + size, ZAP_PAGES, trash);
        at = entry ? at + size : pmap_next_used(&mm->pmap, at, end);
    }
}

int mm_userfault_register(struct mm *mm, struct mm_userfault *u, uaddr_t start, uaddr_t end,
                          unsigned modes)
{
    struct trash trash = TRASH_INIT;
    int err;

    lock_acquire(&mm->lock);
    err = check_range(mm, u, start, end, true, modes);
    if (!err)
        forget_untouched(mm, start, end, &trash);
    if (!err)
        err = assign_range(mm, u, start, end, modes);
    mm_unlock(mm, &trash);
    return err;
}

int mm_userfault_unregister(struct mm *mm, struct mm_userfault *u, uaddr_t start, uaddr_t end)
{
    int err;

    lock_acquire(&mm->lock);
    err = check_range(mm, u, start, end, false, 0);
    if (!err)
        err = assign_range(mm, NULL, start, end, 0);
    lock_release(&mm->lock);
    return err;
}

void mm_userfault_close(struct mm_userfault *u)
{
    struct mm *mm = mm_userfault_get_mm(u);

    if (!mm)
        return;
    lock_acquire(&mm->lock);
    for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
        if (vma->userfault != u)
            continue;
        assign(mm, vma, NULL, 0);
        vma = vma_merge(mm, vma);
    }
    list_del_init(&u->mm_node);
    lock_acquire(&u->lock);
    u->mm = NULL;
    lock_release(&u->lock);
    lock_release(&mm->lock);
    mm_unref(mm);
}

/* ---- asking ------------------------------------------------------------------------------- */

int mm_userfault_ask(struct mm *mm, struct vma *vma, uaddr_t addr, enum access access, bool user,
                     uint64_t flags) __no_lock_analysis
{
    struct mm_userfault *u = mm_userfault_ref(vma->userfault);
    struct mm_userfault_wait w = {.addr = addr, .flags = flags, .user = user};
    int err = -EFAULT;
    bool waits;

    /* On ptrace nobody knows: then a page that can be written may be about to be. */
    if (access == ACCESS_WRITE || (access == ACCESS_UNKNOWN && (vma->prot & PROT_WRITE)))
        w.flags |= UFFD_PAGEFAULT_FLAG_WRITE;
    waits = u->ops->enqueue(u, &w);
    lock_release(&mm->lock);
    if (waits)
        err = u->ops->sleep(u, &w);
    mm_userfault_unref(u);
    lock_acquire(&mm->lock);
    return err;
}

/* ---- pages -------------------------------------------------------------------------------- */

int mm_userfault_check(const struct vma *vma)
{
    if (!vma || !vma->userfault)
        return -ENOENT;
    return __atomic_load_n(&vma->userfault->events, __ATOMIC_RELAXED) ? -EAGAIN : 0;
}

int mm_userfault_fill(struct mm *mm, uaddr_t addr, const void *bytes, bool protect)
{
    struct memfile *mf = mm->env->memfile;
    struct memfile_range page;
    struct vma *vma;
    uint64_t entry;
    int err = memfile_alloc(mf, PAGE_SIZE, PAGE_SIZE, &page);

    if (err)
        return err;
    if (bytes)
        memcpy(memfile_ptr(mf, page.start), bytes, PAGE_SIZE);
    lock_acquire(&mm->lock);
    vma = vma_at(mm, addr);
    entry = pmap_get(&mm->pmap, addr);
    err = mm_userfault_check(vma);
    if (err)
        ; /* nobody's, or not now */
    else if (protect && !(vma->userfault_modes & MM_UFFD_WP))
        err = -EINVAL;
    else if (entry && !(bytes && (entry & PMAP_GUARD)))
        err = -EEXIST;
    else if (vma->object && !vma_is_private(vma))
        err = mm_userfault_insert(mm, vma, addr, page, protect);
    else
        err = pmap_set_run(&mm->pmap, addr, PAGE_SIZE,
                           page.start | PMAP_PRESENT | PMAP_ANON | (protect ? PMAP_UFFD_WP : 0));
    lock_release(&mm->lock);
    if (err)
        memfile_unref(mf, page);
    return err;
}

int mm_userfault_poison(struct mm *mm, uaddr_t addr)
{
    struct vma *vma;
    int err;

    lock_acquire(&mm->lock);
    vma = vma_at(mm, addr);
    err = mm_userfault_check(vma);
    if (err)
        ; /* nobody's, or not now */
    else if (pmap_get(&mm->pmap, addr))
        err = -EEXIST;
    else if (vma->object && shmem_file_size(vma->object) <= vma_offset_of(vma, addr))
        err = -EFAULT;
    else if (mm->pmap.guards >= GUARD_MAX_PAGES)
        err = -ENOMEM;
    else
        err = pmap_set_run(&mm->pmap, addr, PAGE_SIZE, PMAP_GUARD | PMAP_POISON);
    lock_release(&mm->lock);
    return err;
}
