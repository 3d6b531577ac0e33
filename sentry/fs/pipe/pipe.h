/*
 * Pipes: pipe(7). A ring of slots of a page each, with read ends and write ends. A FIFO is the same
 * object under a name: the file system that keeps the name makes the object when it is first opened
 * and opens ends on it.
 */
#ifndef SENTRY_FS_PIPE_PIPE_H
#define SENTRY_FS_PIPE_PIPE_H

#include "base/compiler.h"

struct file;
struct pipe;
struct uio;

#define PIPE_SIZE_DEFAULT 65536
extern uint64_t pipe_size_max; /* /proc/sys/fs/pipe-max-size, a power of two; atomic */
/* /proc/sys/fs/pipe-user-pages-soft: beyond it new pipes are small, and none grows. */
#define PIPE_PAGES_SOFT 16384

/*
 * `flags`: O_NONBLOCK for both ends, O_DIRECT for packets; uid and gid as stat(2) shows them.
 */
int pipe_create(uint32_t flags, uint32_t uid, uint32_t gid, struct file **ret_read,
                struct file **ret_write);
/* F_GETPIPE_SZ; -EBADF when it is no pipe. */
int pipe_get_size(struct file *f);
/*
 * F_SETPIPE_SZ: the new size in bytes. -EBADF, -EINVAL, -EBUSY; -EPERM beyond the maximum unless
 * `privileged`, and beyond what all pipes together may hold.
 */
int pipe_set_size(struct file *f, uint64_t size, bool privileged);

/* An object without ends, one reference, for a FIFO. NULL without memory. */
struct pipe *pipe_new(uint32_t uid, uint32_t gid);
struct pipe *pipe_unref(struct pipe *p); /* takes NULL, returns NULL */
/*
 * Opens an end, or both (O_RDWR), with the open(2) `flags`; takes a reference of its own. That it
 * has to wait for the other side is the caller's business (fifo.h). -ENOMEM; -ENXIO for a writer
 * with O_NONBLOCK and no reader.
 */
int pipe_open(struct pipe *p, uint32_t flags, struct file **ret);
/* How many ends are open now. */
void pipe_ends(struct pipe *p, uint32_t *ret_readers, uint32_t *ret_writers);

bool pipe_is(const struct file *f);
bool pipe_same(struct file *a, struct file *b); /* two ends of one pipe */

/*
 * For splice(2) and its kin (the caller has checked the access modes). None of them sleeps. Bytes
 * moved; 0: the source has ended; -EAGAIN: the pipe named first that is empty or full has to change
 * (*ret_wait is it, and the events to wait for are in *ret_events); -EPIPE: nobody reads.
 */
struct pipe_wait {
    struct file *file; /* borrowed: one of the arguments */
    uint32_t events;   /* POLL* */
};
/* From pipe to pipe, at most `size` bytes; with `keep` the source keeps them (tee(2)). */
ssize_t pipe_move(struct file *from, struct file *to, size_t size, bool keep,
                  struct pipe_wait *ret_wait);
/* From `in`, at *pos when pos is not NULL, which moves on, as far as the pipe has room. */
ssize_t pipe_fill(struct file *to, struct file *in, int64_t *pos, size_t size,
                  struct pipe_wait *ret_wait);
/* To `out`, at *pos when pos is not NULL, as far as the pipe has bytes. */
ssize_t pipe_drain(struct file *from, struct file *out, int64_t *pos, size_t size,
                   struct pipe_wait *ret_wait);
/* vmsplice(2): every page of the buffers becomes a slot of its own; and the way back. */
ssize_t pipe_give(struct file *to, struct uio *uio, struct pipe_wait *ret_wait);
ssize_t pipe_take(struct file *from, struct uio *uio, struct pipe_wait *ret_wait);

#endif
