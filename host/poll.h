/*
 * Waiting for host descriptors: poll(2) for one look, epoll(7) for the thread that waits for all of
 * them, eventfd(2) to wake that thread. All return -errno.
 */
#ifndef HOST_POLL_H
#define HOST_POLL_H

#include <poll.h>
#include <sys/epoll.h>

#include "base/compiler.h"

/* poll(2), timeout in milliseconds: how many have events. */
int host_poll(struct pollfd *fds, unsigned count, int timeout);
/* The POLL* bits among `events` (and POLLERR, POLLHUP) that hold now; POLLNVAL if poll failed. */
uint32_t host_poll_now(int fd, uint32_t events);

int host_epoll_create(void); /* EPOLL_CLOEXEC */
int host_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int host_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);
int host_eventfd(void); /* EFD_CLOEXEC | EFD_NONBLOCK */

#endif
