/* /dev/null, zero, full, urandom and random: reading, writing, seeking, mapping (null(4), full(4)).
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "check.h"

static int open_device(const char *path, unsigned minor_number)
{
    struct stat st;
    int fd = open(path, O_RDWR);

    if (!CHECK(fd >= 0))
        note("%s: %s", path, strerror(errno));
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(S_ISCHR(st.st_mode));
    CHECK_EQ(major(st.st_rdev), 1);
    CHECK_EQ(minor(st.st_rdev), minor_number);
    return fd;
}

static bool all_zero(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (p[i])
            return false;
    }
    return true;
}

int main(void)
{
    static char buffer[100000], other[100000];
    struct pollfd pollfd = {.events = POLLIN | POLLOUT};

    int fd = open_device("/dev/null", 3);
    CHECK_EQ(read(fd, buffer, 10), 0);
    CHECK_EQ(write(fd, buffer, sizeof(buffer)), sizeof(buffer));
    CHECK_EQ(lseek(fd, 100, SEEK_SET), 0);
    pollfd.fd = fd;
    CHECK_EQ(poll(&pollfd, 1, 0), 1);
    CHECK_EQ(pollfd.revents, POLLIN | POLLOUT);
    CHECK_ERRNO(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
    close(fd);

    fd = open_device("/dev/zero", 5);
    memset(buffer, 'x', sizeof(buffer));
    CHECK_EQ(read(fd, buffer, sizeof(buffer)), sizeof(buffer));
    CHECK(all_zero(buffer, sizeof(buffer)));
    CHECK_EQ(write(fd, buffer, 77), 77);
    CHECK_EQ(pread(fd, buffer, 10, 1000), 10);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (CHECK(p != MAP_FAILED)) {
        CHECK(all_zero(p, 8192));
        p[5000] = 7;
        CHECK_EQ(munmap(p, 8192), 0);
    }
    close(fd);

    fd = open_device("/dev/full", 7);
    memset(buffer, 'x', 100);
    CHECK_EQ(read(fd, buffer, 100), 100);
    CHECK(all_zero(buffer, 100));
    CHECK_ERRNO(write(fd, buffer, 10), ENOSPC);
    close(fd);

    static const struct {
        const char *path;
        unsigned minor_number;
    } random[] = {{"/dev/urandom", 9}, {"/dev/random", 8}};
    for (size_t i = 0; i < ARRAY_COUNT(random); i++) {
        fd = open_device(random[i].path, random[i].minor_number);
        CHECK_EQ(read(fd, buffer, 1000), 1000);
        CHECK_EQ(read(fd, other, 1000), 1000);
        CHECK(memcmp(buffer, other, 1000) != 0);
        CHECK(!all_zero(buffer, 1000));
        CHECK_EQ(write(fd, buffer, 10), 10);
        close(fd);
    }
    return check_done();
}
