/* Loop devices, loop(4): binding, sizes, bytes, what /sys tells, who may. Wants to be root. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "kernel.h"

#define FILE_SIZE 40960
#define TRIES     200

static char file_name[64], other_name[64], device_name[32];
static int number, device, file;
static uint8_t block[FILE_SIZE], got[FILE_SIZE];

static void fill(void)
{
    for (unsigned i = 0; i < FILE_SIZE; i++)
        block[i] = (uint8_t)(i * 7 + i / 251);
}

static int make_file(char *name, size_t size)
{
    int fd;

    snprintf(name, size, "/var/tmp/loop.XXXXXX");
    fd = mkstemp(name);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, block, FILE_SIZE), FILE_SIZE);
    return fd;
}

/* Another program may take the device that was free a moment ago. */
static void bind_free(int fd)
{
    int control = open("/dev/loop-control", O_RDWR), result = -1;

    for (int i = 0; i < TRIES && result < 0; i++) {
        number = ioctl(control, LOOP_CTL_GET_FREE);
        snprintf(device_name, sizeof(device_name), "/dev/loop%d", number);
        for (int wait = 0; wait < TRIES && access(device_name, F_OK) < 0; wait++)
            usleep(1000);
        device = open(device_name, O_RDWR);
        result = ioctl(device, LOOP_SET_FD, fd);
        if (result < 0)
            close(device);
    }
    CHECK_EQ(result, 0);
    CHECK_ERRNO(ioctl(control, LOOP_CTL_ADD, number), EEXIST);
    CHECK_ERRNO(ioctl(control, LOOP_CTL_REMOVE, number), EBUSY);
    CHECK_ERRNO(ioctl(control, LOOP_CTL_REMOVE, -5), EINVAL);
    CHECK_ERRNO(ioctl(control, BLKGETSIZE64, got), ENOSYS);
    close(control);
}

/* A file of /sys/block/loopN, without the newline; "" when there is none. */
static const char *sys(const char *name)
{
    static char text[256];
    char path[128];
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "/sys/block/loop%d/%s", number, name);
    fd = open(path, O_RDONLY);
    n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n - 1 : 0] = 0;
    return text;
}

static uint64_t size_of_device(void)
{
    unsigned long sectors = 0;
    uint64_t bytes = 0;
    char text[32];

    CHECK_EQ(ioctl(device, BLKGETSIZE64, &bytes), 0);
    CHECK_EQ(ioctl(device, BLKGETSIZE, &sectors), 0);
    CHECK_EQ(sectors, bytes / 512);
    snprintf(text, sizeof(text), "%lu", sectors);
    CHECK(strcmp(sys("size"), text) == 0);
    return bytes;
}

static void test_names(void)
{
    struct loop_info64 info;
    struct loop_info old;
    char text[64];
    struct stat st, on;

    CHECK_EQ(fstat(device, &st), 0);
    CHECK(S_ISBLK(st.st_mode));
    CHECK_EQ(st.st_rdev, makedev(7, (unsigned)number));
    CHECK_EQ(stat(file_name, &on), 0);
    CHECK_EQ(ioctl(device, LOOP_GET_STATUS64, &info), 0);
    CHECK_EQ(info.lo_inode, on.st_ino);
    CHECK_EQ(info.lo_device, on.st_dev);
    CHECK_EQ(info.lo_number, number);
    CHECK_EQ(info.lo_flags, 0);
    CHECK_EQ(ioctl(device, LOOP_GET_STATUS, &old), 0);
    CHECK_EQ(old.lo_inode, on.st_ino);
    CHECK_ERRNO(ioctl(device, LOOP_GET_STATUS64, NULL), EINVAL);
    CHECK_ERRNO(ioctl(device, LOOP_GET_STATUS64, 8), EFAULT);
    CHECK(strcmp(sys("loop/backing_file"), file_name) == 0);
    CHECK(strcmp(sys("loop/offset"), "0") == 0);
    CHECK(strcmp(sys("ro"), "0") == 0);
    snprintf(text, sizeof(text), "7:%d", number);
    CHECK(strcmp(sys("dev"), text) == 0);
    snprintf(text, sizeof(text), "/sys/dev/block/7:%d/loop/backing_file", number);
    CHECK_EQ(access(text, F_OK), 0);
    snprintf(text, sizeof(text), "/sys/class/block/loop%d/queue/logical_block_size", number);
    CHECK_EQ(access(text, F_OK), 0);
    CHECK_ERRNO(ioctl(device, LOOP_SET_FD, file), EBUSY);
}

static void test_bytes(void)
{
    CHECK_EQ(size_of_device(), FILE_SIZE);
    CHECK_EQ(pread(device, got, FILE_SIZE, 0), FILE_SIZE);
    CHECK(memcmp(got, block, FILE_SIZE) == 0);
    CHECK_EQ(pread(device, got, 100, FILE_SIZE - 7), 7);
    CHECK_EQ(pread(device, got, 100, FILE_SIZE), 0);
    CHECK_EQ(pwrite(device, "change", 6, 5000), 6);
    CHECK_EQ(fsync(device), 0);
    CHECK_EQ(pread(file, got, 6, 5000), 6);
    CHECK(memcmp(got, "change", 6) == 0);
    CHECK_EQ(pwrite(device, block, 100, FILE_SIZE - 8), 8);
    CHECK_ERRNO(pwrite(device, block, 1, FILE_SIZE), ENOSPC);
    CHECK_EQ(lseek(device, 0, SEEK_END), FILE_SIZE);
    CHECK_ERRNO(lseek(device, FILE_SIZE + 1, SEEK_SET), EINVAL);
    CHECK_ERRNO(lseek(device, -1, SEEK_SET), EINVAL);
    CHECK_ERRNO(lseek(device, 0, SEEK_DATA), EINVAL);
    CHECK_ERRNO(ftruncate(device, 0), EINVAL);
}

static bool is_zero(off_t start, size_t size)
{
    CHECK_EQ(pread(device, got, size, start), size);
    for (size_t i = 0; i < size; i++) {
        if (got[i])
            return false;
    }
    return true;
}

static void test_zeroes(void)
{
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    uint64_t range[2] = {8192, 4096};

    CHECK_EQ(ioctl(device, BLKZEROOUT, range), 0);
    CHECK(is_zero(8192, 4096));
    CHECK_EQ(fallocate(device, punch, 16384, 4096), 0);
    CHECK(is_zero(16384, 4096));
    CHECK_EQ(fallocate(device, FALLOC_FL_ZERO_RANGE, 20480, 4096), 0);
    CHECK(is_zero(20480, 4096));
    CHECK(!is_zero(24576, 4096));
    CHECK_ERRNO(fallocate(device, 0, 0, 4096), EOPNOTSUPP);
    CHECK_ERRNO(fallocate(device, punch, 100, 4096), EINVAL);
    CHECK_ERRNO(fallocate(device, punch, FILE_SIZE, 4096), EINVAL);
    range[0] = 100;
    CHECK_ERRNO(ioctl(device, BLKZEROOUT, range), EINVAL);
    range[0] = FILE_SIZE;
    CHECK_ERRNO(ioctl(device, BLKZEROOUT, range), EINVAL);
    CHECK_ERRNO(ioctl(device, BLKZEROOUT, 8), EFAULT);
}

static void test_status(void)
{
    struct loop_info64 info = {.lo_offset = 4096, .lo_sizelimit = 8192};

    memcpy(info.lo_file_name, "told", 5);
    CHECK_EQ(ioctl(device, LOOP_SET_STATUS64, &info), 0);
    CHECK_EQ(size_of_device(), 8192);
    CHECK(strcmp(sys("loop/sizelimit"), "8192") == 0);
    CHECK_EQ(pread(device, got, FILE_SIZE, 0), 8192);
    CHECK_EQ(pread(file, block, 8192, 4096), 8192);
    CHECK(memcmp(got, block, 8192) == 0);
    memset(&info, 0, sizeof(info));
    CHECK_EQ(ioctl(device, LOOP_GET_STATUS64, &info), 0);
    CHECK(info.lo_offset == 4096 && info.lo_sizelimit == 8192);
    CHECK(strcmp((char *)info.lo_file_name, "told") == 0);
    info.lo_offset = 1ULL << 63;
    CHECK_ERRNO(ioctl(device, LOOP_SET_STATUS64, &info), EOVERFLOW);
    info = (struct loop_info64){.lo_encrypt_type = LO_CRYPT_XOR};
    CHECK_ERRNO(ioctl(device, LOOP_SET_STATUS64, &info), EINVAL);
    info = (struct loop_info64){.lo_flags = LO_FLAGS_READ_ONLY};
    CHECK_EQ(ioctl(device, LOOP_SET_STATUS64, &info), 0);
    CHECK_EQ(ioctl(device, LOOP_GET_STATUS64, &info), 0);
    CHECK_EQ(info.lo_flags, 0);
    CHECK_EQ(size_of_device(), FILE_SIZE);
    CHECK_EQ(ftruncate(file, FILE_SIZE + 1000), 0);
    CHECK_EQ(size_of_device(), FILE_SIZE);
    CHECK_EQ(ioctl(device, LOOP_SET_CAPACITY), 0);
    CHECK_EQ(size_of_device(), FILE_SIZE + 512);
    CHECK_EQ(ftruncate(file, FILE_SIZE), 0);
    CHECK_EQ(ioctl(device, LOOP_SET_CAPACITY), 0);
}

static void test_block_requests(void)
{
    int value = -1, one = 1, zero = 0;
    unsigned long sectors = 0;

    CHECK_EQ(ioctl(device, BLKSSZGET, &value), 0);
    CHECK_EQ(value, 512);
    CHECK_ERRNO(ioctl(device, LOOP_SET_BLOCK_SIZE, 256), EINVAL);
    CHECK_ERRNO(ioctl(device, LOOP_SET_BLOCK_SIZE, 1000), EINVAL);
    CHECK_ERRNO(ioctl(device, LOOP_SET_BLOCK_SIZE, 1 << 20), EINVAL);
    CHECK_EQ(ioctl(device, LOOP_SET_BLOCK_SIZE, 4096), 0);
    CHECK_EQ(ioctl(device, BLKSSZGET, &value), 0);
    CHECK_EQ(value, 4096);
    CHECK_EQ(ioctl(device, LOOP_SET_BLOCK_SIZE, 512), 0);
    CHECK_EQ(ioctl(device, BLKRASET, 512), 0);
    CHECK_EQ(ioctl(device, BLKRAGET, &sectors), 0);
    CHECK_EQ(sectors, 512);
    CHECK_EQ(ioctl(device, BLKFLSBUF, 0), 0);
    CHECK_EQ(ioctl(device, BLKROGET, &value), 0);
    CHECK_EQ(value, 0);
    CHECK_EQ(ioctl(device, BLKROSET, &one), 0);
    CHECK_EQ(ioctl(device, BLKROGET, &value), 0);
    CHECK_EQ(value, 1);
    CHECK_ERRNO(pwrite(device, block, 512, 0), EPERM);
    CHECK_EQ(ioctl(device, BLKROSET, &zero), 0);
    CHECK_EQ(pwrite(device, block, 512, 0), 512);
}

/* Somebody who may only read the device. */
static void test_stranger(void)
{
    int fd = open(device_name, O_RDONLY), status, one = 1;
    struct loop_info64 info = {0};
    uint64_t range[2] = {0, 512};
    pid_t pid = fork();

    if (pid == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(2);
        CHECK_ERRNO(open(device_name, O_RDONLY), EACCES);
        CHECK_ERRNO(open("/dev/loop-control", O_RDONLY), EACCES);
        CHECK_ERRNO(ioctl(fd, LOOP_SET_STATUS64, &info), EPERM);
        CHECK_ERRNO(ioctl(fd, LOOP_SET_CAPACITY), EPERM);
        CHECK_ERRNO(ioctl(fd, BLKROSET, &one), EACCES);
        CHECK_ERRNO(ioctl(fd, BLKRASET, 8), EACCES);
        CHECK_ERRNO(ioctl(fd, BLKZEROOUT, range), EBADF);
        CHECK_EQ(ioctl(fd, LOOP_GET_STATUS64, &info), 0);
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(fd);
}

/* It ends with its last opener. */
static void test_end(void)
{
    int again = open(device_name, O_RDWR);

    CHECK_EQ(ioctl(device, LOOP_CLR_FD), 0);
    CHECK_EQ(ioctl(device, LOOP_CLR_FD), 0);
    CHECK_EQ(pread(device, got, 512, 0), 512);
    close(again);
    CHECK_EQ(ioctl(device, LOOP_CLR_FD), 0);
    CHECK_ERRNO(ioctl(device, LOOP_CLR_FD), ENXIO);
    close(device);
}

static void test_read_only(void)
{
    int reading = open(file_name, O_RDONLY), other, small;
    struct loop_info64 info;

    bind_free(reading);
    CHECK_EQ(ioctl(device, LOOP_GET_STATUS64, &info), 0);
    CHECK_EQ(info.lo_flags, LO_FLAGS_READ_ONLY);
    CHECK(strcmp(sys("ro"), "1") == 0);
    CHECK_ERRNO(pwrite(device, block, 512, 0), EPERM);
    other = make_file(other_name, sizeof(other_name));
    CHECK_EQ(ioctl(device, LOOP_CHANGE_FD, other), 0);
    CHECK(strcmp(sys("loop/backing_file"), other_name) == 0);
    small = open(other_name, O_RDWR);
    CHECK_ERRNO(ioctl(device, LOOP_CHANGE_FD, -1), EBADF);
    CHECK_EQ(ftruncate(reading, 0), -1);
    CHECK_EQ(truncate(file_name, 512), 0);
    CHECK_ERRNO(ioctl(device, LOOP_CHANGE_FD, file), EINVAL);
    CHECK_EQ(ioctl(device, LOOP_CLR_FD), 0);
    close(small);
    close(other);
    close(device);
    close(reading);
}

/* All at once, and gone with the last close. */
static void test_configure(void)
{
    int fd = open(other_name, O_RDWR), pipes[2], folder = open("/", O_RDONLY);
    struct loop_config config = {.fd = (uint32_t)fd, .block_size = 4096};

    device = open(device_name, O_RDWR);
    CHECK_ERRNO(ioctl(device, LOOP_GET_STATUS64, &config.info), ENXIO);
    CHECK_ERRNO(ioctl(device, LOOP_SET_CAPACITY), ENXIO);
    CHECK_ERRNO(ioctl(device, LOOP_SET_BLOCK_SIZE, 512), ENXIO);
    CHECK_ERRNO(ioctl(device, LOOP_CHANGE_FD, fd), ENXIO);
    CHECK_EQ(pread(device, got, 512, 0), 0);
    CHECK_ERRNO(ioctl(device, LOOP_SET_FD, -1), EBADF);
    CHECK_EQ(pipe(pipes), 0);
    CHECK_ERRNO(ioctl(device, LOOP_SET_FD, pipes[0]), EINVAL);
    CHECK_ERRNO(ioctl(device, LOOP_SET_FD, folder), EINVAL);
    CHECK_ERRNO(ioctl(device, LOOP_CONFIGURE, 8), EFAULT);
    config.block_size = 3000;
    CHECK_ERRNO(ioctl(device, LOOP_CONFIGURE, &config), EINVAL);
    config.block_size = 4096;
    config.info.lo_flags = 1024;
    CHECK_ERRNO(ioctl(device, LOOP_CONFIGURE, &config), EINVAL);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    config.info.lo_sizelimit = 8192;
    CHECK_EQ(ioctl(device, LOOP_CONFIGURE, &config), 0);
    CHECK_EQ(size_of_device(), 8192);
    CHECK(strcmp(sys("loop/autoclear"), "1") == 0);
    CHECK(strcmp(sys("queue/logical_block_size"), "4096") == 0);
    close(pipes[0]);
    close(pipes[1]);
    close(folder);
    close(fd);
    close(device);
}

int main(void)
{
    if (geteuid() != 0 || access("/dev/loop-control", R_OK | W_OK) < 0)
        check_skip("no loop devices for us here");
    need_kernel(6, 11);
    fill();
    file = make_file(file_name, sizeof(file_name));
    bind_free(file);
    test_names();
    test_bytes();
    test_zeroes();
    test_status();
    test_block_requests();
    test_stranger();
    test_end();
    test_read_only();
    test_configure();
    close(file);
    unlink(file_name);
    unlink(other_name);
    return check_done();
}
