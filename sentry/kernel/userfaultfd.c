/*
 * The descriptor, its messages, and the tasks that wait for an answer.
 *
 *   fault -> enqueue: on `waiting`, not told -> read(2) tells it -> an answer covers its address:
 *            woken, off the list -> the access is repeated
 *   madvise(2) takes pages -> on `events` -> read(2) tells it: off the list -> it takes them
 *
 * The program's own access sleeps like a blocking call, and a signal lets it go: it faults again
 * after the handler. A system call's copy cannot be repeated from the start, so that only the end
 * of its process lets it go, as on Linux.
 */
#include "sentry/kernel/userfaultfd.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "host/futex.h"
#include "sentry/fs/event/anon.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/userfaultfd_internal.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/userfault.h"
#include "sentry/vfs/file.h"

/* ---- waiting for an answer ---------------------------------------------------------------- */

static bool fault_enqueue(struct mm_userfault *base, struct mm_userfault_wait *w)
{
    struct userfaultfd *u = uffd_of(base);
    bool waits;

    w->task = task_current();
    lock_acquire(&base->lock);
    waits = w->task && !(u->features & UFFD_FEATURE_SIGBUS) && (w->user || !u->user_only);
    list_init(&w->node);
    w->woken = u->closed;
    if (waits && !u->closed) {
        if (w->user)
            waiter_reset(&w->task->waiter);
        list_add_tail(&u->waiting, &w->node);
    }
    lock_release(&base->lock);
    if (waits)
        wait_queue_wake(&u->queue, POLLIN | POLLRDNORM);
    return waits;
}

static bool is_woken(const struct mm_userfault_wait *w)
{
    return __atomic_load_n(&w->woken, __ATOMIC_ACQUIRE);
}

static bool is_leaving(struct task *task)
{
    struct process *process = task->process;
    bool leaving;

    lock_acquire(&process->lock);
    leaving = process->group_exit || (process->exec_task && process->exec_task != task);
    lock_release(&process->lock);
    return leaving;
}

/* In the midst of a system call: no signal ends it, except the process's end. */
static void wait_for_life(struct task *task, const bool *done)
{
    struct process *process = task->process;

    for (;;) {
        uint32_t word = __atomic_load_n(&process->stop_word, __ATOMIC_ACQUIRE);

        if (__atomic_load_n(done, __ATOMIC_ACQUIRE) || is_leaving(task))
            return;
        host_futex_wait(&process->stop_word, word, HOST_NEVER);
    }
}

static int fault_sleep(struct mm_userfault *base, struct mm_userfault_wait *w)
{
    int err = 0;

    if (!w->user)
        wait_for_life(w->task, &w->woken);
    while (w->user && err == 0 && !is_woken(w))
        err = task_block(w->task, UINT64_MAX);
    lock_acquire(&base->lock);
    if (!is_woken(w))
        list_del_init(&w->node);
    lock_release(&base->lock);
    if (is_woken(w))
        return 0;
    return w->user ? -EINTR : -EFAULT;
}

static void wake_locked(struct mm_userfault_wait *w)
{
    struct task *task = task_ref(w->task);
    bool user = w->user;

    list_del_init(&w->node);
    __atomic_store_n(&w->woken, true, __ATOMIC_RELEASE); /* `w` may be gone from here on */
    if (user)
        waiter_wake(&task->waiter);
    else
        process_poke(task->process);
    task_unref(task);
}

void uffd_wake_range(struct userfaultfd *u, uaddr_t start, uint64_t size)
{
    struct mm_userfault_wait *w, *next;

    lock_acquire(&u->base.lock);
    list_for_each_safe (w, next, &u->waiting, node) {
        if (size == 0 || w->addr - start < size)
            wake_locked(w);
    }
    lock_release(&u->base.lock);
}

static bool event_begin(struct mm_userfault *base, struct mm_userfault_event *e)
{
    struct userfaultfd *u = uffd_of(base);
    bool begins;

    e->task = task_current();
    lock_acquire(&base->lock);
    begins = e->task && (u->features & UFFD_FEATURE_EVENT_REMOVE) && !u->closed;
    if (begins)
        list_add_tail(&u->events, &e->node);
    lock_release(&base->lock);
    if (begins)
        wait_queue_wake(&u->queue, POLLIN | POLLRDNORM);
    return begins;
}

static void event_end(struct mm_userfault *base, struct mm_userfault_event *e)
{
    wait_for_life(e->task, &e->told);
    lock_acquire(&base->lock);
    if (!e->told)
        list_del_init(&e->node);
    lock_release(&base->lock);
}

static void event_told_locked(struct mm_userfault_event *e)
{
    struct task *task = task_ref(e->task);

    list_del_init(&e->node);
    __atomic_store_n(&e->told, true, __ATOMIC_RELEASE); /* `e` may be gone from here on */
    process_poke(task->process);
    task_unref(task);
}

static void fault_release(struct mm_userfault *base)
{
    free(uffd_of(base));
}

static const struct mm_userfault_ops fault_ops = {
    .enqueue = fault_enqueue,
    .sleep = fault_sleep,
    .begin_event = event_begin,
    .end_event = event_end,
    .release = fault_release,
};

/* ---- messages ----------------------------------------------------------------------------- */

/* The next one that was not told; false: there is none. */
static bool next_message(struct userfaultfd *u, struct uffd_msg *ret)
{
    struct mm_userfault_wait *w;
    bool found = false;

    lock_acquire(&u->base.lock);
    list_for_each (w, &u->waiting, node) {
        if (w->told)
            continue;
        w->told = found = true;
        memset(ret, 0, sizeof(*ret));
        ret->event = UFFD_EVENT_PAGEFAULT;
        ret->arg.pagefault.flags = w->flags;
        ret->arg.pagefault.address =
            u->features & UFFD_FEATURE_EXACT_ADDRESS ? w->addr : round_down(w->addr, PAGE_SIZE);
        if (u->features & UFFD_FEATURE_THREAD_ID)
            ret->arg.pagefault.feat.ptid = (uint32_t)w->task->vtid;
        break;
    }
    if (!found && !list_empty(&u->events)) {
        struct mm_userfault_event *e = list_first(&u->events, struct mm_userfault_event, node);

        memset(ret, 0, sizeof(*ret));
        ret->event = UFFD_EVENT_REMOVE;
        ret->arg.remove.start = e->start;
        ret->arg.remove.end = e->end;
        event_told_locked(e);
        found = true;
    }
    lock_release(&u->base.lock);
    return found;
}

static ssize_t uffd_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct userfaultfd *u = uffd_of_file(f);
    struct uffd_msg msg;
    ssize_t done = 0;

    if (!__atomic_load_n(&u->ready, __ATOMIC_ACQUIRE))
        return -EINVAL;
    if (uio->left < sizeof(msg))
        return -EINVAL;
    while (uio->left >= sizeof(msg) && next_message(u, &msg)) {
        if (uio_copy_out(uio, &msg, sizeof(msg)) != sizeof(msg))
            return done ? done : -EFAULT;
        done += (ssize_t)sizeof(msg);
    }
    return done ? done : -EAGAIN;
}

static uint32_t uffd_poll(struct file *f, struct wait_entry *entry)
{
    struct userfaultfd *u = uffd_of_file(f);
    struct mm_userfault_wait *w;
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&u->queue, entry);
    lock_acquire(&u->base.lock);
    list_for_each (w, &u->waiting, node) {
        if (!w->told)
            events = POLLIN;
    }
    if (!list_empty(&u->events))
        events = POLLIN;
    /* read(2) itself waits through here, and Linux's poll(2) wants O_NONBLOCK. */
    if (!u->ready)
        events = POLLERR;
    lock_release(&u->base.lock);
    return events;
}

static void uffd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&uffd_of_file(f)->queue, entry);
}

static void uffd_release(struct file *f)
{
    struct userfaultfd *u = uffd_of_file(f);

    lock_acquire(&u->base.lock);
    u->closed = true;
    while (!list_empty(&u->events))
        event_told_locked(list_first(&u->events, struct mm_userfault_event, node));
    lock_release(&u->base.lock);
    mm_userfault_close(&u->base);
    uffd_wake_range(u, 0, 0);
    mm_userfault_unref(&u->base);
    file_fini(f);
    free(container_of(f, struct uffd_file, file));
}

static const struct file_operations uffd_operations = {
    .read = uffd_read,
    .poll = uffd_poll,
    .unpoll = uffd_unpoll,
    .ioctl = uffd_ioctl,
    .stat = anon_stat,
    .release = uffd_release,
    .seek_ignored = true,
};

int userfaultfd_create(struct task *task, int flags, struct file **ret)
{
    struct uffd_file *f = calloc(1, sizeof(*f));
    struct userfaultfd *u = calloc(1, sizeof(*u));
    char *name = strdup("anon_inode:[userfaultfd]");

    if (!f || !u || !name) {
        free(f);
        free(u);
        free(name);
        return -ENOMEM;
    }
    list_init(&u->waiting);
    list_init(&u->events);
    wait_queue_init(&u->queue);
    u->user_only = flags & UFFD_USER_MODE_ONLY;
    mm_userfault_init(&u->base, &fault_ops, task->mm);
    f->u = u;
    file_init(&f->file, &uffd_operations, O_RDONLY | ((uint32_t)flags & O_NONBLOCK));
    f->file.path = name;
    *ret = &f->file;
    return 0;
}
