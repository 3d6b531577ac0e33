/* io_uring on sockets: messages, connections, multishot operations, descriptors in messages. */
#include <sys/socket.h>
#include <sys/un.h>

#include "uring.h"

enum { OP_SHUTDOWN = 34, OP_SOCKET = 45, OP_BIND = 56, OP_LISTEN = 57 };
enum { CQE_BUFFER = 1, CQE_MORE = 2 };

static struct ring r;

static void test_bytes(void)
{
    int fd[2];
    struct sqe *s;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    add(&r, SEND, fd[0], "hello", 5, 0, 1);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), 5);
    add(&r, RECV, fd[1], buffer, 100, 0, 2);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 2), 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
    /* Nothing there yet: it waits, and takes what comes. */
    add(&r, RECV, fd[1], buffer, 100, 0, 3);
    CHECK_EQ(go(&r, 0), 1);
    CHECK(none(&r));
    CHECK_EQ(write(fd[0], "later", 5), 5);
    CHECK_EQ(RESULT(&r, 3), 5);
    s = add(&r, RECV, fd[1], buffer, 100, 0, 4);
    s->op_flags = MSG_DONTWAIT;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 4), -EAGAIN);
    /* All of it, although it comes in two parts. */
    s = add(&r, RECV, fd[1], buffer, 6, 0, 5);
    s->op_flags = MSG_WAITALL;
    CHECK_EQ(go(&r, 0), 1);
    CHECK_EQ(write(fd[0], "abc", 3), 3);
    CHECK(none(&r));
    CHECK_EQ(write(fd[0], "def", 3), 3);
    CHECK_EQ(RESULT(&r, 5), 6);
    CHECK(memcmp(buffer, "abcdef", 6) == 0);
    add(&r, SEND, STDOUT_FILENO, "x", 1, 0, 6);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 6), -ENOTSOCK);
    s = add(&r, SEND, fd[0], "x", 1, 0, 7);
    s->ioprio = 0x80;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 7), -EINVAL);
    add(&r, OP_SHUTDOWN, fd[0], NULL, SHUT_WR, 0, 8);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 8), 0);
    CHECK_EQ(read(fd[1], buffer, 8), 0);
    add(&r, SEND, fd[0], "x", 1, 0, 9); /* and no SIGPIPE */
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 9), -EPIPE);
    close(fd[0]);
    close(fd[1]);
}

static void test_big(void)
{
    static char big[400000], got[400000];
    struct sqe *s;
    int fd[2];

    memset(big, 'b', sizeof(big));
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    s = add(&r, SEND, fd[0], big, sizeof(big), 0, 1);
    s->op_flags = MSG_WAITALL;
    s = add(&r, RECV, fd[1], got, sizeof(got), 0, 1);
    s->op_flags = MSG_WAITALL;
    CHECK_EQ(go(&r, 2), 2);
    CHECK_EQ(RESULT(&r, 1), sizeof(big));
    CHECK_EQ(RESULT(&r, 1), sizeof(big));
    CHECK(memcmp(big, got, sizeof(big)) == 0);
    close(fd[0]);
    close(fd[1]);
}

static void test_messages(void)
{
    char control[CMSG_SPACE(sizeof(int))] = {0}, text[8];
    struct iovec iov = {(char *)"packet", 6};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;
    int fd[2], got;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    cmsg = CMSG_FIRSTHDR(&msg);
    *cmsg = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(cmsg), &fd[0], sizeof(int));
    add(&r, SENDMSG, fd[0], &msg, 1, 0, 1);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), 6);
    iov = (struct iovec){text, 3};
    memset(control, 0, sizeof(control));
    add(&r, RECVMSG, fd[1], &msg, 1, 0, 2);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 2), 3);
    CHECK_EQ(msg.msg_flags, MSG_TRUNC);
    cmsg = CMSG_FIRSTHDR(&msg);
    CHECK(cmsg && cmsg->cmsg_type == SCM_RIGHTS);
    memcpy(&got, CMSG_DATA(cmsg), sizeof(got));
    CHECK_EQ(write(got, "y", 1), 1);
    CHECK_EQ(read(fd[1], text, 8), 1);
    close(got);
    add(&r, SENDMSG, fd[0], (void *)8, 1, 0, 3);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 3), -EFAULT);
    /* A ring's own descriptor is not passed. */
    memcpy(CMSG_DATA(cmsg), &r.fd, sizeof(int));
    msg.msg_controllen = sizeof(control);
    CHECK_ERRNO(sendmsg(fd[0], &msg, 0), EINVAL);
    close(fd[0]);
    close(fd[1]);
}

/* A descriptor from an operation. */
static int made_by(uint64_t name, int line)
{
    int fd = result_line(&r, name, line);

    check_true(fd >= 0, line, "a descriptor");
    return fd;
}

/* One operation for many connections. */
static void accept_many(int listener, struct sockaddr_un *addr, socklen_t size)
{
    struct sqe *s;
    struct cqe c;
    int more[3];

    s = add(&r, ACCEPT, listener, NULL, 0, 0, 6);
    s->ioprio = 1;
    CHECK_EQ(go(&r, 0), 1);
    for (int i = 0; i < 3; i++) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK_EQ(connect(client, (void *)addr, size), 0);
        while (!take(&r, &c))
            enter(&r, 0, 1);
        CHECK_EQ(c.flags & CQE_MORE, CQE_MORE);
        more[i] = c.res;
        CHECK(more[i] >= 0);
        close(client);
    }
    add(&r, ASYNC_CANCEL, -1, (void *)6, 0, 0, 7);
    CHECK_EQ(go(&r, 2), 1);
    bool ended = false, cancelled = false;
    for (int i = 0; i < 2; i++) {
        while (!take(&r, &c))
            enter(&r, 0, 1);
        ended |= c.user_data == 6 && c.res == -ECANCELED && !(c.flags & CQE_MORE);
        cancelled |= c.user_data == 7 && c.res == 0;
    }
    CHECK(ended && cancelled);
    for (int i = 0; i < 3; i++)
        close(more[i]);
}

static void test_connections(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX}, peer;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                 (size_t)snprintf(addr.sun_path + 1, 90, "uring.%d", getpid())),
              peer_size = sizeof(peer);
    int listener, client, server;
    struct cqe c;

    add(&r, OP_SOCKET, AF_UNIX, NULL, 0, SOCK_STREAM | SOCK_CLOEXEC, 1);
    CHECK_EQ(go(&r, 1), 1);
    listener = made_by(1, __LINE__);
    CHECK_EQ(fcntl(listener, F_GETFD), FD_CLOEXEC);
    add(&r, OP_SOCKET, 99, NULL, 0, SOCK_STREAM, 1);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), -EAFNOSUPPORT);
    add(&r, OP_BIND, listener, &addr, 0, size, 2);
    CHECK_EQ(go(&r, 1), 1);
    int bound = RESULT(&r, 2);
    if (bound == -EINVAL) /* Linux before 6.11 */
        CHECK_EQ(bind(listener, (void *)&addr, size) | listen(listener, 4), 0);
    else
        CHECK_EQ(bound, 0);
    if (bound == 0) {
        add(&r, OP_LISTEN, listener, NULL, 4, 0, 3);
        CHECK_EQ(go(&r, 1), 1);
        CHECK_EQ(RESULT(&r, 3), 0);
    }
    add(&r, ACCEPT, listener, &peer, 0, (long)(uintptr_t)&peer_size, 4);
    CHECK_EQ(go(&r, 0), 1);
    CHECK(none(&r));
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    add(&r, CONNECT, client, &addr, 0, size, 5);
    unsigned queued = r.queued;
    r.queued = 0;
    CHECK_EQ(enter(&r, queued, 2), 1);
    server = -1;
    for (int i = 0; i < 2; i++) {
        while (!take(&r, &c))
            enter(&r, 0, 1);
        if (c.user_data == 4)
            server = c.res;
        else
            CHECK_EQ(c.res, 0);
    }
    CHECK(server >= 0);
    CHECK_EQ(peer_size, 2);
    CHECK_EQ(write(client, "hi", 2), 2);
    CHECK_EQ(read(server, buffer, 8), 2);
    close(server);
    close(client);
    accept_many(listener, &addr, size);
    close(listener);
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    add(&r, CONNECT, client, &addr, 0, size, 8);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 8), -ECONNREFUSED);
    close(client);
}

/* That the other end will send nothing more is told whether it was asked for or not. */
static void test_poll(void)
{
    int fd[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    add(&r, POLL_ADD, fd[1], NULL, 0, 0, 1)->op_flags = POLLOUT;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), POLLOUT | POLLRDHUP);
    close(fd[0]);
    close(fd[1]);
}

static void test_multishot(void)
{
    struct sqe *s;
    struct cqe c;
    int fd[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
    s = add(&r, PROVIDE_BUFFERS, 4, buffer, 64, 0, 1);
    s->buf_index = 7;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), 0);
    s = add(&r, RECV, fd[1], NULL, 0, 0, 2);
    s->flags = SELECT;
    s->buf_index = 7;
    s->ioprio = 2;
    CHECK_EQ(go(&r, 0), 1);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(write(fd[0], "datagram", 8), 8);
        while (!take(&r, &c))
            enter(&r, 0, 1);
        CHECK_EQ(c.res, 8);
        CHECK_EQ(c.flags & (CQE_MORE | CQE_BUFFER), CQE_MORE | CQE_BUFFER);
        CHECK(memcmp(buffer + (c.flags >> 16) * 64, "datagram", 8) == 0);
    }
    CHECK_EQ(write(fd[0], "one too many", 12), 12);
    CHECK_EQ(RESULT(&r, 2), -ENOBUFS);
    s = add(&r, RECV, fd[1], buffer, 64, 0, 3); /* without buffers to choose from */
    s->ioprio = 2;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 3), -EINVAL);
    close(fd[0]);
    close(fd[1]);
}

int main(void)
{
    need_uring();
    if (!make_ring(&r, 8, 0, 32))
        return check_done();
    test_bytes();
    test_big();
    test_messages();
    test_connections();
    test_poll();
    test_multishot();
    drop_ring(&r);
    return check_done();
}
