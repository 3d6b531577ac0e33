/*
 * Threads of the Sentry that work while programs go on, and files that are watched without a thread
 * that waits for each. Used by Linux aio and io_uring.
 */
#ifndef SENTRY_SYSCALLS_ASYNC_H
#define SENTRY_SYSCALLS_ASYNC_H

#include "base/list.h"
#include "sentry/wait/wait.h"

struct file;
struct task;

/* A piece of work. The thread that takes it has no lock, and may block in `run`. */
struct async_job {
    struct list node; /* under the pool's lock; in no list once a thread has taken it */
    void (*run)(struct async_job *job);
};

void async_job_init(struct async_job *job, void (*run)(struct async_job *job));
/*
 * Has a thread run it soon. The job is the thread's from now on; run() may free it. Never fails:
 * without a thread it waits for one that is busy. May be called under locks of wait queues.
 */
void async_start(struct async_job *job);
/* True: it was taken back and will not run. */
bool async_take_back(struct async_job *job);

/*
 * Waits for events of a file on nobody's stack. The owner counts references on what embeds it, and
 * decides under a lock of its own who finishes it: an event or a cancellation.
 *
 *     async_poll_start()  -> 0: armed; each time something may have happened:
 *                            ref(), then `ready` on a thread of the pool, which drops that
 * reference async_poll_stop()   -> no further wake-ups begin; one `ready` may still come
 */
struct async_poll {
    struct file *file; /* owned reference */
    struct wait_entry entry;
    struct async_job job;
    bool armed;
    uint32_t queued; /* atomic: a thread will look */
    void (*ref)(struct async_poll *poll);
    void (*ready)(struct async_poll *poll);
};

/* `events`: POLL* bits; POLLERR and POLLHUP always count. ref and ready are set by the owner. */
void async_poll_init(struct async_poll *poll, struct file *file, uint32_t events);
/* What holds now of `events`. When that is nothing, it is armed. */
uint32_t async_poll_start(struct async_poll *poll);
/* The same, but armed even when something holds. */
uint32_t async_poll_enter(struct async_poll *poll);
/* What holds now. */
uint32_t async_poll_look(struct async_poll *poll);
/* May be called more than once, by one thread at a time; not under the lock of a queue. */
void async_poll_stop(struct async_poll *poll);
void async_poll_fini(struct async_poll *poll); /* lets the file go; stopped before */

#endif
