/* FIFOs: pipes with a name (fifo(7)). */
#ifndef SENTRY_FS_PIPE_FIFO_H
#define SENTRY_FS_PIPE_FIFO_H

#include "sentry/vfs/path/special.h"

extern const struct fifo_operations fifo_operations;

/*
 * Has the other side been there since this end was opened? open(2) waits for it, without
 * O_NONBLOCK: poll with an entry of any event, then look here. True for what is no pipe.
 */
bool fifo_connected(struct file *f);

#endif
