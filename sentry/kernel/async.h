/*
 * Signal-driven input and output: O_ASYNC, F_SETOWN and F_SETSIG of fcntl(2). What a file's wait
 * queue tells is passed on as a signal by the timers' thread, since queues are woken under locks.
 */
#ifndef SENTRY_KERNEL_ASYNC_H
#define SENTRY_KERNEL_ASYNC_H

#include "base/compiler.h"

struct file;
struct task;

enum async_owner { ASYNC_TID = 0, ASYNC_PID = 1, ASYNC_GROUP = 2 }; /* F_OWNER_* */

/* F_SETOWN_EX; pid 0: nobody. -ESRCH, -EINVAL, -ENOMEM. */
int async_set_owner(struct task *task, struct file *file, int type, int32_t pid);
/* F_GETOWN_EX: *ret_pid 0 when there is none, or it has gone. */
void async_get_owner(struct task *task, struct file *file, int *ret_type, int32_t *ret_pid);
/* F_SETSIG (0: SIGIO without details), F_GETSIG. -EINVAL, -ENOMEM. */
int async_set_signal(struct task *task, struct file *file, uint64_t signo);
int async_get_signal(struct file *file);
/* F_SETFL with O_ASYNC, or without it any more; `fd` is what si_fd will show. -ENOMEM. */
int async_switch(struct task *task, struct file *file, int fd, bool on);
/* Before async_post(): `fd` is what si_fd will show; without an owner, the caller's process is it.
 */
int async_prepare(struct task *task, struct file *file, int fd); /* -ENOMEM */
/* Owner and signal are as if they had never been set. */
void async_forget(struct file *file);
/* The owner gets the signal for POLL* soon; any thread, also under locks. POLLMSG: O_ASYNC or not.
 */
void async_post(struct file *file, uint32_t events);
/* SIGURG to the owner, if there is one, and the signal for POLLPRI with O_ASYNC. No lock held. */
void async_urgent(struct file *file);
/* What the call has caused has been sent when it returns, as in Linux; own thread, no lock held. */
void async_settle(struct task *task);

#endif
