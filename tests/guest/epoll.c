/*
 * epoll(7) beyond the everyday: how deep it nests, loops, exclusive watches, one-shot and
 * edge-triggered watches over several waits, nanosecond timeouts, /proc/self/fdinfo, its ioctls;
 * eventfd(2) at its limits; timeouts that must not or cannot be written back.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#define CHAIN 8

static int chain[CHAIN];

static void make_chain(void)
{
    for (int i = 0; i < CHAIN; i++)
        chain[i] = epoll_create1(0);
}

static void drop_chain(void)
{
    for (int i = 0; i < CHAIN; i++)
        close(chain[i]);
}

static int watch(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = 7};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? errno : 0;
}

static void test_nesting(void)
{
    int p[2];

    CHECK_EQ(pipe(p), 0);
    make_chain();
    for (int i = 0; i < CHAIN - 1; i++)
        CHECK_EQ(watch(chain[i], chain[i + 1], EPOLLIN), i == 4 ? ELOOP : 0);
    CHECK_EQ(watch(chain[4], p[0], EPOLLIN), 0);
    /* What happens at the bottom is seen at the top. */
    struct epoll_event event;
    CHECK_EQ(epoll_wait(chain[0], &event, 1, 0), 0);
    CHECK_EQ(write(p[1], "x", 1), 1);
    CHECK_EQ(epoll_wait(chain[0], &event, 1, 1000), 1);
    CHECK_EQ(event.events, EPOLLIN);
    drop_chain();
    make_chain();
    for (int i = CHAIN - 2; i >= 0; i--)
        CHECK_EQ(watch(chain[i], chain[i + 1], EPOLLIN), i == 2 ? ELOOP : 0);
    drop_chain();
    make_chain();
    watch(chain[0], chain[1], EPOLLIN);
    watch(chain[1], chain[2], EPOLLIN);
    CHECK_EQ(watch(chain[2], chain[0], EPOLLIN), ELOOP);
    CHECK_EQ(watch(chain[0], chain[0], EPOLLIN), EINVAL);
    watch(chain[3], chain[4], EPOLLIN);
    CHECK_EQ(watch(chain[2], chain[3], EPOLLIN), 0);
    watch(chain[5], chain[6], EPOLLIN);
    CHECK_EQ(watch(chain[4], chain[5], EPOLLIN), ELOOP);
    CHECK_EQ(watch(chain[7], chain[0], EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    drop_chain();
    close(p[0]);
    close(p[1]);
}

static void test_triggers(void)
{
    struct epoll_event event, change = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 1};
    int ep = epoll_create1(0), other = epoll_create1(0), p[2];
    struct timespec ns = {0, 2000000}, bad = {0, 1000000000};

    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(watch(ep, p[0], EPOLLIN | EPOLLET | EPOLLRDHUP | EPOLLWAKEUP), 0);
    CHECK_EQ(write(p[1], "a", 1), 1);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(write(p[1], "b", 1), 1);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &change), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    CHECK_EQ(write(p[1], "c", 1), 1);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &change), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    change.events = EPOLLIN | EPOLLEXCLUSIVE;
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &change), EINVAL);
    CHECK_EQ(watch(other, p[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
    CHECK_EQ(watch(other, p[0], EPOLLIN | EPOLLEXCLUSIVE), 0);
    CHECK_EQ(epoll_wait(other, &event, 1, 0), 1);
    change.events = EPOLLIN;
    CHECK_ERRNO(epoll_ctl(other, EPOLL_CTL_MOD, p[0], &change), EINVAL);
    CHECK_EQ(epoll_ctl(other, EPOLL_CTL_DEL, p[0], NULL), 0);
    CHECK_EQ(RAW(SYS_epoll_pwait2, other, &event, 1, &ns, 0, 8), 0);
    CHECK_EQ(RAW(SYS_epoll_pwait2, other, &event, 1, &bad, 0, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_epoll_pwait2, other, &event, 1, 8, 0, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_epoll_pwait2, other, &event, 0, &ns, 0, 8), -EINVAL);
    close(p[0]);
    close(p[1]);

    /* The edge for a writer is a page that becomes free, not bytes that are read. */
    static char page[4096];
    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
    CHECK_EQ(watch(ep, p[1], EPOLLOUT | EPOLLET), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    CHECK_EQ(write(p[1], page, 4096), 4096);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(read(p[0], page, 2048), 2048);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(read(p[0], page, 2048), 2048);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 1);
    /* And that edge is nothing to a reader, however much is left to read. */
    CHECK_EQ(fcntl(p[1], F_SETPIPE_SZ, 8192), 8192);
    CHECK_EQ(write(p[1], page, 4096), 4096);
    CHECK_EQ(write(p[1], page, 4096), 4096);
    CHECK_EQ(watch(other, p[0], EPOLLIN | EPOLLET), 0);
    CHECK_EQ(epoll_wait(other, &event, 1, 0), 1);
    CHECK_EQ(read(p[0], page, 4096), 4096);
    CHECK_EQ(epoll_wait(other, &event, 1, 0), 0);
    close(p[0]);
    close(p[1]);
    close(ep);
    close(other);
}

#define SLEEPERS 3

/* Reports the byte of its name when an event has come. */
static void exclusive_child(int watched, int report, char name)
{
    struct epoll_event event;
    int ep = epoll_create1(0);

    if (watch(ep, watched, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE) == 0 &&
        epoll_wait(ep, &event, 1, 10000) == 1)
        (void)!write(report, &name, 1);
    _exit(0);
}

static void await_sleep(pid_t pid)
{
    char path[64], text[256], state = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    while (state != 'S') {
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, text, sizeof(text) - 1);

        text[n > 0 ? n : 0] = 0;
        sscanf(text, "%*d %*[^)]) %c", &state);
        close(fd);
        usleep(1000);
    }
}

/* Of those who watch exclusively each event wakes one: who came first. */
static void test_exclusive(void)
{
    struct pollfd more;
    int p[2], report[2];
    char name = 0;

    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(pipe(report), 0);
    for (int i = 0; i < SLEEPERS; i++) {
        pid_t pid = fork();

        if (pid == 0)
            exclusive_child(p[0], report[1], (char)('a' + i));
        await_sleep(pid);
    }
    for (int i = 0; i < SLEEPERS; i++) {
        CHECK_EQ(write(p[1], "x", 1), 1);
        CHECK_EQ(read(report[0], &name, 1), 1);
        CHECK_EQ(name, 'a' + i);
        more = (struct pollfd){.fd = report[0], .events = POLLIN};
        CHECK_EQ(poll(&more, 1, 20), 0);
    }
    while (wait(NULL) > 0)
        ;
    close(p[0]);
    close(p[1]);
    close(report[0]);
    close(report[1]);
}

/* What fdinfo says of a descriptor from this word on. */
static const char *info_of(int fd, const char *word)
{
    static char text[1024];
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    int f = open(path, O_RDONLY);
    ssize_t n = read(f, text, sizeof(text) - 1);
    close(f);
    text[n > 0 ? n : 0] = 0;
    const char *found = strstr(text, word);
    return found ? found : "";
}

static void test_info(void)
{
    int ep = epoll_create1(0), e = eventfd(10, EFD_SEMAPHORE | EFD_NONBLOCK), fd, count = -1;
    struct {
        uint32_t usecs;
        uint16_t budget;
        uint8_t prefer, pad;
    } busy = {100, 8, 1, 0}, got = {0};
    uint32_t events;
    uint64_t data;

    CHECK_EQ(watch(ep, e, EPOLLIN | EPOLLET), 0);
    if (access("/proc/self/fdinfo", F_OK) == 0) {
        CHECK_EQ(sscanf(info_of(ep, "tfd:"), "tfd: %d events: %x data: %lx", &fd, &events, &data),
                 3);
        CHECK_EQ(fd, e);
        CHECK_EQ(events, EPOLLIN | EPOLLET | EPOLLERR | EPOLLHUP);
        CHECK_EQ(data, 7);
        CHECK_EQ(sscanf(info_of(e, "eventfd-count:"), "eventfd-count: %x", &count), 1);
        CHECK_EQ(count, 10);
        CHECK_EQ(sscanf(info_of(e, "eventfd-semaphore:"), "eventfd-semaphore: %d", &count), 1);
        CHECK_EQ(count, 1);
    }
    CHECK_ERRNO(ioctl(ep, 0x1234, 0), EINVAL);
    if (ioctl(ep, 0x40088a01, &busy) == 0) {
        CHECK_EQ(ioctl(ep, 0x80088a02, &got), 0);
        CHECK_EQ(got.usecs, 100);
        CHECK_EQ(got.budget, 8);
    }
    busy.pad = 1;
    CHECK_ERRNO(ioctl(ep, 0x40088a01, &busy), EINVAL);
    close(ep);
    close(e);
}

/* Only the kernel itself can count an eventfd to its very end. */
static void test_eventfd(void)
{
    int e = eventfd(0, EFD_NONBLOCK), p[2];
    uint64_t value = UINT64_MAX - 1;
    struct pollfd pfd = {.fd = e, .events = POLLIN | POLLOUT};
    aio_context_t ctx = 0;
    char byte[8] = "x";

    CHECK_EQ(write(e, &value, 8), 8);
    CHECK_EQ(poll(&pfd, 1, 0), 1);
    CHECK_EQ(pfd.revents, POLLIN);
    value = 1;
    CHECK_ERRNO(write(e, &value, 8), EAGAIN);
    value = UINT64_MAX;
    CHECK_ERRNO(write(e, &value, 8), EINVAL);
    CHECK_ERRNO(write(e, &value, 4), EINVAL);
    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(RAW(SYS_io_setup, 1, &ctx), 0);
    struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PWRITE,
                      .aio_fildes = (uint32_t)p[1],
                      .aio_buf = (uintptr_t)byte,
                      .aio_nbytes = 1,
                      .aio_flags = IOCB_FLAG_RESFD,
                      .aio_resfd = (uint32_t)e},
                *list = &cb;
    CHECK_EQ(RAW(SYS_io_submit, ctx, 1, &list), 1);
    CHECK_EQ(poll(&pfd, 1, 0), 1);
    CHECK_EQ(pfd.revents, POLLIN | POLLERR);
    CHECK_EQ(read(e, &value, 8), 8);
    CHECK_EQ(value, UINT64_MAX);
    CHECK_EQ(poll(&pfd, 1, 0), 1);
    CHECK_EQ(pfd.revents, POLLOUT);
    RAW(SYS_io_destroy, ctx);
    close(p[0]);
    close(p[1]);
    close(e);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signo)
{
    alarms++;
}

/* SIGCHLD is ignored by default: an interruption without a handler restarts the call, if it can. */
static void test_sticky(void)
{
    struct timespec *fixed =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timeval tv = {0, 30000};
    int p[2];

    CHECK_EQ(pipe(p), 0);
    struct pollfd pfd = {.fd = p[0], .events = POLLIN};
    *fixed = (struct timespec){0, 20000000};
    mprotect(fixed, 4096, PROT_READ);
    CHECK_EQ(RAW(SYS_ppoll, &pfd, 1, fixed, 0, 8), 0); /* cannot be written: no error */
    CHECK_EQ(fixed->tv_nsec, 20000000);
    CHECK_EQ(RAW(SYS_select, 0, 0, 0, 0, &tv), 0);
    CHECK_EQ(tv.tv_usec, 0);
    signal(SIGALRM, on_alarm);
    tv = (struct timeval){10, 0};
    ualarm(10000, 0);
    CHECK_EQ(RAW(SYS_select, 0, 0, 0, 0, &tv), -EINTR);
    CHECK(tv.tv_sec == 9 && alarms == 1);
    personality(STICKY_TIMEOUTS);
    tv = (struct timeval){0, 10000};
    CHECK_EQ(RAW(SYS_select, 0, 0, 0, 0, &tv), 0);
    CHECK_EQ(tv.tv_usec, 10000);
    personality(0);
    munmap(fixed, 4096);
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    test_nesting();
    test_triggers();
    test_exclusive();
    test_info();
    test_eventfd();
    test_sticky();
    return check_done();
}
