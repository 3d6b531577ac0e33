/*
 * Inside sentry/syscalls/uring: io_uring(7). A ring is a file with shared memory (setup.c); an
 * entry of its submission queue becomes a request (request.c), whose operation is a row of the
 * table in ops.c.
 *
 *   io_uring_enter -> a request is made from the entry's copy -> its operation is tried at once
 *       done                     -> its result is posted (completion.c), the next of its chain is
 * tried would block on a file    -> the file is watched (async.h); tried again when it is ready
 *       blocks by its nature     -> a thread of the pool does it, as a proxy of the caller
 *       waits for something else -> POLL_ADD, TIMEOUT: kept until that happens
 *
 * Why on this floor, and not below the system calls: most operations are system calls with another
 * way to pass the arguments, so their bodies are called as they are.
 *
 * Locks: submit_lock (one submitter; tables of files and buffers), then `lock` (requests and
 * completions), then the pool's and the wait queue's. User memory is copied with submit_lock held,
 * never with `lock`.
 *
 * Invariant: a request that waits is in one of the states below, and whoever changes the state to
 * REQ_BUSY under `lock` is the one who goes on with it. So an event, a timeout and a cancellation
 * that meet do not both finish it.
 */
#ifndef SENTRY_SYSCALLS_URING_URING_H
#define SENTRY_SYSCALLS_URING_URING_H

#include "abi/io_uring.h"
#include "base/refcount.h"
#include "sentry/kernel/proxy.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/uio.h"
#include "sentry/syscalls/async.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/timer.h"

#define URING_ENTRIES_MAX 32768
#define URING_LIVE_MAX    65536 /* requests of one ring that wait; then submitting is EBUSY */
#define URING_FILES_MAX   32768
#define URING_BUFFERS_MAX 16384

/* Hints about who completes what when are taken and change nothing: completions come at once. */
#define URING_SETUP_FLAGS                                                                          \
    (URING_SETUP_IOPOLL | URING_SETUP_HYBRID_IOPOLL | URING_SETUP_CQSIZE | URING_SETUP_CLAMP |     \
     URING_SETUP_ATTACH_WQ | URING_SETUP_R_DISABLED | URING_SETUP_SUBMIT_ALL |                     \
     URING_SETUP_COOP_TASKRUN | URING_SETUP_TASKRUN_FLAG | URING_SETUP_SQE128 |                    \
     URING_SETUP_CQE32 | URING_SETUP_SINGLE_ISSUER | URING_SETUP_DEFER_TASKRUN |                   \
     URING_SETUP_NO_SQARRAY | URING_SETUP_SQPOLL | URING_SETUP_SQ_AFF | URING_SETUP_NO_MMAP |      \
     URING_SETUP_REGISTERED_ONLY | URING_SETUP_CQE_MIXED)
#define URING_FEATURES                                                                             \
    (URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP | URING_FEAT_SUBMIT_STABLE |                       \
     URING_FEAT_RW_CUR_POS | URING_FEAT_CUR_PERSONALITY | URING_FEAT_FAST_POLL |                   \
     URING_FEAT_POLL_32BITS | URING_FEAT_SQPOLL_NONFIXED | URING_FEAT_EXT_ARG |                    \
     URING_FEAT_NATIVE_WORKERS | URING_FEAT_RSRC_TAGS | URING_FEAT_CQE_SKIP |                      \
     URING_FEAT_LINKED_FILE | URING_FEAT_REG_REG_RING | URING_FEAT_RECVSEND_BUNDLE |               \
     URING_FEAT_MIN_TIMEOUT | URING_FEAT_NO_IOWAIT)

#define URING_ENTER_FLAGS                                                                          \
    (URING_ENTER_GETEVENTS | URING_ENTER_SQ_WAKEUP | URING_ENTER_SQ_WAIT | URING_ENTER_EXT_ARG |   \
     URING_ENTER_REGISTERED_RING | URING_ENTER_ABS_TIMER | URING_ENTER_EXT_ARG_REG |               \
     URING_ENTER_NO_IOWAIT)

/* The beginning of the shared memory; completions follow, then the submission array. */
struct uring_shared {
    uint32_t sq_head, sq_tail, cq_head, cq_tail;
    uint32_t sq_mask, cq_mask, sq_entries, cq_entries;
    uint32_t sq_dropped, sq_flags, cq_flags, cq_overflow;
    uint32_t pad[4];
};
static_assert(sizeof(struct uring_shared) == 64, "completions follow aligned");

enum req_state {
    REQ_BUSY,   /* some thread has it in hand */
    REQ_CHAIN,  /* behind another request, or behind the drain */
    REQ_POLL,   /* watches its file */
    REQ_WORKER, /* queued for, or on, a thread of the pool */
    REQ_TIMER,  /* a timeout */
};

/* What of the registered things a request uses. */
enum uring_use {
    URING_USE_FILE,
    URING_USE_OTHER, /* the buffer, or the file that is spliced from */
    URING_USE_COUNT,
};

/* What an operation answers besides results: the request goes on by itself. */
#define REQ_PENDING INT64_MIN

struct uring_req {
    refcount_t refs; /* one until it is finished, and one for each thread that looks at its file */
    struct uring *ring;          /* owned reference */
    const struct process *owner; /* who submitted it; to compare */
    struct list live;            /* in ring->live, in the order of submission; under ring->lock */
    struct uring_req *next;      /* the rest of its chain */
    struct uring_req *timer;     /* its LINK_TIMEOUT; under ring->lock */
    struct uring_req *timed;     /* whom this LINK_TIMEOUT is for; under ring->lock */
    struct uring_sqe sqe;        /* our copy */
    const struct uring_op *op;
    enum req_state state;    /* under ring->lock */
    bool cancelled;          /* likewise: not to be armed again */
    bool drain;              /* starts when all before it have finished */
    bool held;               /* has begun to wait for that */
    bool skip;               /* no completion if all is well */
    bool failed;             /* breaks its chain although `res` looks well */
    bool worker;             /* is done on a thread of the pool: may sleep */
    struct list waiting;     /* in its kind's list of its ring; under ring->lock */
    struct uring_kind *kind; /* in the ring: whose limit it counts for, or NULL. Likewise */
    bool multishot;
    bool nowait; /* EAGAIN is the answer */
    bool poked;  /* its file changed while it was in hand; under ring->lock */
    uint32_t cqe_flags;
    uint64_t user_data; /* POLL_REMOVE can change it; under ring->lock */

    struct file *file; /* owned; looked up when it is tried first, let go when it finishes */
    const struct file *was_file;              /* which that was; to compare. Under ring->lock */
    struct uring_rsrc *uses[URING_USE_COUNT]; /* owned references, until it is finished */
    struct task *proxy;      /* owned; who works for it when the submitter has gone on */
    const struct cred *cred; /* owned; of its personality, or NULL */
    struct async_job job;
    struct async_poll poll;
    struct uio uio; /* reads and writes */
    bool uio_ready;
    struct uring_buf buffer; /* selected */
    bool has_buffer;
    uint16_t bundle_end; /* the head of its group's ring when it had taken a bundle */
    struct timer clock;  /* TIMEOUT */
    uint64_t deadline_ns, interval_ns;
    uint32_t target;       /* completions until it is due */
    bool counts;           /* `target` is valid */
    bool counted;          /* in ring->counting */
    bool good_late;        /* that a timeout came does not break its chain */
    int64_t result;        /* for the job that finishes it */
    struct uring_net *net; /* owned; of operations on sockets (net.c); NULL: none */
};

struct uring_overflow;
struct uring_poller;
struct uring_buffer_group;

struct uring_rsrc { /* a registered file or buffer (rsrc.c) */
    refcount_t refs;
    uint64_t tag;        /* 0: none */
    struct file *file;   /* owned; NULL: it is a buffer */
    uint64_t addr, size; /* of a buffer */
};

/* Work of one kind, bounded or not: so much at a time. */
struct uring_kind {
    uint32_t max, running;
    struct list waiting; /* struct uring_req, by `waiting` */
};

/* IORING_REGISTER_NAPI. No network here has queues that could be polled busily: it is kept. */
#define URING_NAPI_IDS 16
struct uring_napi_state {
    uint32_t busy_us, tracking;
    bool prefer;
    uint32_t ids[URING_NAPI_IDS]; /* 0: free */
};

struct uring {
    refcount_t refs;           /* the file's, and each request's */
    struct kernel *kernel;     /* borrowed: outlives it */
    int32_t issuer;            /* SINGLE_ISSUER: the thread; 0: none yet */
    uint32_t flags;            /* URING_SETUP_* */
    const struct mm *made_for; /* to compare */
    clockid_t clock;           /* of the deadlines of waits */
    uint32_t sq_entries, cq_entries;
    struct mappable *memory; /* owned reference; has what follows, all of it hostile: */
    struct uring_shared *shared;
    uint8_t *cqes;
    uint32_t *sq_array;
    uint8_t *sqes;
    struct wait_queue queue;     /* who waits for completions: poll(2), io_uring_enter(2) */
    struct uring_poller *poller; /* owned reference: of SQPOLL (sqpoll.c), or NULL */

    struct lock submit_lock;
    uint32_t sq_head __guarded_by(submit_lock);
    struct uring_rsrc **files __guarded_by(submit_lock); /* owned; NULL: a hole */
    uint32_t file_count, alloc_from, alloc_end __guarded_by(submit_lock);
    struct uring_rsrc **buffers __guarded_by(submit_lock); /* likewise */
    uint32_t buffer_count __guarded_by(submit_lock);
    struct list groups __guarded_by(submit_lock); /* struct uring_buffer_group */
    uint32_t group_buffers __guarded_by(submit_lock);
    uaddr_t region_addr __guarded_by(submit_lock); /* region.c: the program's memory, or */
    void *region_bytes __guarded_by(submit_lock);  /* ours, which the program maps: hostile */
    struct uring_napi_state napi __guarded_by(submit_lock);
    uint64_t region_size, wait_size __guarded_by(submit_lock); /* 0: there is none */
    const struct cred *creds[16] __guarded_by(submit_lock);    /* personalities, from 1 on */
    bool restricted __guarded_by(submit_lock);
    uint64_t allowed_ops, allowed_registers __guarded_by(submit_lock);
    uint8_t allowed_flags, required_flags __guarded_by(submit_lock);

    struct lock lock;
    bool disabled, dead __guarded_by(lock);
    struct uring_kind kinds[2] __guarded_by(lock); /* bounded and unbounded work */
    uint64_t *worker_cpus __guarded_by(lock);      /* owned; as kernel->cpus. NULL: all of those */
    struct list users __guarded_by(lock);          /* struct uring_user: processes */
    uint32_t cq_tail __guarded_by(lock);
    uint32_t
        timeouts_posted __guarded_by(lock); /* completions of timeouts do not count for others */
    struct list live __guarded_by(lock);    /* struct uring_req */
    uint32_t live_count __guarded_by(lock);
    uint32_t drains __guarded_by(lock);     /* live requests that drain */
    uint32_t held_count __guarded_by(lock); /* requests that are held back */
    uint32_t counting __guarded_by(lock);   /* live timeouts that wait for completions */
    struct list overflow __guarded_by(lock);
    uint32_t overflow_count __guarded_by(lock);
    struct file *eventfd __guarded_by(lock); /* owned */
    bool eventfd_async __guarded_by(lock);
};

enum op_flags {
    OP_FILE = 1,       /* works on sqe->fd */
    OP_IN = 2,         /* EAGAIN: watch the file for reading */
    OP_OUT = 4,        /* ... for writing */
    OP_WORKER = 8,     /* blocks by its nature */
    OP_BUFFERS = 16,   /* takes SQE_BUFFER_SELECT */
    OP_IOPRIO = 32,    /* sqe->ioprio means something */
    OP_SHORT = 64,     /* less than asked for breaks a chain */
    OP_SOCKET = 128,   /* on sockets alone */
    OP_IOPOLL = 512,   /* may be in a ring of IOPOLL */
    OP_WAITS = 256,    /* only waits: can be cancelled even while a thread does it */
    OP_ENDLESS = 1024, /* may take for ever, except on regular files: unbounded work */
};

struct uring_op {
    /* Looks at the entry, with submit_lock held: 0, or what the completion says. NULL: all well. */
    int (*prep)(struct uring_req *req, struct task *task);
    /* Tries it for `task`. A result, -EAGAIN (see OP_IN), or REQ_PENDING. NULL: there is none. */
    int64_t (*issue)(struct uring_req *req, struct task *task);
    uint32_t flags;
};

/* ---- ops.c ---- */
const struct uring_op *uring_op_find(uint8_t opcode); /* NULL: not supported */

/* ---- setup.c ---- */
bool uring_is(const struct file *f);
struct uring *uring_of(struct file *f);
struct uring *uring_ref(struct uring *ring);
struct uring *uring_unref(struct uring *ring); /* takes NULL, returns NULL */

/* Where the parts of a ring's memory are: offsets for mmap(2). */
struct uring_places {
    uint64_t rings, cq, sqes;
};
/* New memory for ring->memory, of the sizes that the ring has. -ENOMEM: some may have been added.
 */
int uring_lay_out(struct uring *ring, const struct uring_places *at);
/* The sizes that were asked for, in powers of two. -EINVAL. */
int uring_choose_sizes(uint32_t entries, struct uring_params *p);
void uring_tell_layout(const struct uring *ring, struct uring_params *p);
/* ---- resize.c: submit_lock held ---- */
int uring_resize(struct uring *ring, struct task *task, uaddr_t arg);

/* ---- ringfds.c: rings that a thread has registered, IORING_REGISTER_RING_FDS ---- */
/* The file of a descriptor, or of such a number, referenced. -EBADF, -EINVAL. */
int uring_file(struct task *task, uint32_t fd, bool registered, struct file **ret);
/* How many of the `count` were registered, or unregistered; an error when none was. */
int uring_register_rings(struct task *task, bool add, uaddr_t arg, uint32_t count);

/* The lowest free number of the caller's table, for a ring that has no descriptor. -EBUSY. */
int uring_keep_registered(struct task *task, struct file *file);

/* ---- sqpoll.c ---- */
/* Starts the thread that submits; an error leaves it to uring_poller_fini(). -EAGAIN, -ENOMEM. */
int uring_poller_start(struct uring *ring, struct task *task, const struct uring_params *params);
/* It ends soon: the file goes. */
void uring_poller_stop(struct uring *ring);
void uring_poller_fini(struct uring *ring); /* with the ring itself */
void uring_poller_wake(struct uring *ring);
/* io_uring_enter(2) of such a ring: `submit`, or -EOWNERDEAD. */
long uring_poller_enter(struct uring *ring, struct task *task, uint32_t submit, uint32_t flags);

/* ---- user.c ---- */
/* The caller's process uses the ring: its requests end with it. -ENOMEM. */
int uring_use(struct uring *ring, struct task *task);
void uring_drop_users(struct uring *ring);

/* ---- request.c ---- */
/* Starts the first of a chain, or holds it back. */
void uring_start(struct uring_req *req, struct task *task);
/* Finishes one request that is not to be tried, alone; `silent`: without a completion. */
void uring_fail(struct uring_req *req, int64_t res, bool silent);
/* Goes on with a request that is in hand (REQ_BUSY), and with its chain. */
void uring_run(struct uring_req *req, struct task *task);
/* A result for a request in hand that had been pending; its chain goes on, on a thread of the pool.
 */
void uring_finish(struct uring_req *req, int64_t res);
/* Makes a request of a state the caller's: false when it is in another one. */
bool uring_claim(struct uring_req *req, enum req_state state);
struct uring_req *req_ref(struct uring_req *req);
void req_unref(struct uring_req *req); /* takes NULL */
/* What holds now of the events it waits for; 0 also when somebody has finished it meanwhile. */
uint32_t req_look_poll(struct uring_req *req);
/* A proxy, if the request has none yet. -ENOMEM. */
int req_need_proxy(struct uring_req *req, struct task *task);
/* Has a thread of the pool do it. REQ_PENDING, or -ENOMEM. */
int64_t req_to_worker(struct uring_req *req, struct task *task);
/* Starts what was held back and may start now. */
void uring_release_held(struct uring *ring);

/* ---- workers.c ---- */
void uring_workers_init(struct uring *ring, struct task *task, uint32_t entries);
/* A thread of the pool does it, now or when its turn has come. */
void uring_worker_start(struct uring_req *req);
/* It has not begun, and will not; ring->lock held. */
bool uring_worker_take_back_locked(struct uring_req *req);
/* IORING_REGISTER_IOWQ_MAX_WORKERS, _IOWQ_AFF (arg 0: undone), _NAPI. submit_lock held. */
int uring_max_workers(struct uring *ring, struct task *task, uaddr_t arg, uint32_t count);
int uring_worker_cpus(struct uring *ring, struct task *task, uaddr_t arg, uint32_t size);
int uring_napi(struct uring *ring, struct task *task, uaddr_t arg);
int uring_no_napi(struct uring *ring, struct task *task, uaddr_t arg);

/* ---- submit.c ---- */
/* Makes requests of up to `count` entries and starts them. How many, or -errno. */
long uring_submit(struct uring *ring, struct task *task, uint32_t count);

/* ---- completion.c ---- */
/* Posts a completion; from any thread. */
void uring_post(struct uring *ring, uint64_t user_data, int32_t res, uint32_t flags, bool timeout);
/* One of several for a request, if there is room in the queue; false: it has to be the last. */
bool uring_post_more(struct uring *ring, uint64_t user_data, int32_t res, uint32_t flags,
                     bool timeout);
/* Moves what had no room into the queue; how many completions the program can see then. */
uint32_t uring_ready(struct uring *ring);
void uring_drop_overflow(struct uring *ring);

/* ---- timeout.c ---- */
void uring_arm_link_timeout(struct uring_req *req);
/* Ends a timeout that the caller has claimed. */
void uring_end_timeout(struct uring_req *req, int64_t res);
/* Timeouts that wait for completions look at their counts; ring->lock held. */
void uring_count_timeouts_locked(struct uring *ring);

/* ---- cancel.c ---- */
struct uring_cancel {
    uint32_t flags; /* URING_CANCEL_* */
    uint64_t user_data;
    struct file *file;
    uint8_t opcode;
    const struct process *process; /* its requests alone; NULL: anybody's */
    const struct uring_req *only;  /* this one alone; NULL: what the flags say */
    const struct uring_req *self;  /* not the one that cancels */
};
/*
 * 0 or, with ALL and ANY, how many; -ENOENT, -EALREADY. As on Linux 1, not 0, for one that only
 * waits (OP_WAITS).
 */
int uring_cancel(struct uring *ring, const struct uring_cancel *what);
/* Also what is held back. `process`: its requests alone; NULL: all, for ever. */
void uring_cancel_all(struct uring *ring, const struct process *process);
/* IORING_REGISTER_SYNC_CANCEL. */
int uring_sync_cancel(struct uring *ring, struct task *task, const struct uring_sync_cancel *arg);

/* ---- rsrc.c ---- */
struct uring_rsrc *uring_rsrc_create(uint64_t tag); /* NULL: no memory */
/* The last one posts its tag; ring->lock not held. Takes NULL, returns NULL. */
struct uring_rsrc *uring_rsrc_unref(struct uring *ring, struct uring_rsrc *rsrc);
/* The request holds `rsrc` (NULL: nothing) instead of what it held as `what`. */
void uring_hold(struct uring_req *req, enum uring_use what, struct uring_rsrc *rsrc);
/* Word `i` of the tags; 0 where there are none. -EFAULT. */
int uring_read_tag(struct task *task, uaddr_t tags, uint32_t i, uint64_t *ret);
struct uring_rsrc *uring_rsrc_ref(struct uring_rsrc *rsrc);
struct uring_rsrc **uring_table_create(uint32_t count); /* of holes; NULL: no memory */
/* Takes NULL with a count of 0. Without `tell` the tags of what is in it are forgotten. */
void uring_table_destroy(struct uring *ring, struct uring_rsrc **table, uint32_t count, bool tell);

/* ---- clone.c, region.c, query.c; errors are Linux's ---- */
int uring_clone_buffers(struct uring *ring, struct task *task, uaddr_t arg);   /* no lock held */
int uring_register_region(struct uring *ring, struct task *task, uaddr_t arg); /* submit_lock */
/* A copy of the argument at that offset of the region. -EFAULT. */
int uring_region_wait(struct uring *ring, struct task *task, uint64_t offset,
                      struct uring_reg_wait *ret);
int uring_query(struct task *task, uaddr_t arg, uint32_t count);
int uring_send_message(struct task *task, uaddr_t arg, uint32_t count);

/* ---- move.c ---- */
/* MSG_RING with IORING_MSG_DATA: the entry's completion for another ring. -EINVAL, -EBADFD. */
int uring_msg_data(struct uring *target, const struct uring_sqe *s);

/* ---- buffers.c, groups.c, files.c ---- */
/* The registered buffer that the entry names, as a uio; submit_lock held. -EFAULT... */
int uring_fixed_uio(struct uring_req *req, struct task *task);
bool uring_has_buffer(struct uring_req *req); /* is there one of that number? */
int uring_fixed_vectors(struct uring_req *req, struct task *task);
/* Picks a buffer of the request's group; req->buffer. -ENOBUFS, -EFAULT. */
int uring_select_buffer(struct uring_req *req, struct task *task);
/*
 * As many buffers of a ring in the program's memory as `max` bytes fill, or one of a list of ours,
 * become req->uio; req->buffer is the first. *ret_drained: there are no more. Errors as above.
 */
int uring_select_bundle(struct uring_req *req, struct task *task, uint64_t max, bool *ret_drained);
/* The last ones were not used and go back, unless somebody has taken more meanwhile. */
void uring_return_buffers(struct uring_req *req, uint32_t count);
void uring_buffers_fini(struct uring *ring);
void uring_groups_fini(struct uring *ring);
/* `addr`, 0: all are holes. `tags`: as many 64-bit words, 0: none. Linux's errors. */
int uring_register_buffers(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count,
                           uaddr_t tags);
int uring_unregister_buffers(struct uring *ring);
int uring_update_buffers(struct uring *ring, struct task *task,
                         const struct uring_rsrc_update *update);
int uring_register_group(struct uring *ring, struct task *task, uaddr_t arg);
int uring_unregister_group(struct uring *ring, struct task *task, uaddr_t arg);
int uring_group_status(struct uring *ring, struct task *task, uaddr_t arg);
int64_t uring_provide_buffers(struct uring_req *req, struct task *task);
int64_t uring_remove_buffers(struct uring_req *req, struct task *task);

struct file *uring_fixed_file(struct uring *ring, uint32_t index); /* submit_lock held; NULL */
/* The same for a request, which holds what is registered there. */
struct file *uring_use_file(struct uring_req *req, enum uring_use what, uint32_t index);
int uring_register_files(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count,
                         uaddr_t tags);
int uring_unregister_files(struct uring *ring);
void uring_files_fini(struct uring *ring);
int uring_update_files(struct uring *ring, struct task *task,
                       const struct uring_rsrc_update *update);
/* Each of the descriptors is replaced by the number of the free place that it got. */
int uring_place_files(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count);
int uring_file_range(struct uring *ring, struct task *task, uaddr_t arg);
/* Puts a file into a slot (1-based), or any with URING_FILE_INDEX_ALLOC; takes it over. */
int uring_install_fixed(struct uring *ring, struct file *file, uint32_t slot);
int uring_close_fixed(struct uring *ring, uint32_t index);

#endif
