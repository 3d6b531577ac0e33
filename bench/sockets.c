/*
 * What sockets cost: round trips of a byte between two processes, and 1 MiB from one to the other
 * in blocks of 64 KiB. An ordinary static program; see measure.h.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/measure.h"

#define BLOCK 65536UL
#define MIB   (1UL << 20)

static char block[BLOCK];

static void tcp_pair(int fd[2])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    socklen_t size = sizeof(name);

    if (bind(listener, (struct sockaddr *)&name, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&name, &size) < 0)
        die("listen");
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd[0], (struct sockaddr *)&name, size) < 0)
        die("connect");
    fd[1] = accept(listener, NULL, NULL);
    setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    close(listener);
}

static void udp_pair(int fd[2])
{
    struct sockaddr_in name[2];
    socklen_t size = sizeof(name[0]);

    for (int i = 0; i < 2; i++) {
        name[i] =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(fd[i], (struct sockaddr *)&name[i], size) < 0 ||
            getsockname(fd[i], (struct sockaddr *)&name[i], &size) < 0)
            die("bind");
    }
    for (int i = 0; i < 2; i++)
        if (connect(fd[i], (struct sockaddr *)&name[1 - i], size) < 0)
            die("connect");
}

static void unix_pair(int fd[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
        die("socketpair");
}

/* The child echoes bytes until it gets an 'e'. */
static uint64_t round_trips(void (*pair)(int fd[2]), uint64_t count)
{
    uint64_t begin;
    char byte = 'x';
    int fd[2];
    pid_t pid;

    pair(fd);
    pid = fork();
    if (pid == 0) {
        while (recv(fd[1], &byte, 1, 0) == 1 && byte != 'e')
            if (send(fd[1], &byte, 1, 0) != 1)
                break;
        _exit(0);
    }
    begin = now_ns();
    for (uint64_t i = 0; i < count; i++)
        if (send(fd[0], &byte, 1, 0) != 1 || recv(fd[0], &byte, 1, 0) != 1)
            die("round trip");
    begin = now_ns() - begin;
    send(fd[0], "e", 1, 0);
    waitpid(pid, NULL, 0);
    close(fd[0]);
    close(fd[1]);
    return begin;
}

/* Until the reader has got it all, and has said so. */
static uint64_t bulk(void (*pair)(int fd[2]), uint64_t count)
{
    uint64_t size = count * MIB, begin;
    char byte = 0;
    int fd[2];
    pid_t pid;

    pair(fd);
    pid = fork();
    if (pid == 0) {
        for (uint64_t got = 0; got < size;) {
            ssize_t n = read(fd[1], block, BLOCK);

            if (n <= 0)
                _exit(1);
            got += (uint64_t)n;
        }
        _exit(write(fd[1], &byte, 1) != 1);
    }
    begin = now_ns();
    for (uint64_t sent = 0; sent < size; sent += BLOCK)
        if (write(fd[0], block, BLOCK) != (ssize_t)BLOCK)
            die("write");
    if (read(fd[0], &byte, 1) != 1)
        die("read");
    begin = now_ns() - begin;
    waitpid(pid, NULL, 0);
    close(fd[0]);
    close(fd[1]);
    return begin;
}

static uint64_t bench_unix_trip(uint64_t count)
{
    return round_trips(unix_pair, count);
}

static uint64_t bench_tcp_trip(uint64_t count)
{
    return round_trips(tcp_pair, count);
}

static uint64_t bench_udp_trip(uint64_t count)
{
    return round_trips(udp_pair, count);
}

static uint64_t bench_unix_bulk(uint64_t count)
{
    return bulk(unix_pair, count);
}

static uint64_t bench_tcp_bulk(uint64_t count)
{
    return bulk(tcp_pair, count);
}

/* A connection made, accepted and closed at both ends. */
static uint64_t bench_connect(uint64_t count)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct linger linger = {1, 0}; /* no ports left in TIME_WAIT */
    socklen_t size = sizeof(name);
    uint64_t begin;

    if (bind(listener, (struct sockaddr *)&name, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&name, &size) < 0)
        die("listen");
    begin = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), other;

        if (connect(fd, (struct sockaddr *)&name, size) < 0)
            die("connect");
        other = accept(listener, NULL, NULL);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(fd);
        close(other);
    }
    begin = now_ns() - begin;
    close(listener);
    return begin;
}

int main(int argc, char **argv)
{
    static const struct benchmark all[] = {
        {"unix_trip", bench_unix_trip}, {"tcp_trip", bench_tcp_trip},
        {"udp_trip", bench_udp_trip},   {"unix_bulk", bench_unix_bulk},
        {"tcp_bulk", bench_tcp_bulk},   {"tcp_connect", bench_connect},
    };

    return measure_main(argc, argv, all, sizeof(all) / sizeof(all[0]));
}
