/*
 * Pipes beyond bytes in and out: packets (pipe2(2), O_DIRECT), sizes, what one page holds; and
 * splice(2), tee(2), vmsplice(2) between pipes, files and memory, with their errors.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "check.h"

#define PAGE 4096

static char page[16 * PAGE + 100];
static const char *self;

static int readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    poll(&p, 1, 0);
    return p.revents;
}

static int writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    poll(&p, 1, 0);
    return p.revents;
}

static int bytes_in(int fd)
{
    int n = -1;

    CHECK_EQ(ioctl(fd, FIONREAD, &n), 0);
    return n;
}

static void close_both(const int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

static void test_packets(void)
{
    char buffer[100];
    int fd[2];

    CHECK_EQ(pipe2(fd, O_DIRECT | O_NONBLOCK), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    CHECK_EQ(fcntl(fd[1], F_GETFL), O_WRONLY | O_NONBLOCK | O_DIRECT);
    CHECK_EQ(write(fd[1], "first", 5), 5);
    CHECK_EQ(write(fd[1], "second", 6), 6);
    CHECK_EQ(bytes_in(fd[0]), 11);
    CHECK_EQ(read(fd[0], buffer, 3), 3); /* the rest of the packet is gone */
    CHECK_EQ(bytes_in(fd[0]), 6);
    CHECK_EQ(read(fd[0], buffer, 100), 6);
    CHECK(memcmp(buffer, "second", 6) == 0);
    CHECK_ERRNO(read(fd[0], buffer, 100), EAGAIN);

    int packets = 0;
    while (write(fd[1], "x", 1) == 1)
        packets++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(packets, 16);
    CHECK_EQ(writable(fd[1]), 0);
    CHECK_EQ(read(fd[0], buffer, 100), 1);
    CHECK_EQ(writable(fd[1]), POLLOUT);
    while (read(fd[0], buffer, 100) == 1)
        ;
    /* More than a page is more than one packet. */
    CHECK_EQ(write(fd[1], page, PAGE + 10), PAGE + 10);
    CHECK_EQ(read(fd[0], page, sizeof(page)), PAGE);
    CHECK_EQ(read(fd[0], page, sizeof(page)), 10);
    /* Each write says for itself. */
    CHECK_EQ(write(fd[1], "pack", 4), 4);
    CHECK_EQ(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    CHECK_EQ(write(fd[1], "ab", 2), 2);
    CHECK_EQ(write(fd[1], "cd", 2), 2);
    CHECK_EQ(fcntl(fd[1], F_SETFL, O_NONBLOCK | O_DIRECT), 0);
    CHECK_EQ(write(fd[1], "ef", 2), 2);
    CHECK_EQ(read(fd[0], buffer, 100), 4);
    CHECK_EQ(read(fd[0], buffer, 100), 6); /* bytes go on into a packet, and end with it */
    CHECK_ERRNO(read(fd[0], buffer, 100), EAGAIN);
    close_both(fd);
    CHECK_EQ(RAW(SYS_pipe2, fd, O_DIRECT | O_TRUNC), -EINVAL);
}

static void test_pages(void)
{
    int fd[2], total = 0;

    CHECK_EQ(pipe2(fd, O_NONBLOCK), 0);
    while (write(fd[1], page, 1000) == 1000)
        total += 1000;
    CHECK_EQ(total, 64000); /* four to a page, and sixteen pages */
    CHECK_EQ(bytes_in(fd[1]), 64000);
    CHECK_EQ(writable(fd[1]), 0);
    CHECK_EQ(write(fd[1], page, 96), 96); /* the last page had that much */
    CHECK_ERRNO(write(fd[1], page, 1), EAGAIN);
    CHECK_EQ(read(fd[0], page, 3000), 3000);
    CHECK_EQ(writable(fd[1]), 0); /* a page is free when it is read to its end */
    CHECK_EQ(read(fd[0], page, 1000), 1000);
    CHECK_EQ(writable(fd[1]), POLLOUT);
    CHECK_EQ(write(fd[1], page, PAGE + 1), PAGE);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 8192), -1);
    CHECK_EQ(errno, EBUSY);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 100000), 131072);
    CHECK_EQ(fcntl(fd[0], F_GETPIPE_SZ), 131072);
    CHECK_EQ(write(fd[1], page, 16 * PAGE), 16 * PAGE);
    close(fd[0]);
    CHECK_EQ(writable(fd[1]), POLLERR); /* and full */
    close(fd[1]);

    CHECK_EQ(pipe2(fd, O_NONBLOCK), 0);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 0), PAGE);
    CHECK_EQ(write(fd[1], page, 2 * PAGE), PAGE);
    CHECK_EQ(fcntl(fd[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
    CHECK_EQ(read(fd[0], page, sizeof(page)), PAGE);
    CHECK_ERRNO(fcntl(fd[1], F_SETPIPE_SZ, (1U << 31) + 1), EINVAL);
    CHECK_ERRNO(fcntl(STDIN_FILENO, F_SETPIPE_SZ, -1), EBADF);
    close_both(fd);
}

static void test_pipe_to_pipe(void)
{
    char buffer[64];
    int a[2], b[2];

    CHECK_EQ(pipe2(a, O_NONBLOCK), 0);
    CHECK_EQ(pipe2(b, 0), 0);
    CHECK_EQ(write(a[1], "hello world", 11), 11);
    CHECK_EQ(tee(a[0], b[1], 5, 0), 5);
    CHECK_EQ(bytes_in(a[0]), 11);
    CHECK_EQ(read(b[0], buffer, 64), 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
    CHECK_EQ(splice(a[0], NULL, b[1], NULL, 6, SPLICE_F_MOVE), 6);
    CHECK_EQ(splice(a[0], NULL, b[1], NULL, 100, 0), 5);
    CHECK_ERRNO(splice(a[0], NULL, b[1], NULL, 100, 0), EAGAIN); /* a is non-blocking */
    CHECK_EQ(bytes_in(b[0]), 11);
    CHECK_EQ(read(b[0], buffer, 64), 11);
    CHECK(memcmp(buffer, "hello world", 11) == 0);
    /* Sixteen slots, however little is in them. */
    for (int i = 0; i < 16; i++) {
        CHECK_EQ(write(a[1], "y", 1), 1);
        CHECK_EQ(tee(a[0], b[1], 1, 0), 1);
        CHECK_EQ(read(a[0], buffer, 64), 1);
    }
    CHECK_EQ(write(a[1], "z", 1), 1);
    CHECK_ERRNO(tee(a[0], b[1], 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_ERRNO(splice(a[0], NULL, b[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_EQ(read(b[0], buffer, 64), 16);
    /* What was moved whole can still be added to; what was copied cannot. */
    CHECK_EQ(splice(a[0], NULL, b[1], NULL, 1, 0), 1);
    CHECK_EQ(write(b[1], "!", 1), 1);
    CHECK_EQ(read(b[0], buffer, 64), 2);
    close(a[1]);
    CHECK_EQ(splice(a[0], NULL, b[1], NULL, 100, 0), 0); /* the end */
    CHECK_EQ(tee(a[0], b[1], 100, 0), 0);
    close(b[0]);
    CHECK_ERRNO(splice(a[0], NULL, b[1], NULL, 100, 0), EPIPE);
    close(a[0]);
    close(b[1]);
}

static void test_files(void)
{
    static char want[3 * PAGE];
    int a[2], file = open(self, O_RDONLY), zero = open("/dev/zero", O_RDWR);
    int null = open("/dev/null", O_WRONLY);
    off_t at = 100;

    CHECK_EQ(pipe2(a, O_NONBLOCK), 0);
    CHECK_EQ(pread(file, want, sizeof(want), 100), sizeof(want));
    CHECK_EQ(splice(file, &at, a[1], NULL, 5000, 0), 5000);
    CHECK_EQ(at, 5100);
    CHECK_EQ(lseek(file, 0, SEEK_CUR), 0);
    CHECK_EQ(lseek(file, 5100, SEEK_SET), 5100);
    CHECK_EQ(splice(file, NULL, a[1], NULL, 3000, 0), 3000);
    CHECK_EQ(lseek(file, 0, SEEK_CUR), 8100);
    CHECK_EQ(read(a[0], page, sizeof(page)), 8000);
    CHECK(memcmp(page, want, 8000) == 0);
    CHECK_EQ(splice(zero, NULL, a[1], NULL, 2 * PAGE, 0), 2 * PAGE);
    CHECK_EQ(splice(a[0], NULL, null, NULL, PAGE, 0), PAGE);
    CHECK_EQ(splice(a[0], NULL, null, NULL, 10 * PAGE, 0), PAGE);
    CHECK_ERRNO(splice(a[0], NULL, null, NULL, PAGE, 0), EAGAIN);
    CHECK_EQ(splice(file, &(off_t){0x7fffffff0000}, a[1], NULL, 100, 0), 0);
    CHECK_EQ(sendfile(null, file, &(off_t){0}, 5000), 5000);
    close_both(a);
    close(file);
    close(zero);
    close(null);
}

static void test_memory(void)
{
    char first[10] = "0123456789", second[4] = "abcd", got[20];
    struct iovec out[2] = {{first, 10}, {second, 4}}, in[2] = {{got, 3}, {got + 3, 17}};
    int a[2];

    CHECK_EQ(pipe2(a, O_NONBLOCK), 0);
    CHECK_EQ(vmsplice(a[1], out, 2, 0), 14);
    CHECK_EQ(bytes_in(a[0]), 14);
    CHECK_EQ(vmsplice(a[0], in, 2, 0), 14);
    CHECK(memcmp(got, "0123456789abcd", 14) == 0);
    CHECK_ERRNO(vmsplice(a[0], in, 2, SPLICE_F_NONBLOCK), EAGAIN); /* O_NONBLOCK is not asked */
    CHECK_EQ(vmsplice(a[1], out, 0, 0), 0);
    /* One slot for each page of the buffers. */
    struct iovec all = {(char *)(((uintptr_t)page + PAGE - 1) & -(uintptr_t)PAGE), 14 * PAGE};
    CHECK_EQ(vmsplice(a[1], &all, 1, SPLICE_F_GIFT), 14 * PAGE);
    CHECK_EQ(vmsplice(a[1], out, 2, 0), 14);
    CHECK_ERRNO(vmsplice(a[1], out, 2, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_EQ(RAW(SYS_vmsplice, a[1], out, 2, 16), -EINVAL);
    CHECK_EQ(RAW(SYS_vmsplice, a[1], out, 1025, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_vmsplice, a[1], 8, 1, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_vmsplice, 99, 8, 1, 0), -EBADF);
    CHECK_EQ(read(a[0], page, sizeof(page)), 14 * PAGE + 14);
    struct iovec bad[2] = {{first, 10}, {(void *)16, 4}};
    CHECK_EQ(vmsplice(a[1], bad, 2, 0), 10);
    CHECK_ERRNO(vmsplice(a[1], bad + 1, 1, 0), EFAULT);
    close(a[0]);
    CHECK_ERRNO(vmsplice(a[1], out, 2, 0), EPIPE);
    close(a[1]);
    int null = open("/dev/null", O_RDWR);
    CHECK_ERRNO(vmsplice(null, out, 2, 0), EBADF);
    close(null);
}

static void test_errors(void)
{
    int a[2], b[2], file = open(self, O_RDONLY), event = eventfd(1, 0), epoll = epoll_create1(0);
    off_t at = 0, negative = -1;

    CHECK_EQ(pipe2(a, O_NONBLOCK), 0);
    CHECK_EQ(pipe2(b, O_NONBLOCK), 0);
    CHECK_EQ(write(a[1], "data", 4), 4);
    CHECK_EQ(RAW(SYS_splice, 99, 0, 98, 0, 0, 0xffff), 0);
    CHECK_EQ(RAW(SYS_splice, 99, 0, 98, 0, 1, 0xffff), -EINVAL);
    CHECK_EQ(RAW(SYS_tee, 99, 98, 0, 0xffff), -EINVAL);
    CHECK_EQ(RAW(SYS_tee, 99, 98, 0, 0), 0);
    CHECK_ERRNO(splice(99, NULL, a[1], NULL, 1, 0), EBADF);
    CHECK_ERRNO(splice(a[0], NULL, 99, NULL, 1, 0), EBADF);
    CHECK_ERRNO(splice(a[1], NULL, b[1], NULL, 1, 0), EBADF);
    CHECK_ERRNO(splice(a[0], NULL, b[0], NULL, 1, 0), EBADF);
    CHECK_ERRNO(splice(a[0], NULL, a[1], NULL, 1, 0), EINVAL);
    CHECK_ERRNO(tee(a[0], a[1], 1, 0), EINVAL);
    CHECK_ERRNO(tee(file, a[1], 1, 0), EINVAL);
    CHECK_ERRNO(tee(a[1], b[1], 1, 0), EBADF);
    CHECK_ERRNO(splice(a[0], &at, b[1], NULL, 1, 0), ESPIPE);
    CHECK_ERRNO(splice(a[0], NULL, b[1], &at, 1, 0), ESPIPE);
    CHECK_ERRNO(splice(file, &negative, b[1], NULL, 1, 0), EINVAL);
    CHECK_EQ(RAW(SYS_splice, file, 8, b[1], 0, 1, 0), -EFAULT);
    CHECK_ERRNO(splice(event, NULL, b[1], NULL, 8, 0), EINVAL);
    CHECK_ERRNO(splice(a[0], NULL, event, NULL, 8, 0), EINVAL);
    CHECK_ERRNO(splice(epoll, NULL, b[1], NULL, 8, 0), EINVAL);
    CHECK_ERRNO(splice(a[0], NULL, file, NULL, 4, 0), EBADF);
    CHECK_ERRNO(splice(file, NULL, file, NULL, 4, 0), EBADF);
    int null = open("/dev/null", O_RDWR | O_APPEND);
    CHECK_ERRNO(splice(a[0], NULL, null, NULL, 4, 0), EINVAL);
    CHECK_ERRNO(splice(null, NULL, null, NULL, 4, 0), EINVAL);
    CHECK_EQ(bytes_in(a[0]), 4);
    close_both(a);
    close_both(b);
    close(file);
    close(event);
    close(epoll);
    close(null);
}

static void test_ranges(void)
{
    int a[2], file = open(self, O_RDONLY), dir = open("/", O_RDONLY),
              null = open("/dev/null", O_RDWR);
    struct iovec iov = {page, 10};

    CHECK_EQ(pipe(a), 0);
    CHECK_EQ(RAW(SYS_copy_file_range, file, 0, file, 0, 10, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_copy_file_range, 99, 0, file, 0, 10, 0), -EBADF);
    CHECK_EQ(RAW(SYS_copy_file_range, file, 8, file, 0, 10, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_copy_file_range, file, 0, file, 0, 10, 0), -EBADF);
    CHECK_EQ(RAW(SYS_copy_file_range, file, 0, dir, 0, 10, 0), -EISDIR);
    CHECK_EQ(RAW(SYS_copy_file_range, file, 0, null, 0, 10, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_copy_file_range, file, 0, a[1], 0, 10, 0), -EINVAL);

    CHECK_EQ(RAW(SYS_sync_file_range, 99, 0, 0, 0), -EBADF);
    CHECK_EQ(RAW(SYS_sync_file_range, file, 0, 0, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_sync_file_range, file, -1, 0, 7), -EINVAL);
    CHECK_EQ(RAW(SYS_sync_file_range, file, 1, INT64_MAX, 7), -EINVAL);
    CHECK_EQ(RAW(SYS_sync_file_range, a[0], 0, 0, 7), -ESPIPE);
    CHECK_EQ(RAW(SYS_sync_file_range, file, 0, 100, 2), 0);
    CHECK_EQ(RAW(SYS_fadvise64, a[0], 0, 0, 0), -ESPIPE);
    CHECK_EQ(RAW(SYS_fadvise64, file, 0, -1, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_fadvise64, file, 0, 100, 6), -EINVAL);
    CHECK_EQ(RAW(SYS_fadvise64, file, 0, 100, 5), 0);
    CHECK_EQ(RAW(SYS_readahead, file, 0, 100), 0);
    CHECK_EQ(RAW(SYS_readahead, a[1], 0, 100), -EBADF);
    CHECK_EQ(RAW(SYS_readahead, a[0], 0, 100), -EINVAL);

    CHECK_EQ(RAW(SYS_preadv2, file, &iov, 1, 0, 0, 0x80000000), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_preadv2, a[1], &iov, 1, -1, 0, 0x80000000), -EBADF);
    CHECK_EQ(RAW(SYS_preadv2, file, &iov, 0, 0, 0, 0x80000000), 0);
    CHECK_EQ(RAW(SYS_preadv2, file, &iov, 1, -2, 0, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_preadv2, a[0], &iov, 1, -1, 0, RWF_NOWAIT), -EAGAIN);
    CHECK_EQ(RAW(SYS_pwritev2, a[1], &iov, 1, -1, 0, RWF_APPEND | RWF_DSYNC), 10);
    CHECK_EQ(RAW(SYS_preadv2, a[0], &iov, 1, -1, 0, RWF_NOWAIT), 10);
    CHECK_EQ(RAW(SYS_preadv2, a[0], &iov, 1, 0, 0, 0), -ESPIPE);
    close_both(a);
    close(file);
    close(dir);
    close(null);
}

static int slow[2], slow_out[2];

static void *writer_main(void *arg)
{
    usleep(20000);
    CHECK_EQ(write(slow[1], "late", 4), 4);
    usleep(20000);
    CHECK_EQ(read(slow_out[0], page, 16 * PAGE), 16 * PAGE);
    return NULL;
}

static void test_waiting(void)
{
    pthread_t writer;
    static char full[16 * PAGE];

    CHECK_EQ(pipe(slow), 0);
    CHECK_EQ(pipe(slow_out), 0);
    pthread_create(&writer, NULL, writer_main, NULL);
    CHECK_EQ(tee(slow[0], slow_out[1], 4, 0), 4);
    CHECK_EQ(read(slow_out[0], page, 4), 4);
    CHECK_EQ(write(slow_out[1], full, sizeof(full)), sizeof(full));
    CHECK_EQ(splice(slow[0], NULL, slow_out[1], NULL, 100, 0), 4);
    pthread_join(writer, NULL);
    CHECK_EQ(readable(slow_out[0]), POLLIN);
    close_both(slow);
    close_both(slow_out);
}

static volatile sig_atomic_t pipe_signals;

static void on_pipe(int signo)
{
    pipe_signals++;
}

/* sendfile(2) into a pipe: as much as fits, at once; from what has no positions, too. */
static void test_sendfile(void)
{
    int into[2], pair[2], file = memfd_create("much", 0);
    char buf[16], path[64];
    off_t pos = 0;

    CHECK_EQ(ftruncate(file, 1 << 20), 0);
    CHECK_EQ(pipe(into), 0);
    CHECK_EQ(sendfile(into[1], file, &pos, 1 << 20), 65536);
    CHECK_EQ(pos, 65536);
    CHECK_EQ(fcntl(into[1], F_SETFL, O_NONBLOCK), 0);
    CHECK_ERRNO(sendfile(into[1], file, &pos, 1), EAGAIN);
    close_both(into);
    CHECK_EQ(pipe(into), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_EQ(write(pair[0], "abc", 3), 3);
    CHECK_EQ(sendfile(into[1], pair[1], NULL, 100), 3);
    CHECK_EQ(read(into[0], buf, sizeof(buf)), 3);
    CHECK_ERRNO(sendfile(into[1], pair[1], &pos, 100), ESPIPE);
    CHECK_ERRNO(sendfile(file, pair[1], NULL, 100), EINVAL);
    CHECK_ERRNO(sendfile(into[1], into[0], NULL, 100), EINVAL);
    /* What else a socket is asked as if it were a file. */
    CHECK_EQ(posix_fadvise(pair[0], 0, 1, POSIX_FADV_NORMAL), 0);
    CHECK_EQ(posix_fadvise(into[0], 0, 1, POSIX_FADV_NORMAL), ESPIPE);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", pair[0]);
    CHECK_ERRNO(open(path, O_RDWR), ENXIO);
    close_both(into);
    close_both(pair);
    close(file);
}

int main(int argc, char **argv)
{
    self = argv[0];
    signal(SIGPIPE, on_pipe);
    test_packets();
    test_pages();
    test_pipe_to_pipe();
    test_files();
    test_memory();
    test_errors();
    test_ranges();
    test_waiting();
    test_sendfile();
    CHECK_EQ(pipe_signals, 2);
    return check_done();
}
