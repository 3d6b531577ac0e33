/*
 * TCP over loopback (tcp(7), ip(7), ipv6(7)): names and ports, listening, connecting with and
 * without waiting, options, and the errors in Linux's order. Ports are the kernel's choice, so runs
 * do not meet each other.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "inet.h"

/* ---- names ------------------------------------------------------------------------------------
 */

static void test_making(void)
{
    int fd = tcp(SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct sockaddr_in name;
    socklen_t size = sizeof(name);

    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, -1), EINVAL);
    CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}), EOPNOTSUPP);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(size, sizeof(name));
    CHECK_EQ(name.sin_port, 0);
    CHECK_EQ(name.sin_addr.s_addr, 0);
    CHECK_ERRNO(getpeername(fd, (struct sockaddr *)&name, &size), ENOTCONN);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
    CHECK_EQ(events_with(fd, 0), POLLOUT | POLLHUP);
    close(fd);
}

static void test_bind(void)
{
    struct sockaddr_in name = v4(INADDR_LOOPBACK, 0);
    int a = tcp(0), b = tcp(0), c = tcp(0), port;

    CHECK_ERRNO(bind(a, (struct sockaddr *)&name, 8), EINVAL);
    name.sin_family = AF_INET6;
    CHECK_ERRNO(bind(a, (struct sockaddr *)&name, sizeof(name)), EAFNOSUPPORT);
    CHECK_ERRNO(bind_to(a, 0x08080808, 0), EADDRNOTAVAIL);
    CHECK_EQ(bind_to(a, INADDR_LOOPBACK, 0), 0);
    port = port_of(a);
    CHECK(port >= 1024);
    CHECK_ERRNO(bind_to(a, INADDR_LOOPBACK, 0), EINVAL);
    CHECK_ERRNO(bind_to(b, INADDR_LOOPBACK, port), EADDRINUSE);
    CHECK_ERRNO(bind_to(b, INADDR_ANY, port), EADDRINUSE);
    /* Another address is another name. */
    CHECK_EQ(bind_to(c, INADDR_LOOPBACK + 1, port), 0);
    close(c);
    /* SO_REUSEADDR: while nobody listens. */
    CHECK_EQ(set_option(a, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQ(set_option(b, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQ(bind_to(b, INADDR_LOOPBACK, port), 0);
    CHECK_EQ(listen(a, 1), 0);
    CHECK_ERRNO(listen(b, 1), EADDRINUSE);
    close(a);
    close(b);
}

static void test_reuse_port(void)
{
    int a = tcp(0), b = tcp(0), c = tcp(0), port;

    CHECK_EQ(set_option(a, SOL_SOCKET, SO_REUSEPORT, 1), 0);
    CHECK_EQ(set_option(b, SOL_SOCKET, SO_REUSEPORT, 1), 0);
    CHECK_EQ(bind_to(a, INADDR_LOOPBACK, 0), 0);
    port = port_of(a);
    CHECK_EQ(listen(a, 1), 0);
    CHECK_EQ(bind_to(b, INADDR_LOOPBACK, port), 0);
    CHECK_EQ(listen(b, 1), 0);
    CHECK_ERRNO(bind_to(c, INADDR_LOOPBACK, port), EADDRINUSE);
    close(a);
    close(b);
    close(c);
}

/* ---- connecting -------------------------------------------------------------------------------
 */

static void test_connect(void)
{
    int l = listener(5), port = port_of(l), c = tcp(0), s;
    struct sockaddr_in name;
    socklen_t size = sizeof(name);
    struct pollfd p;

    CHECK_EQ(option(l, SOL_SOCKET, SO_ACCEPTCONN), 1);
    CHECK_EQ(events_with(l, 0), 0);
    CHECK_EQ(connect_to(c, INADDR_ANY, port), 0); /* any address is this machine */
    CHECK_EQ(getpeername(c, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(ntohl(name.sin_addr.s_addr), INADDR_LOOPBACK);
    CHECK_EQ(ntohs(name.sin_port), port);
    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port), EISCONN);
    CHECK_EQ(events_with(l, POLLIN), POLLIN);
    size = sizeof(name);
    s = accept4(l, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(s >= 0);
    CHECK_EQ(ntohs(name.sin_port), port_of(c));
    CHECK_EQ(fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(port_of(s), port);
    CHECK_ERRNO(read(s, &p, 1), EAGAIN);
    fcntl(l, F_SETFL, O_NONBLOCK);
    CHECK_ERRNO(accept(l, NULL, NULL), EAGAIN);
    CHECK_ERRNO(accept(c, NULL, NULL), EINVAL);
    CHECK_ERRNO(connect_to(l, INADDR_LOOPBACK, port), EISCONN);
    CHECK_ERRNO(listen(c, 1), EINVAL);
    close(c);
    close(s);
    close(l);
    c = tcp(0);
    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port), ECONNREFUSED);
    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port), ECONNREFUSED);
    name = v4(INADDR_LOOPBACK, port);
    CHECK_ERRNO(connect(c, (struct sockaddr *)&name, 7), EINVAL);
    name.sin_family = AF_UNIX;
    CHECK_ERRNO(connect(c, (struct sockaddr *)&name, sizeof(name)), EAFNOSUPPORT);
    close(c);
}

static void test_nonblocking(void)
{
    int l = listener(5), port = port_of(l), c = tcp(SOCK_NONBLOCK), s;

    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port), EINPROGRESS);
    CHECK_EQ(events_with(c, POLLOUT), POLLOUT);
    CHECK_EQ(option(c, SOL_SOCKET, SO_ERROR), 0);
    CHECK_EQ(connect_to(c, INADDR_LOOPBACK, port), 0);
    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port), EISCONN);
    s = accept(l, NULL, NULL);
    close(s);
    close(c);
    close(l);
    c = tcp(SOCK_NONBLOCK);
    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port), EINPROGRESS);
    CHECK_EQ(events_with(c, POLLERR), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    CHECK_EQ(option(c, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    CHECK_EQ(option(c, SOL_SOCKET, SO_ERROR), 0);
    close(c);
}

/* connect(2) to AF_UNSPEC: what is there ends, and the socket can be used again. */
/* Nobody accepts: who stops waiting is told that it goes on, and then that it still does. */
static void test_impatient(void)
{
    struct timeval tv = {.tv_usec = 20000};
    int l = listener(0), port = port_of(l), fds[4], fd = tcp(0);

    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        fds[i] = tcp(SOCK_NONBLOCK);
        CHECK_ERRNO(connect_to(fds[i], INADDR_LOOPBACK, port), EINPROGRESS);
    }
    usleep(10000);
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
    CHECK_ERRNO(connect_to(fd, INADDR_LOOPBACK, port), EINPROGRESS);
    CHECK_ERRNO(connect_to(fd, INADDR_LOOPBACK, port), EALREADY);
    CHECK_ERRNO(connect(l, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, 2),
                EISCONN); /* whatever the name is */
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        close(fds[i]);
    close(fd);
    close(l);
}

static void test_disconnect(void)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int l = listener(5), fd = tcp(0), s;
    char c;

    CHECK_EQ(connect_to(fd, INADDR_LOOPBACK, port_of(l)), 0);
    s = accept(l, NULL, NULL);
    CHECK_EQ(connect(fd, &none, sizeof(none)), 0);
    CHECK_EQ(events_with(s, POLLHUP) & POLLHUP, POLLHUP);
    CHECK_ERRNO(read(s, &c, 1), ECONNRESET);
    close(s);
    CHECK_EQ(connect_to(fd, INADDR_LOOPBACK, port_of(l)), 0);
    s = accept(l, NULL, NULL);
    CHECK_EQ(write(s, "x", 1), 1);
    CHECK_EQ(read(fd, &c, 1), 1);
    close(s);
    close(fd);
    close(l);
}

/* Who waits in accept(2) is woken when the socket stops listening. */
static void *shut_listener(void *arg)
{
    usleep(20000);
    shutdown(*(int *)arg, SHUT_RD);
    return NULL;
}

static void test_stop_listening(void)
{
    int l = listener(5), c = tcp(0);
    pthread_t thread;
    char byte;

    CHECK_EQ(connect_to(c, INADDR_LOOPBACK, port_of(l)), 0);
    close(l); /* before it was accepted */
    CHECK_ERRNO(read(c, &byte, 1), ECONNRESET);
    close(c);
    l = listener(5);
    pthread_create(&thread, NULL, shut_listener, &l);
    CHECK_ERRNO(accept(l, NULL, NULL), EINVAL);
    pthread_join(thread, NULL);
    CHECK_EQ(option(l, SOL_SOCKET, SO_ACCEPTCONN), 0);
    close(l);
}

/* ---- IPv6 -------------------------------------------------------------------------------------
 */

static void test_v6(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    int l = socket(AF_INET6, SOCK_STREAM, 0), only = socket(AF_INET6, SOCK_STREAM, 0), c, s, port;
    socklen_t size = sizeof(name);
    char text[64];

    CHECK_EQ(option(l, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    CHECK_EQ(inet_pton(AF_INET6, "ff05::1", &name.sin6_addr), 1);
    CHECK_ERRNO(bind(l, (struct sockaddr *)&name, sizeof(name)), EINVAL);
    name.sin6_addr = in6addr_any;
    CHECK_EQ(bind(l, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(listen(l, 4), 0);
    port = port_of(l);
    CHECK_ERRNO(set_option(l, IPPROTO_IPV6, IPV6_V6ONLY, 1), EINVAL);
    /* The port is IPv4's, too. */
    c = tcp(0);
    CHECK_ERRNO(bind_to(c, INADDR_ANY, port), EADDRINUSE);
    CHECK_EQ(connect_to(c, INADDR_LOOPBACK, port), 0);
    s = accept(l, (struct sockaddr *)&name, &size);
    CHECK_EQ(size, sizeof(name));
    note("from %s", inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof(text)));
    close(c);
    close(s);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    name = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    name.sin6_port = htons((uint16_t)port);
    CHECK_EQ(connect(c, (struct sockaddr *)&name, sizeof(name)), 0);
    size = sizeof(name);
    s = accept(l, (struct sockaddr *)&name, &size);
    note("from %s", inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof(text)));
    close(s);
    close(c);
    close(l);
    CHECK_EQ(set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
    name = (struct sockaddr_in6){.sin6_family = AF_INET6};
    CHECK_EQ(bind(only, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(listen(only, 4), 0);
    c = tcp(0);
    CHECK_ERRNO(connect_to(c, INADDR_LOOPBACK, port_of(only)), ECONNREFUSED);
    CHECK_EQ(bind_to(c, INADDR_ANY, port_of(only)), 0);
    CHECK_ERRNO(bind(only, (struct sockaddr *)&name, 23), EINVAL);
    close(c);
    close(only);
}

/* ---- options and events -----------------------------------------------------------------------
 */

static void test_options(void)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    char name[16];
    int fd[2], l = listener(3);

    connection(fd);
    CHECK_EQ(option(fd[0], IPPROTO_TCP, TCP_NODELAY), 0);
    CHECK_EQ(set_option(fd[0], IPPROTO_TCP, TCP_NODELAY, 5), 0);
    CHECK_EQ(option(fd[0], IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK_EQ(option(fd[0], IPPROTO_TCP, TCP_KEEPIDLE), 7200);
    CHECK_EQ(option(fd[0], IPPROTO_TCP, TCP_KEEPINTVL), 75);
    CHECK_EQ(option(fd[0], IPPROTO_TCP, TCP_KEEPCNT), 9);
    CHECK_EQ(set_option(fd[0], IPPROTO_TCP, TCP_KEEPIDLE, 30), 0);
    CHECK_EQ(option(fd[0], IPPROTO_TCP, TCP_KEEPIDLE), 30);
    CHECK_ERRNO(set_option(fd[0], IPPROTO_TCP, TCP_KEEPCNT, 128), EINVAL);
    CHECK_ERRNO(set_option(fd[0], IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
    CHECK_EQ(set_option(fd[0], SOL_SOCKET, SO_KEEPALIVE, 1), 0);
    CHECK_EQ(option(fd[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_EQ(option(fd[0], IPPROTO_IP, IP_TTL), 64);
    CHECK_EQ(set_option(fd[0], IPPROTO_IP, IP_TOS, 0x10), 0);
    CHECK_EQ(option(fd[0], IPPROTO_IP, IP_TOS), 0x10);
    CHECK_ERRNO(setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, name, 2), EINVAL);
    CHECK_EQ(getsockopt(fd[0], IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    CHECK_EQ(info.tcpi_state, TCP_ESTABLISHED);
    size = sizeof(info);
    CHECK_EQ(getsockopt(l, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    CHECK_EQ(info.tcpi_state, TCP_LISTEN);
    CHECK_EQ(info.tcpi_sacked, 3);
    size = sizeof(name);
    CHECK_EQ(setsockopt(fd[0], IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
    CHECK_EQ(getsockopt(fd[0], IPPROTO_TCP, TCP_CONGESTION, name, &size), 0);
    CHECK(strcmp(name, "reno") == 0);
    CHECK_ERRNO(setsockopt(fd[0], IPPROTO_TCP, TCP_CONGESTION, "none", 4), ENOENT);
    /* Accepted connections have what the listener had. */
    close_both(fd);
    CHECK_EQ(set_option(l, IPPROTO_TCP, TCP_NODELAY, 1), 0);
    fd[0] = tcp(0);
    CHECK_EQ(connect_to(fd[0], INADDR_LOOPBACK, port_of(l)), 0);
    fd[1] = accept(l, NULL, NULL);
    CHECK_EQ(option(fd[1], IPPROTO_TCP, TCP_NODELAY), 1);
    close_both(fd);
    close(l);
}

/* A process on each side; the port is known to both. */
static void test_fork(void)
{
    int l = listener(5), port = port_of(l), status, s;
    pid_t pid = fork();
    long sum = 0;
    int number;

    if (pid == 0) {
        int c = tcp(0);

        if (connect_to(c, INADDR_LOOPBACK, port) < 0)
            _exit(1);
        for (int i = 0; i < 100; i++)
            if (send(c, &i, sizeof(i), 0) != sizeof(i) ||
                recv(c, &number, sizeof(number), MSG_WAITALL) != sizeof(number) || number != 2 * i)
                _exit(2);
        _exit(0);
    }
    s = accept(l, NULL, NULL);
    while (recv(s, &number, sizeof(number), MSG_WAITALL) == sizeof(number)) {
        sum += number;
        number *= 2;
        CHECK_EQ(send(s, &number, sizeof(number), 0), sizeof(number));
    }
    CHECK_EQ(sum, 4950);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(s);
    close(l);
}

int main(void)
{
    test_making();
    test_bind();
    test_reuse_port();
    test_connect();
    test_nonblocking();
    test_impatient();
    test_disconnect();
    test_stop_listening();
    test_v6();
    test_options();
    test_fork();
    return check_done();
}
