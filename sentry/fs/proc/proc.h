/*
 * /proc: the processes of the sandbox and what the Sentry says about itself as a kernel: proc(5).
 * The one file system that knows tasks.
 */
#ifndef SENTRY_FS_PROC_PROC_H
#define SENTRY_FS_PROC_PROC_H

struct super_block;

int procfs_create(struct super_block **ret);

#endif
