/*
 * Requests: made from entries, tried, finished; chains (SQE_IO_LINK) and the drain.
 *
 * A chain is one list, of which only the first request is tried; when that has finished, the next
 * one is, or all of them are cancelled. A request with SQE_IO_DRAIN waits until all that were
 * submitted before it have finished, and what is submitted after it waits for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/cred.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/syscall.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/uring.h"

struct uring_req *req_ref(struct uring_req *req)
{
    refcount_get(&req->refs);
    return req;
}

void req_unref(struct uring_req *req)
{
    if (!req || !refcount_put(&req->refs))
        return;
    if (req->uio_ready)
        uio_release(&req->uio);
    free(req->net);
    file_unref(req->file); /* of one that was never started */
    task_unref(req->proxy);
    cred_unref(req->cred);
    uring_unref(req->ring);
    free(req);
}

uint32_t req_look_poll(struct uring_req *req)
{
    struct file *file;
    uint32_t now = 0;

    lock_acquire(&req->ring->lock);
    file = req->poll.file ? file_ref(req->poll.file) : NULL;
    lock_release(&req->ring->lock);
    if (file)
        now = file_poll(file, NULL) & req->poll.entry.events;
    file_unref(file);
    return now;
}

bool uring_claim(struct uring_req *req, enum req_state state)
{
    bool mine;

    lock_acquire(&req->ring->lock);
    mine = req->state == state;
    if (mine)
        req->state = REQ_BUSY;
    lock_release(&req->ring->lock);
    return mine;
}

int req_need_proxy(struct uring_req *req, struct task *task)
{
    if (req->proxy)
        return 0;
    req->proxy = proxy_create(task);
    if (!req->proxy)
        return -ENOMEM;
    if (req->cred) {
        cred_unref(req->proxy->cred);
        req->proxy->cred = cred_ref(req->cred);
    }
    return 0;
}

/* ---- finishing ------------------------------------------------------------------------------ */

static bool breaks_chain(const struct uring_req *req, int64_t res)
{
    if (req->good_late && res == -ETIME)
        return false;
    if (req->failed || res < 0)
        return true;
    return (req->op->flags & OP_SHORT) && res != req->result;
}

/*
 * Who sees its completion may count on its files: a listener that he closes is closed. So they go
 * before that, though others may still have references on the request (req_look_poll()).
 */
static void let_files_go(struct uring_req *req)
{
    struct file *file, *watched;

    lock_acquire(&req->ring->lock);
    file = req->file;
    watched = req->poll.file;
    req->was_file = file;
    req->file = NULL;
    req->poll.file = NULL;
    lock_release(&req->ring->lock);
    file_unref(watched);
    file_unref(file);
}

/* What was registered and is in use: what has a tag is told of after the request's completion. */
static void drop_uses(struct uring_req *req, bool tagged)
{
    for (int i = 0; i < URING_USE_COUNT; i++) {
        if (req->uses[i] && (tagged || !req->uses[i]->tag))
            uring_hold(req, (enum uring_use)i, NULL);
    }
}

/* Out of the list of live ones, and its completion posted. */
static void retire(struct uring_req *req, int64_t res, bool good)
{
    struct uring *ring = req->ring;
    uint8_t opcode = req->sqe.opcode;
    bool timeout = opcode == URING_TIMEOUT || opcode == URING_LINK_TIMEOUT;
    uint64_t user_data;

    let_files_go(req);
    drop_uses(req, false);
    lock_acquire(&ring->lock);
    user_data = req->user_data;
    lock_release(&ring->lock);
    if (!(req->skip && good))
        uring_post(ring, user_data, (int32_t)res, req->cqe_flags, timeout);
    lock_acquire(&ring->lock);
    list_del_init(&req->live);
    ring->live_count--;
    ring->drains -= req->drain;
    ring->counting -= req->counted;
    lock_release(&ring->lock);
    drop_uses(req, true);
    wait_queue_wake(&ring->queue, POLLIN | POLLRDNORM);
}

/* The timeout that was to end this request, no longer needed. */
static void drop_timer(struct uring_req *req)
{
    struct uring *ring = req->ring;
    struct uring_req *timer;
    bool mine = false;

    lock_acquire(&ring->lock);
    timer = req->timer;
    req->timer = NULL;
    if (timer) {
        timer->timed = NULL;
        mine = timer->state == REQ_TIMER;
        if (mine)
            timer->state = REQ_BUSY;
    }
    lock_release(&ring->lock);
    if (mine)
        uring_end_timeout(timer, -ECANCELED);
}

void uring_fail(struct uring_req *req, int64_t res, bool silent)
{
    req->skip = silent;
    retire(req, res, silent);
    req_unref(req);
}

/* The rest of a chain that broke; in silence if the one that broke it wanted no completion. */
static void cancel_chain(struct uring_req *req, bool silent)
{
    while (req) {
        struct uring_req *next = req->next;

        uring_fail(req, -ECANCELED, silent);
        req = next;
    }
}

/* Finishes it; the request that is to be tried next, or NULL. */
static struct uring_req *complete(struct uring_req *req, int64_t res)
{
    bool broken = breaks_chain(req, res), hard = req->sqe.flags & SQE_IO_HARDLINK;
    bool silent = req->skip;
    struct uring_req *next = req->next;

    req->next = NULL;
    retire(req, res, !broken);
    drop_timer(req);
    /* A LINK_TIMEOUT whose request is done already was never armed. */
    if (next && next->sqe.opcode == URING_LINK_TIMEOUT) {
        struct uring_req *after = next->next;

        uring_fail(next, -ECANCELED, next->skip);
        next = after;
    }
    if (next && broken && !hard) {
        cancel_chain(next, silent);
        next = NULL;
    }
    req_unref(req);
    return next;
}

/* ---- trying --------------------------------------------------------------------------------- */

/* The bodies of system calls answer restart codes, which mean nothing here. */
static int64_t settle(const struct uring_req *req, int64_t res)
{
    if (res > -ERESTARTSYS || res < -ERESTART_RESTARTBLOCK)
        return res;
    return req->cancelled ? -ECANCELED : -EINTR;
}

static int find_file(struct uring_req *req, struct task *task)
{
    struct uring *ring = req->ring;

    if (req->file || !(req->op->flags & OP_FILE))
        return 0;
    if (req->sqe.flags & SQE_FIXED_FILE) {
        lock_acquire(&ring->submit_lock);
        req->file = uring_use_file(req, URING_USE_FILE, (uint32_t)req->sqe.fd);
        lock_release(&ring->submit_lock);
    } else {
        req->file = task_file(task, req->sqe.fd);
    }
    return req->file ? 0 : -EBADF;
}

static void poll_ref(struct async_poll *poll)
{
    req_ref(container_of(poll, struct uring_req, poll));
}

/* On a thread of the pool: the file that a request waits for has changed. */
static void poll_ready(struct async_poll *poll)
{
    struct uring_req *req = container_of(poll, struct uring_req, poll);

    if (uring_claim(req, REQ_POLL)) {
        async_poll_stop(&req->poll);
        proxy_enter(req->proxy);
        uring_run(req, req->proxy);
        proxy_leave();
    }
    req_unref(req);
}

/* With a reference of the caller's own, since the request may be finished in the meantime. */
static bool arm(struct uring_req *req)
{
    struct uring *ring = req->ring;
    bool cancelled;

    if (async_poll_start(&req->poll))
        return false;
    lock_acquire(&ring->lock);
    cancelled = req->cancelled;
    if (!cancelled)
        req->state = REQ_POLL;
    lock_release(&ring->lock);
    /* What came before the state was set found nobody to claim; so look once more. */
    if (!cancelled && (!req_look_poll(req) || !uring_claim(req, REQ_POLL)))
        return true;
    async_poll_stop(&req->poll);
    return false;
}

/* Watches the file. False: it is ready now, try again. */
static bool watch_file(struct uring_req *req)
{
    uint32_t events = req->op->flags & OP_OUT ? POLLOUT : POLLIN;
    bool armed;

    if (!req->poll.file) {
        async_poll_init(&req->poll, req->file, events);
        req->poll.ref = poll_ref;
        req->poll.ready = poll_ready;
    }
    req_ref(req);
    armed = arm(req);
    req_unref(req);
    return armed;
}

int64_t req_to_worker(struct uring_req *req, struct task *task)
{
    if (req_need_proxy(req, task) < 0)
        return -ENOMEM;
    req->worker = true;
    uring_worker_start(req);
    return REQ_PENDING;
}

/* Issues it, for as long as the file seems ready. */
static int64_t attempt(struct uring_req *req, struct task *task)
{
    uint32_t wait = req->op->flags & (OP_IN | OP_OUT);
    int64_t res = find_file(req, task);

    while (res == 0) {
        if (req->cancelled)
            return -ECANCELED;
        res = req->op->issue(req, task);
        if (res != -EAGAIN || !wait || req->nowait || !req->file || !req->file->ops->poll)
            return settle(req, res);
        res = req_need_proxy(req, task);
        if (res < 0)
            return res;
        uring_arm_link_timeout(req);
        if (watch_file(req))
            return REQ_PENDING;
    }
    return res;
}

/* Returns the old one. Others look at a task's identity under its process's lock. */
static const struct cred *swap_cred(struct task *task, const struct cred *cred)
{
    const struct cred *old;

    lock_acquire(&task->process->lock);
    old = task->cred;
    task->cred = cred;
    lock_release(&task->process->lock);
    cred_use_for_files(cred);
    return old;
}

/* With the identity that the entry asked for. */
static int64_t try_once(struct uring_req *req, struct task *task)
{
    const struct cred *own = task->cred;
    int64_t res;

    if (!req->worker && ((req->op->flags & OP_WORKER) || (req->sqe.flags & SQE_ASYNC))) {
        res = find_file(req, task);
        return res < 0 ? res : req_to_worker(req, task);
    }
    if (!req->cred)
        return attempt(req, task);
    /* A reference of its own: another thread may finish the request as soon as it is pending. */
    swap_cred(task, cred_ref(req->cred));
    res = attempt(req, task);
    cred_unref(swap_cred(task, own));
    return res;
}

void uring_run(struct uring_req *req, struct task *task)
{
    struct uring *ring = uring_ref(req->ring);
    struct task *proxy = NULL;

    while (req) {
        int64_t res = try_once(req, task);
        struct task *used;

        if (res == REQ_PENDING)
            break;
        /* The proxy that works here goes on with the chain, and must outlive its request. */
        used = req->proxy ? task_ref(req->proxy) : NULL;
        req = complete(req, res);
        task_unref(proxy);
        proxy = used;
    }
    task_unref(proxy);
    uring_release_held(ring);
    uring_unref(ring);
}

/* The next of a chain, when it was no thread's that could go on with it. */
static void next_job(struct async_job *job)
{
    struct uring_req *req = container_of(job, struct uring_req, job);

    proxy_enter(req->proxy);
    uring_run(req, req->proxy);
    proxy_leave();
}

void uring_finish(struct uring_req *req, int64_t res)
{
    struct uring *ring = uring_ref(req->ring);
    struct task *proxy = req->proxy ? task_ref(req->proxy) : NULL;
    struct uring_req *next = complete(req, res);

    if (next && proxy && req_need_proxy(next, proxy) == 0) {
        async_job_init(&next->job, next_job);
        async_start(&next->job);
    } else if (next) {
        cancel_chain(next, false);
    }
    task_unref(proxy);
    uring_release_held(ring);
    uring_unref(ring);
}

/* ---- the drain ------------------------------------------------------------------------------ */

/* Must it wait: one that drains for all that is older, every other for an older one that drains. */
static bool must_wait_locked(const struct uring_req *req)
{
    const struct uring_req *older;

    list_for_each (older, &req->ring->live, live) {
        if (older == req)
            return false;
        if (req->drain || older->drain || older->held)
            return true;
    }
    return false;
}

static bool hold(struct uring_req *req)
{
    struct uring *ring = req->ring;
    bool wait;

    lock_acquire(&ring->lock);
    wait = must_wait_locked(req);
    if (wait) {
        req->held = true;
        req->state = REQ_CHAIN;
        ring->held_count++;
    }
    lock_release(&ring->lock);
    return wait;
}

static struct uring_req *next_held(struct uring *ring)
{
    struct uring_req *req, *found = NULL;
    bool older = false, drain = false;

    lock_acquire(&ring->lock);
    if (ring->held_count > 0) {
        list_for_each (req, &ring->live, live) {
            if (req->held) {
                found = drain || (req->drain && older) ? NULL : req;
                break; /* if it has to wait, so has all behind it */
            }
            older = true;
            drain |= req->drain;
        }
    }
    if (found) {
        found->held = false;
        found->state = REQ_BUSY;
        ring->held_count--;
    }
    lock_release(&ring->lock);
    return found;
}

void uring_release_held(struct uring *ring)
{
    struct uring_req *req;

    while ((req = next_held(ring))) {
        async_job_init(&req->job, next_job);
        async_start(&req->job);
    }
}

void uring_start(struct uring_req *req, struct task *task)
{
    struct uring *ring = req->ring;
    bool slow;

    lock_acquire(&ring->lock);
    ring->drains += req->drain;
    slow = ring->drains > 0 || ring->held_count > 0;
    lock_release(&ring->lock);
    if (slow && req_need_proxy(req, task) == 0 && hold(req))
        return;
    uring_run(req, task);
}
