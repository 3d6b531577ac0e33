/*
 * Operations on sockets. Each is tried without waiting; a socket that is not ready is watched like
 * any file. Where readiness of the socket itself is not what is waited for (a full receiver's
 * queue, a full backlog), a thread of the pool waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/net_internal.h"
#include "sentry/syscalls/uring/ops.h"

int uring_need_net(struct uring_req *req)
{
    req->net = calloc(1, sizeof(*req->net));
    return req->net ? 0 : -ENOMEM;
}

static bool is_message(const struct uring_req *req)
{
    return req->sqe.opcode == URING_SENDMSG || req->sqe.opcode == URING_SENDMSG_ZC ||
           req->sqe.opcode == URING_RECVMSG;
}

/* The buffers of one operation are there. */
static int set_buffers(struct uring_req *req, int err)
{
    req->uio_ready = err == 0;
    req->net->whole = err == 0 ? req->uio.left : 0;
    return err;
}

static int import_header(struct uring_req *req, struct task *task, bool sends)
{
    struct uring_net *net = req->net;

    if (copy_struct_from_user(task->mm, &net->hdr, req->sqe.addr) < 0)
        return -EFAULT;
    return set_buffers(req, msghdr_import(task, &net->hdr, sends, &net->to, &req->uio));
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static int check_send(const struct uring_req *req, bool zero_copy)
{
    uint32_t known = URING_RECVSEND_POLL_FIRST;

    if (zero_copy)
        known |= URING_RECVSEND_FIXED_BUF | URING_SEND_ZC_REPORT_USAGE;
    else
        known |= URING_RECVSEND_BUNDLE;
    if (req->sqe.ioprio & ~known)
        return -EINVAL;
    return zero_copy && (req->sqe.flags & SQE_CQE_SKIP_SUCCESS) ? -EINVAL : 0;
}

int send_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    int err = check_send(req, s->opcode == URING_SEND_ZC);

    if (!err)
        err = uring_need_net(req);
    if (!err && s->off)
        err = address_from_user(task, s->off, (int)(s->file_index & 0xffff), &req->net->to);
    if (err < 0)
        return err;
    req->nowait = s->op_flags & MSG_DONTWAIT;
    if (s->ioprio & URING_RECVSEND_BUNDLE)
        req->sqe.op_flags |= MSG_WAITALL;
    if (s->flags & SQE_BUFFER_SELECT)
        return 0;
    if (s->ioprio & URING_RECVSEND_FIXED_BUF)
        return set_buffers(req, uring_fixed_uio(req, task));
    uio_init_user(&req->uio, task->mm, s->addr, s->len);
    return set_buffers(req, 0);
}

int sendmsg_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    int err = check_send(req, s->opcode == URING_SENDMSG_ZC);

    if (!err && (s->off || s->file_index || (s->ioprio & URING_RECVSEND_BUNDLE)))
        err = -EINVAL;
    if (!err)
        err = uring_need_net(req);
    if (err < 0)
        return err;
    req->nowait = s->op_flags & MSG_DONTWAIT;
    return import_header(req, task, true);
}

static ssize_t send_now(struct uring_req *req, struct task *task, struct socket *s, bool nonblock)
{
    struct uring_net *net = req->net;
    int flags = (int)(req->sqe.op_flags | MSG_NOSIGNAL | (nonblock ? MSG_DONTWAIT : 0));

    return socket_sendmsg_uio(task, s, &net->hdr, net->to.size ? &net->to : NULL, &req->uio, flags,
                              nonblock);
}

/* What all attempts together have come to. */
static int64_t total(struct uring_req *req, ssize_t n)
{
    struct uring_net *net = req->net;

    if (n > 0)
        net->done += (uint64_t)n;
    else if (net->done == 0)
        return n;
    req->failed = (req->sqe.op_flags & MSG_WAITALL) && net->done < net->whole;
    return (int64_t)net->done;
}

static bool is_bundle(const struct uring_req *req)
{
    return (req->sqe.ioprio & URING_RECVSEND_BUNDLE) && (req->sqe.flags & SQE_BUFFER_SELECT);
}

/* Buffers of the request's group that take `max` bytes: one, or a bundle of them. */
static int take_buffers(struct uring_req *req, struct task *task, uint64_t max)
{
    int err;

    if (is_bundle(req)) {
        err = uring_select_bundle(req, task, max, &req->net->drained);
    } else {
        err = uring_select_buffer(req, task);
        if (!err)
            uio_init_user(&req->uio, task->mm, req->buffer.addr,
                          MIN((uint64_t)req->buffer.len, max));
    }
    if (err < 0)
        return err;
    req->cqe_flags |= CQE_BUFFER | (uint32_t)req->buffer.bid << CQE_BUFFER_SHIFT;
    return set_buffers(req, 0);
}

/* What a bundle has not used of its buffers goes back: all of them when nothing came. */
static void settle_bundle(struct uring_req *req, int64_t n)
{
    uint32_t used = 0, count = req->uio.count;

    if (!is_bundle(req) || !req->has_buffer)
        return;
    for (int64_t left = n; left > 0 && used < count; used++)
        left -= (int64_t)req->uio.segments[used].size;
    if (used < count) {
        uring_return_buffers(req, count - used);
        req->net->drained = false;
    }
    if (used == 0)
        req->cqe_flags &= CQE_SOCK_NONEMPTY;
}

/* The next round takes others. */
static void drop_buffers(struct uring_req *req)
{
    if (req->uio_ready)
        uio_release(&req->uio);
    req->has_buffer = req->uio_ready = false;
    req->cqe_flags = 0;
    req->net->done = 0;
}

static int64_t send_once(struct uring_req *req, struct task *task)
{
    struct socket *s = uring_socket(req);
    ssize_t n;

    if (!s)
        return -ENOTSOCK;
    n = send_now(req, task, s, !req->worker);
    if (n > 0 && (req->sqe.op_flags & MSG_WAITALL) && req->uio.left > 0 && s->ops->stream &&
        !req->nowait) {
        req->net->done += (uint64_t)n;
        return -EAGAIN;
    }
    if (n == -EAGAIN && !req->nowait) {
        /* Ready by its own account: it is the other side that has no room. */
        if (!req->worker && (file_poll(req->file, NULL) & POLLOUT))
            return req_to_worker(req, task);
        return n;
    }
    return total(req, n);
}

/* A bundle is sent until there are no more buffers, with a completion for each round. */
int64_t send_issue(struct uring_req *req, struct task *task)
{
    uint64_t max = req->sqe.len ? req->sqe.len : INT32_MAX;

    if (!(req->sqe.flags & SQE_BUFFER_SELECT))
        return send_once(req, task);
    for (;;) {
        int64_t n = req->has_buffer ? 0 : take_buffers(req, task, max);

        if (n == 0)
            n = send_once(req, task);
        if (n == REQ_PENDING || (n == -EAGAIN && !req->nowait))
            return n;
        settle_bundle(req, n);
        if (!is_bundle(req) || n <= 0 || req->net->drained ||
            !uring_post_more(req->ring, req->user_data, (int32_t)n, req->cqe_flags, false))
            return n;
        drop_buffers(req);
    }
}

/* The bytes are copied, so that the buffer is free at once; but two completions say so. */
int64_t send_zc_issue(struct uring_req *req, struct task *task)
{
    struct socket *s = uring_socket(req);
    int64_t n;

    if (s && s->domain == AF_UNIX)
        n = -EOPNOTSUPP;
    else
        n = send_issue(req, task);
    if (n == REQ_PENDING || (n == -EAGAIN && !req->nowait))
        return n;
    req->failed |= n < 0;
    if (!uring_post_more(req->ring, req->user_data, (int32_t)n, 0, false))
        return n;
    req->cqe_flags = CQE_NOTIF;
    return req->sqe.ioprio & URING_SEND_ZC_REPORT_USAGE ? (int64_t)URING_NOTIF_COPIED : 0;
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static int check_receive(struct uring_req *req)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->off || s->file_index)
        return -EINVAL;
    if (s->ioprio & ~(URING_RECVSEND_POLL_FIRST | URING_RECV_MULTISHOT | URING_RECVSEND_BUNDLE))
        return -EINVAL;
    if ((s->ioprio & URING_RECVSEND_BUNDLE) && s->opcode == URING_RECVMSG)
        return -EINVAL;
    req->multishot = s->ioprio & URING_RECV_MULTISHOT;
    if (req->multishot && (!(s->flags & SQE_BUFFER_SELECT) || (s->op_flags & MSG_WAITALL)))
        return -EINVAL;
    req->nowait = s->op_flags & (MSG_DONTWAIT | MSG_ERRQUEUE);
    return uring_need_net(req);
}

int recv_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    int err = check_receive(req);

    if (err < 0)
        return err;
    if (req->multishot && s->len)
        return -EINVAL;
    if (s->flags & SQE_BUFFER_SELECT)
        return 0;
    uio_init_user(&req->uio, task->mm, s->addr, s->len);
    return set_buffers(req, 0);
}

int recvmsg_prep(struct uring_req *req, struct task *task)
{
    struct uring_net *net;
    int err = check_receive(req);

    if (err < 0)
        return err;
    net = req->net;
    if (!(req->sqe.flags & SQE_BUFFER_SELECT))
        return import_header(req, task, false);
    if (copy_struct_from_user(task->mm, &net->hdr, req->sqe.addr) < 0)
        return -EFAULT;
    if (net->hdr.iov_count > 1 || net->hdr.name_size < 0)
        return -EINVAL;
    if (req->multishot &&
        ((uint64_t)net->hdr.name_size > INT32_MAX / 4 || net->hdr.control_size > INT32_MAX / 4))
        return -EOVERFLOW;
    return 0;
}

static int take_buffer(struct uring_req *req, struct task *task)
{
    struct socket *s = uring_socket(req);
    uint64_t max = INT32_MAX;
    int there = 0;

    if (req->has_buffer)
        return 0;
    if (!(file_poll(req->file, NULL) & (POLLIN | POLLHUP | POLLERR)))
        return -EAGAIN; /* none is taken before there is something to put into it */
    if (!is_message(req) && req->sqe.len)
        max = req->sqe.len;
    else if (is_bundle(req) && s->ops->queued && s->ops->queued(s, FIONREAD, &there) == 0 && there)
        max = (uint64_t)there;
    return take_buffers(req, task, max);
}

/* Name, control messages and payload go behind each other into the buffer. */
static ssize_t receive_into_buffer(struct uring_req *req, struct task *task, struct socket *s,
                                   int flags)
{
    struct guest_msghdr hdr = req->net->hdr;
    struct uring_recvmsg_out out = {0};
    uint64_t head = sizeof(out) + (uint64_t)hdr.name_size + hdr.control_size;
    uaddr_t base = req->buffer.addr;
    ssize_t n;

    if (req->uio.left < head)
        return -EFAULT;
    hdr.name = hdr.name_size ? base + sizeof(out) : 0;
    hdr.control = hdr.control_size ? base + sizeof(out) + (uint64_t)hdr.name_size : 0;
    uio_advance(&req->uio, head);
    n = socket_recvmsg_uio(task, s, &hdr, &req->uio, flags | MSG_TRUNC, true);
    if (n < 0)
        return n;
    out.name_size = hdr.name ? (uint32_t)hdr.name_size : 0;
    out.control_size = (uint32_t)hdr.control_size;
    out.payload_size = (uint32_t)n;
    out.flags = hdr.flags;
    if (copy_struct_to_user(task->mm, base, &out) < 0)
        return -EFAULT;
    return (ssize_t)(head + MIN((uint64_t)n, req->net->whole - head));
}

static ssize_t receive_now(struct uring_req *req, struct task *task, struct socket *s)
{
    int flags = (int)((req->sqe.op_flags & ~(uint32_t)MSG_WAITALL) | MSG_DONTWAIT);
    struct guest_msghdr hdr = req->net->hdr;
    ssize_t n;

    if (!is_message(req))
        return socket_recvmsg_uio(task, s, &hdr, &req->uio, flags, true);
    if (req->multishot)
        return receive_into_buffer(req, task, s, flags);
    n = socket_recvmsg_uio(task, s, &hdr, &req->uio, flags, true);
    if (n >= 0 && msghdr_to_user(task, req->sqe.addr, &hdr) < 0)
        return -EFAULT;
    return n;
}

static int64_t receive_once(struct uring_req *req, struct task *task)
{
    struct socket *s = uring_socket(req);
    ssize_t n;

    if (!s)
        return -ENOTSOCK;
    n = req->sqe.flags & SQE_BUFFER_SELECT ? take_buffer(req, task) : 0;
    if (n < 0)
        return n;
    n = receive_now(req, task, s);
    settle_bundle(req, n);
    if (n == -EAGAIN && is_bundle(req))
        drop_buffers(req); /* they have gone back */
    if (n > 0 && (req->sqe.op_flags & MSG_WAITALL) && req->uio.left > 0 && s->ops->stream &&
        !req->nowait && !(req->sqe.op_flags & MSG_PEEK)) {
        req->net->done += (uint64_t)n;
        return -EAGAIN;
    }
    if (n == -EAGAIN)
        return n;
    if (n > 0 && !req->multishot && (file_poll(req->file, NULL) & (POLLIN | POLLRDHUP)) == POLLIN)
        req->cqe_flags |= CQE_SOCK_NONEMPTY;
    return total(req, n);
}

int64_t recv_issue(struct uring_req *req, struct task *task)
{
    if (!req->multishot)
        return receive_once(req, task);
    for (;;) {
        int64_t n;

        req->net->done = 0;
        n = receive_once(req, task);
        if (n <= 0 || (is_bundle(req) && req->net->drained))
            return n;
        if (!uring_post_more(req->ring, req->user_data, (int32_t)n, req->cqe_flags, false))
            return n; /* the last one, then */
        drop_buffers(req);
    }
}
