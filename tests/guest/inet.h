/* What the guest tests of TCP and UDP share: names, options and events of sockets on loopback. */
#ifndef TESTS_GUEST_INET_H
#define TESTS_GUEST_INET_H

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "check.h"

__attribute__((unused)) static struct sockaddr_in v4(uint32_t addr, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(addr)};
}

__attribute__((unused)) static int port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);

    CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    return ntohs(((struct sockaddr_in *)&name)->sin_port); /* at the same place in both families */
}

/* The loopback comes up. */
__attribute__((unused)) static void raise_loopback(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

/* A network of its own, whose loopback is up. False where that cannot be had. */
__attribute__((unused)) static bool enter_own_network(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    raise_loopback();
    return true;
}

__attribute__((unused)) static int tcp(int flags)
{
    return socket(AF_INET, SOCK_STREAM | flags, 0);
}

__attribute__((unused)) static int bind_to(int fd, uint32_t addr, int port)
{
    struct sockaddr_in name = v4(addr, port);

    return bind(fd, (struct sockaddr *)&name, sizeof(name));
}

__attribute__((unused)) static int connect_to(int fd, uint32_t addr, int port)
{
    struct sockaddr_in name = v4(addr, port);

    return connect(fd, (struct sockaddr *)&name, sizeof(name));
}

__attribute__((unused)) static int listener(int backlog)
{
    int fd = tcp(0);

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(listen(fd, backlog), 0);
    return fd;
}

/* A connection: fd[0] has connected, fd[1] was accepted. */
__attribute__((unused)) static void connection(int fd[2])
{
    int l = listener(1);

    fd[0] = tcp(0);
    CHECK_EQ(connect_to(fd[0], INADDR_LOOPBACK, port_of(l)), 0);
    fd[1] = accept(l, NULL, NULL);
    CHECK(fd[1] >= 0);
    close(l);
}

__attribute__((unused)) static void close_both(int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

/* What holds, once `want` does: a reset or an end of the stream may take a moment on Linux. */
__attribute__((unused)) static short events_with(int fd, short want)
{
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};

    for (int i = 0; i < 1000; i++) {
        poll(&p, 1, 0);
        if ((p.revents & want) == want)
            break;
        usleep(1000);
    }
    return p.revents;
}

__attribute__((unused)) static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);

    if (getsockopt(fd, level, name, &value, &size) < 0)
        return -errno;
    return value;
}

__attribute__((unused)) static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

#endif
