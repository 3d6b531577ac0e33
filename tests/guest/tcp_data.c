/*
 * TCP over loopback: data both ways, a full queue, half close, resets, urgent bytes, events,
 * SIGPIPE.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <linux/sockios.h>

#include "inet.h"

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
    /* Alone it is nothing that read(2) would give. */
    CHECK_EQ(send(fd[0], "V", 1, MSG_OOB), 1);
    CHECK_EQ(events_with(fd[1], POLLPRI), POLLOUT | POLLPRI);
    CHECK_EQ(send(fd[0], "f", 1, 0), 1);
    CHECK_EQ(events_with(fd[1], POLLIN), POLLIN | POLLOUT | POLLPRI);
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

/* Shut both ways, though not closed: what still comes is answered by a reset, and both ends know.
 */
static void test_deaf(void)
{
    char buf[8];
    int fd[2];

    connection(fd);
    CHECK_EQ(write(fd[1], "a", 1), 1);
    events_with(fd[0], POLLIN);
    CHECK_EQ(shutdown(fd[0], SHUT_RDWR), 0);
    CHECK_EQ(read(fd[0], buf, 8), 1); /* what had come before */
    CHECK_EQ(read(fd[0], buf, 8), 0);
    CHECK_EQ(events_with(fd[1], POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(write(fd[1], "bc", 2), 2);
    CHECK_EQ(events_with(fd[1], POLLERR), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    CHECK_EQ(events_with(fd[0], POLLERR), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    CHECK_ERRNO(shutdown(fd[0], SHUT_RDWR), ENOTCONN);
    CHECK_EQ(option(fd[0], SOL_SOCKET, SO_ERROR), ECONNRESET);
    CHECK_ERRNO(send(fd[1], "d", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(option(fd[1], SOL_SOCKET, SO_ERROR), 0);
    close_both(fd);
    /* For reading alone it says nothing, and may be read on. */
    connection(fd);
    CHECK_EQ(shutdown(fd[0], SHUT_RD), 0);
    CHECK_EQ(write(fd[1], "e", 1), 1);
    CHECK_EQ(events_with(fd[1], 0), POLLOUT);
    while (recv(fd[0], buf, 8, MSG_PEEK) == 0)
        usleep(1000);
    CHECK_EQ(read(fd[0], buf, 8), 1);
    close_both(fd);
}

/* No room at all: recv(2) waits for bytes as ever, read(2) does not. */
static void test_no_room(void)
{
    char buf[8];
    int fd[2];

    connection(fd);
    CHECK_EQ(read(fd[0], buf, 0), 0);
    CHECK_ERRNO(recv(fd[0], buf, 0, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(write(fd[1], "a", 1), 1);
    CHECK_EQ(recv(fd[0], buf, 0, 0), 0);
    CHECK_EQ(read(fd[0], buf, 8), 1);
    CHECK_ERRNO(send(fd[0], "b", 1, MSG_FASTOPEN), EISCONN);
    CHECK_EQ(shutdown(fd[1], SHUT_WR), 0);
    CHECK_EQ(recv(fd[0], buf, 0, 0), 0);
    close_both(fd);
}

/* Once both sides have finished it is as if there never had been a connection. */
static void test_over(void)
{
    struct sockaddr_in name = v4(INADDR_LOOPBACK, 1);
    struct sockaddr *any = (struct sockaddr *)&name;
    socklen_t size = sizeof(name);
    char buf[8];
    int fd[2];

    connection(fd);
    CHECK_EQ(write(fd[1], "abc", 3), 3);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    events_with(fd[1], POLLRDHUP);
    CHECK_EQ(getpeername(fd[0], any, &size), 0);
    CHECK_EQ(shutdown(fd[1], SHUT_WR), 0);
    for (int i = 0; i < 2; i++) {
        CHECK(events_with(fd[i], POLLHUP) & POLLHUP);
        CHECK_ERRNO(getpeername(fd[i], any, &size), ENOTCONN);
        CHECK_EQ(getsockname(fd[i], any, &size), 0);
        CHECK_ERRNO(shutdown(fd[i], SHUT_RDWR), ENOTCONN);
    }
    CHECK_EQ(recv(fd[0], buf, 8, 0), 3); /* may be read still */
    CHECK_EQ(recv(fd[0], buf, 8, 0), 0);
    CHECK_ERRNO(connect(fd[0], any, sizeof(name)), EISCONN);
    close_both(fd);
}

/* What connect(2) has told of is forgotten. */
static void test_refused(void)
{
    int fd = tcp(0), l = listener(1), port = port_of(l);
    char c;

    close(l);
    CHECK_ERRNO(connect_to(fd, INADDR_LOOPBACK, port), ECONNREFUSED);
    CHECK_EQ(events_with(fd, 0), POLLOUT | POLLHUP);
    CHECK_ERRNO(recv(fd, &c, 1, 0), ENOTCONN);
    close(fd);
    fd = tcp(SOCK_NONBLOCK);
    CHECK_ERRNO(connect_to(fd, INADDR_LOOPBACK, port), EINPROGRESS);
    CHECK_EQ(events_with(fd, POLLERR), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    CHECK_ERRNO(connect_to(fd, INADDR_LOOPBACK, port), ECONNREFUSED);
    CHECK_EQ(events_with(fd, 0), POLLOUT | POLLHUP);
    CHECK_ERRNO(recv(fd, &c, 1, 0), ENOTCONN);
    close(fd);
}

/* TCP_INFO, of which some headers have only the beginning. */
struct long_info {
    struct tcp_info base;
    uint64_t pacing, pacing_max, acked, received;
    uint32_t segments_out, segments_in, unsent, rtt_min, data_in, data_out;
};

static struct long_info info_of(int fd)
{
    struct long_info info = {0};
    socklen_t size = sizeof(info);

    CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    CHECK_EQ(size, sizeof(info));
    return info;
}

static void test_info(void)
{
    int fd[2], l = listener(7);
    struct long_info info = info_of(l);
    char buf[8];

    CHECK_EQ(info.base.tcpi_state, TCP_LISTEN);
    CHECK_EQ(info.base.tcpi_sacked, 7);
    CHECK_EQ(info.base.tcpi_snd_mss, 0);
    close(l);
    connection(fd);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(write(fd[0], "ab", 2), 2);
        CHECK_EQ(read(fd[1], buf, 8), 2);
    }
    info = info_of(fd[1]);
    CHECK_EQ(info.base.tcpi_state, TCP_ESTABLISHED);
    CHECK(info.base.tcpi_snd_mss > 500 && info.base.tcpi_snd_wscale && info.base.tcpi_rcv_space);
    CHECK_EQ(info.pacing_max, UINT64_MAX);
    CHECK_EQ(info.received, 6);
    CHECK_EQ(info.data_in, 3);
    CHECK_EQ(info.data_out, 0);
    CHECK_EQ(info.unsent, 0);
    CHECK_EQ(info_of(fd[0]).data_out, 3);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    CHECK_EQ(shutdown(fd[1], SHUT_WR), 0);
    events_with(fd[0], POLLHUP);
    CHECK_EQ(info_of(fd[0]).base.tcpi_state, TCP_CLOSE);
    close_both(fd);
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

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    test_bulk();
    test_small();
    test_full();
    test_sendfile();
    test_urgent();
    test_half_close();
    test_reset();
    test_deaf();
    test_over();
    test_refused();
    test_info();
    test_no_room();
    test_epoll();
    test_sigpipe();
    return check_done();
}
