/*
 * Restartable sequences: rseq(2).
 *
 * A program takes cpu_id as the index of data that is its own until it is preempted. The host
 * preempts without telling, so here the number is not where the thread runs but a processor that
 * no other thread of the address space has at the time: nobody can come in between, whatever the
 * host does, and nothing is to be done on the way to the guest. A thread that finds none free
 * (there are more threads than processors) is told -1, "not registered", and does without.
 *
 * What remains of preemption are signals, membarrier(2), and a change of the number: then a
 * sequence is aborted as on Linux.
 */
#ifndef SENTRY_KERNEL_RSEQ_H
#define SENTRY_KERNEL_RSEQ_H

#include "base/compiler.h"

struct rseq_slots;
struct task;

#define RSEQ_SIZE_FIRST 32u /* of the structure that glibc 2.35 knew */
#define RSEQ_ALIGN      32u

/* Who has which number in one address space; NULL without memory. */
struct rseq_slots *rseq_slots_create(void);
struct rseq_slots *rseq_slots_unref(struct rseq_slots *slots); /* takes NULL, returns NULL */

/* rseq(2), of the own thread. -EINVAL, -EBUSY, -EPERM, -EFAULT. */
int rseq_register(struct task *task, uaddr_t addr, uint32_t size, uint32_t signature);
int rseq_unregister(struct task *task, uaddr_t addr, uint32_t size, uint32_t signature);
/* A new task: in the same address space, or with a copy of it, registration included. -ENOMEM. */
int rseq_clone(struct task *parent, struct task *child, bool same_memory);
/* At the end of the thread or its program: the number is free again. */
void rseq_leave(struct task *task);
/* Before a new program; the old numbers may be others' still. */
void rseq_exec(struct task *task);
/* The affinity has changed: another number, if this one is out of it. */
void rseq_follow_affinity(struct task *task);
/*
 * Takes the thread out of a sequence that it is in. -EFAULT, -EINVAL: what it says about that is
 * nonsense, for which Linux sends SIGSEGV.
 */
int rseq_interrupt(struct task *task);

#endif
