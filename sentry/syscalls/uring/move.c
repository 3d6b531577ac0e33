/* Operations between files, and between rings. */
#include <errno.h>
#include <fcntl.h>

#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/file/splice.h"
#include "sentry/syscalls/uring/ops.h"

/* The file to move from: an ordinary descriptor, or a registered one. */
static struct file *source(struct uring_req *req, struct task *task)
{
    struct uring *ring = req->ring;
    struct file *file;

    if (!(req->sqe.op_flags & URING_SPLICE_FD_IN_FIXED))
        return task_file(task, (int)req->sqe.file_index);
    lock_acquire(&ring->submit_lock);
    file = uring_use_file(req, URING_USE_OTHER, req->sqe.file_index);
    lock_release(&ring->submit_lock);
    return file;
}

static int64_t move(struct uring_req *req, struct task *task, bool keep)
{
    int64_t in_pos = (int64_t)req->sqe.addr, out_pos = (int64_t)req->sqe.off;
    struct splice_request request = {
        .in = source(req, task),
        .out = req->file,
        .in_pos = in_pos == -1 ? NULL : &in_pos,
        .out_pos = out_pos == -1 ? NULL : &out_pos,
        .size = req->sqe.len,
        .flags = req->sqe.op_flags & ~URING_SPLICE_FD_IN_FIXED,
        .keep = keep,
    };
    int64_t n = -EBADF;

    req->result = req->sqe.len;
    if (request.in)
        n = req->sqe.len ? task_splice(task, &request) : 0;
    file_unref(request.in);
    return n;
}

int64_t splice_issue(struct uring_req *req, struct task *task)
{
    return move(req, task, false);
}

int64_t tee_issue(struct uring_req *req, struct task *task)
{
    if (req->sqe.addr || req->sqe.off)
        return -EINVAL;
    req->sqe.addr = req->sqe.off = (uint64_t)-1;
    return move(req, task, true);
}

static int64_t send_file(struct uring_req *req, struct uring *target)
{
    struct uring *ring = req->ring;
    struct file *file;
    uint32_t slot = req->sqe.file_index;
    int res;

    if (target == ring)
        return -EINVAL;
    lock_acquire(&ring->submit_lock);
    file = uring_fixed_file(ring, (uint32_t)req->sqe.addr3);
    lock_release(&ring->submit_lock);
    if (!file)
        return -EBADF;
    res = uring_install_fixed(target, file, slot);
    if (res >= 0 && !(req->sqe.op_flags & URING_MSG_CQE_SKIP))
        uring_post(target, req->sqe.off, (int32_t)req->sqe.len, 0, false);
    return res;
}

static bool is_disabled(struct uring *ring)
{
    bool disabled;

    lock_acquire(&ring->lock);
    disabled = ring->disabled;
    lock_release(&ring->lock);
    return disabled;
}

int uring_msg_data(struct uring *target, const struct uring_sqe *s)
{
    if (s->addr3 || (s->op_flags & ~URING_MSG_FLAGS_PASS))
        return -EINVAL;
    if (!(s->op_flags & URING_MSG_FLAGS_PASS) && s->file_index)
        return -EINVAL;
    if (is_disabled(target))
        return -EBADFD;
    uring_post(target, s->off, (int32_t)s->len, s->file_index, false);
    return 0;
}

int64_t msg_ring_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    struct uring *target;

    if (s->buf_index || s->personality)
        return -EINVAL;
    if (s->op_flags & ~(URING_MSG_CQE_SKIP | URING_MSG_FLAGS_PASS))
        return -EINVAL;
    if (!uring_is(req->file))
        return -EBADFD;
    target = uring_of(req->file);
    if (s->addr == URING_MSG_DATA)
        return uring_msg_data(target, s);
    if (s->addr != URING_MSG_SEND_FD)
        return -EINVAL;
    return is_disabled(target) ? -EBADFD : send_file(req, target);
}

int64_t files_update_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    const struct uring_rsrc_update update = {
        .offset = (uint32_t)s->off, .data = s->addr, .nr = s->len};
    int res;

    if (s->flags & (SQE_FIXED_FILE | SQE_BUFFER_SELECT))
        return -EINVAL;
    if (s->op_flags || s->file_index || !s->len)
        return -EINVAL;
    lock_acquire(&req->ring->submit_lock);
    if (update.offset == URING_FILE_INDEX_ALLOC)
        res = uring_place_files(req->ring, task, update.data, update.nr);
    else
        res = uring_update_files(req->ring, task, &update);
    lock_release(&req->ring->submit_lock);
    return res;
}

int64_t fixed_fd_install_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->off || s->addr || s->len || s->addr3 || (s->op_flags & ~1u))
        return -EINVAL;
    if (!(s->flags & SQE_FIXED_FILE))
        return -EBADF;
    if (req->cred)
        return -EPERM; /* not in the name of another */
    return task_install(task, file_ref(req->file), 0, !(s->op_flags & 1));
}
