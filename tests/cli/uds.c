/*
 * Talks to sockets of AF_UNIX by their paths: uds STREAM DGRAM SEQPACKET. Says what it hears, and
 * what became of the connections.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BULK 300000

static int connect_to(const char *path, int type)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    printf("%s\n", strerror(errno));
    close(fd);
    return -1;
}

/* What was sent comes back, all of it. */
static void echo_bulk(int fd)
{
    static char out[BULK], in[BULK];
    size_t sent = 0, got = 0;

    for (size_t i = 0; i < BULK; i++)
        out[i] = (char)(i * 11 + i / 300);
    while (got < BULK) {
        struct pollfd p = {fd, (short)(POLLIN | (sent < BULK ? POLLOUT : 0)), 0};
        ssize_t n = 0;

        if (poll(&p, 1, 10000) != 1)
            break;
        if (p.revents & POLLOUT)
            n = send(fd, out + sent, BULK - sent, MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        if (p.revents & POLLIN)
            n = recv(fd, in + got, BULK - got, MSG_DONTWAIT);
        else
            n = 0;
        got += n > 0 ? (size_t)n : 0;
    }
    printf("%zu %s\n", got, memcmp(in, out, BULK) ? "spoilt" : "the same");
}

static void talk_stream(int fd)
{
    struct sockaddr_un peer;
    socklen_t size = sizeof(peer);
    char buf[64] = {0};

    write(fd, "hello\n", 6);
    printf("%zd %s", recv(fd, buf, 6, MSG_WAITALL), buf);
    getpeername(fd, (struct sockaddr *)&peer, &size);
    printf("%s\n", strrchr(peer.sun_path, '/'));
    echo_bulk(fd);
    shutdown(fd, SHUT_WR);
    printf("%zd\n", read(fd, buf, sizeof(buf)));
}

static void talk_packets(int fd)
{
    char buf[64] = {0};

    send(fd, "packet", 6, 0);
    printf("%zd\n", recv(fd, buf, 3, MSG_TRUNC));
    send(fd, "two", 3, 0);
    printf("%zd %s\n", recv(fd, buf, sizeof(buf), 0), buf);
}

int main(int argc, char **argv)
{
    int fd;

    if (argc < 4)
        return 2;
    fd = connect_to(argv[1], SOCK_STREAM);
    if (fd >= 0)
        talk_stream(fd);
    fd = connect_to(argv[2], SOCK_DGRAM);
    if (fd >= 0)
        printf("%zd\n", send(fd, "datagram", 8, 0));
    fd = connect_to(argv[3], SOCK_SEQPACKET);
    if (fd >= 0)
        talk_packets(fd);
    return 0;
}
