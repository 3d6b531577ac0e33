/*
 * Cancelling. What waits is taken in hand and finished with ECANCELED; what a thread works on is
 * told, and ends by itself soon.
 */
#include <errno.h>

#include "sentry/kernel/time/time.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/ops.h"

#define CANCEL_FLAGS                                                                               \
    (URING_CANCEL_ALL | URING_CANCEL_FD | URING_CANCEL_ANY | URING_CANCEL_FD_FIXED |               \
     URING_CANCEL_USERDATA | URING_CANCEL_OP)

/* One that is finishing now has let its file go, but is waited for by its name (wait_gone()). */
static bool is_on(const struct uring_req *req, const struct file *file)
{
    return req->file == file || (req->cancelled && req->was_file == file);
}

static bool matches(const struct uring_req *req, const struct uring_cancel *what)
{
    bool by_name = what->flags & URING_CANCEL_USERDATA;

    if (what->process && req->owner != what->process)
        return false;
    if (what->only)
        return req == what->only;
    if (req == what->self)
        return false;
    if (what->flags & URING_CANCEL_ANY)
        return true;
    if ((what->flags & URING_CANCEL_FD) && !is_on(req, what->file))
        return false;
    if ((what->flags & URING_CANCEL_OP) && req->sqe.opcode != what->opcode)
        return false;
    by_name |= !(what->flags & (URING_CANCEL_FD | URING_CANCEL_OP));
    return !by_name || req->user_data == what->user_data;
}

enum found { FOUND_NOTHING, FOUND_WAITING, FOUND_TOLD, FOUND_ENDING, FOUND_BUSY };

/* What the answer is for one that a thread has in hand and that was told. */
static enum found found_busy(const struct uring_req *req)
{
    if (req->state == REQ_WORKER)
        return req->op->flags & OP_WAITS ? FOUND_TOLD : FOUND_BUSY;
    /* One that goes on for ever watches its file again, sees that it is cancelled, and ends. */
    return req->multishot && req->poll.file ? FOUND_ENDING : FOUND_BUSY;
}

/* The next one to end; one that a thread has in hand is told so and left alone. */
static enum found take_next(struct uring *ring, const struct uring_cancel *what, bool held_too,
                            struct uring_req **ret, enum req_state *ret_state)
{
    enum found found = FOUND_NOTHING;
    struct uring_req *req;

    lock_acquire(&ring->lock);
    list_for_each (req, &ring->live, live) {
        if (req->cancelled || !matches(req, what))
            continue;
        if (req->state == REQ_CHAIN && !(req->held && held_too))
            continue;
        *ret_state = req->state;
        found = FOUND_WAITING;
        if (req->state == REQ_BUSY ||
            (req->state == REQ_WORKER && !uring_worker_take_back_locked(req))) {
            req->cancelled = true;
            if (req->state == REQ_WORKER)
                proxy_interrupt(req->proxy);
            found = found_busy(req);
            break;
        }
        if (req->state == REQ_CHAIN) {
            req->held = false;
            ring->held_count--;
        }
        req->state = REQ_BUSY;
        *ret = req;
        break;
    }
    lock_release(&ring->lock);
    return found;
}

static void end(struct uring_req *req, enum req_state was)
{
    if (was == REQ_TIMER) {
        uring_end_timeout(req, -ECANCELED);
        return;
    }
    if (was == REQ_POLL)
        async_poll_stop(&req->poll);
    uring_finish(req, -ECANCELED);
}

int uring_cancel(struct uring *ring, const struct uring_cancel *what)
{
    bool all = what->flags & (URING_CANCEL_ALL | URING_CANCEL_ANY);
    int count = 0;

    for (;;) {
        struct uring_req *req;
        enum req_state state;
        bool waits;
        enum found found = take_next(ring, what, false, &req, &state);

        if (found == FOUND_NOTHING)
            return all ? count : -ENOENT;
        waits = found == FOUND_TOLD;
        if (found == FOUND_WAITING) {
            waits = (req->op->flags & OP_WAITS) != 0;
            end(req, state);
        }
        if (!all)
            return found == FOUND_BUSY ? -EALREADY : waits;
        count++;
    }
}

void uring_cancel_all(struct uring *ring, const struct process *process)
{
    const struct uring_cancel all = {.flags = URING_CANCEL_ANY, .process = process};
    struct uring_req *req;
    enum req_state state;
    enum found found;

    lock_acquire(&ring->lock);
    ring->dead |= !process;
    lock_release(&ring->lock);
    while ((found = take_next(ring, &all, true, &req, &state)) != FOUND_NOTHING) {
        if (found == FOUND_WAITING)
            end(req, state);
    }
}

/* Which file FD means. */
static int find_file(struct uring *ring, struct task *task, int fd, struct uring_cancel *what)
{
    if (!(what->flags & URING_CANCEL_FD))
        return 0;
    if (what->flags & URING_CANCEL_FD_FIXED) {
        lock_acquire(&ring->submit_lock);
        what->file = uring_fixed_file(ring, (uint32_t)fd);
        lock_release(&ring->submit_lock);
    } else {
        what->file = task_file(task, fd);
    }
    return what->file ? 0 : -EBADF;
}

int64_t async_cancel_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    struct uring_cancel what = {
        .flags = s->op_flags, .user_data = s->addr, .opcode = (uint8_t)s->len, .self = req};
    int64_t res;

    if ((s->flags & SQE_BUFFER_SELECT) || s->off || s->file_index ||
        (s->op_flags & ~(uint32_t)CANCEL_FLAGS))
        return -EINVAL;
    if ((s->op_flags & URING_CANCEL_ANY) && (s->op_flags & (URING_CANCEL_FD | URING_CANCEL_OP)))
        return -EINVAL;
    if (s->flags & SQE_FIXED_FILE)
        what.flags |= URING_CANCEL_FD_FIXED;
    res = find_file(req->ring, task, s->fd, &what);
    if (res == 0)
        res = uring_cancel(req->ring, &what);
    file_unref(what.file);
    return res;
}

/* Until nothing of it is left, the deadline, or a signal. */
static int wait_gone(struct uring *ring, struct task *task, const struct uring_cancel *what,
                     uint64_t deadline_ns)
{
    struct wait_entry entry;
    int err = 0;

    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(&ring->queue, &entry);
    for (;;) {
        struct uring_req *req;
        bool left = false;

        lock_acquire(&ring->lock);
        list_for_each (req, &ring->live, live)
            left |= req->cancelled && matches(req, what);
        lock_release(&ring->lock);
        if (!left || err < 0)
            break;
        err = task_block(task, deadline_ns);
    }
    wait_queue_remove(&ring->queue, &entry);
    if (err == -ETIMEDOUT)
        return -ETIME;
    return err < 0 ? -EINTR : 0;
}

int uring_sync_cancel(struct uring *ring, struct task *task, const struct uring_sync_cancel *arg)
{
    struct uring_cancel what = {.flags = arg->flags, .user_data = arg->addr, .opcode = arg->opcode};
    uint64_t deadline = TIME_NEVER;
    int err;

    if (arg->flags & ~(uint32_t)CANCEL_FLAGS)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_COUNT(arg->pad); i++) {
        if (arg->pad[i])
            return -EINVAL;
    }
    if (arg->pad2[0] || arg->pad2[1] || arg->pad2[2])
        return -EINVAL;
    if (arg->timeout[0] != -1 || arg->timeout[1] != -1) {
        const struct timespec ts = {arg->timeout[0], arg->timeout[1]};

        deadline = time_add(time_monotonic_ns(), timespec_ns(&ts));
    }
    err = find_file(ring, task, arg->fd, &what);
    if (!err)
        err = uring_cancel(ring, &what);
    if (err == -EALREADY || (err == 0 && !(what.flags & (URING_CANCEL_ALL | URING_CANCEL_ANY))))
        err = wait_gone(ring, task, &what, deadline);
    file_unref(what.file);
    return err;
}
