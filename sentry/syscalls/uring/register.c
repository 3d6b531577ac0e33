/* io_uring_register(2). */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "sentry/fs/event/eventfd.h"
#include "sentry/kernel/cred.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/uring.h"

#define SPARSE 1 /* IORING_RSRC_REGISTER_SPARSE */

static int set_eventfd(struct uring *ring, struct task *task, uaddr_t arg, bool async)
{
    struct file *file, *old = NULL;
    int32_t fd;
    int err = 0;

    if (copy_struct_from_user(task->mm, &fd, arg) < 0)
        return -EFAULT;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    if (!eventfd_is(file))
        err = -EINVAL;
    lock_acquire(&ring->lock);
    if (!err && ring->eventfd)
        err = -EBUSY;
    old = err < 0 ? file : NULL;
    if (!err) {
        ring->eventfd = file;
        ring->eventfd_async = async;
    }
    lock_release(&ring->lock);
    file_unref(old);
    return err;
}

static int clear_eventfd(struct uring *ring)
{
    struct file *old;

    lock_acquire(&ring->lock);
    old = ring->eventfd;
    ring->eventfd = NULL;
    lock_release(&ring->lock);
    file_unref(old);
    return old ? 0 : -ENXIO;
}

static int probe(struct task *task, uaddr_t arg, uint32_t count)
{
    const struct uring_probe head = {.last_op = URING_OP_COUNT - 1};
    struct uring_probe given;
    int err = 0;

    count = MIN(count, (uint32_t)URING_OP_COUNT);
    if (copy_struct_from_user(task->mm, &given, arg) < 0)
        return -EFAULT;
    if (given.last_op || given.ops_len || given.resv || given.resv2[0] || given.resv2[1] ||
        given.resv2[2])
        return -EINVAL;
    given = head;
    given.ops_len = (uint8_t)count;
    err = copy_struct_to_user(task->mm, arg, &given);
    for (uint32_t i = 0; i < count && !err; i++) {
        const struct uring_op *op = uring_op_find((uint8_t)i);
        struct uring_probe_op answer = {.op = (uint8_t)i};

        answer.flags = op && !(op->flags & OP_SOCKET);
        err = copy_struct_to_user(task->mm, arg + sizeof(given) + i * sizeof(answer), &answer);
    }
    return err;
}

static int add_personality(struct uring *ring, struct task *task)
{
    for (size_t i = 0; i < ARRAY_COUNT(ring->creds); i++) {
        if (!ring->creds[i]) {
            ring->creds[i] = cred_ref(task->cred);
            return (int)i + 1;
        }
    }
    return -ENOSPC;
}

static int remove_personality(struct uring *ring, uint32_t id)
{
    if (id == 0 || id > ARRAY_COUNT(ring->creds) || !ring->creds[id - 1])
        return -EINVAL;
    ring->creds[id - 1] = cred_unref(ring->creds[id - 1]);
    return 0;
}

static int restrict_one(struct uring *ring, const struct uring_restriction *r)
{
    switch (r->opcode) {
    case URING_RESTRICTION_REGISTER_OP:
        if (r->what >= URING_REGISTER_COUNT)
            return -EINVAL;
        ring->allowed_registers |= 1UL << r->what;
        return 0;
    case URING_RESTRICTION_SQE_OP:
        if (r->what >= URING_OP_COUNT)
            return -EINVAL;
        ring->allowed_ops |= 1UL << r->what;
        return 0;
    case URING_RESTRICTION_SQE_FLAGS_ALLOWED:
        ring->allowed_flags = r->what;
        return 0;
    case URING_RESTRICTION_SQE_FLAGS_REQUIRED:
        ring->required_flags = r->what;
        return 0;
    }
    return -EINVAL;
}

static int restrict_ring(struct uring *ring, struct task *task, uaddr_t arg, uint32_t count)
{
    int err = 0;

    if (!ring->disabled)
        return -EBADFD;
    if (ring->restricted)
        return -EBUSY;
    if (!arg || count > URING_OP_COUNT + URING_REGISTER_COUNT + 2)
        return -EINVAL;
    for (uint32_t i = 0; i < count && !err; i++) {
        struct uring_restriction r;

        err = copy_struct_from_user(task->mm, &r, arg + i * sizeof(r));
        if (!err)
            err = restrict_one(ring, &r);
    }
    ring->restricted = err == 0;
    if (err < 0)
        ring->allowed_ops = ring->allowed_registers = 0;
    return err;
}

static int enable(struct uring *ring, struct task *task)
{
    int err = -EBADFD;

    lock_acquire(&ring->lock);
    if (ring->disabled) {
        ring->disabled = false;
        if (ring->flags & URING_SETUP_SINGLE_ISSUER)
            ring->issuer = task->tid;
        err = 0;
    }
    lock_release(&ring->lock);
    uring_poller_wake(ring);
    return err;
}

/* REGISTER_FILES2, REGISTER_BUFFERS2. */
static int register_many(struct uring *ring, struct task *task, uaddr_t arg, uint32_t size,
                         bool buffers)
{
    struct uring_rsrc_register r;

    if (size != sizeof(r))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &r, arg) < 0)
        return -EFAULT;
    if (!r.nr || r.resv2 || (r.flags & ~SPARSE))
        return -EINVAL;
    if ((r.flags & SPARSE) && r.data)
        return -EINVAL;
    if (buffers)
        return uring_register_buffers(ring, task, r.data, r.nr, r.tags);
    return uring_register_files(ring, task, r.data, r.nr, r.tags);
}

static int update_many(struct uring *ring, struct task *task, uaddr_t arg, uint32_t size,
                       bool buffers)
{
    struct uring_rsrc_update u;

    if (size != sizeof(u))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &u, arg) < 0)
        return -EFAULT;
    if (!u.nr || u.resv || u.resv2)
        return -EINVAL;
    return buffers ? uring_update_buffers(ring, task, &u) : uring_update_files(ring, task, &u);
}

/* The first interface: an offset, and the count beside it. */
static int update_files(struct uring *ring, struct task *task, uaddr_t arg, uint32_t count)
{
    struct uring_rsrc_update update;
    struct {
        uint32_t offset, resv;
        uint64_t data;
    } u;

    if (count == 0)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &u, arg) < 0)
        return -EFAULT;
    if (u.resv)
        return -EINVAL;
    update = (struct uring_rsrc_update){.offset = u.offset, .data = u.data, .nr = count};
    return uring_update_files(ring, task, &update);
}

/* Which clock the deadlines of waits are points of. */
static int set_clock(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct uring_clock clock;

    if (copy_struct_from_user(task->mm, &clock, arg) < 0)
        return -EFAULT;
    if (clock.resv[0] || clock.resv[1] || clock.resv[2])
        return -EINVAL;
    if (clock.clockid != CLOCK_MONOTONIC && clock.clockid != CLOCK_BOOTTIME)
        return -EINVAL;
    WRITE_ONCE(ring->clock, (clockid_t)clock.clockid);
    return 0;
}

/* No interface here can hand its queue to a program: what Linux says of one that cannot. */
static int receive_queue(struct uring *ring, struct task *task)
{
    if (!task_has_cap(task, CAP_NET_ADMIN))
        return -EPERM;
    if (!(ring->flags & URING_SETUP_DEFER_TASKRUN) ||
        !(ring->flags & (URING_SETUP_CQE32 | URING_SETUP_CQE_MIXED)))
        return -EINVAL;
    return -EOPNOTSUPP;
}

/* How the ring works, not what it has. */
static int tune(struct uring *ring, struct task *task, uint32_t op, uaddr_t arg, uint32_t count)
    __must_hold(ring->submit_lock)
{
    switch (op) {
    case URING_REGISTER_IOWQ_MAX_WORKERS:
        return uring_max_workers(ring, task, arg, count);
    case URING_REGISTER_IOWQ_AFF:
        return !arg || !count ? -EINVAL : uring_worker_cpus(ring, task, arg, count);
    case URING_UNREGISTER_IOWQ_AFF:
        return arg || count ? -EINVAL : uring_worker_cpus(ring, task, 0, 0);
    case URING_REGISTER_NAPI:
        return !arg || count != 1 ? -EINVAL : uring_napi(ring, task, arg);
    case URING_UNREGISTER_NAPI:
        return count != 1 ? -EINVAL : uring_no_napi(ring, task, arg);
    case URING_REGISTER_CLOCK:
        return !arg || count ? -EINVAL : set_clock(ring, task, arg);
    }
    return -EINVAL;
}

static int register_locked(struct uring *ring, struct task *task, uint32_t op, uaddr_t arg,
                           uint32_t count) __must_hold(ring->submit_lock)
{
    switch (op) {
    case URING_REGISTER_BUFFERS:
        return arg ? uring_register_buffers(ring, task, arg, count, 0) : -EFAULT;
    case URING_UNREGISTER_BUFFERS:
        return arg || count ? -EINVAL : uring_unregister_buffers(ring);
    case URING_REGISTER_FILES:
        return arg ? uring_register_files(ring, task, arg, count, 0) : -EFAULT;
    case URING_UNREGISTER_FILES:
        return arg || count ? -EINVAL : uring_unregister_files(ring);
    case URING_REGISTER_FILES_UPDATE:
        return update_files(ring, task, arg, count);
    case URING_REGISTER_EVENTFD:
    case URING_REGISTER_EVENTFD_ASYNC:
        return count != 1 ? -EINVAL
                          : set_eventfd(ring, task, arg, op == URING_REGISTER_EVENTFD_ASYNC);
    case URING_UNREGISTER_EVENTFD:
        return arg || count ? -EINVAL : clear_eventfd(ring);
    case URING_REGISTER_PROBE:
        return !arg || count > 256 ? -EINVAL : probe(task, arg, count);
    case URING_REGISTER_PERSONALITY:
        return arg || count ? -EINVAL : add_personality(ring, task);
    case URING_UNREGISTER_PERSONALITY:
        return arg ? -EINVAL : remove_personality(ring, count);
    case URING_REGISTER_ENABLE_RINGS:
        return arg || count ? -EINVAL : enable(ring, task);
    case URING_REGISTER_RESTRICTIONS:
        return restrict_ring(ring, task, arg, count);
    case URING_REGISTER_FILES2:
    case URING_REGISTER_BUFFERS2:
        return register_many(ring, task, arg, count, op == URING_REGISTER_BUFFERS2);
    case URING_REGISTER_FILES_UPDATE2:
    case URING_REGISTER_BUFFERS_UPDATE:
        return update_many(ring, task, arg, count, op == URING_REGISTER_BUFFERS_UPDATE);
    case URING_REGISTER_PBUF_RING:
        return !arg || count != 1 ? -EINVAL : uring_register_group(ring, task, arg);
    case URING_UNREGISTER_PBUF_RING:
        return !arg || count != 1 ? -EINVAL : uring_unregister_group(ring, task, arg);
    case URING_REGISTER_FILE_ALLOC_RANGE:
        return !arg || count ? -EINVAL : uring_file_range(ring, task, arg);
    case URING_REGISTER_PBUF_STATUS:
        return !arg || count != 1 ? -EINVAL : uring_group_status(ring, task, arg);
    case URING_REGISTER_ZCRX_IFQ:
        return !arg || count != 1 ? -EINVAL : receive_queue(ring, task);
    case URING_REGISTER_RESIZE_RINGS:
        return !arg || count != 1 ? -EINVAL : uring_resize(ring, task, arg);
    case URING_REGISTER_MEM_REGION:
        return !arg || count != 1 ? -EINVAL : uring_register_region(ring, task, arg);
    }
    return tune(ring, task, op, arg, count);
}

static int sync_cancel(struct uring *ring, struct task *task, uaddr_t arg, uint32_t count)
{
    struct uring_sync_cancel cancel;

    if (!arg || count != 1)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &cancel, arg) < 0)
        return -EFAULT;
    return uring_sync_cancel(ring, task, &cancel);
}

/* What is done without the lock: it waits, may end a ring, takes locks of two, or needs none. */
static int register_unlocked(struct uring *ring, struct task *task, uint32_t op, uaddr_t arg,
                             uint32_t count)
{
    switch (op) {
    case URING_REGISTER_SYNC_CANCEL:
        return sync_cancel(ring, task, arg, count);
    case URING_REGISTER_CLONE_BUFFERS:
        return !arg || count != 1 ? -EINVAL : uring_clone_buffers(ring, task, arg);
    case URING_REGISTER_QUERY:
        return uring_query(task, arg, count);
    }
    return uring_register_rings(task, op == URING_REGISTER_RING_FDS, arg, count);
}

static bool needs_lock(uint32_t op)
{
    return op != URING_REGISTER_SYNC_CANCEL && op != URING_REGISTER_RING_FDS &&
           op != URING_UNREGISTER_RING_FDS && op != URING_REGISTER_CLONE_BUFFERS &&
           op != URING_REGISTER_QUERY;
}

static int do_register(struct uring *ring, struct task *task, uint32_t op, uaddr_t arg,
                       uint32_t count)
{
    bool locked = needs_lock(op);
    int err = 0;

    if ((ring->flags & URING_SETUP_SINGLE_ISSUER) && ring->issuer && ring->issuer != task->tid)
        return -EEXIST;
    lock_acquire(&ring->submit_lock);
    if (ring->restricted && !ring->disabled && !(ring->allowed_registers >> op & 1))
        err = -EACCES;
    else if (locked)
        err = register_locked(ring, task, op, arg, count);
    lock_release(&ring->submit_lock);
    return err < 0 || locked ? err : register_unlocked(ring, task, op, arg, count);
}

/* With -1 for a ring. */
static long register_nowhere(struct task *task, uint32_t op, uaddr_t arg, uint32_t count)
{
    switch (op) {
    case URING_REGISTER_SEND_MSG_RING:
        return uring_send_message(task, arg, count);
    case URING_REGISTER_QUERY:
        return uring_query(task, arg, count);
    }
    return -EINVAL;
}

SYSCALL_DEFINE4(io_uring_register, unsigned, fd, uint32_t, op, uaddr_t, arg, uint32_t, count)
{
    bool registered = op & URING_REGISTER_USE_REGISTERED_RING;
    struct file *file;
    long result;

    op &= ~URING_REGISTER_USE_REGISTERED_RING;
    if (op >= URING_REGISTER_COUNT)
        return -EINVAL;
    if (fd == UINT32_MAX)
        return register_nowhere(task, op, arg, count);
    result = uring_file(task, fd, registered, &file);
    if (result < 0)
        return result;
    result = -EOPNOTSUPP;
    if (uring_is(file))
        result = do_register(uring_of(file), task, op, arg, count);
    file_unref(file);
    return result;
}
