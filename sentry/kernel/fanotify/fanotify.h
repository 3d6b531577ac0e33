/*
 * fanotify(7): groups that hear what happens to objects, mounts and whole file systems, and that
 * may be asked before a file is opened or read. Linux: fs/notify/fanotify.
 */
#ifndef SENTRY_KERNEL_FANOTIFY_FANOTIFY_H
#define SENTRY_KERNEL_FANOTIFY_FANOTIFY_H

#include "sentry/vfs/inode.h"

struct file;
struct mount_ns;

/* /proc/sys/fs/fanotify; atomic. */
extern uint32_t fanotify_max_queued, fanotify_max_groups, fanotify_max_marks;

/* Before the first program starts. */
void fanotify_start(void);

/* fanotify_init(2): the file is for the caller. -EPERM, -EINVAL, -EMFILE, -ENOMEM. */
int fanotify_create(uint32_t flags, uint32_t event_flags, struct file **ret);
bool fanotify_is(const struct file *file);

/* fanotify_mark(2) in two steps, since the path is looked at between them. */
struct fanotify_request {
    uint32_t flags; /* FAN_MARK_* */
    uint64_t mask;
};
/* What is wrong whatever the object is; takes bits out of the mask that mean nothing. */
int fanotify_check(struct file *file, struct fanotify_request *request);
/* FAN_MARK_FLUSH: done without an object. */
void fanotify_flush(struct file *file, uint32_t flags);
/* FAN_MARK_MNTNS: on the mount namespace `ns`, whose file has that number. */
int fanotify_mark_ns(struct file *file, const struct fanotify_request *request,
                     const struct mount_ns *ns, uint64_t ino);
bool fanotify_wants_ns(const struct fanotify_request *request);
int fanotify_mark(struct file *file, const struct fanotify_request *request,
                  const struct path *path);

#endif
