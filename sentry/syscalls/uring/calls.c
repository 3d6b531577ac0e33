/*
 * Operations that are system calls with their arguments in an entry: the bodies are called as the
 * dispatcher would call them. A file that the request has looked up (a registered one, for
 * instance) is lent to the body under a number of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "sentry/kernel/syscall.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/table.h"
#include "sentry/syscalls/uring/ops.h"

#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#endif

static int64_t call(struct uring_req *req, struct task *task, uint32_t nr, const uint64_t args[6])
{
    const struct syscall_entry *entry = &syscall_table.entries[nr];
    struct file *lent = task->lent[0];
    int64_t res;

    if (!entry->handler)
        return -EOPNOTSUPP;
    task->lent[0] = req->file;
    res = entry->handler(task, args);
    task->lent[0] = lent;
    return res;
}

/* CALL(nr, six arguments): every one converted as a register holds it. */
#define CALL(nr, a, b, c, d, e, f)                                                                 \
    call(req, task, nr,                                                                            \
         (const uint64_t[6]){(uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d),           \
                             (uint64_t)(e), (uint64_t)(f)})
#define LENT TASK_FD_LENT

int no_index_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *sqe = &req->sqe;

    /* Only operations on an open file know registered ones. */
    if ((sqe->flags & SQE_FIXED_FILE) && !(req->op->flags & OP_FILE))
        return -EBADF;
    return sqe->buf_index || sqe->file_index ? -EINVAL : 0;
}

int64_t fsync_issue(struct uring_req *req, struct task *task)
{
    if (req->sqe.addr || (req->sqe.op_flags & ~URING_FSYNC_DATASYNC))
        return -EINVAL;
    return CALL(req->sqe.op_flags ? SYS_fdatasync : SYS_fsync, LENT, 0, 0, 0, 0, 0);
}

int64_t sync_range_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->addr)
        return -EINVAL;
    return CALL(SYS_sync_file_range, LENT, s->off, s->len, s->op_flags, 0, 0);
}

int64_t fallocate_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->op_flags)
        return -EINVAL;
    return CALL(SYS_fallocate, LENT, s->len, s->off, s->addr, 0, 0);
}

int64_t fadvise_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_fadvise64, LENT, s->off, s->addr ? s->addr : s->len, s->op_flags, 0, 0);
}

int64_t madvise_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_madvise, s->addr, s->off ? s->off : s->len, s->op_flags, 0, 0, 0);
}

int open_prep(struct uring_req *req, struct task *task)
{
    if (req->sqe.flags & SQE_FIXED_FILE)
        return -EBADF;
    if (req->sqe.buf_index)
        return -EINVAL;
    if (req->sqe.file_index && (req->sqe.op_flags & O_CLOEXEC) && req->sqe.opcode == URING_OPENAT)
        return -EINVAL;
    return 0;
}

/* The descriptor that was opened moves into the table of registered files if that was asked for. */
static int64_t opened(struct uring_req *req, struct task *task, int64_t fd)
{
    uint32_t slot = req->sqe.file_index;
    struct file *file;

    if (fd < 0 || slot == 0)
        return fd;
    file = task_file(task, (int)fd);
    fdtable_close(task->files, (int)fd);
    return file ? uring_install_fixed(req->ring, file, slot) : -EBADF;
}

int64_t openat_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return opened(req, task, CALL(SYS_openat, s->fd, s->addr, s->op_flags, s->len, 0, 0));
}

int64_t openat2_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return opened(req, task, CALL(SYS_openat2, s->fd, s->addr, s->off, s->len, 0, 0));
}

int64_t close_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    struct file *file;
    bool ring;

    if (s->off || s->addr || s->len || s->op_flags || s->buf_index)
        return -EINVAL;
    if (s->flags & SQE_FIXED_FILE)
        return -EBADF;
    if (s->file_index)
        return s->fd ? -EINVAL : uring_close_fixed(req->ring, s->file_index - 1);
    file = task_file(task, s->fd);
    ring = file && uring_is(file);
    file_unref(file);
    return ring ? -EBADF : CALL(SYS_close, s->fd, 0, 0, 0, 0, 0);
}

int64_t statx_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_statx, s->fd, s->addr, s->op_flags, s->len, s->off, 0);
}

int64_t epoll_ctl_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_epoll_ctl, s->fd, s->len, (int)s->off, s->addr, 0, 0);
}

int64_t epoll_wait_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    int64_t n;

    if (s->off || s->op_flags)
        return -EINVAL;
    n = CALL(SYS_epoll_wait, LENT, s->addr, s->len, 0, 0, 0);
    return n == 0 ? -EAGAIN : n;
}

int64_t renameat_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_renameat2, s->fd, s->addr, (int)s->len, s->off, s->op_flags, 0);
}

int64_t unlinkat_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->off || s->len)
        return -EINVAL;
    return CALL(SYS_unlinkat, s->fd, s->addr, s->op_flags, 0, 0, 0);
}

int64_t mkdirat_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->off || s->op_flags)
        return -EINVAL;
    return CALL(SYS_mkdirat, s->fd, s->addr, s->len, 0, 0, 0);
}

int64_t symlinkat_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->len || s->op_flags)
        return -EINVAL;
    return CALL(SYS_symlinkat, s->addr, s->fd, s->off, 0, 0, 0);
}

int64_t linkat_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_linkat, s->fd, s->addr, (int)s->len, s->off, s->op_flags, 0);
}

int64_t ftruncate_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->op_flags || s->addr || s->len || s->addr3)
        return -EINVAL;
    return CALL(SYS_ftruncate, LENT, s->off, 0, 0, 0, 0);
}

int64_t fsetxattr_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_fsetxattr, LENT, s->addr, s->off, s->len, s->op_flags, 0);
}

int64_t setxattr_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return CALL(SYS_setxattr, s->addr3, s->addr, s->off, s->len, s->op_flags, 0);
}

int64_t fgetxattr_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return s->op_flags ? -EINVAL : CALL(SYS_fgetxattr, LENT, s->addr, s->off, s->len, 0, 0);
}

int64_t getxattr_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    return s->op_flags ? -EINVAL : CALL(SYS_getxattr, s->addr3, s->addr, s->off, s->len, 0, 0);
}

int64_t waitid_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->addr || s->buf_index || s->addr3 || s->op_flags)
        return -EINVAL;
    return CALL(SYS_waitid, s->len, s->fd, s->off, s->file_index, 0, 0);
}

int64_t futex_wait_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->len || s->op_flags || s->buf_index || s->file_index)
        return -EINVAL;
    return CALL(SYS_futex_wait, s->addr, s->off, s->addr3, s->fd, 0, 0);
}

int64_t futex_wake_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->len || s->op_flags || s->buf_index || s->file_index)
        return -EINVAL;
    return CALL(SYS_futex_wake, s->addr, s->addr3, s->off, s->fd, 0, 0);
}

int64_t futex_waitv_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->fd || s->buf_index || s->file_index || s->off || s->op_flags || s->addr3)
        return -EINVAL;
    return CALL(SYS_futex_waitv, s->addr, s->len, 0, 0, 0, 0);
}

int64_t pipe_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->fd || s->off || s->addr3)
        return -EINVAL;
    return CALL(SYS_pipe2, s->addr, s->op_flags, 0, 0, 0, 0);
}

int64_t shutdown_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->off || s->addr || s->op_flags)
        return -EINVAL;
    return CALL(SYS_shutdown, LENT, s->len, 0, 0, 0, 0);
}

int64_t bind_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->len || s->op_flags)
        return -EINVAL;
    return CALL(SYS_bind, LENT, s->addr, s->off, 0, 0, 0);
}

int64_t listen_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;

    if (s->addr || s->op_flags || s->off)
        return -EINVAL;
    return CALL(SYS_listen, LENT, s->len, 0, 0, 0, 0);
}
