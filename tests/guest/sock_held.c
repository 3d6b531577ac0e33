/*
 * Bytes that are held back (MSG_MORE, TCP_CORK, UDP_CORK) and those that hurry: SIGURG for the
 * owner of a socket. And what sockets say to levels of options that they do not know.
 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <time.h>

#include "inet.h"

/* Held bytes come by themselves after 200 ms: whoever looks so late has not seen a mistake. */
static uint64_t held_at;

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void hold(void)
{
    held_at = now_ms();
}

static bool late(void)
{
    return now_ms() - held_at > 150;
}

/* Nothing is there to be read, nor will be in a moment. */
static bool silent(int fd)
{
    char byte;

    usleep(20000);
    return (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == -1 && errno == EAGAIN) || late();
}

/* ---- held back --------------------------------------------------------------------------------
 */

static void test_more(void)
{
    char buf[64] = {0};
    int fd[2], n = -1;

    connection(fd);
    hold();
    CHECK_EQ(send(fd[0], "one ", 4, MSG_MORE), 4);
    CHECK(silent(fd[1]));
    CHECK_EQ(ioctl(fd[0], SIOCOUTQNSD, &n), 0);
    CHECK(n == 4 || late());
    CHECK_EQ(ioctl(fd[1], FIONREAD, &n), 0);
    CHECK(n == 0 || late());
    CHECK_EQ(send(fd[0], "two", 3, 0), 3);
    CHECK_EQ(recv(fd[1], buf, 7, MSG_WAITALL), 7);
    CHECK(memcmp(buf, "one two", 7) == 0);
    /* What nobody pushes comes after a while, and the end pushes. */
    CHECK_EQ(send(fd[0], "late", 4, MSG_MORE), 4);
    CHECK_EQ(recv(fd[1], buf, 4, MSG_WAITALL), 4);
    CHECK_EQ(send(fd[0], "end", 3, MSG_MORE), 3);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    CHECK_EQ(recv(fd[1], buf, 8, MSG_WAITALL), 3);
    close_both(fd);
}

static void test_cork(void)
{
    char buf[64] = {0};
    int fd[2];

    connection(fd);
    CHECK_EQ(set_option(fd[0], IPPROTO_TCP, TCP_CORK, 1), 0);
    hold();
    CHECK_EQ(write(fd[0], "ab", 2), 2);
    CHECK_EQ(write(fd[0], "cd", 2), 2);
    CHECK(silent(fd[1]));
    CHECK_EQ(set_option(fd[0], IPPROTO_TCP, TCP_CORK, 0), 0);
    CHECK_EQ(recv(fd[1], buf, 4, MSG_WAITALL), 4);
    CHECK(memcmp(buf, "abcd", 4) == 0);
    /* TCP_NODELAY pushes what is there, once. */
    CHECK_EQ(set_option(fd[0], IPPROTO_TCP, TCP_CORK, 1), 0);
    hold();
    CHECK_EQ(write(fd[0], "ef", 2), 2);
    CHECK(silent(fd[1]));
    CHECK_EQ(set_option(fd[0], IPPROTO_TCP, TCP_NODELAY, 1), 0);
    CHECK_EQ(recv(fd[1], buf, 2, MSG_WAITALL), 2);
    hold();
    CHECK_EQ(write(fd[0], "gh", 2), 2);
    CHECK(silent(fd[1]));
    close(fd[0]);
    CHECK_EQ(recv(fd[1], buf, 8, MSG_WAITALL), 2);
    close(fd[1]);
}

static void test_full_segments(void)
{
    static char block[1 << 20];
    ssize_t got = 0, n;
    int fd[2];

    connection(fd);
    /* Most of so much goes at once, however it is held back. */
    n = send(fd[0], block, sizeof(block), MSG_MORE | MSG_DONTWAIT);
    CHECK(n > 100000);
    events_with(fd[1], POLLIN);
    CHECK(recv(fd[1], block, 30000, MSG_WAITALL) == 30000);
    got = 30000;
    while (got < n) {
        ssize_t part = recv(fd[1], block, sizeof(block), 0);

        if (!CHECK(part > 0))
            break;
        got += part;
    }
    CHECK_EQ(got, n);
    close_both(fd);
}

static void test_datagram(void)
{
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    char buf[64] = {0};

    CHECK_EQ(bind_to(a, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(connect_to(b, INADDR_LOOPBACK, port_of(a)), 0);
    hold();
    CHECK_EQ(send(b, "ab", 2, MSG_MORE), 2);
    CHECK_EQ(send(b, "cd", 2, MSG_MORE), 2);
    CHECK(silent(a));
    CHECK_EQ(send(b, "ef", 2, 0), 2);
    CHECK_EQ(recv(a, buf, 64, 0), 6);
    CHECK(memcmp(buf, "abcdef", 6) == 0);
    CHECK_EQ(set_option(b, IPPROTO_UDP, UDP_CORK, 1), 0);
    CHECK_EQ(send(b, "gh", 2, 0), 2);
    CHECK(silent(a));
    CHECK_EQ(set_option(b, IPPROTO_UDP, UDP_CORK, 0), 0);
    CHECK_EQ(recv(a, buf, 64, 0), 2);
    close(a);
    close(b);
}

static int fast(int fd, int port, int flags)
{
    struct sockaddr_in to = v4(INADDR_LOOPBACK, port);

    return (int)sendto(fd, "early", 5, MSG_FASTOPEN | flags, (struct sockaddr *)&to, sizeof(to));
}

/* Connecting and sending in one. */
static void test_fast_open(void)
{
    int l = listener(4), fd[2] = {tcp(0), -1}, closed = tcp(0), port = port_of(l);
    char buf[8];

    CHECK_ERRNO(send(fd[0], "x", 1, MSG_FASTOPEN), EINVAL);
    CHECK_EQ(fast(fd[0], port, 0), 5);
    fd[1] = accept(l, NULL, NULL);
    CHECK_EQ(recv(fd[1], buf, 5, MSG_WAITALL), 5);
    CHECK_ERRNO(fast(fd[0], port, 0), EISCONN);
    close_both(fd);
    close(l);
    CHECK_ERRNO(fast(closed, port, 0), ECONNREFUSED);
    close(closed);
}

/* ---- in a hurry -------------------------------------------------------------------------------
 */

static volatile sig_atomic_t urgent, inputs, code;

static void on_urgent(int signo, siginfo_t *info, void *context)
{
    urgent++;
    code = info->si_code;
}

static void on_input(int signo, siginfo_t *info, void *context)
{
    inputs += info->si_code == POLL_PRI;
}

static void wait_for(volatile sig_atomic_t *count, int want)
{
    for (int i = 0; i < 1000 && *count < want; i++)
        usleep(1000);
    CHECK_EQ(*count, want);
}

static void test_sigurg(int send_fd, int recv_fd)
{
    char byte;

    urgent = 0;
    CHECK_EQ(send(send_fd, "x", 1, MSG_OOB), 1);
    usleep(10000);
    CHECK_EQ(urgent, 0); /* nobody owns it */
    CHECK_EQ(recv(recv_fd, &byte, 1, MSG_OOB), 1);
    CHECK_EQ(fcntl(recv_fd, F_SETOWN, getpid()), 0);
    CHECK_EQ(send(send_fd, "y", 1, MSG_OOB), 1);
    wait_for(&urgent, 1);
    CHECK_EQ(code, SI_KERNEL);
    CHECK_EQ(recv(recv_fd, &byte, 1, MSG_OOB), 1);
    CHECK_EQ(byte, 'y');
    /* To a process group by ioctl(2) of old. */
    setpgid(0, 0);
    CHECK_EQ(ioctl(recv_fd, SIOCSPGRP, &(int){-getpgrp()}), 0);
    CHECK_EQ(send(send_fd, "z", 1, MSG_OOB), 1);
    wait_for(&urgent, 2);
}

static void test_sigio(void)
{
    int fd[2];

    connection(fd);
    inputs = urgent = 0;
    CHECK_EQ(fcntl(fd[1], F_SETOWN, getpid()), 0);
    CHECK_EQ(fcntl(fd[1], F_SETSIG, SIGRTMIN), 0);
    CHECK_EQ(fcntl(fd[1], F_SETFL, O_ASYNC), 0);
    CHECK_EQ(send(fd[0], "x", 1, MSG_OOB), 1);
    wait_for(&urgent, 1);
    wait_for(&inputs, 1);
    close_both(fd);
}

/* ---- unknown ----------------------------------------------------------------------------------
 */

static void test_levels(void)
{
    int fds[] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0),
                 socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_INET6, SOCK_STREAM, 0),
                 socket(AF_INET6, SOCK_DGRAM, 0), socket(AF_NETLINK, SOCK_RAW, 0)};
    int levels[] = {500, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, 255};
    socklen_t size;
    int value;

    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(levels); j++) {
            int got, set;

            size = sizeof(value);
            value = 0;
            got = getsockopt(fds[i], levels[j], 9999, &value, &size) < 0 ? errno : 0;
            set = setsockopt(fds[i], levels[j], 9999, &value, sizeof(value)) < 0 ? errno : 0;
            note("socket %zu level %d: %d %d", i, levels[j], got, set);
        }
        close(fds[i]);
    }
    CHECK_EQ(fds[0] >= 0, true);
}

int main(void)
{
    struct sigaction act = {.sa_sigaction = on_urgent, .sa_flags = SA_SIGINFO | SA_RESTART};
    int fd[2];

    sigaction(SIGURG, &act, NULL);
    act.sa_sigaction = on_input;
    sigaction(SIGRTMIN, &act, NULL);
    test_more();
    test_cork();
    test_full_segments();
    test_datagram();
    test_fast_open();
    connection(fd);
    test_sigurg(fd[0], fd[1]);
    close_both(fd);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    test_sigurg(fd[0], fd[1]);
    close_both(fd);
    test_sigio();
    test_levels();
    return check_done();
}
