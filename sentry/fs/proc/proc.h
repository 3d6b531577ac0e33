/*
 * /proc: the processes of the sandbox and what the Sentry says about itself as a kernel: proc(5).
 * The one file system that knows tasks.
 */
#ifndef SENTRY_FS_PROC_PROC_H
#define SENTRY_FS_PROC_PROC_H

#include "base/compiler.h"

struct file;
struct pid_ns;
struct super_block;

/* The global number of the process whose /proc/PID this open directory is; -1: another file. */
int32_t procfs_pid_of(const struct file *file);

/* What is seen from that pid namespace, which gets a reference; NULL: from the first one. */
int procfs_create(struct pid_ns *ns, struct super_block **ret);

#endif
