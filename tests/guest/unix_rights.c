/*
 * What travels beside the bytes: descriptors, credentials, peers' identities; malformed control
 * messages; descriptors that only a queue still holds.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"

#define MAX_FDS 253

static char control_buffer[CMSG_SPACE(300 * sizeof(int)) + 200];

static ssize_t send_fds(int socket_fd, const char *text, size_t size, const int *fds, size_t count)
{
    struct iovec iov = {(char *)text, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;

    msg.msg_control = control_buffer;
    msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
    return sendmsg(socket_fd, &msg, MSG_NOSIGNAL);
}

/* How many came. */
static int receive_fds(int socket_fd, char *text, size_t size, int *fds, size_t room, int flags,
                       int *ret_flags)
{
    struct iovec iov = {text, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;
    int count = 0;

    msg.msg_control = control_buffer;
    msg.msg_controllen = room;
    if (recvmsg(socket_fd, &msg, flags) < 0)
        return -errno;
    if (ret_flags)
        *ret_flags = msg.msg_flags;
    cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
        count = (int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(cmsg), (size_t)count * sizeof(int));
    }
    return count;
}

static void test_passing(void)
{
    int fd[2], pipes[2], got[4], flags;
    char text[8];
    struct stat a, b;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(send_fds(fd[0], "ab", 2, pipes, 2), 2);
    CHECK_EQ(write(fd[0], "cd", 2), 2);
    close(pipes[0]);
    /* A look does not take them, and what has descriptors ends a read. */
    CHECK_EQ(receive_fds(fd[1], text, 8, got, 200, MSG_PEEK, &flags), 2);
    close(got[0]);
    close(got[1]);
    CHECK_EQ(receive_fds(fd[1], text, 8, got, 200, MSG_CMSG_CLOEXEC, &flags), 2);
    CHECK_EQ(flags, MSG_CMSG_CLOEXEC);
    CHECK(memcmp(text, "ab", 2) == 0);
    CHECK_EQ(read(fd[1], text, 8), 2);
    CHECK_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fstat(pipes[1], &a), 0);
    CHECK_EQ(fstat(got[1], &b), 0);
    CHECK(a.st_ino == b.st_ino);
    CHECK_EQ(write(pipes[1], "through", 7), 7);
    CHECK_EQ(read(got[0], text, 8), 7);
    close(got[0]);
    close(got[1]);
    /* Less room than descriptors, or none. */
    int three[3] = {pipes[1], pipes[1], pipes[1]};
    CHECK_EQ(send_fds(fd[0], "x", 1, three, 3), 1);
    CHECK_EQ(receive_fds(fd[1], text, 8, got, CMSG_LEN(sizeof(int)), 0, &flags), 1);
    CHECK_EQ(flags, MSG_CTRUNC);
    close(got[0]);
    CHECK_EQ(send_fds(fd[0], "x", 1, three, 3), 1);
    CHECK_EQ(receive_fds(fd[1], text, 8, got, 0, 0, &flags), 0);
    CHECK_EQ(flags, MSG_CTRUNC);
    CHECK_EQ(send_fds(fd[0], "x", 1, three, 3), 1);
    CHECK_EQ(read(fd[1], text, 8), 1);
    /* Bad ones. */
    int bad[2] = {pipes[1], 9999};
    CHECK_ERRNO(send_fds(fd[0], "x", 1, bad, 2), EBADF);
    bad[1] = -1;
    CHECK_ERRNO(send_fds(fd[0], "x", 1, bad, 2), EBADF);
    int many[MAX_FDS + 1];
    for (int i = 0; i <= MAX_FDS; i++)
        many[i] = pipes[1];
    CHECK_ERRNO(send_fds(fd[0], "x", 1, many, MAX_FDS + 1), EINVAL);
    CHECK_EQ(send_fds(fd[0], "x", 1, many, MAX_FDS), 1);
    close(fd[0]);
    close(fd[1]); /* with them in the queue */
    close(pipes[1]);
}

static ssize_t send_control(int socket_fd, void *control, size_t size)
{
    struct iovec iov = {(char *)"x", 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    msg.msg_control = control;
    msg.msg_controllen = size;
    return sendmsg(socket_fd, &msg, 0);
}

static void test_malformed(void)
{
    static char big[200000];
    struct {
        struct cmsghdr head;
        int data[8];
    } c = {.head = {CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS}, .data = {1}};
    int fd[2];
    unsigned seed = 12345;
    char text[64];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
    CHECK_EQ(send_control(fd[0], &c, 8), 1); /* too short to be one: none at all */
    c.head.cmsg_len = 8;
    CHECK_ERRNO(send_control(fd[0], &c, sizeof(c)), EINVAL);
    c.head.cmsg_len = 1000;
    CHECK_ERRNO(send_control(fd[0], &c, sizeof(c)), EINVAL);
    c.head.cmsg_len = SIZE_MAX;
    CHECK_ERRNO(send_control(fd[0], &c, sizeof(c)), EINVAL);
    c.head.cmsg_len = CMSG_LEN(3);
    CHECK_EQ(send_control(fd[0], &c, CMSG_LEN(3)), 1); /* not even one descriptor */
    c.head.cmsg_len = CMSG_LEN(4);
    c.head.cmsg_type = 77;
    CHECK_ERRNO(send_control(fd[0], &c, sizeof(c)), EINVAL);
    c.head.cmsg_level = 0 /* SOL_IP */;
    CHECK_EQ(send_control(fd[0], &c, CMSG_SPACE(4)), 1);
    c.head.cmsg_level = SOL_SOCKET;
    c.head.cmsg_type = SCM_CREDENTIALS;
    CHECK_ERRNO(send_control(fd[0], &c, CMSG_SPACE(4)), EINVAL);
    CHECK_ERRNO(send_control(fd[0], (void *)8, 64), EFAULT);
    CHECK_ERRNO(send_control(fd[0], big, 1UL << 40), ENOBUFS);
    while (recv(fd[1], text, sizeof(text), MSG_DONTWAIT) >= 0)
        ;
    /* Random headers: whatever the answer, nothing but an answer. */
    for (int round = 0; round < 2000; round++) {
        uint32_t *word = (uint32_t *)big;

        for (int i = 0; i < 32; i++) {
            seed = seed * 1103515245 + 12345;
            word[i] = seed >> 8 & (i % 4 == 0 ? 0x3f : i % 4 == 1 ? 0 : 3);
        }
        if (send_control(fd[0], big, (seed >> 16) % 128) == 1)
            recv(fd[1], text, sizeof(text), MSG_DONTWAIT);
    }
    close(fd[0]);
    close(fd[1]);
}

static void drop_capabilities(void)
{
    struct {
        uint32_t version;
        int pid;
    } head = {0x20080522, 0};
    uint32_t none[6] = {0};

    CHECK_EQ(RAW(SYS_capset, &head, none), 0);
}

static void test_credentials(void)
{
    int fd[2], on = 1;
    char text[8];
    struct iovec iov = {text, 8};
    struct ucred cred;
    socklen_t size = sizeof(cred);
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;
    gid_t groups[64];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, SO_PEERCRED, &cred, &size), 0);
    CHECK_EQ(cred.pid, getpid());
    CHECK_EQ(cred.uid, geteuid());
    CHECK_EQ(cred.gid, getegid());
    size = sizeof(groups);
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, SO_PEERGROUPS, groups, &size), 0);
    CHECK_EQ(size / sizeof(gid_t), getgroups(0, NULL));
    CHECK_EQ(setsockopt(fd[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    pid_t child = fork();
    if (child == 0) {
        write(fd[0], "child", 5);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(write(fd[0], "me", 2), 2);
    /* Two senders' bytes are not mixed. */
    for (int i = 0; i < 2; i++) {
        msg.msg_control = control_buffer;
        msg.msg_controllen = sizeof(control_buffer);
        CHECK_EQ(recvmsg(fd[1], &msg, 0), i == 0 ? 5 : 2);
        cmsg = CMSG_FIRSTHDR(&msg);
        CHECK(cmsg && cmsg->cmsg_type == SCM_CREDENTIALS);
        if (cmsg)
            memcpy(&cred, CMSG_DATA(cmsg), sizeof(cred));
        CHECK_EQ(cred.pid, i == 0 ? child : getpid());
        CHECK_EQ(cred.uid, getuid());
    }
    /* Without room for them. */
    CHECK_EQ(write(fd[0], "me", 2), 2);
    msg.msg_control = NULL;
    msg.msg_controllen = 0;
    CHECK_EQ(recvmsg(fd[1], &msg, 0), 2);
    CHECK_EQ(msg.msg_flags, MSG_CTRUNC);
    /* Claimed ones. */
    struct {
        struct cmsghdr head;
        struct ucred cred;
    } claim = {{CMSG_LEN(sizeof(cred)), SOL_SOCKET, SCM_CREDENTIALS},
               {getpid(), getuid(), getgid()}};
    CHECK_EQ(send_control(fd[0], &claim, CMSG_SPACE(sizeof(cred))), 1);
    if (fork() == 0) {
        drop_capabilities();
        claim.cred.pid = getpid();
        claim.cred.uid = getuid() + 1;
        CHECK_ERRNO(send_control(fd[0], &claim, CMSG_SPACE(sizeof(cred))), EPERM);
        claim.cred.uid = getuid();
        claim.cred.pid = getppid();
        CHECK_ERRNO(send_control(fd[0], &claim, CMSG_SPACE(sizeof(cred))), EPERM);
        _exit(check_failures != 0);
    }
    int status;
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, 0);
    close(fd[0]);
    close(fd[1]);
    int alone = socket(AF_UNIX, SOCK_STREAM, 0);
    size = sizeof(cred);
    CHECK_EQ(getsockopt(alone, SOL_SOCKET, SO_PEERCRED, &cred, &size), 0);
    CHECK_EQ(cred.pid, 0);
    CHECK_EQ(cred.uid, -1u);
    size = sizeof(groups);
    CHECK_ERRNO(getsockopt(alone, SOL_SOCKET, SO_PEERGROUPS, groups, &size), ENODATA);
    close(alone);
}

/* The process that a pidfd means, as /proc tells. */
static int pid_of(int pidfd)
{
    char name[64], text[512];
    const char *line;
    int fd, pid = -1;

    snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", pidfd);
    fd = open(name, O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    line = strstr(text, "Pid:");
    if (line)
        sscanf(line, "Pid: %d", &pid);
    return pid;
}

/* SO_PEERPIDFD, and SCM_PIDFD beside the credentials. */
static void test_pidfds(void)
{
    enum { PASSPIDFD = 76, PEERPIDFD = 77, PIDFD = 4 };
    struct iovec iov = {(char[8]){0}, 8};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;
    int fd[2], pidfd = -1, on = 1;
    socklen_t size = sizeof(pidfd);

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    if (setsockopt(fd[1], SOL_SOCKET, PASSPIDFD, &on, sizeof(on)) != 0) {
        CHECK_EQ(errno, ENOPROTOOPT); /* Linux before 6.5 */
        close(fd[0]);
        close(fd[1]);
        return;
    }
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, PEERPIDFD, &pidfd, &size), 0);
    CHECK_EQ(pid_of(pidfd), getpid());
    CHECK_EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    close(pidfd);
    CHECK_EQ(write(fd[0], "x", 1), 1);
    msg.msg_control = control_buffer;
    msg.msg_controllen = sizeof(control_buffer);
    CHECK_EQ(recvmsg(fd[1], &msg, 0), 1);
    cmsg = CMSG_FIRSTHDR(&msg);
    CHECK(cmsg && cmsg->cmsg_type == PIDFD && cmsg->cmsg_len == CMSG_LEN(sizeof(int)));
    if (cmsg) {
        memcpy(&pidfd, CMSG_DATA(cmsg), sizeof(pidfd));
        CHECK_EQ(pid_of(pidfd), getpid());
        close(pidfd);
    }
    close(fd[0]);
    close(fd[1]);
    fd[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    size = sizeof(pidfd);
    CHECK_ERRNO(getsockopt(fd[0], SOL_SOCKET, PEERPIDFD, &pidfd, &size), ENODATA);
    close(fd[0]);
}

/*
 * The read end of a pipe ends when the last holder of the write end is gone. Linux collects when
 * some socket is closed, but not while it collects already: so another is closed now and then.
 */
static bool pipe_ended(int read_end)
{
    struct pollfd p = {read_end, POLLIN, 0};

    for (int i = 0; i < 200; i++) {
        if (poll(&p, 1, 50) == 1)
            return p.revents & POLLHUP;
        close(socket(AF_UNIX, SOCK_STREAM, 0));
    }
    return false;
}

static void test_garbage(void)
{
    int a[2], b[2], pipes[2], fds[2];

    /* A socket in its own queue, and a pipe's end with it. */
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, a), 0);
    fds[0] = a[1];
    fds[1] = pipes[1];
    CHECK_EQ(send_fds(a[0], "x", 1, fds, 2), 1);
    close(pipes[1]);
    close(a[0]);
    close(a[1]);
    CHECK(pipe_ended(pipes[0]));
    close(pipes[0]);
    /* Two that hold each other. */
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    CHECK_EQ(send_fds(a[0], "x", 1, &b[1], 1), 1);
    CHECK_EQ(send_fds(b[0], "x", 1, &a[1], 1), 1);
    CHECK_EQ(send_fds(b[0], "x", 1, &pipes[1], 1), 1);
    close(pipes[1]);
    close(a[0]);
    close(b[0]);
    close(a[1]);
    close(b[1]);
    CHECK(pipe_ended(pipes[0]));
    close(pipes[0]);
    /* What is still reachable stays: b's end lies in a's queue, and a is open. */
    char text[4];
    int got[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    CHECK_EQ(send_fds(b[0], "y", 1, &b[1], 1), 1);
    CHECK_EQ(send_fds(a[0], "x", 1, &b[1], 1), 1);
    close(b[0]);
    close(b[1]);
    CHECK_EQ(receive_fds(a[1], text, 4, got, 200, 0, NULL), 1);
    CHECK_EQ(receive_fds(got[0], text, 4, got + 1, 200, 0, NULL), 1);
    CHECK_EQ(text[0], 'y');
    close(got[0]);
    close(got[1]);
    close(a[0]);
    close(a[1]);
}

/* Sockets in sockets in sockets: closing the outermost one closes them all. */
static void test_deep(void)
{
    int fd[2], next[2], pipes[2];

    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
    CHECK_EQ(send_fds(fd[0], "x", 1, &pipes[1], 1), 1);
    close(pipes[1]);
    for (int i = 0; i < 3000; i++) {
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, next) != 0 ||
            send_fds(next[0], "x", 1, fd + 1, 1) != 1) {
            CHECK(false);
            break;
        }
        close(fd[0]);
        close(fd[1]);
        memcpy(fd, next, sizeof(fd));
    }
    close(fd[0]);
    close(fd[1]);
    CHECK(pipe_ended(pipes[0]));
    close(pipes[0]);
}

/* More under way than may be open. */
static void test_too_many(void)
{
    struct rlimit limit = {64, 64};
    int fd[2], fds[16], error = 0;

    if (fork() == 0) {
        drop_capabilities();
        setrlimit(RLIMIT_NOFILE, &limit);
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        for (int i = 0; i < 16; i++)
            fds[i] = fd[0];
        for (int i = 0; i < 20 && !error; i++) {
            if (send_fds(fd[0], "x", 1, fds, 16) < 0)
                error = errno;
        }
        CHECK_EQ(error, ETOOMANYREFS);
        _exit(check_failures != 0);
    }
    int status;
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, 0);
}

/* A socket that has joined a group comes out of a network namespace that ends before it. */
static void test_foreign_net(void)
{
    struct ip_mreqn group = {.imr_ifindex = 1};
    char text[4];
    int fd[2], got, status;
    pid_t pid;

    inet_pton(AF_INET, "224.0.0.99", &group.imr_multiaddr);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    pid = fork();
    if (pid == 0) {
        int udp = unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? -1 : socket(AF_INET, SOCK_DGRAM, 0);

        if (udp >= 0) {
            CHECK_EQ(setsockopt(udp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
            CHECK_EQ(send_fds(fd[0], "x", 1, &udp, 1), 1);
        }
        _exit(check_failures != 0);
    }
    close(fd[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    if (receive_fds(fd[1], text, sizeof(text), &got, sizeof(control_buffer), 0, NULL) == 1)
        CHECK_EQ(close(got), 0);
    close(fd[1]);
}

int main(void)
{
    test_passing();
    test_malformed();
    test_credentials();
    test_pidfds();
    test_garbage();
    test_deep();
    test_too_many();
    test_foreign_net();
    return check_done();
}
