/*
 * TCP over loopback (tcp(7), ip(7), ipv6(7)): names and ports, listening, connecting with and
 * without waiting, data both ways, half close, resets, urgent bytes, events, options, and the
 * errors in Linux's order. Ports are the kernel's choice, so runs do not meet each other.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/sockios.h>

#include "check.h"

static struct sockaddr_in v4(uint32_t addr, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(addr)};
}

static int port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);

    CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    return ntohs(((struct sockaddr_in *)&name)->sin_port); /* at the same place in both families */
}

static int tcp(int flags)
{
    return socket(AF_INET, SOCK_STREAM | flags, 0);
}

static int bind_to(int fd, uint32_t addr, int port)
{
    struct sockaddr_in name = v4(addr, port);

    return bind(fd, (struct sockaddr *)&name, sizeof(name));
}

static int connect_to(int fd, uint32_t addr, int port)
{
    struct sockaddr_in name = v4(addr, port);

    return connect(fd, (struct sockaddr *)&name, sizeof(name));
}

static int listener(int backlog)
{
    int fd = tcp(0);

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(listen(fd, backlog), 0);
    return fd;
}

/* A connection: fd[0] has connected, fd[1] was accepted. */
static void connection(int fd[2])
{
    int l = listener(1);

    fd[0] = tcp(0);
    CHECK_EQ(connect_to(fd[0], INADDR_LOOPBACK, port_of(l)), 0);
    fd[1] = accept(l, NULL, NULL);
    CHECK(fd[1] >= 0);
    close(l);
}

static void close_both(int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

/* What holds, once `want` does: a reset or an end of the stream may take a moment on Linux. */
static short events_with(int fd, short want)
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

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);

    if (getsockopt(fd, level, name, &value, &size) < 0)
        return -errno;
    return value;
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

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

/* ---- data -------------------------------------------------------------------------------------
 */

#define BULK (3 << 20)

static void *send_bulk(void *arg)
{
    char *data = malloc(BULK);

    for (int i = 0; i < BULK; i++)
        data[i] = (char)(i * 7 + (i >> 12));
    CHECK_EQ(send(*(int *)arg, data, BULK, 0), BULK);
    CHECK_EQ(shutdown(*(int *)arg, SHUT_WR), 0);
    free(data);
    return NULL;
}

static void test_bulk(void)
{
    char *data = malloc(BULK + 1);
    size_t size = 0, wrong = 0;
    pthread_t thread;
    int fd[2];
    ssize_t n;

    connection(fd);
    pthread_create(&thread, NULL, send_bulk, &fd[0]);
    CHECK_EQ(recv(fd[1], data, 100000, MSG_WAITALL), 100000);
    size = 100000;
    while ((n = read(fd[1], data + size, BULK + 1 - size)) > 0)
        size += (size_t)n;
    CHECK_EQ(n, 0);
    CHECK_EQ(size, BULK);
    for (int i = 0; i < BULK; i++)
        wrong += data[i] != (char)(i * 7 + (i >> 12));
    CHECK_EQ(wrong, 0);
    pthread_join(thread, NULL);
    free(data);
    close_both(fd);
}

static void test_small(void)
{
    struct iovec iov[2];
    char buf[32] = {0};
    int fd[2], n;

    connection(fd);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(write(fd[0], &"0123456789"[i], 1), 1);
    events_with(fd[1], POLLIN);
    CHECK_EQ(recv(fd[1], buf, 4, MSG_PEEK), 4);
    CHECK_EQ(recv(fd[1], buf, 4, MSG_TRUNC), 4); /* thrown away */
    CHECK_EQ(ioctl(fd[1], FIONREAD, &n), 0);
    CHECK_EQ(n, 6);
    iov[0] = (struct iovec){buf, 2};
    iov[1] = (struct iovec){buf + 10, 20};
    CHECK_EQ(readv(fd[1], iov, 2), 6);
    CHECK(memcmp(buf, "45", 2) == 0 && memcmp(buf + 10, "6789", 4) == 0);
    CHECK_EQ(send(fd[1], "", 0, 0), 0);
    CHECK_ERRNO(recv(fd[0], buf, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(RAW(SYS_sendto, fd[0], (void *)8, 5, 0, NULL, 0), -EFAULT);
    CHECK_EQ(write(fd[0], "abc", 3), 3);
    CHECK_EQ(RAW(SYS_recvfrom, fd[1], (void *)8, 3, 0, NULL, NULL), -EFAULT);
    CHECK_EQ(read(fd[1], buf, 3), 3);
    CHECK_ERRNO(recv(fd[1], buf, 1, MSG_OOB), EINVAL);
    close_both(fd);
}

/* A writer fills what there is room for, waits, and goes on when half is read. */
static void test_full(void)
{
    static char block[65536];
    long sent = 0, got = 0;
    int fd[2];
    ssize_t n;

    connection(fd);
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    fcntl(fd[1], F_SETFL, O_NONBLOCK);
    while ((n = write(fd[0], block, sizeof(block))) > 0)
        sent += n;
    CHECK_EQ(errno, EAGAIN);
    CHECK(sent > 65536);
    CHECK_EQ(events_with(fd[0], 0) & POLLOUT, 0);
    while ((n = read(fd[1], block, sizeof(block))) > 0 || (n < 0 && got < sent))
        got += n > 0 ? n : 0;
    CHECK_EQ(got, sent);
    CHECK_EQ(events_with(fd[0], POLLOUT), POLLOUT);
    close_both(fd);
}

static void test_sendfile(void)
{
    int fd[2], file = open("/proc/self/exe", O_RDONLY);
    char *data = malloc(20000);
    size_t size = 0;

    connection(fd);
    CHECK_EQ(sendfile(fd[0], file, NULL, 20000), 20000);
    while (size < 20000) {
        ssize_t n = read(fd[1], data + size, 20000 - size);

        if (n <= 0)
            break;
        size += (size_t)n;
    }
    CHECK_EQ(size, 20000);
    CHECK(memcmp(data, "\177ELF", 4) == 0);
    free(data);
    close(file);
    close_both(fd);
}

static void test_urgent(void)
{
    char buf[8] = {0};
    int fd[2], mark;

    connection(fd);
    CHECK_EQ(send(fd[0], "ab", 2, 0), 2);
    CHECK_EQ(send(fd[0], "cU", 2, MSG_OOB), 2);
    CHECK_EQ(send(fd[0], "de", 2, 0), 2);
    CHECK_EQ(events_with(fd[1], POLLPRI) & POLLPRI, POLLPRI);
    usleep(10000);
    CHECK_EQ(read(fd[1], buf, 8), 3); /* up to the mark */
    CHECK(memcmp(buf, "abc", 3) == 0);
    CHECK_EQ(ioctl(fd[1], SIOCATMARK, &mark), 0);
    CHECK_EQ(mark, 1);
    CHECK_EQ(recv(fd[1], buf, 8, MSG_OOB), 1);
    CHECK_EQ(buf[0], 'U');
    CHECK_ERRNO(recv(fd[1], buf, 8, MSG_OOB), EINVAL);
    CHECK_EQ(read(fd[1], buf, 8), 2);
    CHECK(memcmp(buf, "de", 2) == 0);
    close_both(fd);
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void test_half_close(void)
{
    char buf[8];
    int fd[2];

    connection(fd);
    CHECK_EQ(write(fd[0], "xy", 2), 2);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    CHECK_ERRNO(send(fd[0], "z", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(events_with(fd[1], POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(read(fd[1], buf, 8), 2);
    CHECK_EQ(read(fd[1], buf, 8), 0);
    CHECK_EQ(write(fd[1], "back", 4), 4); /* the other way still goes */
    CHECK_EQ(read(fd[0], buf, 8), 4);
    CHECK_EQ(shutdown(fd[1], SHUT_WR), 0);
    CHECK_EQ(events_with(fd[0], POLLHUP), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    CHECK_EQ(read(fd[0], buf, 8), 0);
    CHECK_ERRNO(shutdown(tcp(0), SHUT_WR), ENOTCONN);
    CHECK_ERRNO(shutdown(fd[0], 3), EINVAL);
    close_both(fd);
}

static void test_reset(void)
{
    struct linger now = {1, 0};
    char buf[8];
    int fd[2];

    /* Closed with bytes unread. */
    connection(fd);
    CHECK_EQ(write(fd[0], "abc", 3), 3);
    events_with(fd[1], POLLIN);
    CHECK_EQ(write(fd[1], "d", 1), 1);
    close(fd[1]);
    CHECK_EQ(events_with(fd[0], POLLERR), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    CHECK_EQ(read(fd[0], buf, 8), 1); /* what had come before */
    CHECK_ERRNO(read(fd[0], buf, 8), ECONNRESET);
    CHECK_EQ(read(fd[0], buf, 8), 0);
    CHECK_ERRNO(send(fd[0], "e", 1, MSG_NOSIGNAL), EPIPE);
    close(fd[0]);
    /* SO_LINGER without time. */
    connection(fd);
    CHECK_EQ(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd[1]);
    events_with(fd[0], POLLERR);
    CHECK_EQ(option(fd[0], SOL_SOCKET, SO_ERROR), ECONNRESET);
    CHECK_EQ(events_with(fd[0], 0) & POLLERR, 0);
    close(fd[0]);
    /* Written to one that has closed. */
    connection(fd);
    close(fd[1]);
    events_with(fd[0], POLLRDHUP);
    CHECK_EQ(read(fd[0], buf, 8), 0);
    CHECK_EQ(write(fd[0], "f", 1), 1);
    events_with(fd[0], POLLERR);
    CHECK_ERRNO(send(fd[0], "g", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(read(fd[0], buf, 8), 0);
    close(fd[0]);
}

static volatile sig_atomic_t pipes;

static void count_pipe(int sig)
{
    pipes++;
}

static void test_sigpipe(void)
{
    int fd[2];

    signal(SIGPIPE, count_pipe);
    CHECK_ERRNO(write(tcp(0), "x", 1), EPIPE);
    CHECK_EQ(pipes, 1);
    connection(fd);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    CHECK_ERRNO(write(fd[0], "x", 1), EPIPE);
    CHECK_EQ(pipes, 2);
    CHECK_ERRNO(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(pipes, 2);
    close_both(fd);
    CHECK_ERRNO(read(tcp(0), &fd, 1), ENOTCONN);
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

static void test_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = 7};
    int fd[2], ep = epoll_create1(0);
    char c;

    connection(fd);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], &event), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(write(fd[0], "a", 1), 1);
    CHECK_EQ(epoll_wait(ep, &event, 1, 5000), 1);
    CHECK_EQ(event.events, EPOLLIN);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(write(fd[0], "b", 1), 1); /* an edge for each arrival */
    CHECK_EQ(epoll_wait(ep, &event, 1, 5000), 1);
    CHECK_EQ(read(fd[1], &c, 1), 1);
    close(fd[0]);
    CHECK_EQ(epoll_wait(ep, &event, 1, 5000), 1);
    CHECK_EQ(event.events, EPOLLIN | EPOLLRDHUP);
    close(fd[1]);
    close(ep);
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
    signal(SIGPIPE, SIG_IGN);
    test_making();
    test_bind();
    test_reuse_port();
    test_connect();
    test_nonblocking();
    test_disconnect();
    test_stop_listening();
    test_bulk();
    test_small();
    test_full();
    test_sendfile();
    test_urgent();
    test_half_close();
    test_reset();
    test_v6();
    test_options();
    test_epoll();
    test_fork();
    test_sigpipe();
    return check_done();
}
