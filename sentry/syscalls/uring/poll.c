/* POLL_ADD, once or again and again, and POLL_REMOVE, which can change one as well. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include "sentry/syscalls/uring/ops.h"

#define POLL_FLAGS                                                                                 \
    (URING_POLL_MULTI | URING_POLL_UPDATE_EVENTS | URING_POLL_UPDATE_USER_DATA | URING_POLL_LEVEL)

int poll_add_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->buf_index || s->off || s->addr)
        return -EINVAL;
    if (s->len & ~(URING_POLL_MULTI | URING_POLL_LEVEL))
        return -EINVAL;
    if ((s->len & URING_POLL_MULTI) && (s->flags & SQE_CQE_SKIP_SUCCESS))
        return -EINVAL;
    req->multishot = s->len & URING_POLL_MULTI;
    return 0;
}

static void poll_ref(struct async_poll *poll)
{
    req_ref(container_of(poll, struct uring_req, poll));
}

/* Posts what is there, with more to come; false: it has to be the last one. */
static bool post_again(struct uring_req *req, uint32_t events)
{
    uint64_t user_data;

    lock_acquire(&req->ring->lock);
    user_data = req->user_data;
    lock_release(&req->ring->lock);
    return uring_post_more(req->ring, user_data, (int32_t)events, 0, false);
}

/* Waits on with a multishot poll in hand, after telling what came meanwhile. */
static int64_t wait_on(struct uring_req *req)
{
    struct uring *ring = req->ring;
    bool cancelled, poked;

    do {
        uint32_t events;

        lock_acquire(&ring->lock);
        cancelled = req->cancelled;
        poked = req->poked;
        req->poked = false;
        if (!cancelled && !poked)
            req->state = REQ_POLL;
        lock_release(&ring->lock);
        events = !cancelled && poked ? async_poll_look(&req->poll) : 0;
        if (events && !post_again(req, events)) {
            async_poll_stop(&req->poll);
            return events;
        }
    } while (!cancelled && poked);
    if (!cancelled)
        return REQ_PENDING;
    async_poll_stop(&req->poll);
    return -ECANCELED;
}

static bool claim_or_poke(struct uring_req *req)
{
    bool mine;

    lock_acquire(&req->ring->lock);
    mine = req->state == REQ_POLL;
    if (mine)
        req->state = REQ_BUSY;
    else
        req->poked = true;
    lock_release(&req->ring->lock);
    return mine;
}

/* On a thread of the pool: the file may have something. */
static void poll_ready(struct async_poll *poll)
{
    struct uring_req *req = container_of(poll, struct uring_req, poll);
    uint32_t events = req_look_poll(req);
    int64_t res = events;

    if (events && claim_or_poke(req)) {
        if (req->multishot && post_again(req, events))
            res = wait_on(req);
        else
            async_poll_stop(&req->poll);
        if (res != REQ_PENDING)
            uring_finish(req, res);
    }
    req_unref(req);
}

/* Tells what is there at once, and then waits for changes. */
static int64_t arm_multishot(struct uring_req *req)
{
    uint32_t now = async_poll_enter(&req->poll);

    if (now && !post_again(req, now)) {
        async_poll_stop(&req->poll);
        return now;
    }
    return wait_on(req);
}

/* REQ_PENDING, or what holds now. With a reference of the caller's own. */
static int64_t arm(struct uring_req *req)
{
    uint32_t now = async_poll_start(&req->poll);
    bool cancelled;

    if (now)
        return now;
    lock_acquire(&req->ring->lock);
    cancelled = req->cancelled;
    if (!cancelled)
        req->state = REQ_POLL;
    lock_release(&req->ring->lock);
    if (cancelled) {
        async_poll_stop(&req->poll);
        return -ECANCELED;
    }
    /* What came before the state was set found nobody to claim; so look once more. */
    now = req_look_poll(req);
    if (!now || !uring_claim(req, REQ_POLL))
        return REQ_PENDING;
    async_poll_stop(&req->poll);
    return now;
}

int64_t poll_add_issue(struct uring_req *req, struct task *task)
{
    int64_t res;

    if (req_need_proxy(req, task) < 0)
        return -ENOMEM;
    if (!req->poll.file) {
        async_poll_init(&req->poll, req->file,
                        (req->sqe.op_flags & ~(uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE)) |
                            POLLRDHUP);
        req->poll.ref = poll_ref;
        req->poll.ready = poll_ready;
    }
    uring_arm_link_timeout(req);
    req_ref(req);
    res = req->multishot ? arm_multishot(req) : arm(req);
    req_unref(req);
    return res;
}

/* The waiting POLL_ADD of that name, taken in hand and referenced. -ENOENT, -EALREADY. */
static int find_poll(struct uring *ring, uint64_t user_data, struct uring_req **ret)
{
    struct uring_req *req;
    int err = -ENOENT;

    lock_acquire(&ring->lock);
    list_for_each (req, &ring->live, live) {
        if (req->sqe.opcode != URING_POLL_ADD || req->user_data != user_data)
            continue;
        err = -EALREADY;
        if (req->state == REQ_POLL) {
            req->state = REQ_BUSY;
            *ret = req_ref(req);
            err = 0;
            break;
        }
    }
    lock_release(&ring->lock);
    return err;
}

/* Arms it again with other events or another name, or finishes it when they hold now. */
static void update(struct uring_req *poll, const struct uring_sqe *s)
{
    int64_t res;

    async_poll_stop(&poll->poll);
    if (s->len & URING_POLL_UPDATE_EVENTS) {
        poll->poll.entry.events = s->op_flags | POLLERR | POLLHUP | POLLRDHUP;
        poll->multishot = s->len & URING_POLL_MULTI;
    }
    if (s->len & URING_POLL_UPDATE_USER_DATA) {
        lock_acquire(&poll->ring->lock);
        poll->user_data = s->off;
        lock_release(&poll->ring->lock);
    }
    res = poll->multishot ? arm_multishot(poll) : arm(poll);
    if (res != REQ_PENDING)
        uring_finish(poll, res);
}

int64_t poll_remove_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    struct uring_req *poll;
    int err;

    if (s->len & ~POLL_FLAGS)
        return -EINVAL;
    if (!(s->len & (URING_POLL_UPDATE_EVENTS | URING_POLL_UPDATE_USER_DATA))) {
        if (s->len || s->op_flags || s->off)
            return -EINVAL;
    } else if (!(s->len & URING_POLL_UPDATE_EVENTS) &&
               (s->op_flags || (s->len & URING_POLL_MULTI))) {
        return -EINVAL;
    } else if (!(s->len & URING_POLL_UPDATE_USER_DATA) && s->off) {
        return -EINVAL;
    }
    err = find_poll(req->ring, s->addr, &poll);
    if (err < 0)
        return err;
    if (s->len == 0) {
        async_poll_stop(&poll->poll);
        uring_finish(poll, -ECANCELED);
    } else {
        update(poll, s);
    }
    req_unref(poll);
    return 0;
}
