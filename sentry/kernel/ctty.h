/*
 * Controlling terminals: which process has which, whose foreground group may use it, what a hangup
 * does (Linux drivers/tty/tty_jobctrl.c). As there, each process has a reference of its own, handed
 * down by fork; a terminal knows its session and its foreground group by number. All of that is
 * under kernel->lock.
 */
#ifndef SENTRY_KERNEL_CTTY_H
#define SENTRY_KERNEL_CTTY_H

#include "base/compiler.h"

struct file;
struct kernel;
struct process;
struct task;
struct terminal;

/* Lets terminals signal and ask (terminals_connect()). */
void ctty_connect(struct kernel *kernel);

void ctty_inherit_locked(struct process *child, struct process *parent);
/* Gives the process's own reference up: setsid(2), the end. */
void ctty_drop_locked(struct process *process);
/* The last thread of a session leader has gone: the foreground group gets SIGHUP. */
void ctty_leader_ended_locked(struct process *process);
/* The first program's. */
void ctty_give_locked(struct process *process, struct terminal *t);

/*
 * Before the task uses terminal `t` in a way that is for the foreground alone: SIGTTIN or SIGTTOU
 * to its group and -ERESTARTSYS, or -EIO where that would not help. 0: go on.
 */
int ctty_check(struct task *task, struct terminal *t, int signo);
/* open(2) without O_NOCTTY: a session leader without a terminal takes this one, if it is free. */
void ctty_opened(struct task *task, struct file *file);

/* The calls of ioctl_tty(2), without their user copies. */
int ctty_take(struct task *task, struct file *file, bool steal);
int ctty_give_up(struct task *task, struct terminal *t);
int ctty_get_session(struct task *task, struct terminal *t, bool master, int32_t *ret);
int ctty_get_foreground(struct task *task, struct terminal *t, bool master, int32_t *ret);
int ctty_set_foreground(struct task *task, struct terminal *t, int32_t pgid);

/*
 * For /proc/PID/stat: the process's terminal as a device number, 0: none; its foreground group,
 * -1: none. Takes kernel->lock.
 */
void ctty_describe(struct process *process, uint32_t *ret_device, int32_t *ret_foreground);

/* To the foreground group of the terminal; false when there is none. */
bool ctty_signal(struct kernel *kernel, struct terminal *t, int signo);

#endif
