/*
 * What a pipe holds: a ring of slots, each with room for a page. Bytes of one write may be added to
 * the slot that the last one left unfinished, so a slot is not always full; what is counted against
 * the size of a pipe is slots, as in Linux. All functions are called under the pipe's lock.
 *
 *     tail                 tail+used
 *      |                     |
 *   [..bytes..][bytes][by....]          each: [page + offset, page + offset + size)
 */
#ifndef SENTRY_FS_PIPE_RING_H
#define SENTRY_FS_PIPE_RING_H

#include "base/compiler.h"

struct uio;

struct pipe_slot {
    uint32_t offset, size; /* size is never 0 */
    bool packet;           /* a read takes this slot alone, and drops what it has no room for */
    bool open;             /* the next write may add to it */
};

struct pipe_ring {
    char *pages; /* `count` of them; they get memory when they are first written */
    struct pipe_slot *slots;
    uint32_t count, tail, used;
};

/* -ENOMEM. */
int ring_init(struct pipe_ring *r, uint32_t count);
void ring_fini(struct pipe_ring *r);
/* Moves everything over to `to`, which is empty and has room for it. */
void ring_transfer(struct pipe_ring *r, struct pipe_ring *to);
uint64_t ring_bytes(const struct pipe_ring *r);

static inline bool ring_full(const struct pipe_ring *r)
{
    return r->used == r->count;
}

static inline bool ring_empty(const struct pipe_ring *r)
{
    return r->used == 0;
}

/* The oldest slot, and where its bytes are. */
struct pipe_slot *ring_first(struct pipe_ring *r, char **ret_bytes);
/* `n` bytes of the oldest slot are gone; the slot goes with its last byte. */
void ring_consume(struct pipe_ring *r, uint32_t n);
/* The page of the next free slot (the ring is not full); ring_push() fills the slot in. */
char *ring_free_page(struct pipe_ring *r);
void ring_push(struct pipe_ring *r, struct pipe_slot slot);

/* write(2): what fits. `packet`: each page is one. -EFAULT only when nothing was written. */
ssize_t ring_write(struct pipe_ring *r, struct uio *uio, bool packet);
/*
 * read(2): what is there, with `packets` at most one of them. A slot that cannot be copied whole
 * stays. -EFAULT only when nothing was read.
 */
ssize_t ring_read(struct pipe_ring *r, struct uio *uio, bool packets);
/* From one ring to another until one is at its end; `keep`: the first stays as it is. */
size_t ring_move(struct pipe_ring *from, struct pipe_ring *to, size_t size, bool keep);

#endif
