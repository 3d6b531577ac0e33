/*
 * Signals: signal(7), sigaction(2). Sets are 64-bit words, signal n is bit n-1. siginfo_t is
 * libc's: its layout is the ABI's.
 *
 * Lock order: process->lock (queues, masks), then sighand->lock (actions; shared by CLONE_SIGHAND).
 */
#ifndef SENTRY_KERNEL_SIGNAL_H
#define SENTRY_KERNEL_SIGNAL_H

#include <signal.h>

#include "abi/signal.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"

struct kernel;
struct posix_timer;
struct process;
struct task;
struct user;

#define SIGNAL_COUNT    64
#define SIGNAL_BIT(sig) (1UL << ((sig)-1))
/* Raised by the processor for the instruction at hand: delivered before all others. */
#define SIGNALS_SYNCHRONOUS                                                                        \
    (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) |         \
     SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSYS))
#define SIGNALS_STOP                                                                               \
    (SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))
#define SIGNALS_UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

/* struct sigaction as rt_sigaction(2) passes it, x86-64. */
struct linux_sigaction {
    uaddr_t handler; /* or SIG_DFL 0, SIG_IGN 1 */
    uint64_t flags;  /* SA_* */
    uaddr_t restorer;
    uint64_t mask;
};
static_assert(sizeof(struct linux_sigaction) == 32, "kernel sigaction");

struct sighand {
    refcount_t refs;
    struct lock lock;
    struct linux_sigaction actions[SIGNAL_COUNT] __guarded_by(lock);
};

struct sigpending {
    struct list queue; /* struct sigqueue */
    uint64_t set;
};

/*
 * A POSIX timer has an entry of its own from its creation on, so that its signal is never lost: it
 * is queued once, and further expiries are counted.
 */
struct sigqueue {
    struct list node;
    struct kernel *kernel;     /* borrowed */
    struct user *user;         /* whose count this entry is in */
    struct posix_timer *timer; /* whose this entry is, or NULL: freed when it has been taken */
    siginfo_t info;
};

/* What is being delivered. */
struct delivery {
    siginfo_t info;
    struct linux_sigaction action;
};

/*
 * Sends. `info` may be NULL: as if from the kernel itself (SI_KERNEL). 0; -EAGAIN when the queue of
 * real-time signals is full. Ignored signals count as sent.
 */
int signal_send_task(struct task *task, int signo, const siginfo_t *info);
int signal_send_task_locked(struct task *task, int signo, const siginfo_t *info);
int signal_send_process(struct process *process, int signo, const siginfo_t *info);
/*
 * The signal of a POSIX timer, to `task` or, NULL, to the process: entry->info is filled in. False:
 * it is ignored. It may be queued already. `busy`: rather to a thread that runs.
 */
bool signal_send_timer_locked(struct process *process, struct task *task, struct sigqueue *entry,
                              bool busy);
/* From the kernel itself, for time that was used: rather to a thread that runs. */
void signal_send_busy_locked(struct process *process, int signo);
/*
 * A signal that the task's own instruction caused: cannot be blocked or ignored (Linux
 * force_sig_info). Own thread only.
 */
void signal_force(struct task *task, const siginfo_t *info);
/* The same with si_signo, si_code and si_addr. */
void signal_fault(struct task *task, int signo, int code, uaddr_t addr);

/*
 * Before the return to the guest: takes what is due, runs default actions, sets up handlers'
 * frames, settles how an interrupted call goes on. May set task->exiting.
 */
void signal_deliver(struct task *task);

/* Sets the mask and looks again at what is pending; own thread only. */
void signal_set_blocked(struct task *task, uint64_t blocked);
/* Pending for this task, blocked ones included. */
uint64_t signal_pending_set(struct task *task);
/* rt_sigaction(2); new_action NULL: only asks. */
int signal_set_action(struct task *task, int signo, const struct linux_sigaction *new_action,
                      struct linux_sigaction *ret_old);

/* Threads that take what is pending for the process are told: after another left or blocked it. */
void signal_retarget_locked(struct process *process);
/* Its default action is to do nothing. */
bool signal_default_ignored(int signo);

/* sigpending.c: what is queued. */
void sigpending_init(struct sigpending *pending);
void sigpending_clear(struct sigpending *pending); /* frees what is queued */
/* Drops every queued signal of `set`. */
void sigpending_drop(struct sigpending *pending, uint64_t set);
/* An entry in the count of the task's user. NULL beyond RLIMIT_SIGPENDING. */
struct sigqueue *sigqueue_alloc_locked(struct task *task, bool beyond_limit);
void sigqueue_free(struct sigqueue *entry);
/* Takes a POSIX timer's signal off `pending`, should it be there. */
void signal_unqueue_locked(struct sigpending *pending, struct sigqueue *entry);
/* Takes one signal out of `set` (own queue, then the process's): its number or 0; lock held. */
int signal_dequeue_locked(struct task *task, uint64_t set, siginfo_t *ret_info);

/* sighand.c: actions. */
struct sighand *sighand_create(void);
struct sighand *sighand_copy(struct sighand *sighand);
struct sighand *sighand_ref(struct sighand *sighand);
struct sighand *sighand_unref(struct sighand *sighand);
/* execve(2): handlers back to default. */
void sighand_reset_handlers(struct sighand *sighand);

#endif
