/* epoll(7): level- and edge-triggered, one-shot, nested. */
#ifndef SENTRY_FS_EVENT_EPOLL_H
#define SENTRY_FS_EVENT_EPOLL_H

#include "base/compiler.h"

struct file;

/* struct epoll_event, which the x86-64 ABI packs. */
struct linux_epoll_event {
    uint32_t events;
    uint64_t data;
} __packed;
static_assert(sizeof(struct linux_epoll_event) == 12, "struct epoll_event");

/* Files that all epoll files together may watch: /proc/sys/fs/epoll/max_user_watches. */
#define EPOLL_WATCHES_MAX 262144

int epoll_create_file(struct file **ret);
bool epoll_is(const struct file *f);
/* epoll_ctl(2) after the descriptors were looked up: EEXIST, ENOENT, EINVAL, ELOOP, ENOSPC. */
int epoll_control(struct file *epoll, int op, int fd, struct file *target,
                  const struct linux_epoll_event *event);
/* kcmp(2): the `nth` file, from 0, that is watched as `fd`; borrowed, to compare. -ENOENT. */
int epoll_watched(struct file *epoll, int fd, unsigned nth, const struct file **ret_file);
/*
 * Passes up to `max` ready events to `emit`, which may refuse one (its event is kept); how many
 * were passed. Never waits: file_poll() on the epoll file tells when there are some.
 */
typedef bool (*epoll_emit_fn)(void *arg, const struct linux_epoll_event *event);
int epoll_collect(struct file *epoll, int max, epoll_emit_fn emit, void *arg);

#endif
