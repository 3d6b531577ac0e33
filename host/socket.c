#include "host/socket.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "host/news.h"
#include "host/sockopt_names.h"

int host_socket(int domain, int type, int protocol)
{
    int fd = socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

    return fd < 0 ? -errno : fd;
}

int host_socket_bind(int fd, const void *addr, socklen_t size)
{
    return bind(fd, addr, size) < 0 ? -errno : 0;
}

int host_socket_listen(int fd, int backlog)
{
    return listen(fd, backlog) < 0 ? -errno : 0;
}

int host_socket_accept(int fd)
{
    int made = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    host_news_note();
    return made < 0 ? -errno : made;
}

int host_socket_connect(int fd, const void *addr, socklen_t size)
{
    int result = connect(fd, addr, size);

    host_news_note();
    return result < 0 ? -errno : 0;
}

int host_socket_name(int fd, bool peer, void *addr, socklen_t *size)
{
    int err = peer ? getpeername(fd, addr, size) : getsockname(fd, addr, size);

    return err < 0 ? -errno : 0;
}

int host_socket_shutdown(int fd, int how)
{
    return shutdown(fd, how) < 0 ? -errno : 0;
}

ssize_t host_socket_send(int fd, const struct msghdr *msg, int flags)
{
    ssize_t n = sendmsg(fd, msg, flags | MSG_DONTWAIT | MSG_NOSIGNAL);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_socket_receive(int fd, struct msghdr *msg, int flags)
{
    ssize_t n = recvmsg(fd, msg, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    host_news_note();
    return n < 0 ? -errno : n;
}

int host_socket_set(int fd, int level, int name, const void *value, socklen_t size)
{
    return setsockopt(fd, level, name, value, size) < 0 ? -errno : 0;
}

int host_socket_get(int fd, int level, int name, void *value, socklen_t *size)
{
    int result = getsockopt(fd, level, name, value, size);

    host_news_note();
    return result < 0 ? -errno : 0;
}

const struct host_sockopt *host_sockopt_find(int level, int name)
{
    static const struct host_sockopt list[] = {
#define SOCKOPT(level_, name_, max_, ways_) {level_, name_, max_, HOST_SOCKOPT_##ways_},
#include "host/sockopts.def"
#undef SOCKOPT
    };

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        if (list[i].level == level && list[i].name == name)
            return &list[i];
    return NULL;
}

int host_route_socket(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    return fd < 0 ? -errno : fd;
}
