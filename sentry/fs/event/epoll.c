/*
 * An epoll file has items, one for each (file, descriptor) it watches. An item's wait entry sits in
 * the queue of its file; when that wakes, the item goes to the ready list, and whoever waits for
 * the epoll file is woken. epoll_collect() takes items off the ready list, asks their files what
 * really holds, and puts level-triggered ones back.
 *
 * Items keep no reference on their file: it would never be closed. The file tells when it goes
 * (file_watch). That may race with the item's removal, hence `control_lock` around both, and a
 * watch that was already taken off its file's list leaves the item to epoll_file_gone().
 *
 * Locks: control_lock (membership of all epoll files), then epoll->lock (items; nested epoll files
 * outer before inner: loops are refused), then a watched file's queue, then epoll->ready_lock, then
 * the epoll's own queue.
 */
#include "sentry/fs/event/epoll.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/fs/event/anon.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

#define ITEM_BUCKETS 64
#define NEST_MAX     4 /* epoll files that watch epoll files: EP_MAX_NESTS */
/* What a one-shot item keeps when it has fired. */
#define PRIVATE_BITS  ((uint32_t)(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE))
#define ALWAYS_EVENTS (EPOLLERR | EPOLLHUP)
/* ioctl_eventpoll(2), newer than some headers. */
#define EPIOCSPARAMS_   0x40088a01
#define EPIOCGPARAMS_   0x80088a02
#define BUSY_BUDGET_MAX 64

/* struct epoll_params: how to poll network devices, of which there are none. Kept and told. */
struct busy_poll {
    uint32_t usecs;
    uint16_t budget;
    uint8_t prefer, pad;
};

struct epoll {
    struct file file;
    struct wait_queue queue;
    struct lock lock;
    struct list buckets[ITEM_BUCKETS] __guarded_by(lock);
    struct lock ready_lock;
    struct list ready __guarded_by(ready_lock);
    uint64_t walk; /* the last walk over nested files that came here, under control_lock */
    int walk_depth;
    struct busy_poll busy __guarded_by(lock);
};

struct epoll_item {
    struct wait_entry entry; /* in the file's queue */
    struct file_watch watch;
    struct epoll *epoll; /* NULL: only epoll_file_gone() still knows the item, and frees it */
    struct file *file;   /* borrowed: tells when it goes */
    int fd;
    struct linux_epoll_event event; /* under epoll->lock; .events atomic: the wake-up reads it */
    uint32_t told;      /* under epoll->lock: what the file tells once, until it is passed on */
    struct list bucket; /* in epoll->buckets */
    struct list ready;  /* in epoll->ready, under ready_lock; empty when not ready */
};

static struct lock control_lock = LOCK_INIT;
static uint32_t watch_count; /* items of all epoll files; under control_lock */

static const struct file_operations epoll_operations;

static struct epoll *epoll_of(struct file *f)
{
    return container_of(f, struct epoll, file);
}

bool epoll_is(const struct file *f)
{
    return f->ops == &epoll_operations;
}

static struct list *bucket_of(struct epoll *e, struct file *file, int fd)
{
    uintptr_t hash = ((uintptr_t)file >> 6) * 31 + (uintptr_t)fd;

    return &e->buckets[hash % ITEM_BUCKETS];
}

/* Whether somebody waited for the epoll file. */
static bool make_ready(struct epoll_item *item)
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

    return (wanted & ~PRIVATE_BITS) && (!events || (events & wanted));
}

/* Called under the lock of the watched file's queue. */
static void item_wake(struct wait_entry *entry, uint32_t events)
{
    struct epoll_item *item = container_of(entry, struct epoll_item, entry);

    if (item_wants(item, events))
        make_ready(item);
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

    if (!item_wants(item, events) || !make_ready(item))
        return false;
    return !transfer || (transfer != (EPOLLIN | EPOLLOUT) && (transfer & wanted));
}

/* What holds for the item now, of what it wants. */
static uint32_t item_events(struct epoll_item *item, struct wait_entry *entry)
{
    uint32_t wanted = item->event.events & ~PRIVATE_BITS;
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

/* Takes the item out of everything; frees it unless its file is about to do that. */
static void detach_locked(struct epoll_item *item, bool watched)
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

    lock_acquire(&control_lock);
    e = item->epoll;
    if (e) {
        lock_acquire(&e->lock);
        detach_locked(item, false);
        lock_release(&e->lock);
    } else {
        free(item);
    }
    lock_release(&control_lock);
}

/* ---- nesting -------------------------------------------------------------------------------- */

/*
 * Each walk over nested epoll files has a number, and each file is looked at once in a walk: a
 * guest can build many more paths than files. All under control_lock.
 */
static uint64_t last_walk;

/* How deep epoll files are nested below `f`; -ELOOP when `top` is among them or it is too deep. */
static int depth_below(struct file *f, struct file *top, int limit)
{
    struct epoll_item *item;
    struct epoll *e;
    int depth = 0;

    if (f == top || limit < 0)
        return -ELOOP;
    e = epoll_of(f);
    if (e->walk == last_walk)
        return e->walk_depth > limit ? -ELOOP : e->walk_depth;
    for (int i = 0; i < ITEM_BUCKETS; i++) {
        list_for_each (item, &e->buckets[i], bucket) {
            int below;

            if (!epoll_is(item->file))
                continue;
            below = depth_below(item->file, top, limit - 1);
            if (below < 0)
                return below;
            depth = MAX(depth, below + 1);
        }
    }
    e->walk = last_walk;
    e->walk_depth = depth;
    return depth;
}

/* How many epoll files stand above `e`, in the longest line. */
static int height_above(struct epoll *e)
{
    struct file_watch *watch;
    int height = 0;

    if (e->walk == last_walk)
        return e->walk_depth;
    lock_acquire(&e->file.pos_lock);
    list_for_each (watch, &e->file.watches, node) {
        struct epoll_item *item = container_of(watch, struct epoll_item, watch);

        if (item->epoll)
            height = MAX(height, height_above(item->epoll) + 1);
    }
    lock_release(&e->file.pos_lock);
    e->walk = last_walk;
    e->walk_depth = height;
    return height;
}

/* May `e` watch the epoll file `target`? */
static int check_nesting(struct epoll *e, struct file *target)
{
    int depth;

    last_walk++;
    depth = depth_below(target, &e->file, NEST_MAX);
    if (depth < 0)
        return depth;
    last_walk++;
    return depth + 1 + height_above(e) > NEST_MAX ? -ELOOP : 0;
}

static int add_locked(struct epoll *e, int fd, struct file *target,
                      const struct linux_epoll_event *event)
{
    struct epoll_item *item;

    if (find_locked(e, target, fd))
        return -EEXIST;
    if (epoll_is(target) && check_nesting(e, target) < 0)
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
    if (item_events(item, &item->entry))
        make_ready(item);
    return 0;
}

static int modify_locked(struct epoll *e, struct epoll_item *item,
                         const struct linux_epoll_event *event)
{
    if ((item->event.events | event->events) & EPOLLEXCLUSIVE)
        return -EINVAL;
    item->event.data = event->data;
    __atomic_store_n(&item->event.events, event->events | ALWAYS_EVENTS, __ATOMIC_RELAXED);
    if (item_events(item, NULL))
        make_ready(item);
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
    lock_acquire(&control_lock);
    lock_acquire(&e->lock);
    item = find_locked(e, target, fd);
    if (op == EPOLL_CTL_ADD)
        err = add_locked(e, fd, target, event);
    else if (!item)
        err = -ENOENT;
    else if (op == EPOLL_CTL_MOD)
        err = modify_locked(e, item, event);
    else
        detach_locked(item, true);
    lock_release(&e->lock);
    lock_release(&control_lock);
    return err;
}

int epoll_watched(struct file *epoll, int fd, unsigned nth, const struct file **ret_file)
{
    struct epoll *e = epoll_of(epoll);
    int err = -ENOENT;

    lock_acquire(&e->lock);
    for (int i = 0; i < ITEM_BUCKETS && err < 0; i++) {
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
        event = (struct linux_epoll_event){item_events(item, NULL), item->event.data};
        if (!event.events)
            continue;
        if (!emit(arg, &event)) {
            put_back(e, item);
            break;
        }
        passed++;
        item->told = 0;
        if (item->event.events & EPOLLONESHOT)
            __atomic_store_n(&item->event.events, item->event.events & PRIVATE_BITS,
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
        found = item_events(item, NULL) != 0;
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

    lock_acquire(&control_lock);
    for (int i = 0; i < ITEM_BUCKETS; i++) {
        list_for_each (item, &e->buckets[i], bucket) {
            struct linux_stat st = {0};

            file_stat(item->file, &st);
            at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0,
                                   "tfd: %8d events: %8x data: %16lx  pos:%ld ino:%lx sdev:%lx\n",
                                   item->fd, item->event.events, item->event.data, 0L, st.st_ino,
                                   st.st_dev);
        }
    }
    lock_release(&control_lock);
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

    lock_acquire(&control_lock);
    lock_acquire(&e->lock);
    for (int i = 0; i < ITEM_BUCKETS; i++) {
        list_for_each_safe (item, next, &e->buckets[i], bucket)
            detach_locked(item, true);
    }
    lock_release(&e->lock);
    lock_release(&control_lock);
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
    for (int i = 0; i < ITEM_BUCKETS; i++)
        list_init(&e->buckets[i]);
    list_init(&e->ready);
    *ret = &e->file;
    return 0;
}
