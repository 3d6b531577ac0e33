/* AF_UNIX datagrams and sequenced packets: borders, names, full queues, gone peers, many at once.
 */
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "check.h"

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

static struct sockaddr_un name_of(const char *what, socklen_t *ret_size)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path + 1, 90, "unix_dgram.%s.%d", what, getpid());

    *ret_size = (socklen_t)(PATH_OFFSET + 1 + (size_t)n);
    return addr;
}

static short events_of(int fd)
{
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};

    poll(&p, 1, 0);
    return p.revents;
}

static void test_borders(int type)
{
    int fd[2], value;
    char buffer[16];
    struct iovec iov = {buffer, 4};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    CHECK_EQ(socketpair(AF_UNIX, type, 0, fd), 0);
    CHECK_EQ(write(fd[0], "first", 5), 5);
    CHECK_EQ(write(fd[0], "", 0), 0);
    CHECK_EQ(send(fd[0], "second", 6, 0), 6);
    CHECK_EQ(ioctl(fd[1], FIONREAD, &value), 0);
    CHECK_EQ(value, type == SOCK_DGRAM ? 5 : 11);
    CHECK_EQ(recv(fd[1], buffer, 3, MSG_PEEK | MSG_TRUNC), 5);
    CHECK_EQ(recvmsg(fd[1], &msg, 0), 4);
    CHECK_EQ(msg.msg_flags, MSG_TRUNC);
    CHECK_EQ(recv(fd[1], buffer, sizeof(buffer), 0), 0);
    CHECK_EQ(recv(fd[1], buffer, sizeof(buffer), 0), 6);
    CHECK_ERRNO(recv(fd[1], buffer, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(send(fd[0], buffer, 1, MSG_OOB), EOPNOTSUPP);
    CHECK_ERRNO(recv(fd[1], buffer, 1, MSG_OOB), EOPNOTSUPP);
    CHECK_EQ(shutdown(fd[1], SHUT_RD), 0);
    CHECK_ERRNO(send(fd[0], buffer, 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(recv(fd[1], buffer, 1, 0), 0);
    if (type == SOCK_DGRAM)
        CHECK_ERRNO(recv(fd[1], buffer, 1, MSG_DONTWAIT), EAGAIN);
    else
        CHECK_EQ(recv(fd[1], buffer, 1, MSG_DONTWAIT), 0);
    close(fd[0]);
    close(fd[1]);
}

static void test_sizes(void)
{
    static char block[300000];
    int fd[2], size = 5000;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
    CHECK_EQ(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    CHECK_ERRNO(send(fd[0], block, 10000, MSG_DONTWAIT), EMSGSIZE);
    CHECK_EQ(send(fd[0], block, 9000, MSG_DONTWAIT), 9000);
    CHECK_EQ(recv(fd[1], block, sizeof(block), 0), 9000);
    size = 1 << 20;
    CHECK_EQ(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    CHECK_EQ(send(fd[0], block, 200000, 0), 200000);
    CHECK_EQ(recv(fd[1], block, sizeof(block), 0), 200000);
    close(fd[0]);
    close(fd[1]);
}

static void test_names(void)
{
    struct sockaddr_un a_name, got;
    socklen_t a_size, size = sizeof(got);
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0), c;
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    char buffer[16];
    int value, sent = 0;

    a_name = name_of("a", &a_size);
    CHECK_ERRNO(send(a, "x", 1, 0), ENOTCONN);
    CHECK_ERRNO(listen(a, 1), EOPNOTSUPP);
    CHECK_ERRNO(accept(a, NULL, NULL), EOPNOTSUPP);
    CHECK_ERRNO(sendto(b, "x", 1, 0, (void *)&a_name, a_size), ECONNREFUSED);
    CHECK_EQ(bind(a, (void *)&a_name, a_size), 0);
    CHECK_EQ(sendto(b, "one", 3, 0, (void *)&a_name, a_size), 3);
    CHECK_EQ(recvfrom(a, buffer, 16, 0, (void *)&got, &size), 3);
    CHECK_EQ(size, 0);
    CHECK_EQ(bind(b, (void *)&(struct sockaddr_un){.sun_family = AF_UNIX}, PATH_OFFSET), 0);
    CHECK_EQ(connect(b, (void *)&a_name, a_size), 0);
    CHECK_EQ(send(b, "two", 3, 0), 3);
    size = sizeof(got);
    CHECK_EQ(recvfrom(a, buffer, 16, 0, (void *)&got, &size), 3);
    CHECK_EQ(size, PATH_OFFSET + 6);
    CHECK_EQ(sendto(a, "back", 4, 0, (void *)&got, size), 4);
    CHECK_EQ(recv(b, buffer, 16, 0), 4);
    /* One that is connected takes nothing from third parties. */
    CHECK_EQ(connect(a, (void *)&got, size), 0);
    c = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERRNO(sendto(c, "x", 1, 0, (void *)&a_name, a_size), EPERM);
    CHECK_ERRNO(connect(c, (void *)&a_name, a_size), EPERM);
    CHECK_EQ(send(b, "lost", 4, 0), 4);
    CHECK_EQ(connect(a, &none, sizeof(none)), 0);
    CHECK_ERRNO(send(a, "x", 1, 0), ENOTCONN);
    size = sizeof(value);
    CHECK_EQ(getsockopt(b, SOL_SOCKET, SO_ERROR, &value, &size), 0);
    CHECK_EQ(value, ECONNRESET);
    /* A full queue. */
    CHECK_EQ(connect(c, (void *)&a_name, a_size), 0);
    CHECK_EQ(events_of(c), POLLOUT);
    while (send(c, "x", 1, MSG_DONTWAIT) == 1)
        sent++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(sent, 11);
    CHECK_EQ(events_of(c), 0);
    CHECK_EQ(recv(a, buffer, 16, 0), 1);
    CHECK_EQ(events_of(c), POLLOUT);
    /* The other one goes. */
    close(a);
    CHECK_ERRNO(send(c, "x", 1, 0), ECONNREFUSED);
    CHECK_ERRNO(send(c, "x", 1, 0), ENOTCONN);
    close(b);
    close(c);
}

static void test_many(void)
{
    struct mmsghdr messages[4] = {0};
    struct iovec iov[4];
    char text[4][8];
    int fd[2];
    struct timespec ts = {0, 1};

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(text[i], 8, "text%d", i);
        iov[i] = (struct iovec){text[i], 5};
        messages[i].msg_hdr.msg_iov = &iov[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK_EQ(sendmmsg(fd[0], messages, 3, 0), 3);
    CHECK_EQ(messages[2].msg_len, 5);
    memset(text, 0, sizeof(text));
    CHECK_EQ(recvmmsg(fd[1], messages, 4, MSG_DONTWAIT, NULL), 3);
    CHECK(memcmp(text[2], "text2", 5) == 0);
    CHECK_ERRNO(recvmmsg(fd[1], messages, 4, MSG_DONTWAIT, NULL), EAGAIN);
    CHECK_EQ(sendmmsg(fd[0], messages, 2, 0), 2);
    CHECK_EQ(recvmmsg(fd[1], messages, 4, MSG_WAITFORONE, NULL), 2);
    CHECK_EQ(sendmmsg(fd[0], messages, 1, 0), 1);
    CHECK_EQ(recvmmsg(fd[1], messages, 4, 0, &ts), 1);
    ts.tv_nsec = -1;
    CHECK_ERRNO(recvmmsg(fd[1], messages, 4, 0, &ts), EINVAL);
    CHECK_EQ(RAW(SYS_sendmmsg, fd[0], 8, 1, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_recvmsg, fd[1], 8, MSG_DONTWAIT), -EFAULT);
    messages[0].msg_hdr.msg_iovlen = 2000;
    CHECK_ERRNO(sendmsg(fd[0], &messages[0].msg_hdr, 0), EMSGSIZE);
    close(fd[0]);
    close(fd[1]);
}

static void test_packets(void)
{
    struct sockaddr_un name;
    socklen_t size;
    int s = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0), d;
    char buffer[8];

    name = name_of("p", &size);
    CHECK_ERRNO(recv(c, buffer, 8, 0), ENOTCONN);
    CHECK_ERRNO(send(c, buffer, 8, 0), ENOTCONN);
    CHECK_EQ(bind(s, (void *)&name, size), 0);
    CHECK_EQ(listen(s, 1), 0);
    CHECK_EQ(connect(c, (void *)&name, size), 0);
    d = accept(s, NULL, NULL);
    CHECK_EQ(send(c, "packet", 6, 0), 6);
    CHECK_EQ(recv(d, buffer, 3, 0), 3);
    CHECK_ERRNO(recv(d, buffer, 3, MSG_DONTWAIT), EAGAIN);
    close(c);
    CHECK_EQ(events_of(d), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    CHECK_EQ(recv(d, buffer, 3, 0), 0);
    close(d);
    close(s);
}

int main(void)
{
    test_borders(SOCK_DGRAM);
    test_borders(SOCK_SEQPACKET);
    test_sizes();
    test_names();
    test_many();
    test_packets();
    return check_done();
}
