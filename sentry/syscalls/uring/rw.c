/* Operations that move bytes: reads and writes, with buffers of the entry, registered or provided.
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>

#include "sentry/kernel/cred.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/ops.h"

#define LINUX_RWF_NOAPPEND 0x20
#define RWF_KNOWN          (LINUX_RWF_NOAPPEND | RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC | RWF_APPEND)

static bool is_write(const struct uring_req *req)
{
    return req->op->flags & OP_OUT;
}

static bool is_vectored(const struct uring_req *req)
{
    return req->sqe.opcode == URING_READV || req->sqe.opcode == URING_WRITEV;
}

/* ioprio_set(2): a class, and a level within it. It is checked; who is served first is the host's.
 */
static int check_ioprio(const struct uring_req *req, const struct task *task)
{
    uint16_t class = req->sqe.ioprio >> 13, level = req->sqe.ioprio & 7;

    switch (class) {
    case 0:
        return level ? -EINVAL : 0;
    case 1:
        return task_has_cap(task, CAP_SYS_ADMIN) || task_has_cap(task, CAP_SYS_NICE) ? 0 : -EPERM;
    case 2:
    case 3:
        return 0;
    }
    return -EINVAL;
}

int rw_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *sqe = &req->sqe;
    int err = check_ioprio(req, task);

    if (err < 0)
        return err;
    if (sqe->op_flags & ~(uint32_t)RWF_KNOWN)
        return -EOPNOTSUPP;
    if (sqe->flags & SQE_BUFFER_SELECT) {
        if (is_vectored(req) && sqe->len != 1)
            return -EINVAL;
        return 0; /* the buffer is picked when there is something to read */
    }
    if (is_vectored(req))
        err = uio_import(&req->uio, task->mm, sqe->addr, sqe->len);
    else
        uio_init_user(&req->uio, task->mm, sqe->addr, sqe->len);
    req->uio_ready = err == 0;
    req->result = (int64_t)req->uio.left;
    return err;
}

int rw_fixed_prep(struct uring_req *req, struct task *task)
{
    if (req->sqe.op_flags & ~(uint32_t)RWF_KNOWN)
        return -EOPNOTSUPP;
    return check_ioprio(req, task);
}

/* The registered buffer is looked up when the request is tried first. */
static int find_buffer(struct uring_req *req, struct task *task)
{
    bool vectored = req->sqe.opcode == URING_READV_FIXED || req->sqe.opcode == URING_WRITEV_FIXED;
    int err;

    lock_acquire(&req->ring->submit_lock);
    err = vectored ? uring_fixed_vectors(req, task) : uring_fixed_uio(req, task);
    lock_release(&req->ring->submit_lock);
    req->uio_ready = err == 0;
    req->result = (int64_t)req->uio.left;
    return err;
}

/* The provided buffer becomes what the entry's own would be. */
static int take_buffer(struct uring_req *req, struct task *task)
{
    uint32_t size;
    int err;

    if (req->has_buffer)
        return 0;
    if (!is_write(req) && req->file->ops->poll &&
        !(file_poll(req->file, NULL) & (POLLIN | POLLHUP | POLLERR)))
        return -EAGAIN; /* none is taken before there is something to put into it */
    err = uring_select_buffer(req, task);
    if (err < 0)
        return err;
    size = req->sqe.len && !is_vectored(req) ? MIN(req->sqe.len, req->buffer.len) : req->buffer.len;
    uio_init_user(&req->uio, task->mm, req->buffer.addr, size);
    req->uio_ready = true;
    req->result = size;
    req->cqe_flags |= CQE_BUFFER | (uint32_t)req->buffer.bid << CQE_BUFFER_SHIFT;
    return 0;
}

static ssize_t move(struct uring_req *req)
{
    struct file *file = req->file;
    int64_t pos = (int64_t)req->sqe.off;

    if (pos == -1 || !file->ops->llseek)
        return is_write(req) ? file_write(file, &req->uio) : file_read(file, &req->uio);
    return is_write(req) ? file_pwrite(file, &req->uio, pos) : file_pread(file, &req->uio, pos);
}

int64_t rw_issue(struct uring_req *req, struct task *task)
{
    struct file *file = req->file;
    ssize_t n;

    if (!(is_write(req) ? file_can_write(file) : file_can_read(file)))
        return -EBADF;
    if (!(is_write(req) ? file->ops->write : file->ops->read))
        return -EINVAL;
    if (req->ring->flags & URING_SETUP_IOPOLL)
        return -EOPNOTSUPP; /* no file here can be polled for the end of a transfer */
    if (req->sqe.flags & SQE_BUFFER_SELECT)
        n = take_buffer(req, task);
    else
        n = req->uio_ready ? 0 : find_buffer(req, task);
    if (n == 0)
        n = move(req);
    if (n == -EINTR) /* the host's word for a thread that was kicked */
        n = move(req);
    if (n == -EPIPE && is_write(req))
        signal_send_task(task, SIGPIPE, NULL);
    req->nowait = req->sqe.op_flags & RWF_NOWAIT;
    return n;
}

int read_multishot_prep(struct uring_req *req, struct task *task)
{
    if (!(req->sqe.flags & SQE_BUFFER_SELECT) || req->sqe.len)
        return -EINVAL;
    return rw_prep(req, task);
}

/* READ_MULTISHOT: a completion for each time that something is there. */
int64_t read_multishot_issue(struct uring_req *req, struct task *task)
{
    ssize_t n;

    if (!req->file->ops->poll)
        return -EBADFD;
    req->multishot = true;
    for (;;) {
        req->has_buffer = req->uio_ready = false;
        req->cqe_flags = 0;
        n = rw_issue(req, task);
        if (n <= 0)
            return n;
        if (!uring_post_more(req->ring, req->user_data, (int32_t)n, req->cqe_flags, false))
            return n; /* the last one, then */
    }
}

int64_t nop_issue(struct uring_req *req, struct task *task)
{
    int64_t res = 0;

    if (req->sqe.op_flags & URING_NOP_INJECT_RESULT)
        res = (int32_t)req->sqe.len;
    return res;
}

/* It may name a file and a buffer, for no purpose but to find out what that costs. */
int nop_prep(struct uring_req *req, struct task *task)
{
    uint32_t flags = req->sqe.op_flags;

    if (flags & ~URING_NOP_FLAGS)
        return -EINVAL;
    if (flags & URING_NOP_FILE) {
        req->file = flags & URING_NOP_FIXED_FILE
                        ? uring_use_file(req, URING_USE_FILE, (uint32_t)req->sqe.fd)
                        : task_file(task, req->sqe.fd);
        if (!req->file)
            return -EBADF;
    }
    return (flags & URING_NOP_FIXED_BUFFER) && !uring_has_buffer(req) ? -EFAULT : 0;
}
