/*
 * ptrace(2) as programs use it on each other. (The platform of that name is something else: it uses
 * the host's.) Everything here happens between tasks of the sandbox.
 *
 *   runs --ptrace_stop()--> stopped --PTRACE_CONT and the like, or nobody traces it now--> runs
 *
 * A tracee stops itself, on its own thread: at signals (delivery.c), at calls (syscall.c), at
 * events (clone.c, exec.c, exit.c). It then sleeps with its registers at rest in task->ctx, where
 * the tracer reads and changes them under the tracee's process->lock. What only the own thread can
 * do (extended state), the tracer asks for by ptrace_on_tracee().
 *
 * Who traces whom changes under kernel->lock and the tracee's process->lock both, so that either is
 * enough to read it.
 */
#ifndef SENTRY_KERNEL_PTRACE_H
#define SENTRY_KERNEL_PTRACE_H

#include <signal.h>

#include "base/compiler.h"
#include "base/list.h"

struct clone_request;
struct kernel;
struct process;
struct task;
struct wait_request;
struct wait_result;

/* What a call does beside its work: bits of task->syscall_work. */
enum syscall_work {
    SYSCALL_WORK_TRACE = 1,     /* PTRACE_SYSCALL: stops before and after */
    SYSCALL_WORK_EMU = 2,       /* PTRACE_SYSEMU: stops before, and is not done */
    SYSCALL_WORK_SECCOMP = 4,   /* there are filters */
    SYSCALL_WORK_STEP = 8,      /* PTRACE_SINGLESTEP: the instruction that calls is one step */
    SYSCALL_WORK_DISPATCH = 16, /* the program may want it back: userdispatch.h */
};

struct trace_remote;
/* Answers the tracer's request, if there is one; process->lock held. */
void ptrace_serve_remote_locked(struct task *task, bool refuse);

/* Debug registers 0-3, 6 and 7, as the tracer set them (ptrace_debug.c). */
struct trace_debug {
    uint64_t address[4], status, control;
    /* Own thread only: */
    uint64_t before[4]; /* what was there when the task went on */
    uint32_t touched;   /* where the instruction at hand faulted: a bit for each register */
    bool passing;       /* it faulted, and is being repeated */
};

/* A task as tracee and as tracer. */
struct trace {
    struct task *tracer; /* borrowed: it lets go of all before it ends; NULL: nobody traces it */
    struct list node;    /* in tracer->trace.tracees; kernel->lock */
    struct list tracees; /* tasks that this one traces; kernel->lock */
    bool zombie;         /* a thread that has ended and waits to be asked about; kernel->lock */

    /* The rest under process->lock of the task. */
    bool seized;
    uint32_t options; /* PTRACE_O_* */
    bool stopped;     /* in a ptrace-stop */
    bool listening;   /* stopped, and to be left so until something new happens */
    bool killed;      /* SIGKILL came although the process was ending already */
    bool trap_due;    /* PTRACE_EVENT_STOP is to be reported */
    bool stop_due;    /* not seized: the group-stop is to be reported */
    bool continued;   /* SIGCONT came during a signal-delivery-stop */
    int code;         /* signal | event << 8, while wait(2) has not told it; else 0 */
    int event;        /* PTRACE_EVENT_* of this stop, or 0 */
    bool has_info;
    siginfo_t info;
    uint64_t message; /* PTRACE_GETEVENTMSG */
    int inject;       /* the signal that the tracer continued with, and who it was then */
    int32_t inject_pid;
    uint32_t inject_uid;
    uint32_t word;  /* host futex: changes when the tracee is to look again */
    bool step;      /* PTRACE_SINGLESTEP */
    bool forced_tf; /* TF is ours, not the program's */
    /* Changed while the task is stopped, so its own thread reads them freely. */
    struct trace_debug debug;
    bool watching;             /* some debug register is on */
    uint64_t fs_base, gs_base; /* of a stopped task */
    bool bases_changed;
    struct trace_remote *remote; /* what the tracer asks the thread to do */
};

/* Linux PTRACE_MODE_*: what is to be done, and which of the caller's ids decide. */
enum ptrace_mode {
    PTRACE_ATTACH_REALCREDS, /* ptrace(2), process_vm_readv(2): real ids, permitted capabilities */
    PTRACE_ATTACH_FSCREDS,   /* /proc: file system ids, effective capabilities */
    PTRACE_READ_FSCREDS,
    PTRACE_READ_REALCREDS, /* setns(2) */
};

/* May `caller` look into (or change) `target`? 0 or -EPERM (Linux __ptrace_may_access()). */
int ptrace_may_access(struct task *caller, struct task *target, enum ptrace_mode mode);

/* ---- ptrace.c: who traces whom; the tracer's side ---- */

void trace_init(struct trace *trace);
/* PTRACE_ATTACH, PTRACE_SEIZE with `options`, PTRACE_TRACEME. -EPERM. */
int ptrace_attach(struct task *tracer, struct task *task, bool seize, uint32_t options);
int ptrace_traceme(struct task *task);
/* A new task of a traced one, which does not run yet, is traced too. */
void ptrace_inherit(struct task *parent, struct task *child);
/*
 * Takes the lock of the tracee's process if `task` is traced by `tracer` and stopped; -ESRCH
 * otherwise, and the lock is not held.
 */
int ptrace_hold(struct task *tracer, struct task *task);
/* Lets a held tracee go on: SYSCALL_WORK_* bits say how, `signo` with which signal. */
void ptrace_resume_locked(struct task *task, uint32_t work, int signo);
/* PTRACE_DETACH of a stopped tracee. -ESRCH. */
int ptrace_detach(struct task *tracer, struct task *task, int signo);
/* PTRACE_INTERRUPT, PTRACE_LISTEN: -EIO, -ESRCH. */
int ptrace_interrupt(struct task *tracer, struct task *task);
int ptrace_listen(struct task *tracer, struct task *task);
/* Runs fn on the thread of a stopped tracee, with its process->lock held. -ESRCH. */
int ptrace_on_tracee(struct task *tracer, struct task *task,
                     void (*fn)(struct task *task, void *arg), void *arg);
/* `task` ends, and with it its tracing of others; kernel->lock held. */
void ptrace_tracer_ended_locked(struct task *task);
/* Nobody traces `task` any more; kernel->lock held. */
void ptrace_unlink_locked(struct task *task);
/* The tracer's number, 0: none. */
int32_t ptrace_tracer_tid(struct task *task);

/* ---- ptrace_stop.c: the tracee's side, on its own thread ---- */

/* The event is reported where the tracer asked for it. */
void ptrace_event(struct task *task, int event, uint64_t message);
/* The same with the number of a task for a message. */
void ptrace_event_task(struct task *task, int event, int32_t tid);
bool ptrace_wants_event(struct task *task, int event);
/* PTRACE_EVENT_EXIT, which even a killed task reports. */
void ptrace_exit_event(struct task *task, int status);
/* After execve(2): the event, or the SIGTRAP of old. */
void ptrace_execed(struct task *task, int32_t old_tid);
/* The event of clone(2) that the parent's tracer wants, or 0. */
int ptrace_clone_event(struct task *parent, const struct clone_request *request);
/* A call begins: false when it is not to be done. Registers may have changed. */
bool ptrace_syscall_enter(struct task *task);
void ptrace_syscall_exit(struct task *task);
/* A handler's frame was pushed: ends a single step there. `stepping`: as it was before. */
void ptrace_handler_entered(struct task *task, bool stepping);
/* Sets the trap flag, or clears it, as the tracer wants it. */
void ptrace_apply_step(struct task *task);
/* The trap flag, which ptrace_apply_step() sets, is no part of what the program sees. */
bool ptrace_end_step(struct task *task);
/*
 * A signal was taken: the tracer decides. The number that goes on, 0 for none; process->lock is
 * held, and is let go while the task is stopped.
 */
int ptrace_signal_locked(struct task *task, siginfo_t *info);
/* Reports a group-stop or an interruption that is due: true when it did. Lock as above. */
bool ptrace_report_stop_locked(struct task *task);
/* For signal.c and delivery.c: the process stops, or SIGCONT came; process->lock held. */
void ptrace_group_stops_locked(struct process *process);
void ptrace_group_continues_locked(struct process *process);
/* SIGKILL for a process that is ending, but whose threads may stop to tell so. */
void ptrace_kill_again_locked(struct process *process);
/* Lets a stopped tracee look again whether it must leave. */
void ptrace_poke(struct task *task);

/* ---- ptrace_regs.c: registers of a held tracee, as ptrace(2) lays them out ---- */

struct linux_user_regs;
void ptrace_get_regs_locked(struct task *task, struct linux_user_regs *ret);
/* -EIO for what no program can have; nothing has changed then. */
int ptrace_set_regs_locked(struct task *task, const struct linux_user_regs *regs);

/* ---- ptrace_debug.c: watchpoints ---- */

/* Debug register n of a held tracee. -EIO, -EINVAL, -ENOSPC. */
int ptrace_set_debug_locked(struct task *task, int n, uint64_t value);
uint64_t ptrace_get_debug_locked(struct task *task, int n);
/* All off: another program, or nobody watches any more. */
void ptrace_clear_debug(struct task *task);
/* Own thread, before a task that is watched goes to the guest, and after its single step. */
void ptrace_watch(struct task *task);
void ptrace_watch_fault(struct task *task, uaddr_t addr, bool fetch); /* which was served */
bool ptrace_watch_hit(struct task *task);

/* ---- ptrace_wait.c: kernel->lock held ---- */

/* 1: a tracee had something to tell; 0: there are some that may; -ECHILD: none. */
int ptrace_wait_locked(struct task *task, const struct wait_request *request,
                       struct wait_result *ret);
/* The leader is traced by another process than the parent, which is not told before that one. */
bool ptrace_keeps_from_parent(const struct process *process);
/* Tells the tracer of a task that has ended. */
void ptrace_tell_end_locked(struct task *task, int status);

#endif
