/*
 * One thread sleeps in epoll_wait(2) for all host descriptors that back guest files, and wakes the
 * queues of those that had events.
 *
 * Invariant: an event names its watch by pointer, and events of a batch are dispatched under
 * `hostpoll.lock`, which hostpoll_unwatch() takes too. A watch that was removed between
 * epoll_wait(2) and the dispatch sits on `dying` until the batch is over, so the pointer is good.
 *
 * Lock order: hostpoll.lock, then the queue's.
 */
#include "sentry/wait/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "host/io.h"
#include "host/poll.h"
#include "host/thread.h"

#define BATCH     64
#define MAX_DYING 64 /* then the thread is woken to free them, should no event do that */

struct hostpoll_watch {
    struct wait_queue *queue; /* borrowed: outlives the watch; NULL once unwatched */
    int fd;                   /* borrowed */
    struct list node;         /* in hostpoll.dying */
};

static struct {
    int epoll_fd;
    int kick_fd; /* an eventfd: makes the thread look */
    struct lock lock;
    struct list dying __guarded_by(lock);
    int dying_count __guarded_by(lock);
} hostpoll = {.epoll_fd = -1, .lock = LOCK_INIT};

/*
 * A watch may be freed only when no batch that could name it is in flight. The thread frees them
 * itself after a batch: any event fetched later was queued after the descriptor had left the set.
 */
static void free_dying(void) __must_hold(hostpoll.lock)
{
    struct hostpoll_watch *watch, *next;

    list_for_each_safe (watch, next, &hostpoll.dying, node) {
        list_del_init(&watch->node);
        free(watch);
    }
    hostpoll.dying_count = 0;
}

static void take_kick(void)
{
    uint64_t count;

    while (host_read(hostpoll.kick_fd, &count, sizeof(count)) == -EINTR)
        ;
}

static void hostpoll_main(void *arg)
{
    struct epoll_event events[BATCH];

    for (;;) {
        int n = host_epoll_wait(hostpoll.epoll_fd, events, BATCH, -1);

        if (n < 0 && n != -EINTR)
            BUG("epoll_wait failed: %d", n);
        lock_acquire(&hostpoll.lock);
        for (int i = 0; i < n; i++) {
            struct hostpoll_watch *watch = events[i].data.ptr;

            /* EPOLL* and POLL* bits have the same values on Linux. */
            if (!watch)
                take_kick();
            else if (watch->queue)
                wait_queue_wake(watch->queue, events[i].events);
        }
        free_dying();
        lock_release(&hostpoll.lock);
    }
}

int hostpoll_start(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int fd = host_epoll_create(), kick = host_eventfd(), error;

    if (fd < 0 || kick < 0)
        return fd < 0 ? fd : kick;
    error = host_epoll_ctl(fd, EPOLL_CTL_ADD, kick, &event);
    if (error < 0)
        return error;
    list_init(&hostpoll.dying);
    hostpoll.epoll_fd = fd;
    hostpoll.kick_fd = kick;
    return host_thread_start("hostpoll", hostpoll_main, NULL);
}

int hostpoll_watch(int fd, struct wait_queue *q, struct hostpoll_watch **ret)
{
    struct hostpoll_watch *watch = malloc(sizeof(*watch));
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
        .data.ptr = watch,
    };
    int error;

    if (!watch)
        return -ENOMEM;
    *watch = (struct hostpoll_watch){.queue = q, .fd = fd};
    list_init(&watch->node);
    error = host_epoll_ctl(hostpoll.epoll_fd, EPOLL_CTL_ADD, fd, &event);
    if (error < 0) {
        free(watch);
        return error;
    }
    *ret = watch;
    return 0;
}

void hostpoll_unwatch(struct hostpoll_watch *watch)
{
    static const uint64_t one = 1;
    bool kick;

    host_epoll_ctl(hostpoll.epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    lock_acquire(&hostpoll.lock);
    watch->queue = NULL;
    list_add(&hostpoll.dying, &watch->node);
    kick = ++hostpoll.dying_count >= MAX_DYING;
    lock_release(&hostpoll.lock);
    if (kick)
        host_write(hostpoll.kick_fd, &one, sizeof(one));
}
