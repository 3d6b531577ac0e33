/* inotify(7): an instance is a file from which events are read. */
#ifndef SENTRY_FS_EVENT_INOTIFY_H
#define SENTRY_FS_EVENT_INOTIFY_H

#include "base/compiler.h"

struct file;
struct path;

/* /proc/sys/fs/inotify; atomic. Instances and watches are counted for each user. */
extern uint32_t inotify_max_instances, inotify_max_watches, inotify_max_queued;

/* `flags`: O_NONBLOCK. -EMFILE, -ENOMEM. */
int inotify_create(uint32_t flags, struct file **ret);
bool inotify_is(const struct file *f);
/* IN_* of `mask`; the watch's number. -EEXIST, -ENOSPC, -ENOMEM. */
int inotify_add(struct file *f, const struct path *path, uint32_t mask);
/* The same of what is in no tree: a pipe, a socket; other kinds tell nothing. -EACCES. */
int inotify_add_file(struct file *f, struct file *watched, uint32_t mask);
/* -EINVAL */
int inotify_remove(struct file *f, int wd);

#endif
