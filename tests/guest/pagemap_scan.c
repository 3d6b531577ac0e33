/* PAGEMAP_SCAN of /proc/PID/pagemap: which pages were written since they were protected. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

#define PAGE  4096UL
#define PAGES 8UL
#define SIZE  (PAGES * PAGE)

struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t inverted, mask, any_of, returned;
};

struct region {
    uint64_t start, end, categories;
};

#define SCAN _IOWR('f', 16, struct scan)

enum { WP_ALLOWED = 1, WRITTEN = 2, IS_FILE = 4, PRESENT = 8 };
enum { PROTECT = 1, NEEDS_ASYNC = 2 };

static int pagemap = -1;
static char *area;
static struct region found[16];

static struct scan plain(void)
{
    return (struct scan){.size = sizeof(struct scan),
                         .start = (uintptr_t)area,
                         .end = (uintptr_t)area + SIZE,
                         .vec = (uintptr_t)found,
                         .vec_len = 16,
                         .mask = WRITTEN,
                         .returned = WRITTEN};
}

static int scan(struct scan *s)
{
    memset(found, 0, sizeof(found));
    return ioctl(pagemap, SCAN, s);
}

static int protect(void)
{
    struct scan s = plain();

    s.flags = PROTECT | NEEDS_ASYNC;
    s.vec = s.vec_len = 0;
    return scan(&s);
}

static void check_region(int i, unsigned long first, unsigned long last, uint64_t categories)
{
    CHECK_EQ(found[i].start, (uintptr_t)area + first * PAGE);
    CHECK_EQ(found[i].end, (uintptr_t)area + last * PAGE);
    CHECK_EQ(found[i].categories, categories);
}

static void test_written(void)
{
    struct scan s = plain();

    CHECK_EQ(scan(&s), 1);
    CHECK_EQ(s.walk_end, s.end);
    check_region(0, 0, 8, WRITTEN);
    CHECK_EQ(protect(), 0);
    CHECK_EQ(scan(&s), 0);
    CHECK_EQ(s.walk_end, s.end);
    area[PAGE] = area[3 * PAGE] = area[4 * PAGE] = 'w';
    CHECK_EQ(scan(&s), 2);
    check_region(0, 1, 2, WRITTEN);
    check_region(1, 3, 5, WRITTEN);
    /* Told and protected again at once. */
    s.flags = PROTECT;
    CHECK_EQ(scan(&s), 2);
    s.flags = 0;
    CHECK_EQ(scan(&s), 0);
    CHECK_EQ(area[PAGE], 'w');
    area[7 * PAGE] = 'w';
    CHECK_EQ(scan(&s), 1);
    check_region(0, 7, 8, WRITTEN);
    CHECK_EQ(protect(), 0);
}

/* It ends where there is no more room, and goes on from there. */
static void test_limits(void)
{
    struct scan s = plain();

    for (unsigned long i = 0; i < PAGES; i += 2)
        area[i * PAGE] = 'w';
    s.vec_len = 3;
    CHECK_EQ(scan(&s), 3);
    check_region(2, 4, 5, WRITTEN);
    CHECK_EQ(s.walk_end, (uintptr_t)area + 6 * PAGE);
    s.start = s.walk_end;
    CHECK_EQ(scan(&s), 1);
    check_region(0, 6, 7, WRITTEN);
    CHECK_EQ(s.walk_end, s.end);
    CHECK_EQ(protect(), 0);
    memset(area + 2 * PAGE, 'w', 4 * PAGE);
    s = plain();
    s.max_pages = 3;
    CHECK_EQ(scan(&s), 1);
    check_region(0, 2, 5, WRITTEN);
    CHECK_EQ(s.walk_end, (uintptr_t)area + 5 * PAGE);
    s.max_pages = 4;
    CHECK_EQ(scan(&s), 1);
    check_region(0, 2, 6, WRITTEN);
    CHECK_EQ(s.walk_end, s.end);
}

static void test_categories(void)
{
    struct scan s = plain();

    CHECK_EQ(protect(), 0);
    area[PAGE] = 'w';
    s.mask = 0;
    s.returned = WP_ALLOWED | WRITTEN | PRESENT | IS_FILE;
    CHECK_EQ(scan(&s), 3);
    check_region(0, 0, 1, WP_ALLOWED | PRESENT);
    check_region(1, 1, 2, WP_ALLOWED | PRESENT | WRITTEN);
    check_region(2, 2, 8, WP_ALLOWED | PRESENT);
    /* What was not written; what was, or is a file's. */
    s.mask = s.inverted = WRITTEN;
    CHECK_EQ(scan(&s), 2);
    check_region(0, 0, 1, WP_ALLOWED | PRESENT);
    s.inverted = s.mask = 0;
    s.any_of = WRITTEN | IS_FILE;
    CHECK_EQ(scan(&s), 1);
    check_region(0, 1, 2, WP_ALLOWED | PRESENT | WRITTEN);
    s.any_of = IS_FILE;
    CHECK_EQ(scan(&s), 0);
}

static void test_refused(void)
{
    struct scan s = plain();

    s.size--;
    CHECK_ERRNO(scan(&s), EINVAL);
    s = plain();
    s.flags = 4;
    CHECK_ERRNO(scan(&s), EINVAL);
    s = plain();
    s.mask = 1UL << 40;
    CHECK_ERRNO(scan(&s), EINVAL);
    s = plain();
    s.start++;
    CHECK_ERRNO(scan(&s), EINVAL);
    s = plain();
    s.vec = 0;
    CHECK_ERRNO(scan(&s), EINVAL);
    s = plain();
    s.vec = 1UL << 62;
    CHECK_ERRNO(scan(&s), EFAULT);
    s = plain();
    s.end = 1UL << 62;
    CHECK_ERRNO(scan(&s), EFAULT);
    CHECK_ERRNO(ioctl(pagemap, SCAN, 8), EFAULT);
    CHECK_ERRNO(ioctl(pagemap, _IO('f', 99), 0), EINVAL);
    /* Memory that nobody protects without asking. */
    char *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(other, 'o', SIZE);
    s = plain();
    s.start = (uintptr_t)other;
    s.end = s.start + SIZE;
    s.flags = NEEDS_ASYNC;
    CHECK_ERRNO(scan(&s), EPERM);
    s.flags = PROTECT;
    CHECK_EQ(scan(&s), 0);
    munmap(other, SIZE);
}

int main(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC};
    struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_WP};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0)
        check_skip("userfaultfd(2) is not allowed here");
    CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
    pagemap = open("/proc/self/pagemap", O_RDONLY);
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(area, SIZE, MADV_NOHUGEPAGE);
    memset(area, 'a', SIZE);
    r.range = (struct uffdio_range){(uintptr_t)area, SIZE};
    CHECK_EQ(ioctl(fd, UFFDIO_REGISTER, &r), 0);
    test_written();
    test_limits();
    test_categories();
    test_refused();
    return check_done();
}
