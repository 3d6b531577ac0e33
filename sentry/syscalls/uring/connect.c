/* Operations that make sockets and connect them: SOCKET, ACCEPT, CONNECT. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "sentry/kernel/netcaller.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/net_internal.h"
#include "sentry/syscalls/uring/ops.h"

#define TYPE_MASK  0xf
#define MADE_FLAGS ((unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK))

int accept_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->len || s->buf_index)
        return -EINVAL;
    if (s->ioprio & ~(URING_ACCEPT_MULTISHOT | URING_ACCEPT_DONTWAIT | URING_ACCEPT_POLL_FIRST))
        return -EINVAL;
    if ((s->op_flags & ~MADE_FLAGS) || (s->file_index && (s->op_flags & SOCK_CLOEXEC)))
        return -EINVAL;
    req->multishot = s->ioprio & URING_ACCEPT_MULTISHOT;
    if (req->multishot && s->file_index && s->file_index != URING_FILE_INDEX_ALLOC)
        return -EINVAL;
    req->nowait = s->ioprio & URING_ACCEPT_DONTWAIT;
    return 0;
}

static int64_t install(struct uring_req *req, struct task *task, struct file *file, bool cloexec)
{
    if (req->sqe.file_index)
        return uring_install_fixed(req->ring, file, req->sqe.file_index);
    return task_install(task, file, 0, cloexec);
}

static int tell_address(struct task *task, struct file *file, const struct uring_sqe *sqe)
{
    struct socket *made = socket_of(file);
    struct socket_address address;

    if (!sqe->addr)
        return 0;
    if (made->ops->getname(made, true, &address) < 0)
        return -ECONNABORTED;
    return address_to_user(task, &address, sqe->addr, sqe->off);
}

static int64_t accept_once(struct uring_req *req, struct task *task, struct socket *s)
{
    struct file *file;
    int err;

    if (!req->sqe.file_index && fdtable_full(task->files, task_rlimit(task, RLIMIT_NOFILE)))
        return -EMFILE;
    err = task_accept(task, s, req->sqe.op_flags, true, &file);
    if (err < 0)
        return err;
    err = tell_address(task, file, &req->sqe);
    if (err < 0) {
        file_unref(file);
        return err;
    }
    return install(req, task, file, req->sqe.op_flags & SOCK_CLOEXEC);
}

int64_t accept_issue(struct uring_req *req, struct task *task)
{
    struct socket *s = uring_socket(req);

    if (!s)
        return -ENOTSOCK;
    for (;;) {
        int64_t fd = accept_once(req, task, s);

        if (fd < 0 || !req->multishot)
            return fd;
        if (!uring_post_more(req->ring, req->user_data, (int32_t)fd, 0, false))
            return fd;
    }
}

int connect_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    int err;

    if (s->len || s->buf_index || s->op_flags || s->file_index)
        return -EINVAL;
    err = uring_need_net(req);
    return err ? err : address_from_user(task, s->addr, (int)s->off, &req->net->to);
}

int64_t connect_issue(struct uring_req *req, struct task *task)
{
    struct socket *s = uring_socket(req);
    int err;

    if (!s)
        return -ENOTSOCK;
    err = task_connect(task, s, &req->net->to, !req->worker);
    if (!req->worker && (err == -EAGAIN || err == -EINPROGRESS))
        return req_to_worker(req, task);
    return err;
}

int socket_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    unsigned flags = (unsigned)s->off & ~TYPE_MASK;

    if (s->flags & SQE_FIXED_FILE)
        return -EBADF;
    if (s->addr || s->op_flags || s->buf_index || (flags & ~MADE_FLAGS))
        return -EINVAL;
    return s->file_index && (flags & SOCK_CLOEXEC) ? -EINVAL : 0;
}

int64_t socket_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *sqe = &req->sqe;
    struct socket *s;
    int err =
        socket_create(task_net(task), sqe->fd, (int)(sqe->off & TYPE_MASK), (int)sqe->len, &s);

    if (err < 0)
        return err;
    if (sqe->off & SOCK_NONBLOCK)
        s->file.flags |= O_NONBLOCK;
    return install(req, task, &s->file, sqe->off & SOCK_CLOEXEC);
}
