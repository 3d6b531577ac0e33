/*
 * A task: one guest thread, run by one host thread (run.c). Tasks of one process share a `struct
 * process` (CLONE_THREAD); memory, descriptors and file-system context are shared by reference.
 */
#ifndef SENTRY_KERNEL_TASK_H
#define SENTRY_KERNEL_TASK_H

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/wait/wait.h"

struct kernel;
struct process;
struct context;
struct mm;
struct fdtable;
struct fs_context;

/* Immutable once published: a task changes identity by replacing its pointer. */
struct cred {
    refcount_t refs;
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    uint32_t group_count;
    uint32_t groups[32];
};

struct task {
    refcount_t refs;
    struct kernel *kernel;   /* borrowed: outlives every task */
    struct process *process; /* owned reference */
    int32_t tid;
    char comm[16]; /* PR_SET_NAME; NUL-terminated */

    /* Only the task's own thread changes these, and only it may use them without a reference. */
    struct context *ctx;      /* owned */
    struct mm *mm;            /* owned reference */
    struct fdtable *files;    /* owned reference */
    struct fs_context *fs;    /* owned reference: cwd, root, umask */
    const struct cred *cred;  /* owned reference */
    struct waiter waiter;     /* what this task blocks on */
    struct list process_node; /* in process->threads, under process->lock */
};

#endif
