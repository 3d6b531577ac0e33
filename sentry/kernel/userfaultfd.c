/*
 * The descriptor, its messages, and the tasks that wait for an answer.
 *
 *   fault -> enqueue: on `waiting`, not told -> read(2) tells it -> an answer covers its address:
 *            woken, off the list -> the access is repeated
 *   an event (userfaultfd_event.c) -> on `events` -> read(2) tells it: off the list -> it goes on
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
    waits = w->task && !(u->features & UFFD_FEATURE_SIGBUS) &&
            (w->user || !(u->flags & UFFD_USER_MODE_ONLY));
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

void uffd_wait_for_life(struct task *task, const bool *done)
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
        uffd_wait_for_life(w->task, &w->woken);
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

static void fault_release(struct mm_userfault *base)
{
    free(uffd_of(base));
}

static struct userfaultfd *new_userfaultfd(int flags);

static struct mm_userfault *fault_fork(struct mm_userfault *base)
{
    struct userfaultfd *u = uffd_of(base), *child = new_userfaultfd(u->flags);

    if (!child)
        return NULL;
    child->features = u->features;
    child->base.lets_writes = base->lets_writes;
    child->base.protects_holes = base->protects_holes;
    child->ready = true;
    return &child->base;
}

static const struct mm_userfault_ops fault_ops = {
    .enqueue = fault_enqueue,
    .sleep = fault_sleep,
    .wants = uffd_wants,
    .tell = uffd_tell,
    .fork = fault_fork,
    .release = fault_release,
};

/* ---- messages ----------------------------------------------------------------------------- */

static void fault_message(const struct userfaultfd *u, const struct mm_userfault_wait *w,
                          struct uffd_msg *ret)
{
    *ret = (struct uffd_msg){.event = UFFD_EVENT_PAGEFAULT};
    ret->arg.pagefault.flags = w->flags;
    ret->arg.pagefault.address =
        u->features & UFFD_FEATURE_EXACT_ADDRESS ? w->addr : round_down(w->addr, PAGE_SIZE);
    if (u->features & UFFD_FEATURE_THREAD_ID)
        ret->arg.pagefault.feat.ptid = (uint32_t)w->task->vtid;
}

/* The next one that was not told: 1; 0: there is none. Errors as fdtable_install(). */
static int next_message(struct userfaultfd *u, struct uffd_msg *ret)
{
    uint64_t limit = task_rlimit(task_current(), RLIMIT_NOFILE);
    struct mm_userfault_wait *w;
    int found = 0;

    lock_acquire(&u->base.lock);
    list_for_each (w, &u->waiting, node) {
        if (w->told)
            continue;
        w->told = true;
        found = 1;
        fault_message(u, w, ret);
        break;
    }
    if (!found && !list_empty(&u->events))
        found = uffd_event_message_locked(u, limit, ret);
    lock_release(&u->base.lock);
    return found;
}

static ssize_t uffd_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct userfaultfd *u = uffd_of_file(f);
    struct uffd_msg msg;
    ssize_t done = 0;
    int got = 0;

    if (!__atomic_load_n(&u->ready, __ATOMIC_ACQUIRE))
        return -EINVAL;
    if (uio->left < sizeof(msg))
        return -EINVAL;
    while (uio->left >= sizeof(msg) && (got = next_message(u, &msg)) > 0) {
        if (uio_copy_out(uio, &msg, sizeof(msg)) != sizeof(msg))
            return done ? done : -EFAULT;
        done += (ssize_t)sizeof(msg);
    }
    return done ? done : got < 0 ? got : -EAGAIN;
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
        uffd_event_done_locked(list_first(&u->events, struct mm_userfault_event, node), false);
    lock_release(&u->base.lock);
    mm_userfault_close(&u->base);
    uffd_wake_range(u, 0, 0);
    uffd_discard(f);
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

static struct userfaultfd *new_userfaultfd(int flags)
{
    struct userfaultfd *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    list_init(&u->waiting);
    list_init(&u->events);
    wait_queue_init(&u->queue);
    u->flags = flags;
    mm_userfault_init(&u->base, &fault_ops);
    return u;
}

int uffd_open(struct userfaultfd *u, struct file **ret)
{
    struct uffd_file *f = calloc(1, sizeof(*f));
    char *name = strdup("anon_inode:[userfaultfd]");

    if (!f || !name) {
        free(f);
        free(name);
        return -ENOMEM;
    }
    mm_userfault_ref(&u->base);
    f->u = u;
    file_init(&f->file, &uffd_operations, O_RDONLY | ((uint32_t)u->flags & O_NONBLOCK));
    f->file.path = name;
    *ret = &f->file;
    return 0;
}

void uffd_discard(struct file *f)
{
    mm_userfault_unref(&uffd_of_file(f)->base);
    file_fini(f);
    free(container_of(f, struct uffd_file, file));
}

int userfaultfd_create(struct task *task, int flags, struct file **ret)
{
    struct userfaultfd *u = new_userfaultfd(flags);
    int err;

    if (!u)
        return -ENOMEM;
    err = uffd_open(u, ret);
    if (!err)
        mm_userfault_tie(&u->base, task->mm);
    mm_userfault_unref(&u->base);
    return err;
}
