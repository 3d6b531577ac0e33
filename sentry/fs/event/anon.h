/* What eventfd, epoll and their like share: an inode without a name, the same for all of them. */
#ifndef SENTRY_FS_EVENT_ANON_H
#define SENTRY_FS_EVENT_ANON_H

struct file;
struct linux_stat;

int anon_stat(struct file *f, struct linux_stat *ret);

#endif
