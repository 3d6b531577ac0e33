/*
 * An epoll file has items, one for each (file, descriptor) it watches. An item's wait entry sits in
 * the queue of its file; when that wakes, the item goes to the ready list, and whoever waits for
 * the epoll file is woken. epoll_collect() takes items off the ready list, asks their files what
 * really holds, and puts level-triggered ones back.
 *
 * Items keep no reference on their file: it would never be closed. The file tells when it goes
 * (file_watch). That may race with the item's removal, hence `epoll_control_lock` around both, and
 * a watch that was already taken off its file's list leaves the item to epoll_file_gone().
 *
 * Locks: epoll_control_lock (membership of all epoll files), then epoll->lock (items; nested epoll
 * files outer before inner: loops are refused), then a watched file's queue, then
 * epoll->ready_lock, then the epoll's own queue.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/event/anon.h"
#include "sentry/fs/event/epoll_internal.h"
#include "sentry/mm/usercopy.h"

/* ioctl_eventpoll(2), newer than some headers. */
#define EPIOCSPARAMS_   0x40088a01
#define EPIOCGPARAMS_   0x80088a02
#define BUSY_BUDGET_MAX 64

static const struct file_operations epoll_operations;

bool epoll_is(const struct file *f)
{
    return f->ops == &epoll_operations;
}

static struct epoll_item *take_ready(struct epoll *e)
{
    struct epoll_item *item = NULL;

    lock_acquire(&e->ready_lock);
    if (!list_empty(&e->ready)) {
        item = list_first(&e->ready, struct epoll_item, ready);
        list_del_init(&item->ready);
    }
    lock_release(&e->ready_lock);
    return item;
}

/* Puts items back that were taken, unless a wake-up was faster. */
static void put_back(struct epoll *e, struct epoll_item *item)
{
    lock_acquire(&e->ready_lock);
    if (list_empty(&item->ready))
        list_add_tail(&e->ready, &item->ready);
    lock_release(&e->ready_lock);
}

static size_t count_ready(struct epoll *e)
{
    struct epoll_item *item;
    size_t count = 0;

    lock_acquire(&e->ready_lock);
    list_for_each (item, &e->ready, ready)
        count++;
    lock_release(&e->ready_lock);
    return count;
}

int epoll_collect(struct file *epoll, int max, epoll_emit_fn emit, void *arg)
{
    struct epoll *e = epoll_of(epoll);
    size_t looks;
    int passed = 0;

    lock_acquire(&e->lock);
    /* Level-triggered items go to the end of the list: each is looked at once. */
    for (looks = count_ready(e); looks > 0 && passed < max; looks--) {
        struct epoll_item *item = take_ready(e);
        struct linux_epoll_event event;

        if (!item)
            break;
        event = (struct linux_epoll_event){epoll_item_events(item, NULL), item->event.data};
        if (!event.events)
            continue;
        if (!emit(arg, &event)) {
            put_back(e, item);
            break;
        }
        passed++;
        item->told = 0;
        if (item->event.events & EPOLLONESHOT)
            __atomic_store_n(&item->event.events, item->event.events & EPOLL_PRIVATE,
                             __ATOMIC_RELAXED);
        else if (!(item->event.events & EPOLLET))
            put_back(e, item);
    }
    lock_release(&e->lock);
    return passed;
}

/* Ready when one of the items really is: those that are not leave the ready list. */
static bool any_ready(struct epoll *e)
{
    bool found = false;

    lock_acquire(&e->lock);
    for (size_t looks = count_ready(e); looks > 0 && !found; looks--) {
        struct epoll_item *item = take_ready(e);

        if (!item)
            break;
        found = epoll_item_events(item, NULL) != 0;
        if (found)
            put_back(e, item);
    }
    lock_release(&e->lock);
    return found;
}

static uint32_t epoll_poll(struct file *f, struct wait_entry *entry)
{
    struct epoll *e = epoll_of(f);

    if (entry)
        wait_queue_add(&e->queue, entry);
    return any_ready(e) ? POLLIN | POLLRDNORM : 0;
}

static void epoll_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&epoll_of(f)->queue, entry);
}

static ssize_t epoll_info(struct file *f, char *buf, size_t size)
{
    struct epoll *e = epoll_of(f);
    struct epoll_item *item;
    size_t at = 0;

    lock_acquire(&epoll_control_lock);
    for (int i = 0; i < EPOLL_BUCKETS; i++) {
        list_for_each (item, &e->buckets[i], bucket) {
            struct linux_stat st = {0};

            file_stat(item->file, &st);
            at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0,
                                   "tfd: %8d events: %8x data: %16lx  pos:%ld ino:%lx sdev:%lx\n",
                                   item->fd, item->event.events, item->event.data, 0L, st.st_ino,
                                   st.st_dev);
        }
    }
    lock_release(&epoll_control_lock);
    return (ssize_t)at;
}

static int set_busy_poll(struct epoll *e, struct mm *mm, uaddr_t arg)
{
    struct busy_poll busy;

    if (copy_struct_from_user(mm, &busy, arg) < 0)
        return -EFAULT;
    if (busy.pad || busy.usecs > INT32_MAX || busy.prefer > 1)
        return -EINVAL;
    if (busy.budget > BUSY_BUDGET_MAX)
        return -EPERM;
    lock_acquire(&e->lock);
    e->busy = busy;
    lock_release(&e->lock);
    return 0;
}

static long epoll_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct epoll *e = epoll_of(f);
    struct busy_poll busy;

    if (cmd == EPIOCSPARAMS_)
        return set_busy_poll(e, mm, arg);
    if (cmd != EPIOCGPARAMS_)
        return -EINVAL;
    lock_acquire(&e->lock);
    busy = e->busy;
    lock_release(&e->lock);
    return copy_struct_to_user(mm, arg, &busy);
}

static void epoll_release(struct file *f)
{
    struct epoll *e = epoll_of(f);
    struct epoll_item *item, *next;

    lock_acquire(&epoll_control_lock);
    lock_acquire(&e->lock);
    for (int i = 0; i < EPOLL_BUCKETS; i++) {
        list_for_each_safe (item, next, &e->buckets[i], bucket)
            epoll_item_detach_locked(item, true);
    }
    lock_release(&e->lock);
    lock_release(&epoll_control_lock);
    lock_destroy(&e->lock);
    lock_destroy(&e->ready_lock);
    file_fini(f);
    free(e);
}

static const struct file_operations epoll_operations = {
    .poll = epoll_poll,
    .unpoll = epoll_unpoll,
    .stat = anon_stat,
    .ioctl = epoll_ioctl,
    .info = epoll_info,
    .release = epoll_release,
    .seek_ignored = true,
};

int epoll_create_file(struct file **ret)
{
    struct epoll *e = calloc(1, sizeof(*e));
    char *name = strdup("anon_inode:[eventpoll]");

    if (!e || !name) {
        free(e);
        free(name);
        return -ENOMEM;
    }
    file_init(&e->file, &epoll_operations, O_RDWR);
    e->file.path = name;
    wait_queue_init(&e->queue);
    lock_init(&e->lock);
    lock_init(&e->ready_lock);
    for (int i = 0; i < EPOLL_BUCKETS; i++)
        list_init(&e->buckets[i]);
    list_init(&e->ready);
    *ret = &e->file;
    return 0;
}
