/*
 * Events of a userfaultfd other than faults: who causes one waits until read(2) has told it.
 *
 * A fork's is more than a message: whoever reads it gets the descriptor of what watches the child
 * (userfaultfd(2), UFFD_EVENT_FORK). It is made under the lock, so that neither another reader nor
 * the end of the fork comes in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/userfaultfd_internal.h"
#include "sentry/vfs/fdtable.h"

bool uffd_wants(struct mm_userfault *base, enum mm_userfault_kind kind)
{
    static const uint64_t features[] = {
        [MM_UFFD_REMOVE] = UFFD_FEATURE_EVENT_REMOVE,
        [MM_UFFD_UNMAP] = UFFD_FEATURE_EVENT_UNMAP,
        [MM_UFFD_REMAP] = UFFD_FEATURE_EVENT_REMAP,
        [MM_UFFD_FORK] = UFFD_FEATURE_EVENT_FORK,
    };
    struct userfaultfd *u = uffd_of(base);
    bool wants;

    lock_acquire(&base->lock);
    wants = (u->features & features[kind]) && !u->closed;
    lock_release(&base->lock);
    return wants;
}

bool uffd_tell(struct mm_userfault *base, struct mm_userfault_event *e)
{
    struct userfaultfd *u = uffd_of(base);
    bool waits;

    e->task = task_current();
    lock_acquire(&base->lock);
    waits = e->task && !u->closed;
    if (waits)
        list_add_tail(&u->events, &e->node);
    lock_release(&base->lock);
    if (!waits)
        return false;
    wait_queue_wake(&u->queue, POLLIN | POLLRDNORM);
    uffd_wait_for_life(e->task, &e->done);
    lock_acquire(&base->lock);
    if (!e->done)
        list_del_init(&e->node);
    lock_release(&base->lock);
    return e->told;
}

void uffd_event_done_locked(struct mm_userfault_event *e, bool told)
{
    struct task *task = task_ref(e->task);

    list_del_init(&e->node);
    e->told = told;
    __atomic_store_n(&e->done, true, __ATOMIC_RELEASE);
    process_poke(task->process);
    task_unref(task);
}

static int install_child(struct userfaultfd *child, uint64_t limit)
{
    struct file *file;
    int fd = uffd_open(child, &file);

    if (fd < 0)
        return fd;
    fd = fdtable_install(task_current()->files, file, 0, limit, child->flags & O_CLOEXEC);
    if (fd < 0)
        uffd_discard(file);
    return fd;
}

int uffd_event_message_locked(struct userfaultfd *u, uint64_t limit, struct uffd_msg *ret)
{
    struct mm_userfault_event *e = list_first(&u->events, struct mm_userfault_event, node);
    int fd;

    *ret = (struct uffd_msg){0};
    switch (e->kind) {
    case MM_UFFD_REMOVE:
    case MM_UFFD_UNMAP:
        ret->event = e->kind == MM_UFFD_REMOVE ? UFFD_EVENT_REMOVE : UFFD_EVENT_UNMAP;
        ret->arg.remove.start = e->start;
        ret->arg.remove.end = e->end;
        break;
    case MM_UFFD_REMAP:
        ret->event = UFFD_EVENT_REMAP;
        ret->arg.remap.from = e->start;
        ret->arg.remap.to = e->to;
        ret->arg.remap.len = e->end - e->start;
        break;
    case MM_UFFD_FORK:
        fd = install_child(uffd_of(e->child), limit);
        if (fd < 0)
            return fd;
        ret->event = UFFD_EVENT_FORK;
        ret->arg.fork.ufd = (uint32_t)fd;
        break;
    }
    uffd_event_done_locked(e, true);
    return 1;
}
