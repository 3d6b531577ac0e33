/* cachestat(2): which pages of a file are in memory. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define NR_CACHESTAT 451
#define PAGE         4096UL

struct range {
    uint64_t off, len;
};
struct stats {
    uint64_t cache, dirty, writeback, evicted, recently;
};

static long cached(int fd, uint64_t off, uint64_t len)
{
    struct range range = {off, len};
    struct stats stats;
    long err;

    memset(&stats, 7, sizeof(stats));
    err = RAW(NR_CACHESTAT, fd, &range, &stats, 0);
    return err ? err : (long)stats.cache;
}

static void test_memory(void)
{
    int fd = memfd_create("pages", 0);

    CHECK_EQ(ftruncate(fd, 64 * PAGE), 0);
    CHECK_EQ(cached(fd, 0, 64 * PAGE), 0);
    CHECK_EQ(pwrite(fd, "x", 1, 0), 1);
    CHECK_EQ(pwrite(fd, "x", 1, 40 * PAGE), 1);
    CHECK_EQ(cached(fd, 0, 0), 2);
    CHECK_EQ(cached(fd, 1, 1), 1);
    CHECK_EQ(cached(fd, 40 * PAGE + 5, 3), 1);
    CHECK_EQ(cached(fd, PAGE, 39 * PAGE), 0);
    CHECK_EQ(cached(fd, 40 * PAGE, -1UL), 0); /* wraps around */
    CHECK_EQ(cached(fd, 1UL << 40, PAGE), 0);
    close(fd);
}

/* What was just read is there; so is what was mapped and touched. */
static void test_file(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    volatile const char *map;
    static char bytes[16 * PAGE];
    struct stat st;
    long pages;

    CHECK_EQ(fstat(fd, &st), 0);
    pages = (st.st_size + (long)PAGE - 1) / (long)PAGE;
    if (cached(fd, 0, 0) == -EPERM)
        return; /* neither the owner nor allowed to write */
    CHECK(pread(fd, bytes, sizeof(bytes), 0) > 0);
    CHECK_EQ(cached(fd, 0, sizeof(bytes)), pages < 16 ? pages : 16);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    for (long i = 0; i < pages; i++)
        bytes[0] = map[(size_t)i * PAGE];
    CHECK_EQ(cached(fd, 0, 0), pages);
    close(fd);
}

static void test_errors(void)
{
    int fd = memfd_create("pages", 0), pipes[2], root = open("/etc/passwd", O_RDONLY), status;
    struct range range = {0, 0};
    struct stats stats;

    CHECK_EQ(RAW(NR_CACHESTAT, -1, &range, &stats, 0), -EBADF);
    CHECK_EQ(RAW(NR_CACHESTAT, -1, 8, &stats, 1), -EBADF);
    CHECK_EQ(RAW(NR_CACHESTAT, fd, 8, &stats, 1), -EFAULT);
    CHECK_EQ(RAW(NR_CACHESTAT, fd, &range, 8, 0), -EFAULT);
    CHECK_EQ(RAW(NR_CACHESTAT, fd, &range, &stats, 1), -EINVAL);
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(cached(pipes[1], 0, 0), 0);
    if (fork() == 0) {
        CHECK_EQ(setresuid(65534, 65534, 65534), 0);
        CHECK_EQ(RAW(NR_CACHESTAT, root, &range, &stats, 1), -EPERM);
        _exit(check_failures != 0);
    }
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, 0);
}

int main(void)
{
    if (getuid() != 0)
        check_skip("to become somebody else takes privileges");
    test_memory();
    test_file();
    test_errors();
    return check_done();
}
