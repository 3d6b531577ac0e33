/*
 * Requests that a thread of the pool does, and how many of a ring at a time: Linux limits the
 * workers of a task by what may take for ever (unbounded: all but regular files) and what may not.
 * Here the pool's threads are everybody's, and a ring's requests wait in line for them.
 *
 *   REQ_WORKER: started -> waits in its kind's list -> with a thread -> done, the next one starts
 *
 * What only waits (OP_WAITS), or is handed over because a peer's buffer is full, needs no worker on
 * Linux, and counts for nothing here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "host/thread.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

#define NAPI_TRACK_DYNAMIC 0
#define NAPI_TRACK_STATIC  1
#define NAPI_TRACK_NOTHING 255

#define NAPI_REGISTER      0
#define NAPI_ADD           1
#define NAPI_REMOVE        2
#define NAPI_ID_MIN        1025 /* MIN_NAPI_ID of a Linux for 1024 processors */

void uring_workers_init(struct uring *ring, struct task *task, uint32_t entries) __no_lock_analysis
{
    ring->kinds[0].max = MIN(entries, 4 * kernel_cpu_count(task->kernel));
    ring->kinds[1].max = (uint32_t)MIN(task_rlimit(task, RLIMIT_NPROC), (uint64_t)INT32_MAX);
    list_init(&ring->kinds[0].waiting);
    list_init(&ring->kinds[1].waiting);
    ring->napi.tracking = NAPI_TRACK_NOTHING;
}

static bool is_regular(const struct file *file)
{
    return file && file->at.dentry && S_ISREG(inode_mode(file->at.dentry->inode));
}

static struct uring_kind *kind_of(const struct uring_req *req) __no_lock_analysis
{
    uint32_t flags = req->op->flags;

    if ((flags & OP_WAITS) || !((flags & OP_WORKER) || (req->sqe.flags & SQE_ASYNC)))
        return NULL;
    return &req->ring->kinds[(flags & OP_ENDLESS) && !is_regular(req->file)];
}

/* As many as there is room for; their jobs are the pool's from here on. */
static void start_waiting_locked(struct uring_kind *kind)
{
    while (kind->running < kind->max && !list_empty(&kind->waiting)) {
        struct uring_req *req = list_first(&kind->waiting, struct uring_req, waiting);

        list_del_init(&req->waiting);
        kind->running++;
        async_start(&req->job);
    }
}

/* True: the thread has to be freed again. */
static bool bind_thread(struct uring *ring)
{
    uint64_t cpus[ARRAY_COUNT(ring->kernel->cpus)];
    bool binds;

    lock_acquire(&ring->lock);
    binds = ring->worker_cpus != NULL;
    if (binds)
        memcpy(cpus, ring->worker_cpus, sizeof(cpus));
    lock_release(&ring->lock);
    if (binds)
        host_set_affinity(0, cpus, sizeof(cpus));
    return binds;
}

static void worker_run(struct async_job *job)
{
    struct uring_req *req = container_of(job, struct uring_req, job);
    struct uring *ring = uring_ref(req->ring);
    struct uring_kind *kind = req->kind;
    bool bound = bind_thread(ring);

    proxy_enter(req->proxy);
    uring_run(req, req->proxy);
    proxy_leave();
    if (bound)
        host_set_affinity(0, ring->kernel->cpus, sizeof(ring->kernel->cpus));
    if (kind) {
        lock_acquire(&ring->lock);
        kind->running--;
        start_waiting_locked(kind);
        lock_release(&ring->lock);
    }
    uring_unref(ring);
}

void uring_worker_start(struct uring_req *req)
{
    struct uring *ring = req->ring;
    struct uring_kind *kind = kind_of(req);
    bool waits = false;

    async_job_init(&req->job, worker_run);
    lock_acquire(&ring->lock);
    req->kind = NULL;
    req->state = REQ_WORKER;
    lock_release(&ring->lock);
    uring_arm_link_timeout(req);
    lock_acquire(&ring->lock);
    if (kind && !req->cancelled) {
        req->kind = kind;
        waits = kind->running >= kind->max;
        if (waits)
            list_add_tail(&kind->waiting, &req->waiting); /* somebody else's from here on */
        else
            kind->running++;
    }
    lock_release(&ring->lock);
    if (!waits)
        async_start(&req->job);
}

bool uring_worker_take_back_locked(struct uring_req *req)
{
    if (!list_empty(&req->waiting)) {
        list_del_init(&req->waiting);
        return true;
    }
    if (!async_take_back(&req->job))
        return false;
    if (req->kind) {
        req->kind->running--;
        start_waiting_locked(req->kind);
    }
    return true;
}

/* 0 only asks. */
int uring_max_workers(struct uring *ring, struct task *task, uaddr_t arg, uint32_t count)
{
    uint64_t most = task_rlimit(task, RLIMIT_NPROC);
    uint32_t given[2], before[2];

    if (!arg || count != 2)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &given, arg) < 0)
        return -EFAULT;
    if (given[0] > INT32_MAX || given[1] > INT32_MAX)
        return -EINVAL;
    lock_acquire(&ring->lock);
    for (int i = 0; i < 2; i++) {
        before[i] = ring->kinds[i].max;
        if (given[i])
            ring->kinds[i].max = (uint32_t)MIN((uint64_t)given[i], most);
        start_waiting_locked(&ring->kinds[i]);
    }
    lock_release(&ring->lock);
    return copy_struct_to_user(task->mm, arg, &before);
}

/* The program's mask, without processors that no machine of this size has. NULL: none of them. */
static int read_cpus(struct task *task, uaddr_t arg, uint32_t size, uint64_t **ret)
{
    const uint64_t *there = task->kernel->cpus;
    const size_t words = ARRAY_COUNT(task->kernel->cpus);
    uint64_t *cpus = calloc(words, sizeof(*cpus)), any = 0, beyond = UINT64_MAX;
    int err = cpus ? 0 : -ENOMEM;

    if (!err)
        err = copy_from_user(task->mm, cpus, arg, MIN((size_t)size, words * sizeof(*cpus)));
    for (size_t i = words; !err && i-- > 0;) {
        /* Of the highest word with a processor, the bits above that one; below it, none. */
        if (beyond && there[i])
            beyond = there[i] >> 63 ? 0 : UINT64_MAX << (64 - __builtin_clzl(there[i]));
        cpus[i] &= ~beyond;
        if (cpus[i] & ~there[i])
            err = -EINVAL;
        any |= cpus[i];
        if (there[i])
            beyond = 0;
    }
    if (err || !any) {
        free(cpus);
        cpus = NULL;
    }
    *ret = cpus;
    return err;
}

int uring_worker_cpus(struct uring *ring, struct task *task, uaddr_t arg, uint32_t size)
{
    uint64_t *cpus = NULL, *old;
    int err = arg ? read_cpus(task, arg, size, &cpus) : 0;

    if (err < 0)
        return err;
    lock_acquire(&ring->lock);
    old = ring->worker_cpus;
    ring->worker_cpus = cpus;
    lock_release(&ring->lock);
    free(old);
    return 0;
}

/* ---- busy polling --------------------------------------------------------------------------- */

struct napi_args {
    uint32_t busy_us;
    uint8_t prefer, op, pad[2];
    uint32_t param, resv;
};
static_assert(sizeof(struct napi_args) == 16, "as struct io_uring_napi");

static int change_ids(struct uring_napi_state *n, uint32_t id, bool add)
{
    uint32_t *place = NULL;

    if (n->tracking != NAPI_TRACK_STATIC || id < NAPI_ID_MIN)
        return -EINVAL;
    for (size_t i = 0; i < URING_NAPI_IDS; i++) {
        if (n->ids[i] == id) {
            n->ids[i] = add ? id : 0;
            return add ? -EEXIST : 0;
        }
        if (!n->ids[i])
            place = &n->ids[i];
    }
    if (!add)
        return -ENOENT;
    if (!place)
        return -ENOMEM;
    *place = id;
    return 0;
}

int uring_napi(struct uring *ring, struct task *task, uaddr_t arg) __must_hold(ring->submit_lock)
{
    struct uring_napi_state *n = &ring->napi;
    const struct napi_args before = {n->busy_us, n->prefer, .param = n->tracking};
    struct napi_args a;

    if (ring->flags & URING_SETUP_IOPOLL)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &a, arg) < 0)
        return -EFAULT;
    if (a.pad[0] || a.pad[1] || a.resv)
        return -EINVAL;
    if (copy_struct_to_user(task->mm, arg, &before) < 0)
        return -EFAULT;
    switch (a.op) {
    case NAPI_REGISTER:
        if (a.param != NAPI_TRACK_DYNAMIC && a.param != NAPI_TRACK_STATIC)
            return -EINVAL;
        *n = (struct uring_napi_state){a.busy_us, a.param, a.prefer != 0, {0}};
        return 0;
    case NAPI_ADD:
    case NAPI_REMOVE:
        return change_ids(n, a.param, a.op == NAPI_ADD);
    }
    return -EINVAL;
}

int uring_no_napi(struct uring *ring, struct task *task, uaddr_t arg) __must_hold(ring->submit_lock)
{
    struct uring_napi_state *n = &ring->napi;
    const struct napi_args before = {n->busy_us, n->prefer};

    if (arg && copy_struct_to_user(task->mm, arg, &before) < 0)
        return -EFAULT;
    *n = (struct uring_napi_state){.tracking = NAPI_TRACK_NOTHING};
    return 0;
}
