/*
 * What a userfaultfd is told beside faults: ranges that go, move or are shared with a child.
 *
 *   noted (mm->lock held, the change is made) -> in the trash -> told after the lock was released
 *
 * From the note until it was read no page comes by UFFDIO_COPY and its like: whoever answers may
 * have an older picture of the address space. Only UFFD_EVENT_REMOVE is told before the change.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/mm/internal.h"

static bool is_wanted(const struct vma *vma, enum mm_userfault_kind kind)
{
    return vma->userfault && vma->userfault->ops->wants(vma->userfault, kind);
}

static void begin(struct mm_userfault_event *e, struct mm_userfault *u)
{
    e->about = mm_userfault_ref(u);
    __atomic_fetch_add(&u->events, 1, __ATOMIC_RELAXED);
}

static bool tell(struct mm_userfault_event *e)
{
    struct mm_userfault *u = e->about;
    bool told = u->ops->tell(u, e);

    __atomic_fetch_sub(&u->events, 1, __ATOMIC_RELAXED);
    mm_userfault_unref(u);
    return told;
}

bool mm_userfault_remove(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end,
                         struct trash *trash) __no_lock_analysis
{
    struct mm_userfault_event e = {.kind = MM_UFFD_REMOVE, .start = start, .end = end};

    if (!is_wanted(vma, MM_UFFD_REMOVE))
        return false;
    begin(&e, vma->userfault);
    mm_unlock(mm, trash);
    (void)tell(&e);
    lock_acquire(&mm->lock);
    return true;
}

static struct mm_userfault_event *note(struct mm_userfault *u, enum mm_userfault_kind kind,
                                       uaddr_t start, uaddr_t end,
                                       struct mm_userfault_event **events)
{
    struct mm_userfault_event *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->kind = kind;
    e->start = start;
    e->end = end;
    begin(e, u);
    while (*events)
        events = &(*events)->next;
    *events = e;
    return e;
}

static struct mm_userfault_event *find_event(struct mm_userfault_event *events,
                                             const struct mm_userfault *u,
                                             enum mm_userfault_kind kind, uaddr_t start,
                                             uaddr_t end)
{
    while (events && (events->about != u || events->kind != kind || events->start != start ||
                      events->end != end))
        events = events->next;
    return events;
}

int mm_userfault_note_unmap(struct mm *mm, uaddr_t start, uaddr_t end, struct trash *trash)
{
    if (likely(list_empty(&mm->userfaults)))
        return 0;
    for (struct vma *vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma)) {
        if (is_wanted(vma, MM_UFFD_UNMAP) &&
            !find_event(trash->events, vma->userfault, MM_UFFD_UNMAP, start, end) &&
            !note(vma->userfault, MM_UFFD_UNMAP, start, end, &trash->events))
            return -ENOMEM;
    }
    return 0;
}

int mm_userfault_note_remap(const struct vma *vma, uaddr_t from, uint64_t size, uaddr_t to,
                            struct trash *trash)
{
    struct mm_userfault_event *e;

    if (!is_wanted(vma, MM_UFFD_REMAP))
        return 0;
    e = note(vma->userfault, MM_UFFD_REMAP, from, from + size, &trash->events);
    if (!e)
        return -ENOMEM;
    e->to = to;
    return 1;
}

/* Linux dup_userfaultfd(): one for all of the VMAs that one has. */
int mm_userfault_fork(const struct vma *vma, struct vma *copy, struct mm_userfault_event **events)
{
    struct mm_userfault *u = vma->userfault, *child;
    struct mm_userfault_event *e;

    copy->userfault = mm_userfault_unref(copy->userfault); /* not the last: the parent has one */
    copy->userfault_modes = 0;
    if (!is_wanted(vma, MM_UFFD_FORK))
        return 0;
    e = find_event(*events, u, MM_UFFD_FORK, 0, 0);
    if (!e) {
        child = u->ops->fork(u);
        e = child ? note(u, MM_UFFD_FORK, 0, 0, events) : NULL;
        if (!e) {
            mm_userfault_unref(child);
            return -ENOMEM;
        }
        e->child = child;
        mm_userfault_tie_locked(child, copy->mm);
    }
    copy->userfault = mm_userfault_ref(e->child);
    copy->userfault_modes = vma->userfault_modes;
    return 0;
}

/* Nobody has taken over what watches the child: it is not watched. */
static void leave_child(struct mm_userfault_event *e)
{
    if (e->child)
        mm_userfault_close(e->child);
}

void mm_userfault_deliver(struct mm_userfault_event *events)
{
    while (events) {
        struct mm_userfault_event *e = events;

        events = e->next;
        if (!tell(e))
            leave_child(e);
        mm_userfault_unref(e->child);
        free(e);
    }
}

void mm_userfault_drop(struct mm_userfault_event *events)
{
    while (events) {
        struct mm_userfault_event *e = events;

        events = e->next;
        leave_child(e);
        __atomic_fetch_sub(&e->about->events, 1, __ATOMIC_RELAXED);
        mm_userfault_unref(e->about);
        mm_userfault_unref(e->child);
        free(e);
    }
}
