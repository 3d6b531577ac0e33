/*
 * URING_CMD: what files answer beyond reads and writes. Sockets alone have such commands here:
 * io_uring/cmd_net.c of Linux. The entry's fields have other meanings than usual:
 *
 *   off (low half)     the command          addr        level, and in its upper half the option
 *   file_index         size of the value    addr3       the value
 */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"
#include "sentry/syscalls/uring/ops.h"

int command_prep(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    bool multishot = s->op_flags & URING_CMD_MULTISHOT, select = s->flags & SQE_BUFFER_SELECT;

    if (s->off >> 32 || (s->op_flags & ~(URING_CMD_FIXED | URING_CMD_MULTISHOT)))
        return -EINVAL;
    if ((s->op_flags & URING_CMD_FIXED) && (multishot || select))
        return -EINVAL;
    return multishot != select ? -EINVAL : 0;
}

/* Only protocols that count their bytes answer: those of AF_UNIX do not. */
static int64_t queued(struct socket *s, uint32_t cmd)
{
    int answer, err;

    if (s->domain == AF_UNIX || !s->ops->queued)
        return -EOPNOTSUPP;
    err = s->ops->queued(s, cmd, &answer);
    return err < 0 ? err : answer;
}

int64_t command_issue(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *sqe = &req->sqe;
    int level = (int)(uint32_t)sqe->addr, option = (int)(uint32_t)(sqe->addr >> 32);
    struct socket *s;

    if (!socket_is(req->file))
        return -EOPNOTSUPP;
    s = socket_of(req->file);
    switch ((uint32_t)sqe->off) {
    case URING_SOCKET_SIOCINQ:
        return queued(s, SIOCINQ);
    case URING_SOCKET_SIOCOUTQ:
        return queued(s, SIOCOUTQ);
    case URING_SOCKET_GETSOCKOPT:
        if (level != SOL_SOCKET)
            return -EOPNOTSUPP;
        return socket_base_option_to(task, s, option, sqe->addr3, (int)sqe->file_index);
    case URING_SOCKET_SETSOCKOPT:
        return socket_option_from(task, s, level, option, sqe->addr3, (int)sqe->file_index);
    case URING_SOCKET_TX_TIMESTAMP:
        return -EINVAL; /* for multishot requests, whose 32-byte completions no ring here has */
    default:
        return -EOPNOTSUPP;
    }
}
