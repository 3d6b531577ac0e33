/* What an epoll file watches, and how it gets to know that something happened there. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/fs/event/epoll_internal.h"

#define ALWAYS_EVENTS (EPOLLERR | EPOLLHUP)

struct lock epoll_control_lock = LOCK_INIT;
static uint32_t watch_count; /* items of all epoll files; under epoll_control_lock */

static struct list *bucket_of(struct epoll *e, struct file *file, int fd)
{
    uintptr_t hash = ((uintptr_t)file >> 6) * 31 + (uintptr_t)fd;

    return &e->buckets[hash % EPOLL_BUCKETS];
}

bool epoll_item_make_ready(struct epoll_item *item)
{
    struct epoll *e = item->epoll;

    lock_acquire(&e->ready_lock);
    if (list_empty(&item->ready))
        list_add_tail(&e->ready, &item->ready);
    lock_release(&e->ready_lock);
    return wait_queue_wake(&e->queue, POLLIN | POLLRDNORM) > 0;
}

/* Events of a wake-up that the item wants; a queue that says none has changed in any way. */
static bool item_wants(struct epoll_item *item, uint32_t events)
{
    uint32_t wanted = __atomic_load_n(&item->event.events, __ATOMIC_RELAXED);

    return (wanted & ~EPOLL_PRIVATE) && (!events || (events & wanted));
}

/* Called under the lock of the watched file's queue. */
static void item_wake(struct wait_entry *entry, uint32_t events)
{
    struct epoll_item *item = container_of(entry, struct epoll_item, entry);

    if (item_wants(item, events))
        epoll_item_make_ready(item);
}

/*
 * EPOLLEXCLUSIVE, as Linux's ep_poll_callback(): the wake-up goes on to the next where nobody
 * waited here, and where it brings what this item does not want to read or write.
 */
static bool item_wake_exclusive(struct wait_entry *entry, uint32_t events)
{
    struct epoll_item *item = container_of(entry, struct epoll_item, entry);
    uint32_t wanted = __atomic_load_n(&item->event.events, __ATOMIC_RELAXED);
    uint32_t transfer = events & (EPOLLIN | EPOLLOUT);

    if (!item_wants(item, events) || !epoll_item_make_ready(item))
        return false;
    return !transfer || (transfer != (EPOLLIN | EPOLLOUT) && (transfer & wanted));
}

uint32_t epoll_item_events(struct epoll_item *item, struct wait_entry *entry)
{
    uint32_t wanted = item->event.events & ~EPOLL_PRIVATE;
    uint32_t events = file_poll(item->file, entry) | item->told;

    if (item->file->ops->poll_tells_once)
        item->told = events;
    return events & wanted;
}

static struct epoll_item *find_locked(struct epoll *e, struct file *file, int fd)
    __must_hold(e->lock)
{
    struct list *bucket = bucket_of(e, file, fd);
    struct epoll_item *item;

    list_for_each (item, bucket, bucket) {
        if (item->file == file && item->fd == fd)
            return item;
    }
    return NULL;
}

void epoll_item_detach_locked(struct epoll_item *item, bool watched)
{
    struct epoll *e = item->epoll;

    file_unpoll(item->file, &item->entry);
    list_del_init(&item->bucket);
    watch_count--;
    lock_acquire(&e->ready_lock);
    list_del_init(&item->ready);
    lock_release(&e->ready_lock);
    item->epoll = NULL;
    if (!watched || file_watch_remove(item->file, &item->watch))
        free(item);
}

/* The watched file has lost its last reference. */
static void epoll_file_gone(struct file_watch *watch)
{
    struct epoll_item *item = container_of(watch, struct epoll_item, watch);
    struct epoll *e;

    lock_acquire(&epoll_control_lock);
    e = item->epoll;
    if (e) {
        lock_acquire(&e->lock);
        epoll_item_detach_locked(item, false);
        lock_release(&e->lock);
    } else {
        free(item);
    }
    lock_release(&epoll_control_lock);
}

static int add_locked(struct epoll *e, int fd, struct file *target,
                      const struct linux_epoll_event *event) __must_hold(e->lock)
{
    struct epoll_item *item;

    if (find_locked(e, target, fd))
        return -EEXIST;
    if (epoll_is(target) && epoll_check_nesting(e, target) < 0)
        return -ELOOP;
    if (watch_count >= EPOLL_WATCHES_MAX)
        return -ENOSPC;
    item = calloc(1, sizeof(*item));
    if (!item)
        return -ENOMEM;
    watch_count++;
    wait_entry_init(&item->entry, NULL, 0);
    item->entry.wake = item_wake;
    if (event->events & EPOLLEXCLUSIVE)
        item->entry.wake_exclusive = item_wake_exclusive;
    item->watch.gone = epoll_file_gone;
    item->epoll = e;
    item->file = target;
    item->fd = fd;
    item->event = *event;
    item->event.events |= ALWAYS_EVENTS;
    list_init(&item->ready);
    list_add(bucket_of(e, target, fd), &item->bucket);
    file_watch_add(target, &item->watch);
    if (epoll_item_events(item, &item->entry))
        epoll_item_make_ready(item);
    return 0;
}

static int modify_locked(struct epoll *e, struct epoll_item *item,
                         const struct linux_epoll_event *event)
{
    if ((item->event.events | event->events) & EPOLLEXCLUSIVE)
        return -EINVAL;
    item->event.data = event->data;
    __atomic_store_n(&item->event.events, event->events | ALWAYS_EVENTS, __ATOMIC_RELAXED);
    if (epoll_item_events(item, NULL))
        epoll_item_make_ready(item);
    return 0;
}

int epoll_control(struct file *epoll, int op, int fd, struct file *target,
                  const struct linux_epoll_event *event)
{
    struct epoll *e = epoll_of(epoll);
    struct epoll_item *item;
    int err = 0;

    if (op == EPOLL_CTL_ADD && (event->events & EPOLLEXCLUSIVE) &&
        (epoll_is(target) || (event->events & ~(uint32_t)(EPOLLIN | EPOLLOUT | ALWAYS_EVENTS |
                                                          EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE))))
        return -EINVAL;
    lock_acquire(&epoll_control_lock);
    lock_acquire(&e->lock);
    item = find_locked(e, target, fd);
    if (op == EPOLL_CTL_ADD)
        err = add_locked(e, fd, target, event);
    else if (!item)
        err = -ENOENT;
    else if (op == EPOLL_CTL_MOD)
        err = modify_locked(e, item, event);
    else
        epoll_item_detach_locked(item, true);
    lock_release(&e->lock);
    lock_release(&epoll_control_lock);
    return err;
}

int epoll_watched(struct file *epoll, int fd, unsigned nth, const struct file **ret_file)
{
    struct epoll *e = epoll_of(epoll);
    int err = -ENOENT;

    lock_acquire(&e->lock);
    for (int i = 0; i < EPOLL_BUCKETS && err < 0; i++) {
        struct epoll_item *item;

        list_for_each (item, &e->buckets[i], bucket) {
            if (item->fd == fd && nth-- == 0) {
                *ret_file = item->file;
                err = 0;
                break;
            }
        }
    }
    lock_release(&e->lock);
    return err;
}
