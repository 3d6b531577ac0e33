/* ioctl(2) requests that every file answers in some way, and pwritev2(2)'s newer flags. */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/epoll.h>
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

/* XFS's fallocate(2), of before there was one. */
struct space_resv {
    int16_t type, whence;
    int64_t start, size;
    int32_t sysid;
    uint32_t pid, unused[4];
};

#define RESVSP64   0x4030582aUL
#define UNRESVSP64 0x4030582bUL
#define ZERO_RANGE 0x40305839UL
#define GET_UUID   0x80111500UL

static void test_space(int fd, int folder, int pipe_end)
{
    struct space_resv r = {.size = 4096};
    char bytes[8];
    struct stat st;

    CHECK_EQ(pwrite(fd, "abcdefgh", 8, 0), 8);
    r.start = 1 << 16;
    CHECK_EQ(ioctl(fd, RESVSP64, &r), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_size, 8);
    CHECK_EQ(st.st_blocks, 16);
    r.start = -4;
    r.whence = SEEK_END;
    CHECK_EQ(ioctl(fd, UNRESVSP64, &r), 0);
    CHECK_EQ(pread(fd, bytes, 8, 0), 8);
    CHECK(memcmp(bytes, "abcd\0\0\0\0", 8) == 0);
    CHECK_EQ(lseek(fd, 2, SEEK_SET), 2);
    r = (struct space_resv){.whence = SEEK_CUR, .size = 1};
    CHECK_EQ(ioctl(fd, UNRESVSP64, &r), 0);
    CHECK_EQ(pread(fd, bytes, 8, 0), 8);
    CHECK(memcmp(bytes, "ab\0d\0\0\0\0", 8) == 0);
    CHECK_ERRNO(ioctl(fd, ZERO_RANGE, &r), EOPNOTSUPP);
    r.whence = 3;
    CHECK_ERRNO(ioctl(fd, RESVSP64, &r), EINVAL);
    r.whence = 0;
    r.start = -1;
    CHECK_ERRNO(ioctl(fd, RESVSP64, &r), EINVAL);
    r.start = r.size = 0;
    CHECK_ERRNO(ioctl(fd, RESVSP64, &r), EINVAL);
    r.size = 1;
    CHECK_ERRNO(ioctl(folder, RESVSP64, &r), ENOTTY);
    CHECK_ERRNO(ioctl(pipe_end, RESVSP64, &r), ENOTTY);
    CHECK_ERRNO(ioctl(fd, RESVSP64, 8), EFAULT);
}

/* What every file is asked before it is looked at closer. */
static void test_early(int fd, int other, int pipe_end, int event)
{
    unsigned char a[28] = {0}, b[17] = {0};
    int number = 7;

    if (geteuid() == 0) {
        CHECK_ERRNO(ioctl(fd, FIBMAP, &number), EINVAL);
        CHECK_EQ(number, 0);
        CHECK_ERRNO(ioctl(fd, FIFREEZE, 0), EOPNOTSUPP);
        CHECK_ERRNO(ioctl(pipe_end, FIFREEZE, 0), EOPNOTSUPP);
        CHECK_ERRNO(ioctl(event, FITHAW, 0), EINVAL);
    }
    CHECK_EQ(ioctl(fd, GET_UUID, a), 0);
    CHECK_EQ(ioctl(other, GET_UUID, b), 0);
    CHECK_EQ(a[0], 16);
    CHECK(memcmp(a, b, sizeof(b)) == 0 && (a[7] & 0xf0) == 0x40 && (a[9] & 0xc0) == 0x80);
    CHECK_ERRNO(ioctl(fd, GET_UUID, 8), EFAULT);
    CHECK_ERRNO(ioctl(pipe_end, GET_UUID, a), ENOTTY);
    CHECK_ERRNO(ioctl(pipe_end, FS_IOC_SETFLAGS, 8), EFAULT);
    CHECK_ERRNO(ioctl(pipe_end, FS_IOC_SETFLAGS, &number), ENOTTY);
    CHECK_ERRNO(ioctl(event, FS_IOC_FSSETXATTR, 8), EFAULT);
    a[3] = 0x20; /* no flag that there is */
    CHECK_ERRNO(ioctl(event, FS_IOC_FSSETXATTR, a), EOPNOTSUPP);
    CHECK_ERRNO(ioctl(event, GET_UUID, a), ENOTTY);
    CHECK_EQ(ioctl(event, FIGETBSZ, &number), 0);
    CHECK_EQ(number, 4096);
}

static void test_block_sizes(void)
{
    static const char *const names[] = {"/proc", "/proc/self/status", "/sys", "/dev"};
    struct stat st;

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (stat(names[i], &st) == 0)
            note("%s: %ld", names[i], (long)st.st_blksize);
    }
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
    test_space(b, folder, pipes[0]);
    test_early(a, b, pipes[0], epoll_create1(0));
    test_block_sizes();
    test_flags(a);
    test_birth();
    return check_done();
}
