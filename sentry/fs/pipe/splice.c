/*
 * splice(2), tee(2), vmsplice(2) as a pipe sees them. Linux moves references on pages; here bytes
 * are copied once, from one ring to another or between a file and the ring's own pages. What a
 * program can see is the same, but that pages given with vmsplice(2) do not follow later changes.
 */
#include <errno.h>

#include "sentry/fs/pipe/internal.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/mm/uio.h"

bool pipe_same(struct file *a, struct file *b)
{
    return pipe_of(a) == pipe_of(b);
}

static ssize_t must_wait(struct file *f, uint32_t events, struct pipe_wait *ret)
{
    *ret = (struct pipe_wait){f, events};
    return -EAGAIN;
}

/* The answer of an empty pipe that is read from. */
static ssize_t nothing_there(struct file *from, struct pipe_wait *ret_wait)
{
    return pipe_of(from)->writers ? must_wait(from, POLLIN, ret_wait) : 0;
}

/* 1 when something may be put into the pipe; else why not. */
static ssize_t has_room(struct file *to, struct pipe_wait *ret_wait)
{
    struct pipe *p = pipe_of(to);

    if (!p->readers)
        return -EPIPE;
    return ring_full(&p->ring) ? must_wait(to, POLLOUT, ret_wait) : 1;
}

static void lock_both(struct pipe *a, struct pipe *b) __no_lock_analysis
{
    lock_acquire(a < b ? &a->lock : &b->lock);
    lock_acquire(a < b ? &b->lock : &a->lock);
}

static void unlock_both(struct pipe *a, struct pipe *b) __no_lock_analysis
{
    lock_release(&a->lock);
    lock_release(&b->lock);
}

ssize_t pipe_move(struct file *from, struct file *to, size_t size, bool keep,
                  struct pipe_wait *ret_wait)
{
    struct pipe *source = pipe_of(from), *target = pipe_of(to);
    ssize_t n = 1;

    lock_both(source, target);
    if (ring_empty(&source->ring) && source->writers)
        n = nothing_there(from, ret_wait);
    if (n > 0)
        n = has_room(to, ret_wait);
    if (n > 0)
        n = (ssize_t)ring_move(&source->ring, &target->ring, size, keep);
    unlock_both(source, target);
    if (n > 0)
        pipe_wake_readers(target);
    if (n > 0 && !keep)
        pipe_wake_writers(source);
    return n;
}

/* One slot's worth from the file; pages of a file that has positions keep their borders. */
static ssize_t fill_slot(struct pipe_ring *ring, struct file *in, int64_t *pos, size_t size)
{
    uint32_t offset = pos ? (uint32_t)(*pos % (int64_t)PAGE_SIZE) : 0;
    struct uio uio;
    ssize_t n;

    size = MIN(size, PAGE_SIZE - offset);
    uio_init_host(&uio, ring_free_page(ring) + offset, size);
    n = pos ? file_pread(in, &uio, *pos) : file_read(in, &uio);
    if (n <= 0)
        return n;
    ring_push(ring, (struct pipe_slot){.offset = offset, .size = (uint32_t)n});
    if (pos)
        *pos += n;
    return n;
}

ssize_t pipe_fill(struct file *to, struct file *in, int64_t *pos, size_t size,
                  struct pipe_wait *ret_wait)
{
    struct pipe *p = pipe_of(to);
    size_t done = 0;
    ssize_t n;

    lock_acquire(&p->lock);
    n = has_room(to, ret_wait);
    while (n > 0 && !ring_full(&p->ring) && done < size) {
        int64_t before = pos ? *pos : 0;
        size_t want = MIN(size - done, PAGE_SIZE - (size_t)(before % (int64_t)PAGE_SIZE));

        n = fill_slot(&p->ring, in, pos, size - done);
        if (n == -EAGAIN)
            must_wait(in, POLLIN, ret_wait);
        if (n > 0)
            done += (size_t)n;
        if (n < (ssize_t)want)
            break;
    }
    lock_release(&p->lock);
    if (done > 0)
        pipe_wake_readers(p);
    return done > 0 ? (ssize_t)done : n;
}

ssize_t pipe_drain(struct file *from, struct file *out, int64_t *pos, size_t size,
                   struct pipe_wait *ret_wait)
{
    struct pipe *p = pipe_of(from);
    size_t done = 0;
    ssize_t n = 0;

    lock_acquire(&p->lock);
    if (ring_empty(&p->ring))
        n = nothing_there(from, ret_wait);
    while (!ring_empty(&p->ring) && done < size) {
        struct uio uio;
        char *bytes;
        struct pipe_slot *slot = ring_first(&p->ring, &bytes);

        uio_init_host(&uio, bytes, MIN(slot->size, size - done));
        n = pos ? file_pwrite(out, &uio, *pos) : file_write(out, &uio);
        if (n == -EAGAIN)
            must_wait(out, POLLOUT, ret_wait);
        if (n <= 0)
            break;
        ring_consume(&p->ring, (uint32_t)n);
        done += (size_t)n;
        if (pos)
            *pos += n;
    }
    lock_release(&p->lock);
    if (done > 0)
        pipe_wake_writers(p);
    return done > 0 ? (ssize_t)done : n;
}

ssize_t pipe_give(struct file *to, struct uio *uio, struct pipe_wait *ret_wait)
{
    struct pipe *p = pipe_of(to);
    size_t done = 0;
    ssize_t n;

    lock_acquire(&p->lock);
    n = has_room(to, ret_wait);
    while (n > 0 && !ring_full(&p->ring) && uio->left > 0) {
        const struct uio_segment *s;
        uint32_t offset;
        size_t size;

        uio_advance(uio, 0); /* past empty buffers */
        s = &uio->segments[uio->index];
        offset = (uint32_t)((s->base + uio->done_in_segment) % PAGE_SIZE);
        size = MIN(s->size - uio->done_in_segment, PAGE_SIZE - offset);
        size = MIN(size, uio->left);
        n = uio_copy_in(uio, ring_free_page(&p->ring) + offset, size);
        if (n != (ssize_t)size) {
            n = -EFAULT;
            break;
        }
        ring_push(&p->ring, (struct pipe_slot){.offset = offset, .size = (uint32_t)size});
        done += size;
    }
    lock_release(&p->lock);
    if (done > 0)
        pipe_wake_readers(p);
    return done > 0 ? (ssize_t)done : n;
}

ssize_t pipe_take(struct file *from, struct uio *uio, struct pipe_wait *ret_wait)
{
    struct pipe *p = pipe_of(from);
    ssize_t n;

    lock_acquire(&p->lock);
    if (ring_empty(&p->ring))
        n = nothing_there(from, ret_wait);
    else
        n = ring_read(&p->ring, uio, false);
    lock_release(&p->lock);
    if (n > 0)
        pipe_wake_writers(p);
    return n;
}
