/*
 * The kernel of one sandbox: what all its processes share.
 *
 * Locks, outer before inner:
 *
 *     kernel->lock            pid table, process tree
 *       process->lock         threads, signal queues, limits, job control
 *         sighand->lock       signal actions
 *         timers' lock        arming (sentry/wait/timer.c)
 *     futex bucket            (two: by address)
 *       mm->lock              through usercopy
 *     System V tables' locks  (ipc.h) innermost, also below mm->lock
 *
 * No task sleeps for a guest event with any of them held.
 */
#ifndef SENTRY_KERNEL_KERNEL_H
#define SENTRY_KERNEL_KERNEL_H

#include "base/lock.h"
#include "sentry/kernel/strace/strace.h"
#include "sentry/kernel/syscall.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/user.h"
#include "sentry/mm/mm.h"

struct timepage;
struct vdso;
struct file;
struct pid_names;
struct pid_ns;
struct process_group;
struct ns;
struct rlimit64;
struct session;
struct terminal;

#define KERNEL_PID_MAX     32768 /* /proc/sys/kernel/pid_max */
#define KERNEL_PID_SENTRY  1     /* the Sentry itself: parent of the first program */
#define KERNEL_PID_FIRST   2
#define KERNEL_THREADS_MAX 32000 /* /proc/sys/kernel/threads-max */

struct kernel_config {
    struct mm_env *mm_env; /* borrowed, like all below: outlive the kernel */
    const struct syscall_table *table;
    const struct strace_filter *strace; /* NULL: none */
    const struct vdso *vdso;            /* NULL: programs get none, and time comes by calls */
    const struct vdso *plain_vdso;      /* the same with a page that is never written (timens.h) */
    struct timepage *timepage;          /* NULL: the kernel keeps one of its own */
    const char *release;                /* uname -r */
    const char *version;                /* uname -v */
    const char *hostname;
    bool no_fastpath;
    /* Stops the whole sandbox by a signal until the host continues it: the first program's group
     * has stopped.
     */
    void (*stop_sandbox)(int signo);
    /* Whoever started the sandbox is a shell that would continue it. */
    bool caller_controls_jobs;
};

/* The first program. */
struct kernel_init {
    struct file *exe; /* borrowed */
    const char *path; /* as AT_EXECFN shows it */
    const char *const *argv;
    const char *const *envp;
    struct fdtable *files;         /* a reference is taken */
    struct fs_context *fs;         /* a reference is taken */
    const struct cred *cred;       /* a reference is taken; see cred_create() */
    const struct rlimit64 *limits; /* RLIM_NLIMITS of them; NULL: Linux's defaults */
    uint64_t ignored_signals;      /* signals that the caller had ignored (nohup) */
    struct terminal
        *tty; /* its controlling terminal: the caller's, or NULL; a reference is taken */
    /* Opens an ELF or `#!` interpreter; a reference for the caller, or -errno. */
    int (*open)(void *arg, const char *path, struct file **ret);
    void *open_arg;
};

struct kernel {
    struct platform *platform;
    struct mm_env *mm_env;
    const struct syscall_table *table;
    struct strace_filter strace;
    const struct vdso *vdso;
    const struct vdso *plain_vdso; /* whose page tells no time (timens.h); NULL: none */
    const char *release, *version;
    struct ns *initial_ns[8]; /* by enum ns_type (ns.h); owned references */
    bool no_fastpath;
    void (*stop_sandbox)(int signo);
    bool caller_controls_jobs;
    struct terminal *tty; /* the caller's, or NULL; owned reference, set before the first task */
    uint64_t boot_ns;     /* CLOCK_MONOTONIC at creation */
    uint64_t hwcap, hwcap2;
    uint32_t fp_size, min_sigstack;
    uint64_t cpus[16]; /* processors that the host lets us use */
    bool sched_told;   /* atomic: some thread of ours is not scheduled as all others are */
    int host_rt_max;   /* the highest real-time priority that the host grants us; 0: none */
    int host_nice;     /* what the Sentry was started with; so is the first task */
    int host_nice_min; /* the lowest nice value, at most 0 */
    /* /proc/sys/kernel/io_uring_disabled: 1: who lacks CAP_SYS_ADMIN makes none, 2: nobody. Atomic
     */
    uint64_t uring_disabled;
    uint32_t cpu_mask_size; /* bytes of such a mask, as sched_getaffinity(2) tells */
    uint32_t cpu_mask_min;  /* the fewest that it takes: room for every processor there is */

    struct futex_table *futexes;

    struct lock lock;
    struct task **pids __guarded_by(lock);            /* KERNEL_PID_MAX slots; a reference each */
    struct process_group **groups __guarded_by(lock); /* by number, like pids; borrowed */
    struct session **sessions __guarded_by(lock);
    struct lock
        names_lock; /* innermost: what numbers are below the first pid namespace (pidns.h) */
    struct pid_names **pid_names __guarded_by(names_lock);   /* by number; owned */
    struct pid_ns **pid_namespaces __guarded_by(names_lock); /* by slot; borrowed */
    uint64_t serials; /* atomic: numbers for kernel_serial() */
    uint32_t task_count __guarded_by(lock);
    uint64_t tasks_made __guarded_by(lock);
    struct usage ended_usage __guarded_by(lock); /* of tasks that have gone, and how often those */
    uint64_t ended_switches __guarded_by(lock);  /* came out of the guest */
    struct process *init __guarded_by(lock);     /* the first program; owned reference */

    uint32_t init_done; /* host futex word: 1 when the first program has ended */
    int init_status;    /* valid then */
    struct user_table users;
    uint64_t absent_logged[8]; /* atomic bits: unimplemented calls that the log has named */
};

/* Starts the Sentry's own threads (timers, time keeping). -ENOMEM, -EAGAIN. */
int kernel_create(const struct kernel_config *config, struct kernel **ret);
/*
 * Loads and starts the first program. -errno as execve(2); ret_why says in words what was wrong
 * with the file, for printing behind "PATH: ".
 */
int kernel_start_init(struct kernel *kernel, const struct kernel_init *init, char *ret_why,
                      size_t why_size);
/* A number that no object of this kernel has had yet: inodes of what has no file system. */
static inline uint64_t kernel_serial(struct kernel *kernel)
{
    return __atomic_add_fetch(&kernel->serials, 1, __ATOMIC_RELAXED);
}

/* Processors that programs may use. */
unsigned kernel_cpu_count(const struct kernel *kernel);
/* Blocks until the first program has ended: its status as wait(2) encodes it. */
int kernel_wait_exit(struct kernel *kernel);
/* A signal of the host for the first program: as if from outside. SIGCONT goes to its group. */
void kernel_signal_init(struct kernel *kernel, int signo);
/* One that the caller's terminal made (^C, ^Z, another size): for its foreground group. Where the
 * guest has no such terminal, for the first program's group. */
void kernel_signal_terminal(struct kernel *kernel, int signo);

/*
 * A free number for `task`, which is entered in the table (the table takes a reference); sets
 * task->tid and vtid. -EAGAIN when all are in use, -ENOMEM when the namespace's init has ended;
 * -EEXIST, -EINVAL, -EPERM by task->wanted_tids. kernel->lock held.
 */
int pid_alloc_locked(struct kernel *kernel, struct task *task);
void pid_free_locked(struct kernel *kernel, struct task *task);
/* The thread that execs takes the number of the leader, which has ended; its own is given back. */
void pid_take_over_locked(struct kernel *kernel, struct task *task, struct task *leader);

#endif
