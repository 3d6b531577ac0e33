/*
 * Pipes (pipe(7)) and poll(2): contents, capacity, blocking between threads, closed ends, atomic
 * writes, timeouts.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "check.h"

#ifndef PIPE_BUF
#define PIPE_BUF 4096
#endif

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

static void test_basic(void)
{
    char buffer[64];
    struct stat st;
    int fd[2], available = -1;

    CHECK_EQ(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    CHECK_EQ(fcntl(fd[1], F_GETFL), O_WRONLY | O_NONBLOCK);
    CHECK_ERRNO(read(fd[0], buffer, 10), EAGAIN);
    CHECK_EQ(write(fd[1], "hello ", 6), 6);
    CHECK_EQ(write(fd[1], "world", 5), 5);
    CHECK_EQ(ioctl(fd[0], FIONREAD, &available), 0);
    CHECK_EQ(available, 11);
    CHECK_EQ(read(fd[0], buffer, 3), 3);
    CHECK_EQ(read(fd[0], buffer + 3, 60), 8);
    CHECK(memcmp(buffer, "hello world", 11) == 0);
    CHECK_EQ(write(fd[1], "", 0), 0);
    CHECK_ERRNO(read(fd[0], buffer, 10), EAGAIN);
    CHECK_ERRNO(read(fd[1], buffer, 10), EBADF);
    CHECK_ERRNO(write(fd[0], buffer, 10), EBADF);
    CHECK_ERRNO(lseek(fd[0], 0, SEEK_CUR), ESPIPE);
    CHECK_ERRNO(pread(fd[0], buffer, 1, 0), ESPIPE);
    CHECK_EQ(fstat(fd[0], &st), 0);
    CHECK(S_ISFIFO(st.st_mode));
    struct iovec iov[3] = {{(char *)"ab", 2}, {(char *)"", 0}, {(char *)"cde", 3}};
    CHECK_EQ(writev(fd[1], iov, 3), 5);
    CHECK_EQ(read(fd[0], buffer, 10), 5);
    CHECK(memcmp(buffer, "abcde", 5) == 0);
    CHECK_EQ(RAW(SYS_pipe2, 8, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_pipe2, fd, 0x12345), -EINVAL);
    close(fd[0]);
    close(fd[1]);
}

static void test_capacity(void)
{
    static char chunk[4096];
    int fd[2];
    long total = 0;
    ssize_t n;

    CHECK_EQ(pipe2(fd, O_NONBLOCK), 0);
    CHECK_EQ(fcntl(fd[1], F_GETPIPE_SZ), 65536);
    while ((n = write(fd[1], chunk, sizeof(chunk))) > 0)
        total += n;
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(total, 65536);
    struct pollfd p = {.fd = fd[1], .events = POLLOUT};
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(read(fd[0], chunk, 4096), 4096);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLOUT);
    close(fd[0]);
    close(fd[1]);
}

static void test_closed(void)
{
    struct pollfd p;
    char byte;
    int fd[2];

    CHECK_EQ(pipe(fd), 0);
    CHECK_EQ(write(fd[1], "x", 1), 1);
    close(fd[1]);
    p = (struct pollfd){.fd = fd[0], .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLIN | POLLHUP);
    CHECK_EQ(read(fd[0], &byte, 1), 1);
    CHECK_EQ(read(fd[0], &byte, 1), 0);
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLHUP);
    close(fd[0]);

    CHECK_EQ(pipe(fd), 0);
    close(fd[0]);
    p = (struct pollfd){.fd = fd[1], .events = POLLOUT};
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLOUT | POLLERR);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(fd[1], "x", 1), EPIPE);
    close(fd[1]);
}

static volatile int broken_pipes;

static void on_pipe(int signo)
{
    (void)signo;
    broken_pipes++;
}

static void test_sigpipe(void)
{
    int fd[2];

    signal(SIGPIPE, on_pipe);
    CHECK_EQ(pipe(fd), 0);
    close(fd[0]);
    CHECK_ERRNO(write(fd[1], "x", 1), EPIPE);
    CHECK_EQ(broken_pipes, 1);
    close(fd[1]);
}

static int data[2], back[2];

static void *echo(void *argument)
{
    char buffer[1000];
    ssize_t n;

    (void)argument;
    while ((n = read(data[0], buffer, sizeof(buffer))) > 0)
        CHECK_EQ(write(back[1], buffer, (size_t)n), n);
    CHECK_EQ(n, 0);
    close(back[1]);
    return NULL;
}

static void test_threads(void)
{
    pthread_t thread;
    char message[100], answer[100];

    CHECK_EQ(pipe(data), 0);
    CHECK_EQ(pipe(back), 0);
    CHECK_EQ(pthread_create(&thread, NULL, echo, NULL), 0);
    for (int i = 0; i < 500; i++) {
        int length = snprintf(message, sizeof(message), "message %d", i);
        CHECK_EQ(write(data[1], message, (size_t)length), length);
        CHECK_EQ(read(back[0], answer, sizeof(answer)), length);
        if (!CHECK(memcmp(message, answer, (size_t)length) == 0))
            break;
    }
    close(data[1]);
    CHECK_EQ(read(back[0], answer, 1), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(data[0]);
    close(back[0]);
}

/* More than a pipe holds: the writer blocks until the reader has made room. */
#define LARGE (1 << 20)

static void *write_large(void *argument)
{
    unsigned char *block = malloc(LARGE);

    (void)argument;
    for (int i = 0; i < LARGE; i++)
        block[i] = (unsigned char)(i * 7 + (i >> 8));
    CHECK_EQ(write(data[1], block, LARGE), LARGE);
    close(data[1]);
    free(block);
    return NULL;
}

static void test_blocking(void)
{
    unsigned char buffer[10000];
    pthread_t thread;
    long at = 0;
    bool good = true;
    ssize_t n;

    CHECK_EQ(pipe(data), 0);
    CHECK_EQ(pthread_create(&thread, NULL, write_large, NULL), 0);
    sleep_ms(20);
    while ((n = read(data[0], buffer, sizeof(buffer))) > 0) {
        for (ssize_t i = 0; i < n; i++, at++)
            good = good && buffer[i] == (unsigned char)(at * 7 + (at >> 8));
    }
    CHECK(good);
    CHECK_EQ(at, LARGE);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(data[0]);
}

/* Writes of up to PIPE_BUF bytes are not mixed with others. */
static void *write_records(void *argument)
{
    char record[512];

    memset(record, 'a' + (int)(long)argument, sizeof(record));
    for (int i = 0; i < 100; i++)
        CHECK_EQ(write(data[1], record, sizeof(record)), sizeof(record));
    return NULL;
}

static void test_atomic(void)
{
    pthread_t threads[4];
    char record[512];
    int counts[4] = {0};

    CHECK_EQ(pipe(data), 0);
    for (long i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, write_records, (void *)i), 0);
    for (int i = 0; i < 400; i++) {
        size_t have = 0;
        while (have < sizeof(record)) {
            ssize_t n = read(data[0], record + have, sizeof(record) - have);
            if (!CHECK(n > 0))
                return;
            have += (size_t)n;
        }
        int who = record[0] - 'a';
        bool whole = who >= 0 && who < 4;
        for (size_t j = 1; j < sizeof(record); j++)
            whole = whole && record[j] == record[0];
        if (!CHECK(whole))
            return;
        counts[who]++;
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(counts[i], 100);
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    close(data[0]);
    close(data[1]);
}

static void *write_later(void *argument)
{
    (void)argument;
    sleep_ms(50);
    CHECK_EQ(write(data[1], "!", 1), 1);
    return NULL;
}

static void test_poll(void)
{
    struct timespec ts = {0, 20000000}, bad = {0, -1};
    struct pollfd p[3];
    pthread_t thread;
    char byte;

    CHECK_EQ(pipe(data), 0);
    p[0] = (struct pollfd){.fd = data[0], .events = POLLIN};
    p[1] = (struct pollfd){.fd = -1, .events = POLLIN, .revents = 77};
    p[2] = (struct pollfd){.fd = 999, .events = POLLIN};
    CHECK_EQ(poll(p, 2, 0), 0);
    CHECK_EQ(p[1].revents, 0);
    CHECK_EQ(poll(p, 3, -1), 1);
    CHECK_EQ(p[2].revents, POLLNVAL);
    int64_t begin = now_ms();
    CHECK_EQ(poll(p, 1, 30), 0);
    CHECK(now_ms() - begin >= 29);
    begin = now_ms();
    CHECK_EQ(ppoll(p, 1, &ts, NULL), 0);
    CHECK(now_ms() - begin >= 19);
    CHECK_ERRNO(ppoll(p, 1, &bad, NULL), EINVAL);
    begin = now_ms();
    CHECK_EQ(poll(NULL, 0, 20), 0);
    CHECK(now_ms() - begin >= 19);
    CHECK_EQ(RAW(SYS_poll, 8, 1, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_poll, p, 0x7fffffff, 0), -EINVAL);

    CHECK_EQ(pthread_create(&thread, NULL, write_later, NULL), 0);
    CHECK_EQ(poll(p, 1, 20000), 1);
    CHECK_EQ(p[0].revents, POLLIN);
    CHECK_EQ(read(data[0], &byte, 1), 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(data[0]);
    close(data[1]);
}

int main(void)
{
    test_basic();
    test_capacity();
    test_closed();
    test_sigpipe();
    test_threads();
    test_blocking();
    test_atomic();
    test_poll();
    return check_done();
}
