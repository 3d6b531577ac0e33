/*
 * Completions. They go into the shared queue; when the program has left no room there, into a list
 * of ours until it has (IORING_FEAT_NODROP). That list is bounded: beyond, they are counted only.
 */
#include <stdlib.h>

#include "sentry/fs/event/eventfd.h"
#include "sentry/syscalls/uring/uring.h"

#define OVERFLOW_MAX (URING_LIVE_MAX + URING_ENTRIES_MAX)

struct uring_overflow {
    struct list node;
    struct uring_cqe cqe;
};

static size_t cqe_size(const struct uring *ring)
{
    return ring->flags & URING_SETUP_CQE32 ? 32 : 16;
}

/* The program's head may be anything: then there seems to be room, or none, and it harms itself. */
static bool has_room_locked(struct uring *ring)
{
    return ring->cq_tail - READ_ONCE(ring->shared->cq_head) < ring->cq_entries;
}

static void put_locked(struct uring *ring, const struct uring_cqe *cqe)
{
    size_t slot = ring->cq_tail & (ring->cq_entries - 1);
    uint64_t *at = (uint64_t *)(void *)(ring->cqes + slot * cqe_size(ring));

    WRITE_ONCE(at[0], cqe->user_data);
    WRITE_ONCE(at[1], (uint32_t)cqe->res | (uint64_t)cqe->flags << 32);
    if (cqe_size(ring) == 32) {
        WRITE_ONCE(at[2], 0);
        WRITE_ONCE(at[3], 0);
    }
    ring->cq_tail++;
    __atomic_store_n(&ring->shared->cq_tail, ring->cq_tail, __ATOMIC_RELEASE);
}

static void keep_locked(struct uring *ring, const struct uring_cqe *cqe)
{
    struct uring_overflow *o = NULL;

    if (ring->overflow_count < OVERFLOW_MAX)
        o = malloc(sizeof(*o));
    if (!o) {
        __atomic_fetch_add(&ring->shared->cq_overflow, 1, __ATOMIC_RELAXED);
        return;
    }
    o->cqe = *cqe;
    list_add_tail(&ring->overflow, &o->node);
    if (ring->overflow_count++ == 0)
        __atomic_fetch_or(&ring->shared->sq_flags, URING_SQ_CQ_OVERFLOW, __ATOMIC_RELEASE);
}

/* Returns false when only a place in the queue itself would do, and there is none. */
static bool post(struct uring *ring, const struct uring_cqe *cqe, bool timeout, bool must_fit)
{
    struct file *eventfd = NULL;
    bool fits;

    lock_acquire(&ring->lock);
    fits = ring->overflow_count == 0 && has_room_locked(ring);
    if (!fits && must_fit) {
        lock_release(&ring->lock);
        return false;
    }
    if (fits)
        put_locked(ring, cqe);
    else
        keep_locked(ring, cqe);
    if (timeout)
        ring->timeouts_posted++;
    else
        uring_count_timeouts_locked(ring);
    if (ring->eventfd && !(READ_ONCE(ring->shared->cq_flags) & URING_CQ_EVENTFD_DISABLED))
        eventfd = file_ref(ring->eventfd);
    lock_release(&ring->lock);
    if (eventfd)
        eventfd_signal(eventfd);
    file_unref(eventfd);
    wait_queue_wake(&ring->queue, POLLIN | POLLRDNORM);
    return true;
}

void uring_post(struct uring *ring, uint64_t user_data, int32_t res, uint32_t flags, bool timeout)
{
    const struct uring_cqe cqe = {.user_data = user_data, .res = res, .flags = flags};

    post(ring, &cqe, timeout, false);
}

bool uring_post_more(struct uring *ring, uint64_t user_data, int32_t res, uint32_t flags,
                     bool timeout)
{
    const struct uring_cqe cqe = {.user_data = user_data, .res = res, .flags = flags | CQE_MORE};

    return post(ring, &cqe, timeout, true);
}

uint32_t uring_ready(struct uring *ring)
{
    uint32_t ready;

    lock_acquire(&ring->lock);
    while (ring->overflow_count > 0 && has_room_locked(ring)) {
        struct uring_overflow *o = list_first(&ring->overflow, struct uring_overflow, node);

        put_locked(ring, &o->cqe);
        list_del_init(&o->node);
        free(o);
        if (--ring->overflow_count == 0)
            __atomic_fetch_and(&ring->shared->sq_flags, ~URING_SQ_CQ_OVERFLOW, __ATOMIC_RELEASE);
    }
    ready = ring->cq_tail - READ_ONCE(ring->shared->cq_head);
    lock_release(&ring->lock);
    return ready;
}

void uring_drop_overflow(struct uring *ring)
{
    struct uring_overflow *o, *next;

    list_for_each_safe (o, next, &ring->overflow, node)
        free(o);
}
