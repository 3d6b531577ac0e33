/*
 * An inode keeps its pipe once it was opened; between the last close and the next open the pipe has
 * no ring, so what was in it is lost, as fifo(7) has it.
 */
#include "sentry/fs/pipe/fifo.h"

#include <errno.h>

#include "sentry/fs/pipe/internal.h"
#include "sentry/fs/pipe/pipe.h"

static struct lock slots_lock = LOCK_INIT; /* guards every inode->fifo */

static int fifo_open(struct inode *inode, uint32_t flags, struct file **ret)
{
    struct pipe *p;

    lock_acquire(&slots_lock);
    if (!inode->fifo)
        inode->fifo = pipe_new(inode->uid, inode->gid);
    p = inode->fifo;
    lock_release(&slots_lock);
    return p ? pipe_open(p, flags, ret) : -ENOMEM;
}

static void fifo_release(void *fifo)
{
    pipe_unref(fifo);
}

const struct fifo_operations fifo_operations = {
    .open = fifo_open,
    .release = fifo_release,
};

bool fifo_connected(struct file *f)
{
    struct pipe_end *end = container_of(f, struct pipe_end, file);
    struct pipe *p;
    bool connected = true;

    if (!pipe_is(f))
        return true;
    p = end->pipe;
    lock_acquire(&p->lock);
    if (!file_can_write(f))
        connected = end->met || p->writers_ever != end->writers_seen;
    else if (!file_can_read(f))
        connected = end->met || p->readers_ever != end->readers_seen;
    lock_release(&p->lock);
    return connected;
}
