/*
 * Job control: a process stops and goes on as a whole.
 *
 *     runs --SIGSTOP..., default action--> stopped: each thread parks on its way to the guest
 *          <--SIGCONT, or its end---------          the last one tells the parent
 *
 * When all of the first program's group has stopped, the sandbox stops itself, so that the shell
 * that started it sees a stopped job; see kernel_config.
 */
#ifndef SENTRY_KERNEL_JOBS_H
#define SENTRY_KERNEL_JOBS_H

#include "base/compiler.h"

struct process;
struct task;

/*
 * The default action of a stop signal that `task` took. process->lock is held, and released in
 * between; a SIGCONT that comes meanwhile prevents the stop, and so does an orphaned group.
 */
void job_stop_locked(struct task *task, int signo);
/* The own thread takes part in a stop. True: process->lock was released in between, look again. */
bool job_enter_stop_locked(struct task *task);
/* Sleeps until something happens to the stopped process; process->lock is released meanwhile. */
void job_stay_locked(struct task *task);
/* Tells the parent of a continue, if that is due. True: process->lock was released in between. */
bool job_tell_continued_locked(struct process *process);
/* SIGCONT was sent. */
void job_continue_locked(struct process *process);
/* A thread joins a process, or has left it. True: a stop is complete now, to be told. */
void job_thread_joins_locked(struct task *task);
bool job_thread_left_locked(struct task *task);

#endif
