/* Inside sentry/fs/pipe: the object that its ends share. */
#ifndef SENTRY_FS_PIPE_INTERNAL_H
#define SENTRY_FS_PIPE_INTERNAL_H

#include <poll.h>

#include "sentry/fs/pipe/ring.h"
#include "sentry/vfs/attr/ownattr.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

struct pipe {
    refcount_t refs; /* one for each open end, and a FIFO's own */
    uint64_t ino;
    struct own_attr attr;    /* of one without a name */
    struct wait_queue queue; /* readers and writers, told apart by their events */

    struct lock lock;
    struct pipe_ring ring __guarded_by(lock); /* empty while no end is open */
    uint32_t readers __guarded_by(lock);      /* open read ends; O_RDWR counts on both sides */
    uint32_t writers __guarded_by(lock);
    uint32_t readers_ever __guarded_by(lock); /* counts opens */
    uint32_t writers_ever __guarded_by(lock);
};

struct pipe_end {
    struct file file;
    struct pipe *pipe;     /* owned reference */
    bool met;              /* the other side was there when this one was opened */
    uint32_t readers_seen; /* pipe->readers_ever when a writer opened */
    uint32_t writers_seen; /* pipe->writers_ever when a reader opened */
};

static inline struct pipe *pipe_of(struct file *f)
{
    return container_of(f, struct pipe_end, file)->pipe;
}

static inline void pipe_wake_readers(struct pipe *p)
{
    wait_queue_wake(&p->queue, POLLIN | POLLRDNORM);
}

static inline void pipe_wake_writers(struct pipe *p)
{
    wait_queue_wake(&p->queue, POLLOUT | POLLWRNORM);
}

#endif
