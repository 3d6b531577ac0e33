/*
 * From entries of the submission queue to requests. The queue is the program's memory: each entry
 * is copied, word by word, and only the copy is looked at.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/cred.h"
#include "sentry/syscalls/uring/uring.h"

static size_t sqe_size(const struct uring *ring)
{
    return ring->flags & URING_SETUP_SQE128 ? 128 : 64;
}

/* The next entry; false when there is none, or the array names one that does not exist. */
static bool fetch_locked(struct uring *ring, struct uring_sqe *ret) __must_hold(ring->submit_lock)
{
    uint32_t tail = __atomic_load_n(&ring->shared->sq_tail, __ATOMIC_ACQUIRE);
    uint32_t slot = ring->sq_head & (ring->sq_entries - 1);
    const uint64_t *from;
    uint64_t *to = (uint64_t *)(void *)ret;

    if (tail == ring->sq_head)
        return false;
    ring->sq_head++;
    if (!(ring->flags & URING_SETUP_NO_SQARRAY))
        slot = READ_ONCE(ring->sq_array[slot]);
    if (slot < ring->sq_entries) {
        from = (const uint64_t *)(const void *)(ring->sqes + slot * sqe_size(ring));
        for (size_t i = 0; i < sizeof(*ret) / sizeof(*to); i++)
            to[i] = READ_ONCE(from[i]);
    } else {
        WRITE_ONCE(ring->shared->sq_dropped, READ_ONCE(ring->shared->sq_dropped) + 1);
    }
    __atomic_store_n(&ring->shared->sq_head, ring->sq_head, __ATOMIC_RELEASE);
    return slot < ring->sq_entries;
}

static struct uring_req *make_request(struct uring *ring, const struct task *task,
                                      const struct uring_sqe *sqe)
{
    static const struct uring_op unknown;
    struct uring_req *req = calloc(1, sizeof(*req));

    if (!req)
        return NULL;
    refcount_set(&req->refs, 1);
    req->ring = uring_ref(ring);
    req->owner = task->process;
    req->sqe = *sqe;
    req->user_data = sqe->user_data;
    req->op = uring_op_find(sqe->opcode);
    if (!req->op)
        req->op = &unknown;
    req->drain = sqe->flags & SQE_IO_DRAIN;
    req->skip = sqe->flags & SQE_CQE_SKIP_SUCCESS;
    list_init(&req->live);
    list_init(&req->waiting);
    lock_acquire(&ring->lock);
    list_add_tail(&ring->live, &req->live);
    ring->live_count++;
    lock_release(&ring->lock);
    return req;
}

/* IORING_REGISTER_RESTRICTIONS. */
static bool permitted_locked(const struct uring *ring, const struct uring_sqe *sqe)
{
    if (!ring->restricted)
        return true;
    if (!(ring->allowed_ops >> sqe->opcode & 1))
        return false;
    if ((sqe->flags & ring->required_flags) != ring->required_flags)
        return false;
    return !(sqe->flags & ~(ring->allowed_flags | ring->required_flags));
}

/* The checks that all entries go through, in Linux's order; then the operation's own. */
static int prepare_locked(struct uring *ring, struct uring_req *req, struct task *task)
    __must_hold(ring->submit_lock)
{
    const struct uring_sqe *sqe = &req->sqe;

    if (sqe->opcode >= URING_OP_COUNT)
        return -EINVAL;
    if (sqe->flags & ~SQE_FLAGS)
        return -EINVAL;
    if ((sqe->flags & SQE_BUFFER_SELECT) && !(req->op->flags & OP_BUFFERS))
        return -EOPNOTSUPP;
    if ((sqe->flags & SQE_CQE_SKIP_SUCCESS) && (sqe->flags & SQE_IO_DRAIN))
        return -EOPNOTSUPP;
    if (!permitted_locked(ring, sqe))
        return -EACCES;
    if (!req->op->issue || (sqe->ioprio && !(req->op->flags & OP_IOPRIO)))
        return -EINVAL;
    if ((ring->flags & URING_SETUP_IOPOLL) && !(req->op->flags & OP_IOPOLL))
        return -EINVAL;
    if (sqe->personality) {
        if (sqe->personality > ARRAY_COUNT(ring->creds) || !ring->creds[sqe->personality - 1])
            return -EINVAL;
        req->cred = cred_ref(ring->creds[sqe->personality - 1]);
    }
    return req->op->prep ? req->op->prep(req, task) : 0;
}

struct chain {
    struct uring_req *first, *last;
    int error; /* of a request in it: nothing of it is tried */
    struct uring_req *bad;
};

/* Adds the next entry's request; false when there is no more. */
static bool extend_locked(struct uring *ring, struct task *task, struct chain *chain)
    __must_hold(ring->submit_lock)
{
    struct uring_sqe sqe;
    struct uring_req *req;
    int err;

    if (!fetch_locked(ring, &sqe))
        return false;
    req = make_request(ring, task, &sqe);
    if (!req)
        return false;
    req->state = REQ_BUSY;
    err = prepare_locked(ring, req, task);
    if (req->sqe.opcode == URING_LINK_TIMEOUT && !chain->first && !err)
        err = -EINVAL; /* what would it be for? */
    if (err < 0 && !chain->error) {
        chain->error = err;
        chain->bad = req;
    }
    if (chain->first) {
        req->state = REQ_CHAIN;
        chain->last->next = req;
        chain->first->drain |= req->drain;
        req->drain = false;
    } else {
        chain->first = req;
    }
    chain->last = req;
    return true;
}

/* A chain with a bad request: that one says why, all others are cancelled. */
static void refuse(struct chain *chain)
{
    struct uring_req *first = chain->first, *req = first;
    bool silent = false;

    chain->first->drain = false;
    while (req) {
        struct uring_req *next = req->next;

        bool skip = req->skip;

        req->next = NULL;
        uring_fail(req, req == chain->bad ? chain->error : -ECANCELED, silent);
        silent |= skip && req == first;
        req = next;
    }
}

static bool too_many(struct uring *ring)
{
    bool many;

    lock_acquire(&ring->lock);
    many = ring->live_count >= URING_LIVE_MAX || ring->overflow_count >= URING_LIVE_MAX;
    lock_release(&ring->lock);
    return many;
}

long uring_submit(struct uring *ring, struct task *task, uint32_t count)
{
    uint32_t done = 0;

    count = MIN(count, ring->sq_entries);
    while (done < count) {
        struct chain chain = {0};
        bool more = true;

        if (too_many(ring))
            return done ? (long)done : -EBUSY;
        lock_acquire(&ring->submit_lock);
        while (more && done < count) {
            if (!extend_locked(ring, task, &chain))
                break;
            done++;
            more = chain.last->sqe.flags & (SQE_IO_LINK | SQE_IO_HARDLINK);
        }
        lock_release(&ring->submit_lock);
        if (!chain.first)
            break;
        if (chain.error)
            refuse(&chain);
        else
            uring_start(chain.first, task);
        if (chain.error && chain.bad == chain.last && !more &&
            !(ring->flags & URING_SETUP_SUBMIT_ALL))
            break;
    }
    return done;
}
