#include "sentry/mm/mappable.h"

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

uint64_t mappable_new_id(void)
{
    static uint64_t last;

    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

void mappable_init(struct mappable *m, const struct mappable_ops *ops)
{
    *m = (struct mappable){.ops = ops, .id = mappable_new_id()};
    refcount_set(&m->refs, 1);
    lock_init(&m->invalidate_lock);
    lock_init(&m->mappings_lock);
    list_init(&m->mappings);
    list_init(&m->views);
}

void mappable_fini(struct mappable *m)
{
    BUG_ON(!list_empty(&m->mappings) || !list_empty(&m->views));
    callsites_free(m->callsites);
    lock_destroy(&m->mappings_lock);
    lock_destroy(&m->invalidate_lock);
}

bool mappable_has_writers(struct mappable *m)
{
    bool found = false;
    struct vma *vma;

    lock_acquire(&m->mappings_lock);
    list_for_each (vma, &m->mappings, object_node)
        found |= !vma_is_private(vma) && (vma->max_prot & PROT_WRITE);
    lock_release(&m->mappings_lock);
    return found;
}

void mappable_view_add(struct mappable *m, struct mappable_view *view, struct mappable *front)
{
    view->front = front;
    view->served = 0;
    lock_acquire(&m->mappings_lock);
    list_add(&m->views, &view->node);
    lock_release(&m->mappings_lock);
}

void mappable_view_remove(struct mappable *m, struct mappable_view *view)
{
    lock_acquire(&m->mappings_lock);
    list_del_init(&view->node);
    lock_release(&m->mappings_lock);
}

/* One that shows the object and was not yet served in this round, referenced; or NULL. */
static struct mappable *next_front(struct mappable *m, uint64_t round)
{
    struct mappable *found = NULL;
    struct mappable_view *view;

    lock_acquire(&m->mappings_lock);
    list_for_each (view, &m->views, node) {
        if (found || view->served == round)
            continue;
        view->served = round;
        if (refcount_get_unless_zero(&view->front->refs))
            found = view->front;
    }
    lock_release(&m->mappings_lock);
    return found;
}

/* An mm that maps the object and was not yet served in this round, referenced; or NULL. */
static struct mm *next_mm(struct mappable *m, uint64_t round)
{
    struct mm *found = NULL;
    struct vma *vma;

    lock_acquire(&m->mappings_lock);
    list_for_each (vma, &m->mappings, object_node) {
        if (vma->served == round || (found && vma->mm != found))
            continue;
        vma->served = round;
        /* One that is going away forgets its pages by itself. */
        if (!found && refcount_get_unless_zero(&vma->mm->refs))
            found = vma->mm;
    }
    lock_release(&m->mappings_lock);
    return found;
}

/* With mm->lock held: the parts of the mm's mappings that show [offset, offset+size). */
static void forget(struct mm *mm, const struct mappable *m, uint64_t offset, uint64_t size,
                   enum zap_kind kind, struct trash *trash)
{
    for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
        uint64_t low = MAX(offset, vma->offset);
        uint64_t high = MIN(offset + size, vma_offset_of(vma, vma->end));

        if (vma->object != m)
            continue;
        if (unlikely(vma->rewritten == VMA_VERSIONS) && callsites_are_retired(m))
            mm_call_sites_forget(mm, vma);
        if (low < high)
            mm_zap(mm, vma->start + (low - vma->offset), vma->start + (high - vma->offset), kind,
                   trash);
    }
}

/* `changed`: the bytes are others now, or will be. */
static void invalidate(struct mappable *m, uint64_t offset, uint64_t size, bool private_too,
                       bool changed)
{
    struct mappable *front;
    uint64_t round;
    struct mm *mm;

    size = MIN(size, UINT64_MAX - offset);
    if (changed)
        callsites_retire(m);
    lock_acquire(&m->invalidate_lock);
    /* From here on a fault that asked before starts again (fetch.c). */
    round = __atomic_add_fetch(&m->invalidations, 1, __ATOMIC_ACQ_REL);
    while ((mm = next_mm(m, round))) {
        struct trash trash = TRASH_INIT;

        lock_acquire(&mm->lock);
        forget(mm, m, offset, size, private_too ? ZAP_PAGES : ZAP_OBJECT, &trash);
        mm_unlock(mm, &trash);
        mm_unref(mm);
    }
    while ((front = next_front(m, round))) {
        invalidate(front, offset, size, private_too, changed);
        mappable_unref(front);
    }
    lock_release(&m->invalidate_lock);
}

void mappable_invalidate(struct mappable *m, uint64_t offset, uint64_t size, bool private_too)
{
    invalidate(m, offset, size, private_too, true);
}

void mappable_drop(struct mappable *m)
{
    invalidate(m, 0, UINT64_MAX, false, false);
}
