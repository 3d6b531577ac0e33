/*
 * A task: one guest thread, run by one host thread (run.c). Tasks of one process share a `struct
 * process` (CLONE_THREAD); memory, descriptors and file-system context are shared by reference.
 *
 *   born (clone.c, kernel.c) -> runs: task_run() -> `exiting` -> task_exit() -> zombie -> released
 *
 * Being told something (a signal, a group exit, a stop): the teller sets a `work` bit under
 * process->lock and kicks (task_kick): a task in the guest is interrupted there, a blocked one
 * through its waiter's latch. The task looks at `work` before each return to the guest.
 */
#ifndef SENTRY_KERNEL_TASK_H
#define SENTRY_KERNEL_TASK_H

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/cred.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/seccomp/seccomp.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/usage.h"
#include "sentry/kernel/userdispatch.h"
#include "sentry/mm/mm.h"
#include "sentry/wait/wait.h"

struct kernel;
struct process;
struct context;
struct key;
struct mm;
struct fdtable;
struct fs_context;
struct futex_sleeper;
struct cgroup;
struct rseq_slots;
struct ns_proxy;
struct sem_undo_list;

enum task_work {
    TASK_WORK_SIGNAL = 1,  /* a signal may have to be delivered */
    TASK_WORK_EXIT = 2,    /* the process ends: leave */
    TASK_WORK_STOP = 4,    /* the process stops */
    TASK_WORK_SCHED = 8,   /* the host is to be told how to schedule it */
    TASK_WORK_RSEQ = 16,   /* a restartable sequence is to be aborted */
    TASK_WORK_FREEZE = 64, /* its cgroup is to be frozen */
    TASK_WORK_KEYS = 32,   /* a child has left its session's keyring (key.h) */
};

/* How restart_syscall(2) goes on with a call that a signal without handler interrupted. */
struct restart_block {
    long (*fn)(struct task *task, struct restart_block *block);
    uint64_t deadline_ns; /* absolute, on `clock` */
    uaddr_t addr;         /* nanosleep: where the rest goes; futex: the word */
    uint32_t value, bitset;
    int clock;
    uint32_t flags;
};

#define TASK_REGISTERED_MAX  16        /* IORING_REGISTER_RING_FDS */
#define TASK_FD_LENT         INT32_MIN /* and the number above it: no descriptor that a program has */

#define LINUX_SCHED_DEADLINE 6

struct sched_deadline {
    uint64_t runtime, deadline, period; /* ns */
};

struct task_sched {
    int policy;   /* SCHED_* */
    int priority; /* sched_priority */
    int nice;
    bool reset_on_fork;
    struct sched_deadline deadline; /* of SCHED_DEADLINE */
    uint64_t affinity[16];          /* 1024 processors */
    uint16_t ioprio;                /* ioprio_set(2); 0: as its nice value has it */
};

struct task {
    refcount_t refs;
    struct kernel *kernel;      /* borrowed: outlives every task */
    struct process *process;    /* owned reference */
    int32_t tid;                /* in the first pid namespace */
    int32_t vtid;               /* in its own: what it knows itself by */
    const int32_t *wanted_tids; /* clone3(2)'s set_tid, the innermost first; until it has them */
    int wanted_count;
    uint64_t serial; /* never used again, unlike the tid */
    char comm[16];   /* PR_SET_NAME; NUL-terminated */

    /*
     * Only the task's own thread changes these, under process->lock, and only it may use them
     * without a reference; others take one by task_get_mm() and its kin.
     */
    struct context *ctx;         /* owned; others kick through it under process->lock */
    struct mm *mm;               /* owned reference */
    struct fdtable *files;       /* owned reference */
    struct fs_context *fs;       /* owned reference: cwd, root, umask */
    struct ns_proxy *namespaces; /* owned reference; NULL once it ends (nsproxy.h) */
    const struct cred *cred;     /* owned reference; replaced under process->lock */
    struct waiter waiter;        /* what this task blocks on */

    struct sem_undo_list *sem_undo; /* owned reference; NULL: nothing to undo (sem.h) */

    /* The call being served; own thread only. */
    bool in_syscall;  /* a result is due in rax; cleared by calls that set all registers */
    bool restart_due; /* the call was interrupted; what others write into rax is not asked here */
    uint64_t syscall_nr; /* rax at entry, Linux's orig_rax: -1 where no call is to be restarted */
    struct restart_block restart;
    bool async_due;  /* a signal that this call has caused is on its way (async.h) */
    bool exiting;    /* task_run() must end the task */
    int exit_status; /* as wait(2) encodes it */
    uaddr_t fault_addr;
    uint64_t fault_vector, fault_error; /* of the last exception: the signal frame shows them */

    /* Files that an asynchronous call has looked up: task_file() gives them for TASK_FD_LENT. */
    struct file *lent[2]; /* borrowed; own thread only */

    uint32_t work;     /* atomic: enum task_work bits */
    uint32_t in_guest; /* atomic: ctx_switch() runs or is about to */
    uint32_t switches; /* atomic: how often it came back */

    uint32_t syscall_work; /* atomic: enum syscall_work, what calls do beside their work */
    struct trace trace;    /* ptrace(2): its locks are told in ptrace.h */
    struct seccomp seccomp;
    struct user_dispatch dispatch;

    /* Under process->lock; `blocked` is changed by the own thread only, which may read it freely.
     */
    struct list process_node; /* in process->threads */
    struct sigpending pending;
    uint64_t blocked;
    uint64_t saved_blocked; /* what sigsuspend and the like restore, when restore_blocked */
    bool restore_blocked;
    uint64_t waited_for;         /* rt_sigtimedwait: blocked, but wanted */
    bool dead;                   /* no longer takes signals; read atomically by handles */
    struct key *session_left;    /* owned reference: the keyring of TASK_WORK_KEYS; or NULL */
    bool parked;                 /* has been counted in the stop that goes on */
    struct linux_stack altstack; /* own thread only */

    struct process *vfork_parent; /* a reference: waits until this task execs or ends */
    uint32_t vfork_done;          /* atomic */

    /* Under the futexes' pi_lock (futex_pi.c). */
    struct list pi_held;              /* struct futex_pi: locks of ours that others wait for */
    struct futex_sleeper *pi_blocked; /* our own wait for such a lock; NULL: none */
    int pi_priority;                  /* own or inherited; 0: ordinary, 1 to 99: real-time */
    bool pi_exited;                   /* has handed its locks on */

    /* Files that io_uring calls name by a number of this thread's own; owned. Own thread only. */
    struct file *registered[TASK_REGISTERED_MAX];

    /* rseq(2), see rseq.h; own thread only. */
    struct rseq_slots *rseq_slots; /* owned reference: the numbers of this address space */
    uaddr_t rseq;                  /* 0: not registered */
    uint32_t rseq_size, rseq_signature;
    int rseq_number;   /* what cpu_id says; -1: none */
    uint32_t rseq_cid; /* what mm_cid says, if there is a number */

    /* Under the cgroups' lock (cgroup.h). */
    struct cgroup *cgroup; /* owned reference; before it has joined: where it is to, or NULL */
    struct list cgroup_node;
    bool cgroup_counted, cgroup_frozen;
    struct usage cgroup_base; /* what it had used when it came there */

    uaddr_t clear_child_tid;
    uaddr_t robust_list;
    struct task_sched sched;        /* under process->lock */
    int told_policy, told_priority; /* what the host knows; own thread only */
    uint64_t rt_sleeps, rt_base_ns; /* RLIMIT_RTTIME counts from here (cputimer.c); likewise */
    int cpu_clock;                  /* host clock id of the thread; 0 before it runs */
    uint64_t cpu_base_ns;           /* what that clock said when the task began */
    uint64_t timer_slack_ns, default_slack_ns; /* the parent's, when this task was made */
    uint32_t personality;
    struct mm_policy policy; /* set_mempolicy(2) */
    int parent_death_signal;
    uint64_t start_ns; /* CLOCK_MONOTONIC */

    struct task_times times;
    struct usage usage;   /* times under process->lock; the counts are the own thread's */
    uint64_t cpu_told_ns; /* under process->lock: CPU clocks do not go back */
};

/* A reference, or NULL when no task has this number. */
struct task *task_find(struct kernel *kernel, int32_t tid);
struct task *task_ref(struct task *task);
struct task *task_unref(struct task *task); /* takes NULL, returns NULL */

/*
 * A task that belongs to `process`, shares nothing yet and is in no table; with a context in the
 * state of a fresh program. NULL without memory.
 */
struct task *task_create(struct kernel *kernel, struct process *process);
/*
 * Gives the task its number, enters it in its process and its cgroup (its maker's; NULL: the root,
 * unless one was chosen), calls `published` (may be NULL; an error
 * takes all back) and starts the host thread, which takes over the caller's reference. With an
 * error (-EAGAIN) the caller still has it.
 */
int task_start(struct task *task, struct task *maker,
               int (*published)(struct task *task, void *arg), void *arg);
/* For other threads: a reference, or NULL when the task has none any more (it ends). */
struct mm *task_get_mm(struct task *task);
struct fdtable *task_get_files(struct task *task);
struct fs_context *task_get_fs(struct task *task);
const struct cred *task_get_cred(struct task *task);
/* Replaces the descriptor table, whose reference is taken over; own thread only. */
void task_set_files(struct task *task, struct fdtable *files);
void task_set_fs(struct task *task, struct fs_context *fs);
/* What /proc and ps(1) call its state: 'R', 'S', 'T', 't' or 'Z'. */
char task_state(struct task *task);
/* Lets go of task->registered; own thread only: exec(2), the end. */
void task_forget_registered(struct task *task);
/* Gives memory, files and places back; own thread, or when no thread runs it. Returns what
 * mm_bury() is to have. */
struct mm *task_release_resources(struct task *task);

/* Processor time so far, in nanoseconds; process->lock held. */
uint64_t task_cpu_ns(struct task *task);

/* The soft limit RLIMIT_* of the task's process. */
uint64_t task_rlimit(struct task *task, int resource);

/* The task's `sched` was changed: the host will be told; process->lock held. */
void task_sched_changed_locked(struct task *task);
/* Tells now, or at the start of the thread if there may be anything to tell; own thread only. */
void task_apply_sched(struct task *task);
void task_start_sched(struct task *task);

/* True when a signal, stop or exit waits: a blocking call must give up (-ERESTARTSYS and kin). */
bool task_interrupted(const struct task *task);
/*
 * Sleeps on the task's waiter until it is woken (0), CLOCK_MONOTONIC `deadline_ns` (-ETIMEDOUT,
 * UINT64_MAX: never), or a signal (-ERESTARTSYS; callers turn it into what their call does).
 */
int task_block(struct task *task, uint64_t deadline_ns);

/* The process ends, or another thread execs: nothing is to be waited for any more. */
bool task_is_leaving(struct task *task);
bool task_is_leaving_locked(const struct task *task); /* process->lock held */
/*
 * After task_block() said -ERESTARTSYS: sleeping may go on, and only the end of the task will
 * interrupt it, until task_heed_signals().
 */
void task_ignore_signals(struct task *task);
void task_heed_signals(struct task *task);

/* The task whose host thread this is: for /proc, which is reached through files. */
struct task *task_current(void);
/* Work on this thread is done for `task` from now on (proxy.h); NULL: for nobody. */
void task_set_current(struct task *task);
/* The host thread's body; ends with the task. */
void task_run(struct task *task);
/* Makes the task look at its `work` soon; process->lock held. */
void task_kick_locked(struct task *task, uint32_t work);
/* Fills the guest-side page of pure calls: after ids or tracing changed; own thread only. */
void task_update_fastpath(struct task *task);
/* Calls of the task come to the Sentry from now on, also while it runs; process->lock held. */
void task_leave_fastpath_locked(struct task *task);
/* What the task promised to leave behind in its memory, before it lets go of it. */
void task_leave_memory(struct task *task);
/* From task_run() only: takes the task out of its process and of every table. */
void task_exit(struct task *task);

#endif
