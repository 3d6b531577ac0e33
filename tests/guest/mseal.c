/*
 * mseal: what is sealed stays as it is. remap_file_pages, cachestat, and the calls for what the CPU
 * lacks.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096UL
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static char *map(size_t pages, int prot)
{
    return mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void test_arguments(void)
{
    char *p = map(4, PROT_READ);

    CHECK_EQ(RAW(SYS_mseal, p, PAGE, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_mseal, p + 1, PAGE, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_mseal, p, -1L, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_mseal, p, -4096L, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_mseal, p, 0, 0), 0);
    CHECK_EQ(munmap(p + 2 * PAGE, PAGE), 0);
    CHECK_EQ(RAW(SYS_mseal, p, 4 * PAGE, 0), -ENOMEM);
    CHECK_EQ(RAW(SYS_mseal, p + 2 * PAGE, PAGE, 0), -ENOMEM);
    /* A refusal has sealed nothing. */
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
}

static void test_sealed(void)
{
    char *area = map(8, PROT_READ), *p = area + 2 * PAGE, *other;

    CHECK_EQ(RAW(SYS_mseal, p, 2 * PAGE, 0), 0);
    CHECK_EQ(RAW(SYS_mseal, p, 2 * PAGE, 0), 0);
    CHECK_ERRNO(munmap(p, PAGE), EPERM);
    CHECK_ERRNO(munmap(area, 8 * PAGE), EPERM);
    CHECK_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EPERM);
    CHECK_ERRNO(mprotect(p + PAGE, PAGE, PROT_READ), EPERM);
    CHECK(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM);
    CHECK(mremap(p, 2 * PAGE, PAGE, 0) == MAP_FAILED && errno == EPERM);
    CHECK(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
    CHECK_EQ(errno, EPERM);
    other = map(2, PROT_READ);
    CHECK(mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == MAP_FAILED);
    CHECK_EQ(errno, EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED_LOCKED), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTFORK), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_WIPEONFORK), EPERM);
    CHECK_EQ(madvise(p, PAGE, MADV_WILLNEED), 0);
    CHECK_EQ(madvise(p, PAGE, MADV_RANDOM), 0);
    CHECK_EQ(mlock(p, PAGE), 0);
    CHECK_EQ(munlock(p, PAGE), 0);
    CHECK_EQ(p[PAGE], 0);
    /* The neighbours are free. */
    CHECK_EQ(mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE), 0);
    CHECK_EQ(munmap(area, 2 * PAGE), 0);
    CHECK_EQ(munmap(p + 2 * PAGE, 4 * PAGE), 0);
}

/* Writable memory may be emptied: the program could write zeroes as well. */
static void test_writable(void)
{
    char *p = map(1, PROT_READ | PROT_WRITE);
    int status = -1;

    p[0] = 1;
    CHECK_EQ(RAW(SYS_mseal, p, PAGE, 0), 0);
    CHECK_EQ(madvise(p, PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(p[0], 0);
    p[0] = 2;
    if (fork() == 0)
        _exit(munmap(p, PAGE) == -1 && errno == EPERM && p[0] == 2 ? 0 : 1);
    wait(&status);
    CHECK_EQ(status, 0);
}

static void test_remap_file_pages(void)
{
    void *area = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile char *p = area; /* a page shows in two places */
    char *q;

    for (int i = 0; i < 8; i++)
        p[i * PAGE] = (char)('a' + i);
    CHECK_EQ(remap_file_pages(area, 2 * PAGE, 0, 4, 0), 0);
    CHECK_EQ(p[0], 'e');
    CHECK_EQ(p[PAGE], 'f');
    CHECK_EQ(p[2 * PAGE], 'c');
    p[4 * PAGE] = 'E';
    CHECK_EQ(p[0], 'E');
    CHECK_EQ(remap_file_pages((char *)area + 100, PAGE + 200, 0, 7, MAP_NONBLOCK), 0);
    CHECK_EQ(p[0], 'h');
    CHECK_ERRNO(remap_file_pages(area, PAGE, PROT_READ, 0, 0), EINVAL);
    CHECK_ERRNO(remap_file_pages(area, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(remap_file_pages(area, PAGE, 0, (size_t)-1, 0), EINVAL);
    CHECK_ERRNO(remap_file_pages(area, 64 * PAGE, 0, 0, 0), EINVAL);
    CHECK_EQ(munmap(area, 8 * PAGE), 0);
    CHECK_ERRNO(remap_file_pages(area, PAGE, 0, 0, 0), EINVAL);
    q = map(2, PROT_READ);
    CHECK_ERRNO(remap_file_pages(q, PAGE, 0, 1, 0), EINVAL);
    CHECK_EQ(munmap(q, 2 * PAGE), 0);
}

/* Refused for their arguments everywhere; whether there are keys differs. */
static void test_keys(void)
{
    char *p = map(1, PROT_READ);

    CHECK_EQ(RAW(SYS_pkey_alloc, 1, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_pkey_alloc, 0, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_pkey_free, 15), -EINVAL);
    CHECK_EQ(RAW(SYS_pkey_free, -1), -EINVAL);
    CHECK_EQ(RAW(SYS_pkey_mprotect, p, PAGE, PROT_READ | PROT_WRITE, -1), 0);
    p[0] = 1;
    CHECK_EQ(RAW(SYS_pkey_mprotect, p, PAGE, PROT_READ, 14), -EINVAL);
    CHECK_EQ(RAW(SYS_pkey_mprotect, p + 1, PAGE, PROT_READ, 14), -EINVAL);
    CHECK_EQ(munmap(p, PAGE), 0);
}

static void test_cachestat(void)
{
    struct {
        uint64_t cached, dirty, writeback, evicted, recently;
    } stat = {77, 77, 77, 77, 77};
    struct {
        uint64_t offset, length;
    } range = {0, 0};
    int fd = open("/proc/self/exe", O_RDONLY), fds[2];

    CHECK_EQ(RAW(SYS_cachestat, fd, &range, &stat, 0), 0);
    CHECK(stat.cached != 77);
    CHECK_EQ(stat.writeback, 0);
    range.offset = 1UL << 40;
    CHECK_EQ(RAW(SYS_cachestat, fd, &range, &stat, 0), 0);
    CHECK_EQ(stat.cached, 0);
    CHECK_EQ(RAW(SYS_cachestat, fd, &range, &stat, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_cachestat, fd, 8, &stat, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_cachestat, fd, &range, 8, 0), -EFAULT);
    close(fd);
    CHECK_EQ(RAW(SYS_cachestat, fd, &range, &stat, 0), -EBADF);
    if (pipe(fds) == 0) {
        CHECK_EQ(RAW(SYS_cachestat, fds[1], &range, &stat, 0), 0);
        CHECK_EQ(stat.cached, 0);
    }
}

int main(void)
{
    test_arguments();
    test_sealed();
    test_writable();
    test_remap_file_pages();
    test_keys();
    test_cachestat();
    return check_done();
}
