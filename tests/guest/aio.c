/*
 * Linux aio (io_setup(2) and its relatives), by raw calls: reads and writes, vectors, polls and
 * their cancellation, eventfd notification, the mapped ring as libaio reads it, waiting with
 * timeouts and signals, limits, errors, and contexts across fork and at the end.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

struct ring {
    unsigned id, nr, head, tail, magic, compat, incompat, header_length;
    struct io_event events[];
};

static const char *self;
static char buffer[8192];

static long setup(unsigned count, aio_context_t *ctx)
{
    *ctx = 0;
    return RAW(SYS_io_setup, count, ctx);
}

static long submit(aio_context_t ctx, struct iocb *cb)
{
    return RAW(SYS_io_submit, ctx, 1, &cb);
}

static long wait_one(aio_context_t ctx, struct io_event *event)
{
    struct timespec ten = {10, 0};

    memset(event, 0, sizeof(*event));
    return RAW(SYS_io_getevents, ctx, 1, 1, event, &ten);
}

static struct iocb command(int op, int fd, void *buf, size_t size, long offset)
{
    return (struct iocb){.aio_lio_opcode = (uint16_t)op,
                         .aio_fildes = (uint32_t)fd,
                         .aio_buf = (uintptr_t)buf,
                         .aio_nbytes = size,
                         .aio_offset = offset,
                         .aio_data = 0x1234};
}

static void test_moves(void)
{
    struct iocb cb, more[2], *list[3] = {&more[0], &more[1], (void *)8};
    struct iovec iov[2] = {{buffer, 3}, {buffer + 100, 50}};
    char want[64];
    int fd = open(self, O_RDONLY), p[2], event_fd = eventfd(0, EFD_NONBLOCK);
    struct io_event event[4];
    aio_context_t ctx;
    uint64_t count;

    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(pread(fd, want, 64, 10), 64);
    CHECK_EQ(setup(8, &ctx), 0);
    cb = command(IOCB_CMD_PREAD, fd, buffer, 64, 10);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(wait_one(ctx, event), 1);
    CHECK_EQ(event->data, 0x1234);
    CHECK_EQ(event->obj, (uintptr_t)&cb);
    CHECK_EQ(event->res, 64);
    CHECK_EQ(event->res2, 0);
    CHECK(memcmp(buffer, want, 64) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
    cb = command(IOCB_CMD_PREADV, fd, iov, 2, 10);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(wait_one(ctx, event), 1);
    CHECK_EQ(event->res, 53);
    CHECK(memcmp(buffer + 100, want + 3, 50) == 0);

    more[0] = command(IOCB_CMD_PWRITE, p[1], (char *)"hello", 5, 0);
    more[1] = command(IOCB_CMD_PREAD, p[0], buffer, 100, 0);
    more[1].aio_flags = IOCB_FLAG_RESFD;
    more[1].aio_resfd = (uint32_t)event_fd;
    CHECK_EQ(RAW(SYS_io_submit, ctx, 3, list), 2); /* the third cannot be read */
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 2, 4, event, 0), 2);
    CHECK_EQ(event[0].res, 5);
    CHECK_EQ(event[1].res, 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
    CHECK_EQ(read(event_fd, &count, 8), 8);
    CHECK_EQ(count, 1);
    /* A bad buffer is the event's error, a bad descriptor the call's. */
    cb = command(IOCB_CMD_PREAD, fd, (void *)16, 64, 10);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(wait_one(ctx, event), 1);
    CHECK_EQ(event->res, -EFAULT);
    cb = command(IOCB_CMD_PREAD, 99, buffer, 64, 10);
    CHECK_EQ(submit(ctx, &cb), -EBADF);
    cb = command(IOCB_CMD_PWRITE, fd, buffer, 64, 10);
    CHECK_EQ(submit(ctx, &cb), -EBADF);
    cb = command(IOCB_CMD_PREAD, fd, buffer, 64, -10);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb = command(IOCB_CMD_PREAD, fd, buffer, (size_t)-10, 0);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb = command(IOCB_CMD_NOOP, fd, buffer, 64, 10);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb = command(IOCB_CMD_FSYNC, fd, buffer, 64, 10);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb = command(IOCB_CMD_FDSYNC, p[0], NULL, 0, 0);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb = command(IOCB_CMD_FDSYNC, fd, NULL, 0, 0);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(wait_one(ctx, event), 1);
    CHECK_EQ(event->res, 0);
    cb = command(IOCB_CMD_PREAD, fd, buffer, 64, 10);
    cb.aio_reserved2 = 1;
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb.aio_reserved2 = 0;
    cb.aio_flags = IOCB_FLAG_RESFD;
    cb.aio_resfd = (uint32_t)fd;
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb.aio_resfd = 99;
    CHECK_EQ(submit(ctx, &cb), -EBADF);
    CHECK_EQ(RAW(SYS_io_submit, ctx, -1, list), -EINVAL);
    CHECK_EQ(RAW(SYS_io_submit, ctx, 1, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_io_submit, ctx, 0, 8), 0);
    CHECK_EQ(RAW(SYS_io_submit, 0x1000, 1, list), -EINVAL);
    CHECK_EQ(RAW(SYS_io_destroy, ctx), 0);
    CHECK_EQ(RAW(SYS_io_destroy, ctx), -EINVAL);
    close(fd);
    close(p[0]);
    close(p[1]);
    close(event_fd);
}

static int late[2];

static void *late_main(void *arg)
{
    usleep(20000);
    CHECK_EQ(write(late[1], "late", 4), 4);
    return NULL;
}

static void test_polls(void)
{
    struct iocb cb, second;
    struct io_event event;
    aio_context_t ctx;
    pthread_t thread;

    CHECK_EQ(pipe(late), 0);
    CHECK_EQ(setup(8, &ctx), 0);
    cb = command(IOCB_CMD_POLL, late[1], (void *)(POLLIN | POLLOUT), 0, 0);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(wait_one(ctx, &event), 1);
    CHECK_EQ(event.res, POLLOUT);
    cb = command(IOCB_CMD_POLL, late[0], (void *)POLLIN, 0, 0);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 0, 1, &event, 0), 0);
    pthread_create(&thread, NULL, late_main, NULL);
    CHECK_EQ(wait_one(ctx, &event), 1);
    CHECK_EQ(event.res & POLLIN, POLLIN); /* other bits say what woke it */
    CHECK_EQ(event.obj, (uintptr_t)&cb);
    pthread_join(thread, NULL);
    CHECK_EQ(read(late[0], buffer, 100), 4);

    second = cb;
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(submit(ctx, &second), 1);
    CHECK_EQ(RAW(SYS_io_cancel, ctx, &cb, &event), -EINPROGRESS);
    CHECK_EQ(wait_one(ctx, &event), 1);
    CHECK_EQ(event.obj, (uintptr_t)&cb);
    CHECK_EQ(event.res, 0);
    CHECK_EQ(RAW(SYS_io_cancel, ctx, &cb, &event), -EINVAL);
    CHECK_EQ(RAW(SYS_io_cancel, ctx, 8, &event), -EFAULT);
    second.aio_key = 1;
    CHECK_EQ(RAW(SYS_io_cancel, ctx, &second, &event), -EINVAL);
    second.aio_key = 0;
    CHECK_EQ(RAW(SYS_io_cancel, 0x1000, &second, &event), -EINVAL);
    cb = command(IOCB_CMD_POLL, late[0], (void *)0x10001, 0, 0);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    cb = command(IOCB_CMD_POLL, late[0], (void *)POLLIN, 1, 0);
    CHECK_EQ(submit(ctx, &cb), -EINVAL);
    CHECK_EQ(RAW(SYS_io_destroy, ctx), 0); /* with one that waits */
    close(late[0]);
    close(late[1]);
}

static void test_ring(void)
{
    struct iocb cb;
    struct io_event event;
    aio_context_t ctx;
    struct timespec no_time = {0, 0};
    int fd = open(self, O_RDONLY);

    CHECK_EQ(setup(4, &ctx), 0);
    volatile struct ring *ring = (volatile struct ring *)(uintptr_t)ctx;
    CHECK_EQ(ring->magic, 0xa10a10a1);
    CHECK_EQ(ring->incompat, 0);
    CHECK_EQ(ring->header_length, 32);
    CHECK(ring->nr > 4);
    CHECK_EQ(ring->head, 0);
    CHECK_EQ(ring->tail, 0);
    cb = command(IOCB_CMD_PREAD, fd, buffer, 10, 0);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(submit(ctx, &cb), 1);
    CHECK_EQ(ring->tail, 2);
    CHECK_EQ(ring->events[0].res, 10);
    ring->head = 1; /* taken without a call */
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 0, 1, &event, 0), 1);
    CHECK_EQ(ring->head, 2);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 0, 1, &event, &no_time), 0);
    /* It never overflows: too many are refused until some are taken. */
    unsigned count = 0;
    while (count < 100000 && submit(ctx, &cb) == 1)
        count++;
    CHECK_EQ(submit(ctx, &cb), -EAGAIN);
    CHECK(count >= 4 && count < ring->nr);
    CHECK_EQ(wait_one(ctx, &event), 1);
    /* Nonsense in the ring harms the program alone. */
    ring->head = 0xffffffff;
    ring->tail = 0x80000000;
    ring->nr = 0;
    RAW(SYS_io_getevents, ctx, 0, 1, &event, 0);
    submit(ctx, &cb);
    CHECK_EQ(RAW(SYS_io_destroy, ctx), 0);
    close(fd);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signo)
{
    alarms++;
}

static void test_waiting(void)
{
    struct timespec ms = {0, 20000000}, before, after, odd = {-1, 1010000000};
    struct io_event event;
    aio_context_t ctx;
    sigset_t mask, pending;
    struct {
        const sigset_t *set;
        size_t size;
    } arg = {&mask, 8};

    CHECK_EQ(setup(4, &ctx), 0);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 1, 1, &event, &ms), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >=
          20000000);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 1, 1, &event, &odd), 0); /* is not looked at closely */
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 1, 1, &event, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 2, 1, &event, &ms), -EINVAL);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, -1, 1, &event, &ms), -EINVAL);
    CHECK_EQ(RAW(SYS_io_getevents, 0x1000, 0, 1, &event, &ms), -EINVAL);

    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    ualarm(20000, 0);
    CHECK_EQ(RAW(SYS_io_getevents, ctx, 1, 1, &event, 0), -EINTR);
    CHECK_EQ(alarms, 1);
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    ualarm(5000, 0);
    CHECK_EQ(RAW(SYS_io_pgetevents, ctx, 1, 1, &event, &ms, &arg), 0);
    CHECK_EQ(alarms, 2); /* it came when the mask was gone */
    sigprocmask(SIG_BLOCK, &mask, NULL);
    sigemptyset(&mask);
    ualarm(5000, 0);
    CHECK_EQ(RAW(SYS_io_pgetevents, ctx, 1, 1, &event, 0, &arg), -EINTR);
    CHECK_EQ(alarms, 3);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGALRM));
    arg.size = 4;
    CHECK_EQ(RAW(SYS_io_pgetevents, ctx, 1, 1, &event, &ms, &arg), -EINVAL);
    CHECK_EQ(RAW(SYS_io_pgetevents, ctx, 1, 1, &event, &ms, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_io_destroy, ctx), 0);
}

static void test_limits(void)
{
    aio_context_t ctx;
    int status;

    CHECK_EQ(setup(0, &ctx), -EINVAL);
    CHECK_EQ(setup(0x10000000, &ctx), -EINVAL);
    CHECK_EQ(setup(1000000, &ctx), -EAGAIN);
    CHECK_EQ(RAW(SYS_io_setup, 1, 8), -EFAULT);
    ctx = 1;
    CHECK_EQ(RAW(SYS_io_setup, 1, &ctx), -EINVAL);
    CHECK_EQ(setup(100, &ctx), 0);
    /* A child has memory of its own, and no contexts. */
    pid_t child = fork();
    if (child == 0)
        _exit(RAW(SYS_io_destroy, ctx) == -EINVAL ? 7 : 1);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(WEXITSTATUS(status), 7);
    /* Ended with one that waits, and executed with one: both go. */
    CHECK_EQ(pipe(late), 0);
    for (int i = 0; i < 2; i++) {
        child = fork();
        if (child == 0) {
            struct iocb cb = command(IOCB_CMD_POLL, late[0], (void *)POLLIN, 0, 0);

            if (setup(1, &ctx) != 0 || submit(ctx, &cb) != 1)
                _exit(1);
            if (i)
                execl(self, self, "nothing", NULL);
            _exit(9);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(WEXITSTATUS(status), 9);
    }
    close(late[1]);
    CHECK_EQ(read(late[0], buffer, 1), 0);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1)
        return 9;
    test_moves();
    test_polls();
    test_ring();
    test_waiting();
    test_limits();
    return check_done();
}
