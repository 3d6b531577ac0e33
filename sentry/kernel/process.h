/*
 * A process: what tasks share that were made with CLONE_THREAD.
 */
#ifndef SENTRY_KERNEL_PROCESS_H
#define SENTRY_KERNEL_PROCESS_H

#include <sys/resource.h>

#include "base/lock.h"
#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/usage.h"
#include "sentry/wait/timer.h"
#include "sentry/wait/wait.h"

struct core;
struct file;
struct pid_ns;
struct posix_timers;
struct process_group;
struct terminal;

struct process {
    refcount_t refs;
    struct kernel *kernel;   /* borrowed */
    struct pid_ns *pid_ns;   /* owned reference: the one that it is in, all its life */
    int32_t pid;             /* in the first pid namespace, like all numbers here (pidns.h) */
    int32_t vpid;            /* in its own */
    bool unkillable;         /* init of a pid namespace: gets no signal that it does not handle */
    struct sighand *sighand; /* owned reference; replaced by execve alone, with one thread left */

    struct lock lock;
    struct list threads __guarded_by(lock); /* tasks that are not dead */
    uint32_t thread_count __guarded_by(lock);
    struct sigpending pending __guarded_by(lock); /* process-directed */
    bool group_exit __guarded_by(lock);           /* every thread has to leave */
    int exit_status __guarded_by(lock);           /* as wait(2) encodes it */
    struct list asyncs __guarded_by(lock);        /* what ends with the process: proxy.h */
    uint32_t leaving __guarded_by(lock);          /* threads that have begun to end */
    /* Job control (jobs.c). */
    bool stopped __guarded_by(lock);         /* every thread has to park, or has parked */
    uint32_t stop_left __guarded_by(lock);   /* threads that have not parked yet */
    uint32_t continues __guarded_by(lock);   /* how many SIGCONT have come */
    int stop_signo __guarded_by(lock);       /* what stopped it last */
    int stop_report __guarded_by(lock);      /* a stop that wait(2) has not told yet; 0: none */
    bool continue_report __guarded_by(lock); /* likewise a continue */
    int tell_continued __guarded_by(lock);   /* CLD_* for the parent, by the next thread; 0: none */
    uint32_t stop_word; /* host futex: changes at a continue, a group exit, a thread's end... */
    struct rlimit64 limits[RLIM_NLIMITS] __guarded_by(lock);
    uint64_t dead_cpu_ns __guarded_by(lock); /* of threads that have gone */
    struct usage dead_usage __guarded_by(lock);
    struct task *leader; /* owned reference: its tid is the pid */

    /* ITIMER_REAL and alarm(2). */
    struct timer real_timer;
    uint64_t real_deadline_ns __guarded_by(lock); /* CLOCK_MONOTONIC; 0: not armed */
    uint64_t real_fired_ns __guarded_by(lock);    /* the expiry whose SIGALRM is pending; or 0 */
    uint64_t real_interval_ns __guarded_by(lock);

    struct cpu_timers cpu_timers;                         /* setitimer(2), RLIMIT_CPU */
    struct posix_timers *posix_timers __guarded_by(lock); /* owned; NULL before the first */
    bool timer_ids_wanted; /* PR_TIMER_CREATE_RESTORE_IDS: timer_create(2) is told the number */

    struct core *core __guarded_by(lock); /* a dump that is being made (core.h), on its stack */
    struct task *exec_task __guarded_by(lock); /* the thread that execve leaves over; borrowed */

    /* The tree, under kernel->lock (tree.c). */
    struct process
        *parent; /* borrowed: it hands its children on before it goes; NULL: the Sentry */
    struct task *parent_thread; /* the thread of the parent that it belongs to; only compared */
    int32_t maker_tid;          /* the thread of the parent that made it: PTRACE_TRACEME */
    struct list children;       /* processes */
    struct list sibling;
    /* How far the process has come; atomic, since handles on it are polled without the lock. */
    bool leader_dead; /* the thread that bears its number has ended, others may live on */
    bool zombie;      /* all threads have gone, nobody has asked yet */
    bool reaped;      /* out of the tree and of the pid table */
    int exit_signal;  /* what the parent gets at the end; 0: nothing */
    struct process_group *group; /* owned by its members together; NULL before and after life */
    struct list group_node;
    int32_t pgid, sid;           /* copies of the group's */
    struct terminal *tty;        /* owned reference: the controlling terminal (ctty.c); or NULL */
    int32_t tty_old_foreground;  /* session leader: the foreground group of a tty that hung up */
    bool subreaper;              /* PR_SET_CHILD_SUBREAPER: takes the orphans below it */
    bool has_execed;             /* setpgid(2) comes too late */
    struct usage children_usage; /* of children that were waited for */

    struct wait_queue child_events; /* woken when a child ends, stops or continues */
    struct wait_queue exit_events;  /* woken when it, or a thread of it, has ended */
    uint64_t serial;                /* never used again, unlike the pid */
    int32_t parent_pid;             /* atomic copy of parent->pid, the Sentry's own 1 for orphans */
    uint32_t dumpable;
    /* prctl(2), inherited by children: PR_MCE_KILL, PR_SET_THP_DISABLE, PR_SET_IO_FLUSHER. */
    uint8_t memory_failure;
    uint8_t no_huge_pages; /* with PR_THP_DISABLE_EXCEPT_ADVISED 3 */
    bool io_flusher;
    /* /proc/PID/oom_score_adj, and what an unprivileged program cannot go below. Inherited; under
     * lock */
    int16_t oom_score_adj, oom_score_min;
    uint32_t login_uid, login_session; /* audit's; UINT32_MAX: not set. Atomic, inherited */
    uint32_t exec_count; /* under lock: which program this is, for who looks at its memory */
    uint32_t membarrier_registered; /* atomic: MEMBARRIER_CMD_REGISTER_* bits */
    struct file *exe;               /* owned reference: /proc/self/exe */
};

struct process *process_ref(struct process *process);
struct process *process_unref(struct process *process); /* takes NULL, returns NULL */

/* An empty process: its first task gives it its number. NULL without memory. */
struct process *process_create(struct kernel *kernel, struct pid_ns *ns);

/*
 * Starts the end of the whole process with this wait status, unless it has begun already: kicks
 * every thread. Any thread may call.
 */
void process_group_exit(struct process *process, int status);
void process_group_exit_locked(struct process *process, int status);
/* Ends a job control stop: lets the threads go that wait in it. */
void process_continue_locked(struct process *process);
/* Lets everybody look again who sleeps on stop_word. */
void process_poke(struct process *process);
/* Every thread's processor time so far, in nanoseconds. */
uint64_t process_cpu_ns(struct process *process);
uint64_t process_cpu_ns_locked(struct process *process);

#endif
