/*
 * Waiting for several files: epoll(7), eventfd(2), select(2), ppoll(2), their timeouts, masks and
 * errors; and sendfile(2).
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_eventfd(void)
{
    uint64_t value = 0;
    int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);

    CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(read(fd, &value, 7), EINVAL);
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_EQ(value, 3);
    CHECK_ERRNO(read(fd, &value, 8), EAGAIN);
    value = UINT64_MAX;
    CHECK_ERRNO(write(fd, &value, 8), EINVAL);
    value = UINT64_MAX - 1;
    CHECK_EQ(write(fd, &value, 8), 8);
    value = 1;
    CHECK_ERRNO(write(fd, &value, 8), EAGAIN);
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_EQ(value, UINT64_MAX - 1);
    CHECK_EQ(lseek(fd, 10, SEEK_SET), 0);
    CHECK_ERRNO(pread(fd, &value, 8, 0), ESPIPE);
    close(fd);

    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_EQ(value, 1);
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_ERRNO(read(fd, &value, 8), EAGAIN);
    close(fd);
    CHECK_EQ(RAW(SYS_eventfd2, 0, 1 << 20), -EINVAL);
}

static int epoll_one(int ep, struct epoll_event *event)
{
    return epoll_wait(ep, event, 1, 0);
}

static void test_epoll_triggers(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abcdef0};
    int ep = epoll_create1(EPOLL_CLOEXEC), fd[2];

    CHECK_EQ(pipe(fd), 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &event), 0);
    CHECK_EQ(epoll_one(ep, &event), 0);
    CHECK_EQ(write(fd[1], "ab", 2), 2);
    for (int i = 0; i < 2; i++) {
        event = (struct epoll_event){0};
        CHECK_EQ(epoll_one(ep, &event), 1);
        CHECK_EQ(event.events, EPOLLIN);
        CHECK_EQ(event.data.u64, 0x123456789abcdef0);
    }

    event.events = EPOLLIN | EPOLLET;
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, fd[0], &event), 0);
    CHECK_EQ(epoll_one(ep, &event), 1);
    CHECK_EQ(epoll_one(ep, &event), 0);
    CHECK_EQ(write(fd[1], "c", 1), 1);
    CHECK_EQ(epoll_one(ep, &event), 1);

    event.events = EPOLLIN | EPOLLONESHOT;
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, fd[0], &event), 0);
    CHECK_EQ(epoll_one(ep, &event), 1);
    CHECK_EQ(write(fd[1], "d", 1), 1);
    CHECK_EQ(epoll_one(ep, &event), 0);

    event.events = EPOLLIN | EPOLLRDHUP;
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, fd[0], &event), 0);
    close(fd[1]);
    CHECK_EQ(epoll_one(ep, &event), 1);
    CHECK_EQ(event.events, EPOLLIN | EPOLLHUP);
    close(fd[0]);
    CHECK_EQ(epoll_one(ep, &event), 0);
    close(ep);
}

static void test_epoll_errors(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int ep = epoll_create1(0), other = epoll_create(1), fd[2];
    int regular = open("/proc/self/exe", O_RDONLY);

    CHECK_EQ(pipe(fd), 0);
    CHECK(regular >= 0);
    CHECK_ERRNO(epoll_create(0), EINVAL);
    CHECK_ERRNO(epoll_create1(1), EINVAL);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, regular, &event), EPERM);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &event), EBADF);
    CHECK_ERRNO(epoll_ctl(999, EPOLL_CTL_ADD, fd[0], &event), EBADF);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &event), EINVAL);
    CHECK_ERRNO(epoll_ctl(fd[1], EPOLL_CTL_ADD, fd[0], &event), EINVAL);
    CHECK_ERRNO(epoll_ctl(ep, 77, fd[0], &event), EINVAL);
    CHECK_EQ(RAW(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fd[0], 8), -EFAULT);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_MOD, fd[0], &event), ENOENT);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_DEL, fd[0], NULL), ENOENT);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &event), 0);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &event), EEXIST);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, other, &event), 0);
    CHECK_ERRNO(epoll_ctl(other, EPOLL_CTL_ADD, ep, &event), ELOOP);
    CHECK_ERRNO(epoll_wait(ep, &event, 0, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(fd[0], &event, 1, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(999, &event, 1, 0), EBADF);
    CHECK_EQ(write(fd[1], "x", 1), 1);
    CHECK_EQ(RAW(SYS_epoll_wait, ep, 8, 1, 0), -EFAULT);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    close(regular);
    close(fd[0]);
    close(fd[1]);
    close(other);
    close(ep);
}

static int wake_fd;

static void *wake_later(void *arg)
{
    const struct timespec ts = {0, 30000000};
    uint64_t one = 1;

    nanosleep(&ts, NULL);
    CHECK_EQ(write(wake_fd, &one, sizeof(one)), 8);
    return arg;
}

/* Each way to wait sees what another thread does, and in time. */
static void test_blocking(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = 5};
    int ep = epoll_create1(0), outer = epoll_create1(0);
    uint64_t value;
    pthread_t thread;

    wake_fd = eventfd(0, 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, wake_fd, &event), 0);
    CHECK_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &event), 0);
    for (int way = 0; way < 5; way++) {
        struct pollfd pfd = {.fd = wake_fd, .events = POLLIN};
        int64_t start = now_ms();
        fd_set set;

        pthread_create(&thread, NULL, wake_later, NULL);
        FD_ZERO(&set);
        FD_SET(wake_fd, &set);
        if (way == 0)
            CHECK_EQ(epoll_wait(ep, &event, 1, -1), 1);
        else if (way == 1)
            CHECK_EQ(epoll_wait(outer, &event, 1, 10000), 1);
        else if (way == 2)
            CHECK_EQ(poll(&pfd, 1, 10000), 1);
        else if (way == 3)
            CHECK_EQ(select(wake_fd + 1, &set, NULL, NULL, NULL), 1);
        CHECK_EQ(read(wake_fd, &value, sizeof(value)), 8);
        CHECK(now_ms() - start >= 25 && now_ms() - start < 5000);
        pthread_join(thread, NULL);
    }
    close(ep);
    close(outer);
    close(wake_fd);
}

static void test_timeouts(void)
{
    struct timespec ts = {0, 40000000};
    struct epoll_event event;
    struct timeval tv = {0, 40000};
    int ep = epoll_create1(0);
    int64_t start = now_ms();

    CHECK_EQ(epoll_wait(ep, &event, 1, 40), 0);
    CHECK_EQ(poll(NULL, 0, 40), 0);
    CHECK_EQ(select(0, NULL, NULL, NULL, &tv), 0);
    CHECK(tv.tv_sec == 0 && tv.tv_usec == 0);
    CHECK_EQ(RAW(SYS_ppoll, NULL, 0, &ts, NULL, 8), 0);
    CHECK(ts.tv_sec == 0 && ts.tv_nsec == 0);
    CHECK(now_ms() - start >= 160 && now_ms() - start < 5000);
    ts.tv_nsec = -1;
    CHECK_ERRNO(ppoll(NULL, 0, &ts, NULL), EINVAL);
    tv.tv_sec = -1;
    CHECK_ERRNO(select(0, NULL, NULL, NULL, &tv), EINVAL);
    close(ep);
}

static void test_select(void)
{
    fd_set in, out;
    int fd[2];

    CHECK_EQ(pipe(fd), 0);
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(fd[0], &in);
    FD_SET(fd[1], &out);
    CHECK_EQ(select(fd[1] + 1, &in, &out, NULL, NULL), 1);
    CHECK(!FD_ISSET(fd[0], &in) && FD_ISSET(fd[1], &out));
    FD_SET(fd[0], &in);
    CHECK_EQ(write(fd[1], "x", 1), 1);
    CHECK_EQ(select(fd[1] + 1, &in, &out, NULL, NULL), 2);
    CHECK_ERRNO(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    close(fd[0]);
    CHECK_ERRNO(select(fd[1] + 1, &in, NULL, NULL, NULL), EBADF);
    CHECK_EQ(RAW(SYS_select, 64, 8, 0, 0, 0), -EFAULT);
    close(fd[1]);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signo)
{
    alarms++;
}

/* A blocked signal ends the wait that unblocks it, and is blocked again afterwards. */
static void test_masks(void)
{
    const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct epoll_event event;
    sigset_t alarm_set, none, now;
    int ep = epoll_create1(0);

    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&none);
    sigemptyset(&alarm_set);
    sigaddset(&alarm_set, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm_set, NULL);
    for (int way = 0; way < 3; way++) {
        raise(SIGALRM);
        CHECK_EQ(alarms, way);
        if (way == 0)
            CHECK_ERRNO(ppoll(NULL, 0, NULL, &none), EINTR);
        else if (way == 1)
            CHECK_ERRNO(pselect(0, NULL, NULL, NULL, NULL, &none), EINTR);
        else
            CHECK_ERRNO(epoll_pwait(ep, &event, 1, -1, &none), EINTR);
        CHECK_EQ(alarms, way + 1);
        sigprocmask(SIG_BLOCK, NULL, &now);
        CHECK(sigismember(&now, SIGALRM));
    }
    sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
    CHECK_EQ(RAW(SYS_ppoll, NULL, 0, NULL, &none, 4), -EINVAL);
    close(ep);
}

static void test_poll(void)
{
    struct pollfd fds[4] = {
        {.fd = -1, .events = POLLIN, .revents = 77},
        {.fd = 999, .events = POLLIN},
        {.fd = -1},
        {.fd = -1},
    };
    struct rlimit limit;

    CHECK_EQ(poll(fds, 4, -1), 1);
    CHECK_EQ(fds[0].revents, 0);
    CHECK_EQ(fds[1].revents, POLLNVAL);
    getrlimit(RLIMIT_NOFILE, &limit);
    CHECK_EQ(RAW(SYS_poll, fds, limit.rlim_cur + 1, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_poll, 8, 1, 0), -EFAULT);
}

static void test_sendfile(void)
{
    char buffer[256] = "";
    off_t offset = 5;
    int fd[2], in = open("words.txt", O_RDONLY);
    ssize_t whole;

    CHECK(in >= 0);
    CHECK_EQ(pipe2(fd, O_NONBLOCK), 0);
    CHECK_EQ(sendfile(fd[1], in, &offset, 10), 10);
    CHECK_EQ(offset, 15);
    CHECK_EQ(lseek(in, 0, SEEK_CUR), 0);
    CHECK_EQ(read(fd[0], buffer, sizeof(buffer)), 10);
    note("%.10s", buffer);
    whole = sendfile(fd[1], in, NULL, 100000);
    CHECK_EQ(whole, lseek(in, 0, SEEK_END));
    CHECK_EQ(sendfile(fd[1], in, NULL, 100), 0);
    CHECK_EQ(read(fd[0], buffer, sizeof(buffer)), whole);
    CHECK_ERRNO(sendfile(in, in, NULL, 10), EBADF);
    CHECK_ERRNO(sendfile(fd[1], 999, NULL, 10), EBADF);
    offset = -1;
    CHECK_ERRNO(sendfile(fd[1], in, &offset, 10), EINVAL);
    offset = 0;
    CHECK_ERRNO(sendfile(fd[1], fd[0], &offset, 10), ESPIPE);
    close(in);
    close(fd[0]);
    close(fd[1]);
}

int main(void)
{
    test_eventfd();
    test_epoll_triggers();
    test_epoll_errors();
    test_blocking();
    test_timeouts();
    test_select();
    test_masks();
    test_poll();
    test_sendfile();
    return check_done();
}
