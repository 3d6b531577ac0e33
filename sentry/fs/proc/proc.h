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
struct task;

enum procfs_process { PROCFS_NONE, PROCFS_SENTRY, PROCFS_TASK };
/*
 * Is this open directory a /proc/PID, the Sentry's own or a process's? Then *ret is its leader,
 * referenced, or NULL when it has gone.
 */
enum procfs_process procfs_process_of(const struct file *file, struct task **ret);

enum procfs_hide {
    PROCFS_HIDE_NOTHING,
    PROCFS_HIDE_CONTENT,     /* hidepid=noaccess */
    PROCFS_HIDE_ALL,         /* invisible */
    PROCFS_HIDE_UNTRACEABLE, /* ptraceable: the group does not help */
};
#define PROCFS_GID_MAX ((1U << 30) - 1)
struct procfs_options {
    enum procfs_hide hide;
    uint32_t gid; /* whose members see everything; at most PROCFS_GID_MAX */
    bool subset_pid;
};

/* What is seen from that pid namespace, which gets a reference; NULL: from the first one. `options`
 * NULL: everybody sees everything. */
int procfs_create(struct pid_ns *ns, const struct procfs_options *options,
                  struct super_block **ret);

#endif
