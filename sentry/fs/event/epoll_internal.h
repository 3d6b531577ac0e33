/* Between epoll.c (the file, what it collects), epoll_item.c (what it watches) and epoll_nest.c. */
#ifndef SENTRY_FS_EVENT_EPOLL_INTERNAL_H
#define SENTRY_FS_EVENT_EPOLL_INTERNAL_H

#include <sys/epoll.h>

#include "sentry/fs/event/epoll.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

#define EPOLL_BUCKETS 64
/* What a one-shot item keeps when it has fired. */
#define EPOLL_PRIVATE ((uint32_t)(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE))

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
    struct list buckets[EPOLL_BUCKETS] __guarded_by(lock);
    struct lock ready_lock;
    struct list ready __guarded_by(ready_lock);
    uint64_t walk; /* the last walk over nested files that came here, under epoll_control_lock */
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

static inline struct epoll *epoll_of(struct file *f)
{
    return container_of(f, struct epoll, file);
}

/* epoll_item.c */
extern struct lock epoll_control_lock;
/* Whether somebody waited for the epoll file. */
bool epoll_item_make_ready(struct epoll_item *item);
/* What holds for the item now, of what it wants. */
uint32_t epoll_item_events(struct epoll_item *item, struct wait_entry *entry);
/* Takes the item out of everything; frees it unless its file is about to do that. */
void epoll_item_detach_locked(struct epoll_item *item, bool watched);

/* epoll_nest.c; under epoll_control_lock. */
/* May `e` watch the epoll file `target`? */
int epoll_check_nesting(struct epoll *e, struct file *target);

#endif
