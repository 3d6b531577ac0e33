/*
 * TIMEOUT, until a time or until so many completions came; LINK_TIMEOUT, which cancels the request
 * before it in its chain; and TIMEOUT_REMOVE. A timeout waits in state REQ_TIMER; who takes it out
 * of that is the only one to finish it. The timers' thread and uring_post() leave that to the pool.
 */
#include <errno.h>
#include <time.h>

#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/ops.h"

#define CLOCK_FLAGS (URING_TIMEOUT_BOOTTIME | URING_TIMEOUT_REALTIME)
#define TIMEOUT_FLAGS                                                                              \
    (URING_TIMEOUT_ABS | CLOCK_FLAGS | URING_TIMEOUT_ETIME_SUCCESS | URING_TIMEOUT_MULTISHOT)

static clockid_t clock_of(uint32_t flags)
{
    if (flags & URING_TIMEOUT_BOOTTIME)
        return CLOCK_BOOTTIME;
    return flags & URING_TIMEOUT_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

/* The timespec at `addr` to a deadline. -EFAULT, -EINVAL. */
static int get_deadline(struct task *task, uaddr_t addr, uint32_t flags, uint64_t *ret_deadline,
                        uint64_t *ret_interval)
{
    struct timespec ts;

    if (copy_struct_from_user(task->mm, &ts, addr) < 0)
        return -EFAULT;
    if (ts.tv_sec < 0 || ts.tv_nsec < 0)
        return -EINVAL;
    *ret_interval = timespec_ns(&ts);
    if (flags & URING_TIMEOUT_ABS)
        *ret_deadline = time_to_monotonic(clock_of(flags), *ret_interval);
    else
        *ret_deadline = time_add(time_monotonic_ns(), *ret_interval);
    return 0;
}

static void expire_job(struct async_job *job)
{
    struct uring_req *req = container_of(job, struct uring_req, job);

    uring_end_timeout(req, req->result);
}

/* On the timers' thread. */
static void expire(struct timer *timer)
{
    struct uring_req *req = container_of(timer, struct uring_req, clock);

    if (time_monotonic_ns() < req->deadline_ns) {
        timer_arm(timer, req->deadline_ns + 100000); /* the guest's clock is a little behind */
        return;
    }
    if (uring_claim(req, REQ_TIMER)) {
        req->result = -ETIME;
        async_start(&req->job);
    }
}

/* With a multishot timeout that goes on: true. */
static bool again(struct uring_req *req)
{
    bool cancelled;

    if (!req->multishot)
        return false;
    if (req->counts && --req->target == 0)
        return false;
    if (!uring_post_more(req->ring, req->user_data, -ETIME, 0, true))
        return false;
    req->deadline_ns = time_add(req->deadline_ns, req->interval_ns);
    lock_acquire(&req->ring->lock);
    cancelled = req->cancelled;
    if (!cancelled)
        req->state = REQ_TIMER;
    lock_release(&req->ring->lock);
    if (cancelled)
        return false;
    timer_arm(&req->clock, req->deadline_ns);
    return true;
}

static struct uring_req *timed_by(struct uring_req *timer)
{
    struct uring_req *req;

    lock_acquire(&timer->ring->lock);
    req = timer->timed;
    timer->timed = NULL;
    if (req) {
        req->timer = NULL;
        req_ref(req);
    }
    lock_release(&timer->ring->lock);
    return req;
}

/* A LINK_TIMEOUT has come: it cancels its request, if that is not done. */
static int64_t cancel_timed(struct uring_req *timer)
{
    struct uring_req *req = timed_by(timer);
    struct uring_cancel what;
    int err;

    if (!req)
        return -ENOENT;
    what = (struct uring_cancel){.only = req};
    err = uring_cancel(timer->ring, &what);
    req_unref(req);
    return err ? err : -ETIME;
}

void uring_end_timeout(struct uring_req *req, int64_t res)
{
    bool link = req->sqe.opcode == URING_LINK_TIMEOUT;

    timer_cancel(&req->clock);
    if (res == -ETIME && again(req))
        return;
    if (link && res == -ETIME)
        res = cancel_timed(req);
    else if (link)
        req_unref(timed_by(req));
    /* Whether it came or not, it did not fail: SQE_CQE_SKIP_SUCCESS keeps it silent. */
    if (link) {
        uring_fail(req, res, req->skip);
        return;
    }
    req->good_late = req->sqe.op_flags & URING_TIMEOUT_ETIME_SUCCESS;
    uring_finish(req, res);
}

void uring_count_timeouts_locked(struct uring *ring)
{
    uint32_t posted = ring->cq_tail + ring->overflow_count - ring->timeouts_posted;
    struct uring_req *req;

    if (ring->counting == 0)
        return;
    list_for_each (req, &ring->live, live) {
        if (req->state != REQ_TIMER || !req->counts || req->multishot ||
            (int32_t)(posted - req->target) < 0)
            continue;
        req->state = REQ_BUSY;
        req->result = 0;
        async_start(&req->job);
    }
}

int timeout_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    bool link = s->opcode == URING_LINK_TIMEOUT;

    if (s->flags & SQE_FIXED_FILE)
        return -EBADF;
    if (s->buf_index || s->len != 1 || s->file_index || (link && s->off))
        return -EINVAL;
    if ((s->op_flags & ~(uint32_t)TIMEOUT_FLAGS) || (s->op_flags & CLOCK_FLAGS) == CLOCK_FLAGS)
        return -EINVAL;
    if ((s->op_flags & URING_TIMEOUT_MULTISHOT) && (link || (s->op_flags & URING_TIMEOUT_ABS)))
        return -EINVAL;
    req->multishot = s->op_flags & URING_TIMEOUT_MULTISHOT;
    req->counts = !link && s->off != 0;
    timer_init(&req->clock, expire);
    async_job_init(&req->job, expire_job);
    return get_deadline(task, s->addr, s->op_flags, &req->deadline_ns, &req->interval_ns);
}

/* Waits from now on. */
static int64_t arm(struct uring_req *req)
{
    struct uring *ring = req->ring;
    uint64_t deadline = req->deadline_ns;
    bool cancelled;

    req_ref(req);
    lock_acquire(&ring->lock);
    cancelled = req->cancelled;
    if (req->counts && !req->multishot)
        req->target =
            ring->cq_tail + ring->overflow_count - ring->timeouts_posted + (uint32_t)req->sqe.off;
    else if (req->counts)
        req->target = (uint32_t)req->sqe.off;
    if (!cancelled)
        req->state = REQ_TIMER;
    lock_release(&ring->lock);
    if (!cancelled && timer_arm(&req->clock, deadline) < 0 && uring_claim(req, REQ_TIMER))
        cancelled = true;
    req_unref(req);
    return cancelled ? -ECANCELED : REQ_PENDING;
}

int64_t timeout_issue(struct uring_req *req, struct task *task)
{
    if (req_need_proxy(req, task) < 0)
        return -ENOMEM;
    lock_acquire(&req->ring->lock);
    req->counted = req->counts;
    req->ring->counting += req->counted;
    lock_release(&req->ring->lock);
    /* Relative to when it starts, which may be later than when it was made. */
    if (!(req->sqe.op_flags & URING_TIMEOUT_ABS))
        req->deadline_ns = time_add(time_monotonic_ns(), req->interval_ns);
    return arm(req);
}

/* Never tried: it is armed with the request before it, or finished with it. */
int64_t link_timeout_issue(struct uring_req *req, struct task *task)
{
    return -ECANCELED;
}

void uring_arm_link_timeout(struct uring_req *req)
{
    struct uring_req *timer = req->next;

    if (!timer || timer->sqe.opcode != URING_LINK_TIMEOUT)
        return;
    req->next = timer->next;
    timer->next = NULL;
    if (!(timer->sqe.op_flags & URING_TIMEOUT_ABS))
        timer->deadline_ns = time_add(time_monotonic_ns(), timer->interval_ns);
    lock_acquire(&req->ring->lock);
    timer->state = REQ_BUSY;
    timer->timed = req;
    req->timer = timer;
    lock_release(&req->ring->lock);
    if (arm(timer) != REQ_PENDING) {
        req_unref(timed_by(timer));
        uring_finish(timer, -ECANCELED);
    }
}

/* A waiting timeout of that name, taken in hand. */
static int find_timeout(struct uring *ring, uint64_t user_data, bool link, struct uring_req **ret)
{
    uint8_t opcode = link ? URING_LINK_TIMEOUT : URING_TIMEOUT;
    struct uring_req *req;
    int err = -ENOENT;

    lock_acquire(&ring->lock);
    list_for_each (req, &ring->live, live) {
        if (req->sqe.opcode != opcode || req->user_data != user_data)
            continue;
        err = -EALREADY;
        if (req->state == REQ_TIMER) {
            req->state = REQ_BUSY;
            *ret = req;
            err = 0;
            break;
        }
    }
    lock_release(&ring->lock);
    return err;
}

int64_t timeout_remove_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    bool update = s->op_flags & (URING_TIMEOUT_UPDATE | URING_LINK_TIMEOUT_UPDATE);
    uint64_t deadline = 0, interval = 0;
    struct uring_req *timer = NULL;
    int64_t res;
    int err = 0;

    if (s->len)
        return -EINVAL;
    if (update && ((s->op_flags & CLOCK_FLAGS) == CLOCK_FLAGS ||
                   (s->op_flags & ~(uint32_t)(URING_TIMEOUT_UPDATE | URING_LINK_TIMEOUT_UPDATE |
                                              URING_TIMEOUT_ABS | CLOCK_FLAGS))))
        return -EINVAL;
    if (!update && s->op_flags)
        return -EINVAL;
    if (update)
        err = get_deadline(task, s->off, s->op_flags, &deadline, &interval);
    if (!err)
        err = find_timeout(req->ring, s->addr, s->op_flags & URING_LINK_TIMEOUT_UPDATE, &timer);
    if (err < 0)
        return err;
    if (!update) {
        uring_end_timeout(timer, -ECANCELED);
        return 0;
    }
    timer_cancel(&timer->clock);
    timer->deadline_ns = deadline;
    timer->interval_ns = interval;
    res = arm(timer);
    if (res != REQ_PENDING)
        uring_end_timeout(timer, res);
    return 0;
}
