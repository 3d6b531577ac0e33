#include "host/poll.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "host/news.h"

int host_poll(struct pollfd *fds, unsigned count, int timeout)
{
    int n = poll(fds, count, timeout);

    host_news_note();
    return n < 0 ? -errno : n;
}

uint32_t host_poll_now(int fd, uint32_t events)
{
    struct pollfd pfd = {.fd = fd, .events = (short)events};
    int n;

    do {
        n = host_poll(&pfd, 1, 0);
    } while (n == -EINTR);
    return n < 0 ? POLLNVAL : (uint16_t)pfd.revents;
}

int host_epoll_create(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int host_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    return epoll_ctl(epfd, op, fd, event) < 0 ? -errno : 0;
}

int host_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    int n = epoll_wait(epfd, events, max, timeout);

    host_news_note();
    return n < 0 ? -errno : n;
}

int host_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}
