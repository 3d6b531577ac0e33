/*
 * AF_UNIX streams (unix(7)): socketpair, names, backlog, shutdown, resets, peeking, urgent bytes,
 * options, events, time limits, SIGPIPE, and the errors in Linux's order.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <linux/sockios.h>

#include "check.h"

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

static int set_path(struct sockaddr_un *addr, const char *path)
{
    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    strcpy(addr->sun_path, path);
    return (int)(PATH_OFFSET + strlen(path) + 1);
}

static short events_of(int fd)
{
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};

    poll(&p, 1, 0);
    return p.revents;
}

static void test_making(void)
{
    int fd[2], value;
    socklen_t size = sizeof(value);
    struct stat st;
    char link[64], name[64];

    CHECK_ERRNO(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, 15, 0), EINVAL);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 7), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
    CHECK_EQ(RAW(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 8), -EFAULT);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, AF_UNIX, fd), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd[1], F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_EQ(fstat(fd[0], &st), 0);
    CHECK_EQ(st.st_mode, S_IFSOCK | 0777);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd[0]);
    ssize_t n = readlink(name, link, sizeof(link) - 1);
    CHECK(n > 0);
    link[n > 0 ? n : 0] = '\0';
    snprintf(name, sizeof(name), "socket:[%lu]", st.st_ino);
    CHECK(strcmp(link, name) == 0);
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, SO_TYPE, &value, &size), 0);
    CHECK_EQ(value, SOCK_STREAM);
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, SO_DOMAIN, &value, &size), 0);
    CHECK_EQ(value, AF_UNIX);
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, SO_PROTOCOL, &value, &size), 0);
    CHECK_EQ(value, 0);
    CHECK_ERRNO(lseek(fd[0], 0, SEEK_CUR), ESPIPE);
    CHECK_ERRNO(pread(fd[0], &value, 1, 0), ESPIPE);
    CHECK_ERRNO(bind(0x7fff, NULL, 0), EBADF);
    CHECK_ERRNO(listen(STDOUT_FILENO, 1), ENOTSOCK);
    CHECK_ERRNO(shutdown(fd[0], 3), EINVAL);
    close(fd[0]);
    close(fd[1]);
}

static void test_bytes(void)
{
    int fd[2], value;
    char buffer[32];
    struct iovec iov[2] = {{buffer, 2}, {buffer + 2, 10}};

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(events_of(fd[0]), POLLOUT);
    CHECK_EQ(write(fd[0], "hello ", 6), 6);
    CHECK_EQ(send(fd[0], "world", 5, 0), 5);
    CHECK_EQ(events_of(fd[1]), POLLIN | POLLOUT);
    CHECK_EQ(ioctl(fd[1], FIONREAD, &value), 0);
    CHECK_EQ(value, 11);
    CHECK_EQ(ioctl(fd[0], SIOCOUTQ, &value), 0);
    CHECK(value >= 11);
    CHECK_EQ(recv(fd[1], buffer, 4, MSG_PEEK), 4);
    CHECK_EQ(recv(fd[1], buffer, sizeof(buffer), MSG_PEEK), 11);
    CHECK_EQ(readv(fd[1], iov, 2), 11);
    CHECK(memcmp(buffer, "hello world", 11) == 0);
    CHECK_EQ(ioctl(fd[0], SIOCOUTQ, &value), 0);
    CHECK_EQ(value, 0);
    CHECK_ERRNO(recv(fd[1], buffer, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(read(fd[1], buffer, 0), 0);
    CHECK_EQ(send(fd[0], "", 0, 0), 0);
    CHECK_ERRNO(recv(fd[1], buffer, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(RAW(SYS_write, fd[0], 8, 5), -EFAULT);
    CHECK_EQ(write(fd[0], "xy", 2), 2);
    CHECK_EQ(RAW(SYS_read, fd[1], 8, 5), -EFAULT);
    CHECK_EQ(read(fd[1], buffer, 5), 2);
    /* SO_PEEK_OFF: each look begins where the last one ended. */
    value = 1;
    CHECK_EQ(setsockopt(fd[1], SOL_SOCKET, SO_PEEK_OFF, &value, sizeof(value)), 0);
    CHECK_EQ(write(fd[0], "abcdef", 6), 6);
    CHECK_EQ(recv(fd[1], buffer, 2, MSG_PEEK), 2);
    CHECK(memcmp(buffer, "bc", 2) == 0);
    CHECK_EQ(recv(fd[1], buffer, 2, MSG_PEEK), 2);
    CHECK(memcmp(buffer, "de", 2) == 0);
    CHECK_EQ(recv(fd[1], buffer, 6, 0), 6);
    close(fd[0]);
    close(fd[1]);
}

static void test_ends(void)
{
    int fd[2];
    char buffer[8];

    /* Half closed, both ways. */
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(write(fd[0], "x", 1), 1);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    CHECK_EQ(events_of(fd[1]), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(read(fd[1], buffer, 8), 1);
    CHECK_EQ(read(fd[1], buffer, 8), 0);
    CHECK_ERRNO(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(write(fd[1], "y", 1), 1);
    CHECK_EQ(read(fd[0], buffer, 8), 1);
    CHECK_EQ(shutdown(fd[1], SHUT_RDWR), 0);
    CHECK_EQ(events_of(fd[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    CHECK_EQ(read(fd[0], buffer, 8), 0);
    close(fd[0]);
    close(fd[1]);
    /* Closed, with nothing left and with something left to read. */
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    close(fd[1]);
    CHECK_EQ(events_of(fd[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    CHECK_EQ(read(fd[0], buffer, 8), 0);
    CHECK_ERRNO(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_ERRNO(send(fd[0], "", 0, MSG_NOSIGNAL), EPIPE);
    close(fd[0]);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(write(fd[0], "x", 1), 1);
    close(fd[1]);
    CHECK_EQ(events_of(fd[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
    CHECK_ERRNO(read(fd[0], buffer, 8), ECONNRESET);
    CHECK_EQ(read(fd[0], buffer, 8), 0);
    close(fd[0]);
}

static volatile sig_atomic_t pipes;

static void count_pipe(int signo)
{
    pipes++;
}

static void test_sigpipe(void)
{
    struct sigaction action = {.sa_handler = count_pipe};
    int fd[2];

    sigaction(SIGPIPE, &action, NULL);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    close(fd[1]);
    CHECK_ERRNO(write(fd[0], "x", 1), EPIPE);
    CHECK_ERRNO(send(fd[0], "x", 1, 0), EPIPE);
    CHECK_ERRNO(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(pipes, 2);
    close(fd[0]);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
    close(fd[1]);
    CHECK_ERRNO(write(fd[0], "x", 1), EPIPE);
    CHECK_EQ(pipes, 2);
    close(fd[0]);
    signal(SIGPIPE, SIG_DFL);
}

static void before_bind(int s, struct sockaddr_un *addr, int length)
{
    struct sockaddr_un got;
    socklen_t size = sizeof(got);
    char buffer[8];

    CHECK_EQ(getsockname(s, (void *)&got, &size), 0);
    CHECK_EQ(size, 2);
    size = sizeof(got);
    CHECK_ERRNO(getpeername(s, (void *)&got, &size), ENOTCONN);
    CHECK_ERRNO(listen(s, 1), EINVAL);
    CHECK_EQ(events_of(s), POLLOUT | POLLHUP);
    CHECK_ERRNO(recv(s, buffer, 1, 0), EINVAL);
    CHECK_ERRNO(send(s, buffer, 1, MSG_NOSIGNAL), ENOTCONN);
    CHECK_ERRNO(bind(s, (void *)addr, 1), EINVAL);
    CHECK_ERRNO(bind(s, (void *)addr, 200), EINVAL);
    CHECK_ERRNO(bind(s, (void *)addr, -1), EINVAL);
    CHECK_ERRNO(connect(s, (void *)addr, (socklen_t)length), ENOENT);
}

static void once_bound(int s, struct sockaddr_un *addr, int length)
{
    struct sockaddr_un got;
    socklen_t size;
    struct stat st;

    umask(027);
    CHECK_EQ(bind(s, (void *)addr, (socklen_t)length), 0);
    CHECK_EQ(stat("unix_stream.socket", &st), 0);
    CHECK_EQ(st.st_mode, S_IFSOCK | 0750);
    CHECK_ERRNO(open("unix_stream.socket", O_RDONLY), ENXIO);
    CHECK_ERRNO(bind(s, (void *)addr, (socklen_t)length), EADDRINUSE);
    size = sizeof(got);
    CHECK_EQ(getsockname(s, (void *)&got, &size), 0);
    CHECK_EQ(size, length);
    CHECK(strcmp(got.sun_path, "unix_stream.socket") == 0);
    size = 4;
    memset(&got, 'z', sizeof(got));
    CHECK_EQ(getsockname(s, (void *)&got, &size), 0);
    CHECK_EQ(size, length);
    CHECK_EQ(got.sun_path[2], 'z');
}

static void test_names(void)
{
    struct sockaddr_un addr, got;
    socklen_t size;
    int length = set_path(&addr, "unix_stream.socket"), s, c, other, d, value;
    char dir[] = "/tmp/unix_stream.XXXXXX", buffer[8];

    CHECK(mkdtemp(dir) != NULL);
    CHECK_EQ(chdir(dir), 0);
    s = socket(AF_UNIX, SOCK_STREAM, 0);
    before_bind(s, &addr, length);
    once_bound(s, &addr, length);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(c, (void *)&addr, (socklen_t)length), ECONNREFUSED);
    CHECK_ERRNO(accept(s, NULL, NULL), EINVAL);
    CHECK_EQ(listen(s, 1), 0);
    size = sizeof(value);
    CHECK_EQ(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &value, &size), 0);
    CHECK_EQ(value, 1);
    CHECK_EQ(events_of(s), 0);
    /* Without the NUL the name is the same. */
    CHECK_EQ(connect(c, (void *)&addr, (socklen_t)length - 1), 0);
    CHECK_ERRNO(connect(c, (void *)&addr, (socklen_t)length), EISCONN);
    CHECK_EQ(events_of(s), POLLIN);
    /* One more than the backlog is let in. */
    other = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(connect(other, (void *)&addr, (socklen_t)length), 0);
    d = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_ERRNO(connect(d, (void *)&addr, (socklen_t)length), EAGAIN);
    close(d);
    close(other);
    CHECK_EQ(send(c, "early", 5, 0), 5);
    CHECK_ERRNO(accept4(s, NULL, NULL, 1), EINVAL);
    size = sizeof(got);
    d = accept4(s, (void *)&got, &size, SOCK_CLOEXEC);
    CHECK(d >= 0);
    CHECK_EQ(size, 2);
    CHECK_EQ(fcntl(d, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(read(d, buffer, 8), 5);
    size = sizeof(got);
    CHECK_EQ(getpeername(c, (void *)&got, &size), 0);
    CHECK_EQ(size, length);
    size = sizeof(got);
    CHECK_EQ(getsockname(d, (void *)&got, &size), 0);
    CHECK_EQ(size, length);
    CHECK_ERRNO(sendto(c, "x", 1, 0, (void *)&addr, (socklen_t)length), EISCONN);
    /* A name outlives its socket; then nobody answers. */
    other = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERRNO(connect(other, (void *)&addr, (socklen_t)length), EPROTOTYPE);
    close(other);
    close(d);
    close(s);
    close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(c, (void *)&addr, (socklen_t)length), ECONNREFUSED);
    CHECK_ERRNO(bind(c, (void *)&addr, (socklen_t)length), EADDRINUSE);
    CHECK_EQ(unlink("unix_stream.socket"), 0);
    CHECK_ERRNO(connect(c, (void *)&addr, (socklen_t)length), ENOENT);
    close(open("file", O_CREAT | O_WRONLY, 0600));
    length = set_path(&addr, "file");
    CHECK_ERRNO(connect(c, (void *)&addr, (socklen_t)length), ECONNREFUSED);
    unlink("file");
    close(c);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(dir), 0);
}

static void test_abstract(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX}, got;
    socklen_t size = sizeof(got), length;
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);

    length = (socklen_t)(PATH_OFFSET +
                         (size_t)snprintf(addr.sun_path + 1, 90, "unix_stream.%d", getpid()) + 1);
    CHECK_EQ(bind(s, (void *)&addr, length), 0);
    CHECK_EQ(getsockname(s, (void *)&got, &size), 0);
    CHECK_EQ(size, length);
    CHECK_ERRNO(bind(c, (void *)&addr, length), EADDRINUSE);
    CHECK_ERRNO(bind(s, (void *)&addr, length - 1), EINVAL);
    CHECK_EQ(listen(s, 3), 0);
    CHECK_ERRNO(connect(c, (void *)&addr, length - 1), ECONNREFUSED);
    CHECK_EQ(connect(c, (void *)&addr, length), 0);
    /* A listener that goes resets whom it has not accepted. */
    close(s);
    CHECK_ERRNO(read(c, &got, 1), ECONNRESET);
    close(c);
    /* A name of five digits, chosen for us. */
    s = socket(AF_UNIX, SOCK_STREAM, 0);
    addr.sun_family = AF_UNIX;
    CHECK_EQ(bind(s, (void *)&addr, PATH_OFFSET), 0);
    size = sizeof(got);
    CHECK_EQ(getsockname(s, (void *)&got, &size), 0);
    CHECK_EQ(size, PATH_OFFSET + 6);
    CHECK_EQ(got.sun_path[0], 0);
    CHECK(strspn(got.sun_path + 1, "0123456789abcdef") >= 5);
    close(s);
}

static void test_urgent(void)
{
    int fd[2], mark;
    char buffer[8];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    if (send(fd[0], "abc", 3, MSG_OOB) == -1 && errno == EOPNOTSUPP) {
        close(fd[0]);
        close(fd[1]);
        return; /* a kernel without it */
    }
    CHECK_EQ(events_of(fd[1]), POLLIN | POLLOUT | POLLPRI);
    CHECK_EQ(write(fd[0], "de", 2), 2);
    CHECK_EQ(ioctl(fd[1], SIOCATMARK, &mark), 0);
    CHECK_EQ(mark, 0);
    CHECK_EQ(read(fd[1], buffer, 8), 2); /* up to the mark */
    CHECK_EQ(ioctl(fd[1], SIOCATMARK, &mark), 0);
    CHECK_EQ(mark, 1);
    CHECK_EQ(recv(fd[1], buffer, 1, MSG_OOB), 1);
    CHECK_EQ(buffer[0], 'c');
    CHECK_ERRNO(recv(fd[1], buffer, 1, MSG_OOB), EINVAL);
    CHECK_EQ(read(fd[1], buffer, 8), 2);
    CHECK(memcmp(buffer, "de", 2) == 0);
    close(fd[0]);
    close(fd[1]);
}

static void *write_much(void *arg)
{
    int fd = *(int *)arg;
    static char block[100000];

    for (int i = 0; i < 40; i++) {
        memset(block, i, sizeof(block));
        CHECK_EQ(write(fd, block, sizeof(block)), sizeof(block));
    }
    close(fd);
    return NULL;
}

static void test_much(void)
{
    static char block[70000];
    pthread_t writer;
    size_t total = 0;
    bool good = true;
    int fd[2];
    ssize_t n;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    pthread_create(&writer, NULL, write_much, &fd[0]);
    while ((n = recv(fd[1], block, sizeof(block), MSG_WAITALL)) > 0) {
        for (ssize_t i = 0; i < n; i += 1000)
            good &= block[i] == (char)((total + (size_t)i) / 100000);
        total += (size_t)n;
        good &= n == (ssize_t)sizeof(block) || total == 4000000;
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(total, 4000000);
    CHECK(good);
    pthread_join(writer, NULL);
    close(fd[1]);
}

static void test_limits(void)
{
    const struct timeval tv = {0, 30000};
    static char block[4096];
    int fd[2], size = 20000, file;
    socklen_t length = sizeof(size);
    size_t total = 0;
    char name[] = "/tmp/unix_stream.XXXXXX";
    ssize_t n;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    CHECK_EQ(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    CHECK_EQ(getsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, &length), 0);
    CHECK_EQ(size, 40000);
    CHECK_EQ(setsockopt(fd[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
    CHECK_EQ(setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
    while ((n = write(fd[0], block, sizeof(block))) > 0)
        total += (size_t)n;
    CHECK_EQ(errno, EAGAIN);
    CHECK(total >= 20000 && total <= 60000);
    CHECK_EQ(events_of(fd[0]), 0);
    while (total > 0 && (n = read(fd[1], block, sizeof(block))) > 0)
        total -= (size_t)n;
    CHECK_EQ(total, 0);
    CHECK_EQ(events_of(fd[0]), POLLOUT);
    CHECK_ERRNO(read(fd[1], block, 1), EAGAIN);
    /* sendfile(2) into it, splice(2) out of it. */
    file = mkstemp(name);
    unlink(name);
    CHECK_EQ(write(file, "0123456789", 10), 10);
    off_t at = 2;
    CHECK_EQ(sendfile(fd[0], file, &at, 5), 5);
    int pipes_fd[2];
    CHECK_EQ(pipe(pipes_fd), 0);
    CHECK_EQ(splice(fd[1], NULL, pipes_fd[1], NULL, 100, 0), 5);
    CHECK_EQ(splice(pipes_fd[0], NULL, fd[1], NULL, 100, 0), 5);
    CHECK_EQ(read(fd[0], block, 100), 5);
    CHECK(memcmp(block, "23456", 5) == 0);
    close(file);
    close(pipes_fd[0]);
    close(pipes_fd[1]);
    close(fd[0]);
    close(fd[1]);
}

static atomic_bool about_to_wait;

/* The first thread sleeps: after it has said that it is about to wait, it can only wait. */
static bool first_thread_sleeps(void)
{
    char text[512] = {0};
    int fd = open("/proc/self/stat", O_RDONLY);
    const char *state;

    if (!CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0))
        return true;
    close(fd);
    state = strrchr(text, ')');
    return state && state[2] == 'S';
}

static void *close_later(void *arg)
{
    while (!about_to_wait || !first_thread_sleeps())
        usleep(1000);
    close(*(int *)arg);
    return NULL;
}

/* Who waits for room when the other end goes hears that what was sent got lost. */
static void test_lost(void)
{
    static char block[4096];
    pthread_t thread;
    int fd[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    while (send(fd[0], block, sizeof(block), MSG_DONTWAIT) > 0)
        continue;
    CHECK_EQ(pthread_create(&thread, NULL, close_later, &fd[1]), 0);
    about_to_wait = true;
    CHECK_ERRNO(send(fd[0], block, sizeof(block), MSG_NOSIGNAL), ECONNRESET);
    CHECK_ERRNO(send(fd[0], block, sizeof(block), MSG_NOSIGNAL), EPIPE);
    pthread_join(thread, NULL);
    close(fd[0]);
}

static void test_blocking_connect(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    socklen_t length = (socklen_t)PATH_OFFSET + 1 +
                       (socklen_t)snprintf(addr.sun_path + 1, 90, "unix_wait.%d", getpid());
    int s = socket(AF_UNIX, SOCK_STREAM, 0), status, served = 0;
    char byte;

    CHECK_EQ(bind(s, (void *)&addr, length), 0);
    CHECK_EQ(listen(s, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int bad = 0;

        for (int i = 0; i < 20; i++) {
            int c = socket(AF_UNIX, SOCK_STREAM, 0);

            bad |= connect(c, (void *)&addr, length) != 0 || write(c, "x", 1) != 1;
            close(c);
        }
        _exit(bad);
    }
    for (int i = 0; i < 20; i++) {
        int c = accept(s, NULL, NULL);

        served += c >= 0 && read(c, &byte, 1) == 1;
        close(c);
    }
    CHECK_EQ(served, 20);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(s);
}

int main(void)
{
    test_making();
    test_bytes();
    test_ends();
    test_sigpipe();
    test_names();
    test_abstract();
    test_urgent();
    test_much();
    test_limits();
    test_lost();
    test_blocking_connect();
    return check_done();
}
