/*
 * timerfd_create(2): expiries that are read as a number. Times are bounded from below by what was
 * asked, from above only generously.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include "check.h"
#include "clock.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

static int make(clockid_t clock, int flags)
{
    int fd = timerfd_create(clock, flags);

    CHECK(fd >= 0);
    return fd;
}

static int set(int fd, int flags, int64_t value, int64_t interval)
{
    struct itimerspec its = {.it_value = from_ns(value), .it_interval = from_ns(interval)};

    return timerfd_settime(fd, flags, &its, NULL);
}

static long long take(int fd)
{
    uint64_t ticks = 0;
    ssize_t n = read(fd, &ticks, sizeof(ticks));

    return n == sizeof(ticks) ? (long long)ticks : -errno;
}

static void test_errors(void)
{
    struct itimerspec its = {.it_value = {1, 0}}, old;
    int fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK), other = open("/dev/null", O_RDONLY);
    uint64_t ticks = 0;

    CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
    CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC_RAW, 0), EINVAL);
    CHECK_ERRNO(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
    CHECK_ERRNO(timerfd_create(CLOCK_TAI, 0), EINVAL);
    CHECK_ERRNO(timerfd_create(99, 0), EINVAL);
    CHECK_ERRNO(timerfd_settime(fd, 4, &its, NULL), EINVAL);
    CHECK_ERRNO(timerfd_settime(-1, 0, &its, NULL), EBADF);
    CHECK_ERRNO(timerfd_settime(other, 0, &its, NULL), EINVAL);
    CHECK_ERRNO(timerfd_gettime(other, &its), EINVAL);
    CHECK_ERRNO(timerfd_gettime(-1, &its), EBADF);
    CHECK_EQ(RAW(SYS_timerfd_settime, fd, 0, NULL, NULL), -EFAULT);
    CHECK_EQ(RAW(SYS_timerfd_settime, -1, 0, 8, NULL), -EFAULT);
    CHECK_EQ(RAW(SYS_timerfd_gettime, fd, 8), -EFAULT);
    its.it_value.tv_nsec = SECOND;
    CHECK_ERRNO(timerfd_settime(-1, 0, &its, NULL), EINVAL);
    its = (struct itimerspec){.it_value = {1, 0}, .it_interval = {-1, 0}};
    CHECK_ERRNO(timerfd_settime(fd, 0, &its, NULL), EINVAL);
    its = (struct itimerspec){.it_value = {1000, 0}};
    /* The old value goes to a bad address after the timer was set. */
    CHECK_EQ(RAW(SYS_timerfd_settime, fd, 0, &its, 8), -EFAULT);
    CHECK_EQ(timerfd_gettime(fd, &old), 0);
    CHECK(old.it_value.tv_sec >= 900 && old.it_value.tv_sec <= 1000);
    CHECK_EQ(RAW(SYS_read, fd, &ticks, 4), -EINVAL);
    CHECK_ERRNO(read(fd, &ticks, 8), EAGAIN);
    CHECK_ERRNO(write(fd, &ticks, 8), EINVAL);
    CHECK_ERRNO(pread(fd, &ticks, 8, 0), ESPIPE);
    close(fd);
    close(other);
}

static void test_flags(void)
{
    int fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), plain = make(CLOCK_REALTIME, 0);

    CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(plain, F_GETFL), O_RDWR);
    CHECK_EQ(fcntl(plain, F_GETFD), 0);
    close(fd);
    close(plain);
}

static void test_once(clockid_t clock)
{
    struct itimerspec its;
    int fd = make(clock, 0);
    int64_t begin = now(clock);

    CHECK_EQ(timerfd_gettime(fd, &its), 0);
    CHECK(in_ns(&its.it_value) == 0 && in_ns(&its.it_interval) == 0);
    CHECK_EQ(set(fd, 0, 20 * MS, 0), 0);
    CHECK_EQ(timerfd_gettime(fd, &its), 0);
    CHECK(in_ns(&its.it_value) <= 20 * MS);
    CHECK(in_ns(&its.it_value) > 0 || now(clock) - begin >= 20 * MS);
    CHECK_EQ(take(fd), 1);
    CHECK(now(clock) - begin >= 20 * MS);
    CHECK_EQ(timerfd_gettime(fd, &its), 0);
    CHECK(in_ns(&its.it_value) == 0 && in_ns(&its.it_interval) == 0);

    begin = now(clock);
    CHECK_EQ(set(fd, TFD_TIMER_ABSTIME, begin + 20 * MS, 0), 0);
    CHECK_EQ(take(fd), 1);
    CHECK(now(clock) - begin >= 20 * MS);
    /* Long ago: at once, and once. */
    CHECK_EQ(set(fd, TFD_TIMER_ABSTIME, 1, 0), 0);
    CHECK_EQ(take(fd), 1);
    close(fd);
}

static void test_interval(void)
{
    struct itimerspec its;
    const struct timespec pause = from_ns(60 * MS);
    int fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK);
    long long ticks;

    CHECK_EQ(set(fd, 0, 10 * MS, 10 * MS), 0);
    nanosleep(&pause, NULL);
    ticks = take(fd);
    CHECK(ticks >= 5);
    ticks = take(fd);
    CHECK(ticks == -EAGAIN || ticks > 0);
    CHECK_EQ(timerfd_gettime(fd, &its), 0);
    CHECK_EQ(in_ns(&its.it_interval), 10 * MS);
    CHECK(in_ns(&its.it_value) <= 10 * MS);
    /* Expiries that nobody read go with the old setting. */
    nanosleep(&pause, NULL);
    CHECK_EQ(set(fd, 0, 1000 * SECOND, 0), 0);
    CHECK_EQ(take(fd), -EAGAIN);
    CHECK_EQ(set(fd, 0, 0, 10 * MS), 0);
    nanosleep(&pause, NULL);
    CHECK_EQ(take(fd), -EAGAIN);
    /* Real time: each interval since the beginning counts. */
    close(fd);
    fd = make(CLOCK_MONOTONIC, 0);
    CHECK_EQ(set(fd, TFD_TIMER_ABSTIME, now(CLOCK_MONOTONIC) - 95 * MS, 10 * MS), 0);
    CHECK(take(fd) >= 10);
    close(fd);
}

static void test_old_value(void)
{
    struct itimerspec its = {.it_value = {500, 0}, .it_interval = {7, 9}}, old;
    int fd = make(CLOCK_BOOTTIME, TFD_NONBLOCK);

    CHECK_EQ(timerfd_settime(fd, 0, &its, &old), 0);
    CHECK(in_ns(&old.it_value) == 0 && in_ns(&old.it_interval) == 0);
    its = (struct itimerspec){0};
    CHECK_EQ(timerfd_settime(fd, 0, &its, &old), 0);
    CHECK(old.it_value.tv_sec >= 400 && old.it_value.tv_sec <= 500);
    CHECK(old.it_interval.tv_sec == 7 && old.it_interval.tv_nsec == 9);
    CHECK_EQ(timerfd_gettime(fd, &old), 0);
    CHECK(in_ns(&old.it_value) == 0 && in_ns(&old.it_interval) == 0);
    CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL), 0);
    CHECK_EQ(take(fd), -EAGAIN);
    close(fd);
}

static void test_poll(void)
{
    int fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK), ep = epoll_create1(0);
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = 7};

    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(set(fd, 0, 20 * MS, 0), 0);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK_EQ(p.revents, POLLIN);
    CHECK_EQ(epoll_wait(ep, &event, 1, 10000), 1);
    CHECK_EQ(event.events, EPOLLIN);
    CHECK_EQ(event.data.u32, 7);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0); /* an edge, and nothing was read */
    CHECK_EQ(take(fd), 1);
    CHECK_EQ(poll(&p, 1, 0), 0);
    close(ep);
    close(fd);
}

static void on_signal(int signo)
{
    (void)signo;
}

static pthread_t main_thread;
static int shared_fd;

static void *disturb(void *argument)
{
    const struct timespec pause = from_ns(30 * MS);

    nanosleep(&pause, NULL);
    pthread_kill(main_thread, SIGUSR1);
    nanosleep(&pause, NULL);
    set(shared_fd, 0, 1, 0); /* who reads already is told of the new setting */
    return argument;
}

static void test_blocking(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t thread;

    sigaction(SIGUSR1, &action, NULL);
    main_thread = pthread_self();
    shared_fd = make(CLOCK_MONOTONIC, 0);
    CHECK_EQ(set(shared_fd, 0, 1000 * SECOND, 0), 0);
    CHECK_EQ(pthread_create(&thread, NULL, disturb, NULL), 0);
    CHECK_EQ(take(shared_fd), -EINTR);
    CHECK_EQ(take(shared_fd), 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(shared_fd);
}

/* The description is shared across fork(2), and what the child reads the parent has not. */
static void test_shared(void)
{
    int fd = make(CLOCK_MONOTONIC, TFD_NONBLOCK), copy = dup(fd);

    CHECK_EQ(set(copy, TFD_TIMER_ABSTIME, 1, 0), 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK_EQ(take(copy), 1);
    CHECK_EQ(take(fd), -EAGAIN);
    close(fd);
    close(copy);
}

static void test_names(void)
{
    int fd = make(CLOCK_MONOTONIC, 0);
    struct stat st;
    char path[64], name[64] = "";

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (readlink(path, name, sizeof(name) - 1) > 0)
        CHECK_EQ(strcmp(name, "anon_inode:[timerfd]"), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode, 0600);
    CHECK_EQ(lseek(fd, 100, SEEK_SET), 0);
    CHECK_ERRNO(ioctl(fd, 0x12345678, 0), ENOTTY);
    close(fd);
}

int main(void)
{
    test_errors();
    test_flags();
    test_once(CLOCK_MONOTONIC);
    test_once(CLOCK_REALTIME);
    test_once(CLOCK_BOOTTIME);
    test_interval();
    test_old_value();
    test_poll();
    test_blocking();
    test_shared();
    test_names();
    return check_done();
}
