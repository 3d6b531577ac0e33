/*
 * The process tree: who is whose child, what a parent is told, who is reaped. The Sentry itself is
 * pid 1: orphans become its children, and it reaps them at once.
 *
 *     runs --last thread ends--> zombie --wait(2), or nobody to wait--> reaped
 */
#ifndef SENTRY_KERNEL_TREE_H
#define SENTRY_KERNEL_TREE_H

#include "base/compiler.h"

struct kernel;
struct process;
struct task;

/* Hangs a new process under `parent` (NULL: the Sentry); kernel->lock held, as for all below. */
void tree_add_locked(struct process *process, struct process *parent);
/* A thread has gone, others live on: one of them takes its children over; so for all below. */
void tree_thread_ended_locked(struct task *task);
/* The last thread has gone: hands children on, tells the parent, reaps if nobody waits. */
void tree_process_ended_locked(struct process *process);
/* Nobody will ask there: it ignores SIGCHLD or says SA_NOCLDWAIT (sigaction(2)). */
bool tree_is_careless(struct process *parent);
/* A zombie that nothing keeps from its parent any more: tells it, or reaps where nobody waits. */
void tree_settle_zombie_locked(struct process *process);
/* Takes a zombie out of the tree and its number out of the table. */
void tree_reap_locked(struct process *process);
/*
 * SIGCHLD to the parent for CLD_STOPPED or CLD_CONTINUED, and a word to those who wait; takes
 * kernel->lock, so with no process->lock held. Stops the sandbox when that was due.
 */
void tree_tell_stop(struct process *process, int code);

#endif
