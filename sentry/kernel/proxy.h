/*
 * Work that the Sentry does for a program while the program goes on: asynchronous calls.
 *
 * A proxy is a task without a guest side: it shares memory, files, places and identity with the
 * task that asked, so that the bodies of system calls can run for it on any thread of the Sentry.
 * It has no context, is in no table, and every signal is blocked for it.
 *
 * What a process has going on asynchronously ends with it: with its last thread, and at execve.
 */
#ifndef SENTRY_KERNEL_PROXY_H
#define SENTRY_KERNEL_PROXY_H

#include "base/list.h"

struct task;
struct process;

/* One reference; NULL without memory. Only one thread at a time works for it. */
struct task *proxy_create(struct task *of);
/* task_current() of this thread is `proxy`, as whom files are asked too, until it is NULL again. */
void proxy_enter(struct task *proxy);
void proxy_leave(void);
/* Ends its waiting, now or later: blocking bodies give up as for a signal. Any thread. */
void proxy_interrupt(struct task *proxy);

/* Embedded in what has to end with its process. */
struct process_async {
    struct list node; /* in process->asyncs, under process->lock */
    /*
     * The process ends or execs; called once, by its last thread, while memory and files are still
     * there, without locks.
     */
    void (*end)(struct process_async *async);
};

void process_async_add(struct process *process, struct process_async *async);
/* False: its end() is being called or was. */
bool process_async_remove(struct process *process, struct process_async *async);
/* Ends them all. From execve with one thread left, and from process_async_leave(). */
void process_async_end(struct process *process);
/* A thread begins to leave; the last one ends all that is asynchronous. */
void process_async_leave(struct process *process);

#endif
