/*
 * Files on namespaces: what /proc/PID/ns/NAME leads to. They lie in a file system of their own,
 * nsfs, that is mounted nowhere; but each can be bound to a place (mount(2) with MS_BIND: `ip netns
 * add` does it), and such a mount keeps its namespace as an open file does. That a mount namespace
 * does not come to keep itself is seen to by sentry/vfs/mount: a place in one only ever shows those
 * that were made later.
 */
#ifndef SENTRY_KERNEL_NSFILE_H
#define SENTRY_KERNEL_NSFILE_H

#include "sentry/kernel/ns/ns.h"

struct dentry;
struct file;
struct handle;
struct path;
struct super_block;
struct task;

/* Before the first namespace is made. -ENOMEM. */
int nsfs_setup(void);
bool nsfs_is(const struct super_block *sb);
/* Where the namespace lies; referenced, and keeps it. -ENOMEM. */
int nsfs_path(struct ns *ns, struct path *ret);
/* Borrowed from the dentry; NULL: it is no such place. */
struct ns *ns_of_dentry(const struct dentry *dentry);

/* An open file on a namespace, of which it takes a reference. -ENOMEM. */
int ns_file_create(struct ns *ns, struct file **ret);
/* For nsfs: without its place. */
int ns_file_open(struct ns *ns, uint32_t flags, struct file **ret);
/* Borrowed from the file; NULL: it is no such file. */
struct ns *ns_of_file(struct file *file);

/* nshandle.c: name_to_handle_at(2), open_by_handle_at(2). */
void ns_handle_encode(const struct ns *ns, struct handle *ret);
/* One that the task is in, or over which it has CAP_SYS_ADMIN; referenced. -ESTALE. */
int ns_handle_decode(struct task *task, const struct handle *handle, struct ns **ret);

#endif
