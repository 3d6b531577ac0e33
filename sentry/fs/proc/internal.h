/* Inside sentry/fs/proc: the parts of the tree, and text that is built in pieces. */
#ifndef SENTRY_FS_PROC_INTERNAL_H
#define SENTRY_FS_PROC_INTERNAL_H

#include "sentry/fs/treefs.h"
#include "sentry/kernel/task.h"

/* A text of which only the first `size` bytes are kept, but whose whole length is counted. */
struct proc_text {
    char *buf;
    size_t size;
    size_t length;
};

void proc_printf(struct proc_text *text, const char *fmt, ...) __printf(2, 3);

/* pid.c: /proc/PID, whose key is the number, and /proc/PID/fd/N. */
extern const struct tree_node proc_pid_node;
/*
 * The task with that number, referenced, if it belongs to the caller's process; NULL otherwise. So
 * its memory, files and places are the caller's, and can be used without more locks.
 */
struct task *proc_find_task(uint64_t tid);

/* maps.c */
ssize_t proc_maps_text(uint64_t key, char *buf, size_t size);

/* cpuinfo.c */
ssize_t proc_cpuinfo_text(uint64_t key, char *buf, size_t size);

/* sysctl.c: /proc/sys */
extern const struct tree_node proc_sys_nodes[3];

#endif
