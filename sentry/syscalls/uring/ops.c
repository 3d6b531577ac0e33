/* The table of operations. */
#include <errno.h>

#include "sentry/syscalls/uring/ops.h"

/* RECV_ZC: it needs a queue of a network card, and there is none to register with the ring. */
static int no_queue(struct uring_req *req, struct task *task)
{
    return -EINVAL;
}

static int64_t never(struct uring_req *req, struct task *task)
{
    return -EINVAL;
}

#define RW_FLAGS (OP_FILE | OP_IOPRIO | OP_SHORT | OP_IOPOLL)

static const struct uring_op ops[URING_OP_COUNT] = {
    [URING_NOP] = {nop_prep, nop_issue, OP_IOPOLL},
    [URING_READV] = {rw_prep, rw_issue, RW_FLAGS | OP_IN | OP_BUFFERS | OP_ENDLESS},
    [URING_WRITEV] = {rw_prep, rw_issue, RW_FLAGS | OP_OUT | OP_ENDLESS},
    [URING_FSYNC] = {no_index_prep, fsync_issue, OP_FILE},
    [URING_READ_FIXED] = {rw_fixed_prep, rw_issue, RW_FLAGS | OP_IN | OP_ENDLESS},
    [URING_WRITE_FIXED] = {rw_fixed_prep, rw_issue, RW_FLAGS | OP_OUT | OP_ENDLESS},
    [URING_POLL_ADD] = {poll_add_prep, poll_add_issue, OP_FILE | OP_ENDLESS},
    [URING_POLL_REMOVE] = {no_index_prep, poll_remove_issue, 0},
    [URING_SYNC_FILE_RANGE] = {no_index_prep, sync_range_issue, OP_FILE},
    [URING_SENDMSG] = {sendmsg_prep, send_issue, OP_FILE | OP_IOPRIO | OP_OUT | OP_ENDLESS},
    [URING_RECVMSG] = {recvmsg_prep, recv_issue,
                       OP_FILE | OP_IOPRIO | OP_IN | OP_BUFFERS | OP_ENDLESS},
    [URING_TIMEOUT] = {timeout_prep, timeout_issue, 0},
    [URING_TIMEOUT_REMOVE] = {no_index_prep, timeout_remove_issue, 0},
    [URING_ACCEPT] = {accept_prep, accept_issue, OP_FILE | OP_IOPRIO | OP_IN | OP_ENDLESS},
    [URING_ASYNC_CANCEL] = {NULL, async_cancel_issue, 0},
    [URING_LINK_TIMEOUT] = {timeout_prep, link_timeout_issue, 0},
    [URING_CONNECT] = {connect_prep, connect_issue, OP_FILE | OP_ENDLESS},
    [URING_FALLOCATE] = {no_index_prep, fallocate_issue, OP_FILE},
    [URING_OPENAT] = {open_prep, openat_issue, 0},
    [URING_CLOSE] = {NULL, close_issue, 0},
    [URING_FILES_UPDATE] = {NULL, files_update_issue, OP_IOPOLL},
    [URING_STATX] = {no_index_prep, statx_issue, 0},
    [URING_READ] = {rw_prep, rw_issue, RW_FLAGS | OP_IN | OP_BUFFERS | OP_ENDLESS},
    [URING_WRITE] = {rw_prep, rw_issue, RW_FLAGS | OP_OUT | OP_ENDLESS},
    [URING_FADVISE] = {no_index_prep, fadvise_issue, OP_FILE},
    [URING_MADVISE] = {no_index_prep, madvise_issue, 0},
    [URING_SEND] = {send_prep, send_issue, OP_FILE | OP_IOPRIO | OP_OUT | OP_BUFFERS | OP_ENDLESS},
    [URING_RECV] = {recv_prep, recv_issue, OP_FILE | OP_IOPRIO | OP_IN | OP_BUFFERS | OP_ENDLESS},
    [URING_OPENAT2] = {open_prep, openat2_issue, 0},
    [URING_EPOLL_CTL] = {no_index_prep, epoll_ctl_issue, 0},
    [URING_SPLICE] = {NULL, splice_issue, OP_FILE | OP_WORKER | OP_SHORT | OP_ENDLESS},
    [URING_PROVIDE_BUFFERS] = {NULL, uring_provide_buffers, OP_IOPOLL},
    [URING_REMOVE_BUFFERS] = {NULL, uring_remove_buffers, OP_IOPOLL},
    [URING_TEE] = {NULL, tee_issue, OP_FILE | OP_WORKER | OP_SHORT | OP_ENDLESS},
    [URING_SHUTDOWN] = {no_index_prep, shutdown_issue, OP_FILE},
    [URING_RENAMEAT] = {no_index_prep, renameat_issue, 0},
    [URING_UNLINKAT] = {no_index_prep, unlinkat_issue, 0},
    [URING_MKDIRAT] = {no_index_prep, mkdirat_issue, 0},
    [URING_SYMLINKAT] = {no_index_prep, symlinkat_issue, 0},
    [URING_LINKAT] = {no_index_prep, linkat_issue, 0},
    [URING_MSG_RING] = {NULL, msg_ring_issue, OP_FILE | OP_IOPOLL},
    [URING_FSETXATTR] = {no_index_prep, fsetxattr_issue, OP_FILE},
    [URING_SETXATTR] = {no_index_prep, setxattr_issue, 0},
    [URING_FGETXATTR] = {no_index_prep, fgetxattr_issue, OP_FILE},
    [URING_GETXATTR] = {no_index_prep, getxattr_issue, 0},
    [URING_SOCKET] = {socket_prep, socket_issue, 0},
    [URING_URING_CMD] = {command_prep, command_issue, OP_FILE | OP_BUFFERS | OP_IOPOLL},
    [URING_SEND_ZC] = {send_prep, send_zc_issue, OP_FILE | OP_IOPRIO | OP_OUT | OP_ENDLESS},
    [URING_SENDMSG_ZC] = {sendmsg_prep, send_zc_issue, OP_FILE | OP_IOPRIO | OP_OUT | OP_ENDLESS},
    [URING_READ_MULTISHOT] = {read_multishot_prep, read_multishot_issue,
                              OP_FILE | OP_IOPRIO | OP_IN | OP_BUFFERS | OP_ENDLESS},
    [URING_WAITID] = {NULL, waitid_issue, OP_WORKER | OP_WAITS},
    [URING_FUTEX_WAIT] = {NULL, futex_wait_issue, OP_WORKER | OP_WAITS},
    [URING_FUTEX_WAKE] = {NULL, futex_wake_issue, 0},
    [URING_FUTEX_WAITV] = {NULL, futex_waitv_issue, OP_WORKER | OP_WAITS},
    [URING_FIXED_FD_INSTALL] = {no_index_prep, fixed_fd_install_issue, OP_FILE},
    [URING_FTRUNCATE] = {no_index_prep, ftruncate_issue, OP_FILE},
    [URING_BIND] = {no_index_prep, bind_issue, OP_FILE},
    [URING_LISTEN] = {no_index_prep, listen_issue, OP_FILE},
    [URING_RECV_ZC] = {no_queue, never, OP_SOCKET | OP_IOPRIO},
    [URING_EPOLL_WAIT] = {no_index_prep, epoll_wait_issue, OP_FILE | OP_IN},
    [URING_READV_FIXED] = {rw_fixed_prep, rw_issue, RW_FLAGS | OP_IN | OP_ENDLESS},
    [URING_WRITEV_FIXED] = {rw_fixed_prep, rw_issue, RW_FLAGS | OP_OUT | OP_ENDLESS},
    [URING_PIPE] = {no_index_prep, pipe_issue, 0},
};

const struct uring_op *uring_op_find(uint8_t opcode)
{
    return opcode < URING_OP_COUNT && ops[opcode].issue ? &ops[opcode] : NULL;
}
