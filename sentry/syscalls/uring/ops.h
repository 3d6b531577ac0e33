/* The operations, as the table in ops.c names them. What each does: io_uring_enter(2). */
#ifndef SENTRY_SYSCALLS_URING_OPS_H
#define SENTRY_SYSCALLS_URING_OPS_H

#include "sentry/syscalls/uring/uring.h"

/* rw.c */
int command_prep(struct uring_req *req, struct task *task);
int64_t command_issue(struct uring_req *req, struct task *task);
int nop_prep(struct uring_req *req, struct task *task);
int64_t nop_issue(struct uring_req *req, struct task *task);
int rw_prep(struct uring_req *req, struct task *task);
int rw_fixed_prep(struct uring_req *req, struct task *task);
int64_t rw_issue(struct uring_req *req, struct task *task);
int read_multishot_prep(struct uring_req *req, struct task *task);
int64_t read_multishot_issue(struct uring_req *req, struct task *task);

/* calls.c: the bodies of system calls */
int64_t fsync_issue(struct uring_req *req, struct task *task);
int64_t sync_range_issue(struct uring_req *req, struct task *task);
int64_t fallocate_issue(struct uring_req *req, struct task *task);
int64_t fadvise_issue(struct uring_req *req, struct task *task);
int64_t madvise_issue(struct uring_req *req, struct task *task);
int open_prep(struct uring_req *req, struct task *task);
int64_t openat_issue(struct uring_req *req, struct task *task);
int64_t openat2_issue(struct uring_req *req, struct task *task);
int64_t close_issue(struct uring_req *req, struct task *task);
int64_t statx_issue(struct uring_req *req, struct task *task);
int64_t epoll_ctl_issue(struct uring_req *req, struct task *task);
int64_t epoll_wait_issue(struct uring_req *req, struct task *task);
int64_t renameat_issue(struct uring_req *req, struct task *task);
int64_t unlinkat_issue(struct uring_req *req, struct task *task);
int64_t mkdirat_issue(struct uring_req *req, struct task *task);
int64_t symlinkat_issue(struct uring_req *req, struct task *task);
int64_t linkat_issue(struct uring_req *req, struct task *task);
int64_t ftruncate_issue(struct uring_req *req, struct task *task);
int64_t fsetxattr_issue(struct uring_req *req, struct task *task);
int64_t setxattr_issue(struct uring_req *req, struct task *task);
int64_t fgetxattr_issue(struct uring_req *req, struct task *task);
int64_t getxattr_issue(struct uring_req *req, struct task *task);
int64_t waitid_issue(struct uring_req *req, struct task *task);
int64_t futex_wait_issue(struct uring_req *req, struct task *task);
int64_t futex_wake_issue(struct uring_req *req, struct task *task);
int64_t futex_waitv_issue(struct uring_req *req, struct task *task);
int64_t pipe_issue(struct uring_req *req, struct task *task);
/* Fields that the operation has no use for have to be 0. */
int no_index_prep(struct uring_req *req, struct task *task);

/* net.c: sockets */
int send_prep(struct uring_req *req, struct task *task);
int sendmsg_prep(struct uring_req *req, struct task *task);
int64_t send_issue(struct uring_req *req, struct task *task);
int64_t send_zc_issue(struct uring_req *req, struct task *task);
int recv_prep(struct uring_req *req, struct task *task);
int recvmsg_prep(struct uring_req *req, struct task *task);
int64_t recv_issue(struct uring_req *req, struct task *task);
int accept_prep(struct uring_req *req, struct task *task);
int64_t accept_issue(struct uring_req *req, struct task *task);
int connect_prep(struct uring_req *req, struct task *task);
int64_t connect_issue(struct uring_req *req, struct task *task);
int socket_prep(struct uring_req *req, struct task *task);
int64_t socket_issue(struct uring_req *req, struct task *task);
int64_t shutdown_issue(struct uring_req *req, struct task *task);
int64_t bind_issue(struct uring_req *req, struct task *task);
int64_t listen_issue(struct uring_req *req, struct task *task);

/* move.c: between files and rings */
int64_t splice_issue(struct uring_req *req, struct task *task);
int64_t tee_issue(struct uring_req *req, struct task *task);
int64_t msg_ring_issue(struct uring_req *req, struct task *task);
int64_t files_update_issue(struct uring_req *req, struct task *task);
int64_t fixed_fd_install_issue(struct uring_req *req, struct task *task);

/* poll.c */
int poll_add_prep(struct uring_req *req, struct task *task);
int64_t poll_add_issue(struct uring_req *req, struct task *task);
int64_t poll_remove_issue(struct uring_req *req, struct task *task);

/* timeout.c */
int timeout_prep(struct uring_req *req, struct task *task);
int64_t timeout_issue(struct uring_req *req, struct task *task);
int64_t timeout_remove_issue(struct uring_req *req, struct task *task);
int64_t link_timeout_issue(struct uring_req *req, struct task *task);

/* cancel.c */
int64_t async_cancel_issue(struct uring_req *req, struct task *task);

#endif
