/* Descriptor numbers: dup, dup2, dup3, fcntl, close_range, and what shares an open file's offset.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "check.h"

static void test_dup(void)
{
    char a, b;
    int fd = open("words.txt", O_RDONLY);
    int copy = dup(fd), other = open("words.txt", O_RDONLY);

    CHECK_EQ(fd, 3); /* always the lowest free number */
    CHECK_EQ(copy, 4);
    CHECK_EQ(other, 5);
    CHECK_EQ(lseek(fd, 10, SEEK_SET), 10);
    CHECK_EQ(lseek(copy, 0, SEEK_CUR), 10); /* one open file, one offset */
    CHECK_EQ(lseek(other, 0, SEEK_CUR), 0);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(read(copy, &a, 1), 1);
    CHECK_EQ(pread(other, &b, 1, 10), 1);
    CHECK_EQ(a, b);
    CHECK_EQ(dup2(other, copy), copy);
    CHECK_EQ(lseek(copy, 0, SEEK_CUR), 0);
    CHECK_EQ(dup2(copy, copy), copy);
    CHECK_EQ(dup2(copy, 40), 40);
    CHECK_EQ(fcntl(40, F_GETFD), 0);
    CHECK_EQ(dup3(copy, 41, O_CLOEXEC), 41);
    CHECK_EQ(fcntl(41, F_GETFD), FD_CLOEXEC);
    CHECK_ERRNO(dup3(copy, copy, 0), EINVAL);
    CHECK_ERRNO(dup3(copy, 42, O_APPEND), EINVAL);
    CHECK_ERRNO(dup(77), EBADF);
    CHECK_ERRNO(dup2(77, 5), EBADF);
    CHECK_ERRNO(dup2(copy, -1), EBADF);
    CHECK_ERRNO(dup2(copy, 0x7fffffff), EBADF);
    CHECK_EQ(fcntl(copy, F_DUPFD, 20), 20);
    CHECK_EQ(fcntl(copy, F_DUPFD_CLOEXEC, 20), 21);
    CHECK_EQ(fcntl(21, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(21, F_SETFD, 0), 0);
    CHECK_EQ(fcntl(21, F_GETFD), 0);
    CHECK_ERRNO(fcntl(copy, F_DUPFD, -1), EINVAL);
    CHECK_ERRNO(fcntl(copy, 12345), EINVAL);
    CHECK_ERRNO(fcntl(77, F_GETFD), EBADF);
    CHECK_EQ(RAW(SYS_close_range, 20, 21, 0), 0);
    CHECK_ERRNO(close(20), EBADF);
    CHECK_EQ(RAW(SYS_close_range, 21, 20, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_close_range, 3, ~0U, 0), 0);
    CHECK_ERRNO(close(5), EBADF);
}

static void test_flags(void)
{
    int fd[2], on = 1;
    char byte;

    CHECK_EQ(pipe(fd), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFL), O_RDONLY);
    CHECK_EQ(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    CHECK_ERRNO(read(fd[0], &byte, 1), EAGAIN);
    int copy = dup(fd[0]); /* the flag belongs to the open file, not to the number */
    CHECK_ERRNO(read(copy, &byte, 1), EAGAIN);
    CHECK_EQ(fcntl(copy, F_SETFL, 0), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFL), O_RDONLY);
    CHECK_EQ(ioctl(fd[0], FIONBIO, &on), 0);
    CHECK_EQ(fcntl(copy, F_GETFL), O_RDONLY | O_NONBLOCK);
    CHECK_EQ(ioctl(fd[0], FIOCLEX), 0);
    CHECK_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(copy, F_GETFD), 0);
    close(fd[0]);
    CHECK_ERRNO(read(copy, &byte, 1), EAGAIN);
    close(copy);
    close(fd[1]);
}

/* As many as the limit allows, and not one more. */
static void test_many(void)
{
    int count = 0, last = -1, fd;

    while ((fd = dup(1)) >= 0) {
        CHECK_EQ(fd, count + 3);
        last = fd;
        count++;
    }
    CHECK_EQ(errno, EMFILE);
    CHECK(count >= 50);
    CHECK_ERRNO(open("words.txt", O_RDONLY), EMFILE);
    int pair[2];
    CHECK_ERRNO(pipe(pair), EMFILE);
    CHECK_EQ(close(last - 1), 0);
    CHECK_EQ(dup(1), last - 1);
    for (int i = 3; i <= last; i++)
        CHECK_EQ(close(i), 0);
}

int main(void)
{
    if (access("words.txt", F_OK) < 0) /* started by hand, in the repository's root */
        CHECK_EQ(chdir("tests/guest/data"), 0);
    test_dup();
    test_flags();
    test_many();
    return check_done();
}
