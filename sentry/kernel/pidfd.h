/*
 * Process handles: descriptors that mean one process, or one thread, for as long as they are open,
 * whoever gets its number later (pidfd_open(2)).
 */
#ifndef SENTRY_KERNEL_PIDFD_H
#define SENTRY_KERNEL_PIDFD_H

#include <fcntl.h>

#include "base/compiler.h"

struct file;
struct process;
struct task;

#define PIDFD_FLAG_NONBLOCK ((unsigned)O_NONBLOCK) /* waitid(2) on it does not wait */
#define PIDFD_FLAG_THREAD   ((unsigned)O_EXCL)     /* the thread, not its process */

/* `flags` of PIDFD_FLAG_*. -ENOENT: a thread that leads no process; -ESRCH: it is gone; -ENOMEM. */
int pidfd_create(struct task *task, unsigned flags, struct file **ret);
/*
 * By st_ino of such a handle, for one who sees the process or thread. -ESTALE: it is gone, or he
 * does not.
 */
int pidfd_create_by_ino(struct task *asker, uint64_t ino, unsigned flags, struct file **ret);
bool pidfd_is(const struct file *file);
bool pidfd_is_thread(struct file *file); /* asked for with PIDFD_FLAG_THREAD */
bool pidfd_is_leader(struct file *file); /* means a process, or the thread that leads it */
/* Borrowed from the file, which a pidfd is. */
struct process *pidfd_process(struct file *file);
/*
 * The task that the handle means now, of a process its leader, dead or not; a reference. NULL: it
 * is gone, and waited for.
 */
struct task *pidfd_task(struct file *file);

#endif
