/* ioctl(2) requests that every file answers in some way, and pwritev2(2)'s newer flags. */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "check.h"

#define NOAPPEND 0x20
#define ATOMIC   0x40

struct dedupe {
    struct file_dedupe_range range;
    struct file_dedupe_range_info info;
};

static void test_requests(int a, int b, int folder, int pipe_end)
{
    struct dedupe dedupe = {.range = {.src_length = 4096, .dest_count = 1}};
    struct file_clone_range range = {.src_fd = b};
    struct fiemap map = {.fm_length = 4096};
    int number = 0, event = eventfd(0, 0);
    int64_t large = -1;

    CHECK_EQ(ioctl(a, FIGETBSZ, &number), 0);
    CHECK_EQ(number, 4096);
    CHECK_EQ(ioctl(event, FIGETBSZ, &number), 0);
    CHECK_ERRNO(ioctl(a, FIGETBSZ, 8), EFAULT);
    CHECK_EQ(ioctl(a, 0x5460 /* FIOQSIZE */, &large), 0);
    CHECK(large >= 0);
    CHECK_ERRNO(ioctl(pipe_end, 0x5460, &large), ENOTTY);
    CHECK_ERRNO(ioctl(pipe_end, FIBMAP, &number), ENOTTY);
    CHECK_ERRNO(ioctl(a, FIBMAP, &number), EINVAL);
    CHECK_ERRNO(ioctl(a, FS_IOC_FIEMAP, &map), EOPNOTSUPP);
    CHECK_ERRNO(ioctl(a, FICLONE, b), EOPNOTSUPP);
    CHECK_ERRNO(ioctl(a, FICLONE, -1), EBADF);
    CHECK_ERRNO(ioctl(a, FICLONE, pipe_end), EXDEV);
    CHECK_ERRNO(ioctl(pipe_end, FICLONE, pipe_end), EINVAL);
    CHECK_ERRNO(ioctl(folder, FICLONE, folder), EISDIR);
    CHECK_ERRNO(ioctl(a, FICLONERANGE, &range), EOPNOTSUPP);
    CHECK_ERRNO(ioctl(a, FICLONERANGE, 8), EFAULT);
    CHECK_ERRNO(ioctl(a, FIDEDUPERANGE, &dedupe), EOPNOTSUPP);
    CHECK_ERRNO(ioctl(folder, FIDEDUPERANGE, &dedupe), EISDIR);
    CHECK_ERRNO(ioctl(pipe_end, FIDEDUPERANGE, &dedupe), EINVAL);
    CHECK_ERRNO(ioctl(a, FIDEDUPERANGE, 8), EFAULT);
    CHECK_ERRNO(ioctl(a, BLKGETSIZE64, &large), ENOTTY);
    CHECK_ERRNO(ioctl(a, 0x12345678, 0), ENOTTY);
    close(event);
}

static void test_flags(int fd)
{
    struct iovec iov = {"x", 1};
    char buf[8] = {0};

    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(pwrite(fd, "abcd", 4, 0), 4);
    CHECK_EQ(fcntl(fd, F_SETFL, O_APPEND), 0);
    CHECK_EQ(pwritev2(fd, &iov, 1, 1, NOAPPEND), 1);
    CHECK_EQ(pwritev2(fd, &iov, 1, 1, 0), 1); /* at the end in spite of the position */
    CHECK_EQ(pread(fd, buf, sizeof(buf), 0), 5);
    CHECK(strcmp(buf, "axcdx") == 0);
    CHECK_ERRNO(pwritev2(fd, &iov, 1, 1, NOAPPEND | RWF_APPEND), EINVAL);
    CHECK_ERRNO(pwritev2(fd, &iov, 1, 1, ATOMIC), EOPNOTSUPP);
    CHECK_ERRNO(preadv2(fd, &iov, 1, 1, ATOMIC), EOPNOTSUPP);
    CHECK_ERRNO(pwritev2(fd, &iov, 1, 1, 1 << 20), EOPNOTSUPP);
    CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
}

/* What memory holds knows when it was made; a change later does not matter to that. */
static void test_birth(void)
{
    struct timespec before, now;
    struct statx stx = {0}, later = {0};
    int fd;

    CHECK_EQ(clock_gettime(CLOCK_REALTIME_COARSE, &before), 0);
    fd = memfd_create("born", 0);
    CHECK_EQ(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stx), 0);
    CHECK_EQ(clock_gettime(CLOCK_REALTIME, &now), 0);
    CHECK(stx.stx_mask & STATX_BTIME);
    CHECK(stx.stx_btime.tv_sec >= before.tv_sec && stx.stx_btime.tv_sec <= now.tv_sec);
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK_EQ(fchmod(fd, 0600), 0);
    CHECK_EQ(statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &later), 0);
    CHECK(memcmp(&stx.stx_btime, &later.stx_btime, sizeof(stx.stx_btime)) == 0);
    CHECK_EQ(statx(AT_FDCWD, "/proc", 0, STATX_BASIC_STATS, &stx), 0);
    CHECK(stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT);
    CHECK(stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
    CHECK_EQ(statx(AT_FDCWD, "/proc/self", 0, STATX_BASIC_STATS, &stx), 0);
    CHECK(!(stx.stx_attributes & STATX_ATTR_MOUNT_ROOT));
    close(fd);
}

int main(void)
{
    int a = memfd_create("a", 0), b = memfd_create("b", 0), pipes[2];
    int folder = open("/proc", O_RDONLY | O_DIRECTORY);

    CHECK(a >= 0 && b >= 0 && folder >= 0);
    CHECK_EQ(pipe(pipes), 0);
    test_requests(a, b, folder, pipes[0]);
    test_flags(a);
    test_birth();
    return check_done();
}
