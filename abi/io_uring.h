/*
 * io_uring as programs see it, io_uring_setup(2). Written out here, because the headers of a
 * distribution are older than the Linux that the Sentry answers as.
 */
#ifndef ABI_IO_URING_H
#define ABI_IO_URING_H

#include "base/compiler.h"

struct uring_sqe {
    uint8_t opcode;
    uint8_t flags; /* SQE_* */
    uint16_t ioprio;
    int32_t fd;
    uint64_t off; /* or addr2 */
    uint64_t addr;
    uint32_t len;
    uint32_t op_flags;
    uint64_t user_data;
    uint16_t buf_index; /* or buf_group */
    uint16_t personality;
    uint32_t file_index; /* or splice_fd_in */
    uint64_t addr3;
    uint64_t pad;
};
static_assert(sizeof(struct uring_sqe) == 64, "struct io_uring_sqe");

struct uring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags; /* CQE_* */
};
static_assert(sizeof(struct uring_cqe) == 16, "struct io_uring_cqe");

struct uring_sq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    uint64_t user_addr;
};

struct uring_cq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    uint64_t user_addr;
};

struct uring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
    uint32_t resv[3];
    struct uring_sq_offsets sq_off;
    struct uring_cq_offsets cq_off;
};
static_assert(sizeof(struct uring_params) == 120, "struct io_uring_params");

struct uring_getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_size;
    uint32_t min_wait_usec;
    uint64_t timeout;
};

struct uring_probe_op {
    uint8_t op, resv;
    uint16_t flags; /* bit 0: supported */
    uint32_t resv2;
};

struct uring_probe {
    uint8_t last_op, ops_len;
    uint16_t resv;
    uint32_t resv2[3];
};

struct uring_restriction {
    uint16_t opcode;
    uint8_t what; /* an operation, or flags */
    uint8_t resv;
    uint32_t resv2[3];
};

struct uring_rsrc_register {
    uint32_t nr, flags;
    uint64_t resv2;
    uint64_t data, tags;
};

struct uring_rsrc_update {
    uint32_t offset, resv;
    uint64_t data;
    uint64_t tags;
    uint32_t nr, resv2;
};

struct uring_buf {
    uint64_t addr;
    uint32_t len;
    uint16_t bid;
    uint16_t resv; /* of the first one: the ring's tail */
};

struct uring_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid, flags;
    uint64_t resv[3];
};

struct uring_sync_cancel {
    uint64_t addr;
    int32_t fd;
    uint32_t flags;
    int64_t timeout[2]; /* seconds, nanoseconds; -1: none */
    uint8_t opcode, pad[7];
    uint64_t pad2[3];
};
static_assert(sizeof(struct uring_sync_cancel) == 64, "struct io_uring_sync_cancel_reg");

struct uring_clone_buffers {
    uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
};
#define URING_CLONE_SRC_REGISTERED (1u << 0)
#define URING_CLONE_DST_REPLACE    (1u << 1)

struct uring_clock {
    uint32_t clockid, resv[3];
};

struct uring_query {
    uint64_t next, data;
    uint32_t op, size;
    int32_t result;
    uint32_t resv[3];
};
#define URING_QUERY_OPCODES 0

struct uring_query_ops {
    uint32_t request_ops, register_ops;
    uint64_t features, setup_flags, enter_flags, sqe_flags;
    uint32_t query_ops, pad;
};

struct uring_region {
    uint64_t user_addr, size;
    uint32_t flags, id;
    uint64_t mmap_offset, resv[4];
};
#define URING_REGION_USER (1u << 0)
#define URING_OFF_REGION  0x20000000UL

struct uring_region_reg {
    uint64_t region, flags, resv[2];
};
#define URING_REGION_WAIT_ARG 1UL

struct uring_reg_wait {
    int64_t ts[2];
    uint32_t min_wait_usec, flags;
    uint64_t sigmask;
    uint32_t sigmask_size, pad[3];
    uint64_t pad2[2];
};
#define URING_REG_WAIT_TS (1u << 0)
static_assert(sizeof(struct uring_reg_wait) == 64, "struct io_uring_reg_wait");

/* sqe->flags */
#define SQE_FIXED_FILE       (1u << 0)
#define SQE_IO_DRAIN         (1u << 1)
#define SQE_IO_LINK          (1u << 2)
#define SQE_IO_HARDLINK      (1u << 3)
#define SQE_ASYNC            (1u << 4)
#define SQE_BUFFER_SELECT    (1u << 5)
#define SQE_CQE_SKIP_SUCCESS (1u << 6)
#define SQE_FLAGS            0x7fu

/* io_uring_setup(2) */
#define URING_SETUP_IOPOLL          (1u << 0)
#define URING_SETUP_SQPOLL          (1u << 1)
#define URING_SETUP_SQ_AFF          (1u << 2)
#define URING_SETUP_CQSIZE          (1u << 3)
#define URING_SETUP_CLAMP           (1u << 4)
#define URING_SETUP_ATTACH_WQ       (1u << 5)
#define URING_SETUP_R_DISABLED      (1u << 6)
#define URING_SETUP_SUBMIT_ALL      (1u << 7)
#define URING_SETUP_COOP_TASKRUN    (1u << 8)
#define URING_SETUP_TASKRUN_FLAG    (1u << 9)
#define URING_SETUP_SQE128          (1u << 10)
#define URING_SETUP_CQE32           (1u << 11)
#define URING_SETUP_SINGLE_ISSUER   (1u << 12)
#define URING_SETUP_DEFER_TASKRUN   (1u << 13)
#define URING_SETUP_NO_MMAP         (1u << 14)
#define URING_SETUP_REGISTERED_ONLY (1u << 15)
#define URING_SETUP_NO_SQARRAY      (1u << 16)
#define URING_SETUP_HYBRID_IOPOLL   (1u << 17)
#define URING_SETUP_CQE_MIXED       (1u << 18)

#define URING_FEAT_SINGLE_MMAP      (1u << 0)
#define URING_FEAT_NODROP           (1u << 1)
#define URING_FEAT_SUBMIT_STABLE    (1u << 2)
#define URING_FEAT_RW_CUR_POS       (1u << 3)
#define URING_FEAT_CUR_PERSONALITY  (1u << 4)
#define URING_FEAT_FAST_POLL        (1u << 5)
#define URING_FEAT_POLL_32BITS      (1u << 6)
#define URING_FEAT_SQPOLL_NONFIXED  (1u << 7)
#define URING_FEAT_EXT_ARG          (1u << 8)
#define URING_FEAT_NATIVE_WORKERS   (1u << 9)
#define URING_FEAT_RSRC_TAGS        (1u << 10)
#define URING_FEAT_CQE_SKIP         (1u << 11)
#define URING_FEAT_LINKED_FILE      (1u << 12)
#define URING_FEAT_REG_REG_RING     (1u << 13)
#define URING_FEAT_RECVSEND_BUNDLE  (1u << 14)
#define URING_FEAT_MIN_TIMEOUT      (1u << 15)
#define URING_FEAT_NO_IOWAIT        (1u << 17)

/* Where mmap(2) finds what. */
#define URING_OFF_SQ_RING           0UL
#define URING_OFF_CQ_RING           0x8000000UL
#define URING_OFF_SQES              0x10000000UL

#define URING_SQ_NEED_WAKEUP        (1u << 0)
#define URING_SQ_CQ_OVERFLOW        (1u << 1)

#define URING_CQ_EVENTFD_DISABLED   (1u << 0)

#define CQE_BUFFER                  (1u << 0)
#define CQE_MORE                    (1u << 1)
#define CQE_SOCK_NONEMPTY           (1u << 2)
#define CQE_NOTIF                   (1u << 3)
#define CQE_BUFFER_SHIFT            16

#define URING_ENTER_GETEVENTS       (1u << 0)
#define URING_ENTER_SQ_WAKEUP       (1u << 1)
#define URING_ENTER_SQ_WAIT         (1u << 2)
#define URING_ENTER_EXT_ARG         (1u << 3)
#define URING_ENTER_REGISTERED_RING (1u << 4)
#define URING_ENTER_ABS_TIMER       (1u << 5)
#define URING_ENTER_EXT_ARG_REG     (1u << 6)
#define URING_ENTER_NO_IOWAIT       (1u << 7)

#define URING_FSYNC_DATASYNC        (1u << 0)

#define URING_POLL_MULTI            (1u << 0)
#define URING_POLL_UPDATE_EVENTS    (1u << 1)
#define URING_POLL_UPDATE_USER_DATA (1u << 2)
#define URING_POLL_LEVEL            (1u << 3)

#define URING_TIMEOUT_ABS           (1u << 0)
#define URING_TIMEOUT_UPDATE        (1u << 1)
#define URING_TIMEOUT_BOOTTIME      (1u << 2)
#define URING_TIMEOUT_REALTIME      (1u << 3)
#define URING_LINK_TIMEOUT_UPDATE   (1u << 4)
#define URING_TIMEOUT_ETIME_SUCCESS (1u << 5)
#define URING_TIMEOUT_MULTISHOT     (1u << 6)

#define URING_CANCEL_ALL            (1u << 0)
#define URING_CANCEL_FD             (1u << 1)
#define URING_CANCEL_ANY            (1u << 2)
#define URING_CANCEL_FD_FIXED       (1u << 3)
#define URING_CANCEL_USERDATA       (1u << 4)
#define URING_CANCEL_OP             (1u << 5)

#define URING_SPLICE_FD_IN_FIXED    (1u << 31)
#define URING_FILE_INDEX_ALLOC      (~0u)

#define URING_MSG_DATA              0
#define URING_MSG_SEND_FD           1
#define URING_MSG_CQE_SKIP          (1u << 0)
#define URING_MSG_FLAGS_PASS        (1u << 1)

#define URING_NOP_INJECT_RESULT     (1u << 0)
#define URING_NOP_FILE              (1u << 1)
#define URING_NOP_FIXED_FILE        (1u << 2)
#define URING_NOP_FIXED_BUFFER      (1u << 3)
#define URING_NOP_TW                (1u << 4)
#define URING_NOP_FLAGS             0x1fu

#define URING_CMD_FIXED             (1u << 0)
#define URING_CMD_MULTISHOT         (1u << 1)
enum uring_socket_command {
    URING_SOCKET_SIOCINQ,
    URING_SOCKET_SIOCOUTQ,
    URING_SOCKET_GETSOCKOPT,
    URING_SOCKET_SETSOCKOPT,
    URING_SOCKET_TX_TIMESTAMP,
};

/* ioprio of operations on sockets */
#define URING_RECVSEND_POLL_FIRST  (1u << 0)
#define URING_RECV_MULTISHOT       (1u << 1)
#define URING_RECVSEND_FIXED_BUF   (1u << 2)
#define URING_SEND_ZC_REPORT_USAGE (1u << 3)
#define URING_RECVSEND_BUNDLE      (1u << 4)
#define URING_ACCEPT_MULTISHOT     (1u << 0)
#define URING_ACCEPT_DONTWAIT      (1u << 1)
#define URING_ACCEPT_POLL_FIRST    (1u << 2)
#define URING_NOTIF_COPIED         (1u << 31)

/* What RECVMSG with RECV_MULTISHOT puts in front of name, control messages and payload. */
struct uring_recvmsg_out {
    uint32_t name_size, control_size, payload_size, flags;
};

enum uring_opcode {
    URING_NOP,
    URING_READV,
    URING_WRITEV,
    URING_FSYNC,
    URING_READ_FIXED,
    URING_WRITE_FIXED,
    URING_POLL_ADD,
    URING_POLL_REMOVE,
    URING_SYNC_FILE_RANGE,
    URING_SENDMSG,
    URING_RECVMSG,
    URING_TIMEOUT,
    URING_TIMEOUT_REMOVE,
    URING_ACCEPT,
    URING_ASYNC_CANCEL,
    URING_LINK_TIMEOUT,
    URING_CONNECT,
    URING_FALLOCATE,
    URING_OPENAT,
    URING_CLOSE,
    URING_FILES_UPDATE,
    URING_STATX,
    URING_READ,
    URING_WRITE,
    URING_FADVISE,
    URING_MADVISE,
    URING_SEND,
    URING_RECV,
    URING_OPENAT2,
    URING_EPOLL_CTL,
    URING_SPLICE,
    URING_PROVIDE_BUFFERS,
    URING_REMOVE_BUFFERS,
    URING_TEE,
    URING_SHUTDOWN,
    URING_RENAMEAT,
    URING_UNLINKAT,
    URING_MKDIRAT,
    URING_SYMLINKAT,
    URING_LINKAT,
    URING_MSG_RING,
    URING_FSETXATTR,
    URING_SETXATTR,
    URING_FGETXATTR,
    URING_GETXATTR,
    URING_SOCKET,
    URING_URING_CMD,
    URING_SEND_ZC,
    URING_SENDMSG_ZC,
    URING_READ_MULTISHOT,
    URING_WAITID,
    URING_FUTEX_WAIT,
    URING_FUTEX_WAKE,
    URING_FUTEX_WAITV,
    URING_FIXED_FD_INSTALL,
    URING_FTRUNCATE,
    URING_BIND,
    URING_LISTEN,
    URING_RECV_ZC,
    URING_EPOLL_WAIT,
    URING_READV_FIXED,
    URING_WRITEV_FIXED,
    URING_PIPE,
    URING_OP_COUNT,
};

/* io_uring_register(2) */
enum uring_register {
    URING_REGISTER_BUFFERS,
    URING_UNREGISTER_BUFFERS,
    URING_REGISTER_FILES,
    URING_UNREGISTER_FILES,
    URING_REGISTER_EVENTFD,
    URING_UNREGISTER_EVENTFD,
    URING_REGISTER_FILES_UPDATE,
    URING_REGISTER_EVENTFD_ASYNC,
    URING_REGISTER_PROBE,
    URING_REGISTER_PERSONALITY,
    URING_UNREGISTER_PERSONALITY,
    URING_REGISTER_RESTRICTIONS,
    URING_REGISTER_ENABLE_RINGS,
    URING_REGISTER_FILES2,
    URING_REGISTER_FILES_UPDATE2,
    URING_REGISTER_BUFFERS2,
    URING_REGISTER_BUFFERS_UPDATE,
    URING_REGISTER_IOWQ_AFF,
    URING_UNREGISTER_IOWQ_AFF,
    URING_REGISTER_IOWQ_MAX_WORKERS,
    URING_REGISTER_RING_FDS,
    URING_UNREGISTER_RING_FDS,
    URING_REGISTER_PBUF_RING,
    URING_UNREGISTER_PBUF_RING,
    URING_REGISTER_SYNC_CANCEL,
    URING_REGISTER_FILE_ALLOC_RANGE,
    URING_REGISTER_PBUF_STATUS,
    URING_REGISTER_NAPI,
    URING_UNREGISTER_NAPI,
    URING_REGISTER_CLOCK,
    URING_REGISTER_CLONE_BUFFERS,
    URING_REGISTER_SEND_MSG_RING,
    URING_REGISTER_ZCRX_IFQ,
    URING_REGISTER_RESIZE_RINGS,
    URING_REGISTER_MEM_REGION,
    URING_REGISTER_QUERY,
    URING_REGISTER_COUNT,
};
#define URING_REGISTER_USE_REGISTERED_RING   (1u << 31)

#define URING_RESTRICTION_REGISTER_OP        0
#define URING_RESTRICTION_SQE_OP             1
#define URING_RESTRICTION_SQE_FLAGS_ALLOWED  2
#define URING_RESTRICTION_SQE_FLAGS_REQUIRED 3

#endif
