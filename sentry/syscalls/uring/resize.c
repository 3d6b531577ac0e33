/*
 * IORING_REGISTER_RESIZE_RINGS: the queues get new memory, of another size, with what was in them.
 * The program maps it anew; what it has mapped of the old one stays, and is nobody's business.
 */
#include <errno.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"

/* Where the new memory is until it takes the place of the old one. */
#define NEW_RINGS    0x30000000UL
#define NEW_CQ       0x38000000UL
#define NEW_SQES     0x40000000UL

#define RESIZE_FLAGS (URING_SETUP_CQSIZE | URING_SETUP_CLAMP)
#define INHERITED_FLAGS                                                                            \
    (URING_SETUP_NO_SQARRAY | URING_SETUP_SQE128 | URING_SETUP_CQE32 | URING_SETUP_CQE_MIXED)

static void copy_words(void *to, const void *from, size_t size)
{
    uint64_t *w = to;
    const uint64_t *r = from;

    for (size_t i = 0; i < size / sizeof(*w); i++)
        WRITE_ONCE(w[i], READ_ONCE(r[i]));
}

/* Entries and completions that are on their way; the program's indices are read once. */
static int move_locked(const struct uring *ring, struct uring *next) __must_hold(ring->lock)
{
    const struct uring_shared *old = ring->shared;
    size_t sqe = ring->flags & URING_SETUP_SQE128 ? 128 : 64;
    size_t cqe = ring->flags & URING_SETUP_CQE32 ? 32 : 16;
    uint32_t sq_tail = READ_ONCE(old->sq_tail), cq_head = READ_ONCE(old->cq_head);
    struct uring_shared *new = next->shared;

    if (sq_tail - ring->sq_head > next->sq_entries || ring->cq_tail - cq_head > next->cq_entries)
        return -EOVERFLOW;
    for (uint32_t i = ring->sq_head; i != sq_tail; i++)
        copy_words(next->sqes + (i & (next->sq_entries - 1)) * sqe,
                   ring->sqes + (i & (ring->sq_entries - 1)) * sqe, sqe);
    for (uint32_t i = cq_head; i != ring->cq_tail; i++)
        copy_words(next->cqes + (i & (next->cq_entries - 1)) * cqe,
                   ring->cqes + (i & (ring->cq_entries - 1)) * cqe, cqe);
    new->sq_head = ring->sq_head;
    new->sq_tail = sq_tail;
    new->cq_head = cq_head;
    new->cq_tail = ring->cq_tail;
    new->sq_dropped = READ_ONCE(old->sq_dropped);
    new->sq_flags = READ_ONCE(old->sq_flags);
    new->cq_flags = READ_ONCE(old->cq_flags);
    new->cq_overflow = READ_ONCE(old->cq_overflow);
    return 0;
}

static void take_over_locked(struct uring *ring, const struct uring *next) __must_hold(ring->lock)
{
    ring->sq_entries = next->sq_entries;
    ring->cq_entries = next->cq_entries;
    ring->shared = next->shared;
    ring->cqes = next->cqes;
    ring->sq_array = next->sq_array;
    ring->sqes = next->sqes;
    ringmem_move(ring->memory, URING_OFF_SQ_RING, NEW_RINGS);
    ringmem_move(ring->memory, URING_OFF_CQ_RING, NEW_CQ);
    ringmem_move(ring->memory, URING_OFF_SQES, NEW_SQES);
}

static void drop_new(struct uring *ring)
{
    ringmem_remove(ring->memory, NEW_RINGS);
    ringmem_remove(ring->memory, NEW_CQ);
    ringmem_remove(ring->memory, NEW_SQES);
}

int uring_resize(struct uring *ring, struct task *task, uaddr_t arg)
{
    const struct uring_places places = {NEW_RINGS, NEW_CQ, NEW_SQES};
    struct uring next = {.flags = ring->flags, .memory = ring->memory};
    struct uring_params p;
    int err;

    if (!(ring->flags & URING_SETUP_DEFER_TASKRUN) || (ring->flags & URING_SETUP_NO_MMAP))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &p, arg) < 0)
        return -EFAULT;
    if (p.flags & ~RESIZE_FLAGS)
        return -EINVAL;
    p.flags |= ring->flags & INHERITED_FLAGS;
    err = uring_choose_sizes(p.sq_entries, &p);
    if (err < 0)
        return err;
    next.sq_entries = p.sq_entries;
    next.cq_entries = p.cq_entries;
    err = uring_lay_out(&next, &places);
    if (!err) {
        uring_tell_layout(&next, &p);
        err = copy_struct_to_user(task->mm, arg, &p);
    }
    lock_acquire(&ring->lock);
    if (!err)
        err = move_locked(ring, &next);
    if (!err)
        take_over_locked(ring, &next);
    lock_release(&ring->lock);
    if (err < 0)
        drop_new(ring);
    return err;
}
