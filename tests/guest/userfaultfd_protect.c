/* userfaultfd: write protection of shared memory, of pages that are not there, and asynchronous. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

#define PAGE  4096UL
#define PAGES 8UL
#define SIZE  (PAGES * PAGE)

static int uffd = -1, memfd = -1;
static char *area;
static char letters[PAGE] __attribute__((aligned(4096)));

static void open_uffd(uint64_t features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};

    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    CHECK_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
    CHECK_EQ(api.features & features, features);
}

static int watch(uint64_t mode)
{
    struct uffdio_register r = {.range = {(uintptr_t)area, SIZE}, .mode = mode};

    return ioctl(uffd, UFFDIO_REGISTER, &r);
}

static void map_shared(int flags)
{
    memfd = memfd_create("watched", 0);
    CHECK_EQ(ftruncate(memfd, SIZE), 0);
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, memfd, 0);
}

static void map_anonymous(void)
{
    memfd = -1;
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void end(void)
{
    close(uffd);
    munmap(area, SIZE);
    if (memfd >= 0)
        close(memfd);
}

static int protect(unsigned long page, unsigned long pages, bool on)
{
    struct uffdio_writeprotect p = {.range = {(uintptr_t)area + page * PAGE, pages * PAGE},
                                    .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

    return ioctl(uffd, UFFDIO_WRITEPROTECT, &p);
}

static int copy(unsigned long page, uint64_t mode)
{
    struct uffdio_copy c = {
        .dst = (uintptr_t)area + page * PAGE, .src = (uintptr_t)letters, .len = PAGE, .mode = mode};

    return ioctl(uffd, UFFDIO_COPY, &c);
}

static void *write_page(void *arg)
{
    *(volatile char *)arg = 'w';
    return NULL;
}

/* Somebody writes to the page: whoever watches is asked first, with these flags. */
static void check_asked(unsigned long page, uint64_t flags)
{
    struct pollfd poller = {uffd, POLLIN, 0};
    struct uffd_msg msg = {0};
    pthread_t writer;

    pthread_create(&writer, NULL, write_page, area + page * PAGE);
    CHECK_EQ(poll(&poller, 1, 10000), 1);
    CHECK_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
    CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
    CHECK_EQ(msg.arg.pagefault.address & ~(PAGE - 1), (uintptr_t)area + page * PAGE);
    CHECK_EQ(msg.arg.pagefault.flags & (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE), flags);
    if (flags & UFFD_PAGEFAULT_FLAG_WP)
        CHECK_EQ(protect(page, 1, false), 0);
    else
        CHECK_EQ(copy(page, 0), 0);
    pthread_join(writer, NULL);
    CHECK_EQ(area[page * PAGE], 'w');
}

#define WP_WRITE (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE)

static void check_untold(unsigned long page)
{
    struct uffd_msg msg;

    area[page * PAGE] = 'u';
    CHECK_ERRNO(read(uffd, &msg, sizeof(msg)), EAGAIN);
}

static void test_shared(void)
{
    char byte = 0;

    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
    map_shared(MAP_SHARED);
    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP), 0);
    area[0] = 'a';
    area[PAGE] = 'b';
    CHECK_EQ(protect(0, 4, true), 0);
    CHECK_EQ(area[0], 'a');
    check_asked(0, WP_WRITE);
    check_untold(0);
    check_asked(2, WP_WRITE); /* nothing was there, and the protection held all the same */
    CHECK_EQ(area[3 * PAGE], 0);
    check_asked(3, WP_WRITE);
    check_untold(5);
    /* Others write as ever. */
    CHECK_EQ(pwrite(memfd, "p", 1, PAGE), 1);
    CHECK_EQ(area[PAGE], 'p');
    check_asked(1, WP_WRITE);
    /* What is taken from the mapping comes back protected. */
    CHECK_EQ(protect(0, 2, true), 0);
    CHECK_EQ(madvise(area, 2 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(area[PAGE], 'w');
    check_asked(1, WP_WRITE);
    check_asked(0, WP_WRITE);
    /* A system call that writes there is asked about, too; one that only reads is not. */
    CHECK_EQ(protect(4, 1, true), 0);
    CHECK_EQ(pwrite(memfd, area + 4 * PAGE, 1, 0), 1);
    CHECK_EQ(pread(memfd, &byte, 1, 0), 1);
    CHECK_EQ(protect(0, 8, false), 0);
    check_untold(4);
    /* Unregistered, nothing is left of it. */
    CHECK_EQ(protect(0, 8, true), 0);
    struct uffdio_range range = {(uintptr_t)area, SIZE};
    CHECK_EQ(ioctl(uffd, UFFDIO_UNREGISTER, &range), 0);
    check_untold(1);
    check_untold(7);
    end();
}

static void test_shared_copy(void)
{
    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
    map_shared(MAP_SHARED);
    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING), 0);
    CHECK_EQ(copy(0, UFFDIO_COPY_MODE_WP), 0);
    CHECK_ERRNO(copy(0, 0), EEXIST);
    CHECK_EQ(area[0], 'c');
    check_asked(0, WP_WRITE);
    check_asked(1, UFFD_PAGEFAULT_FLAG_WRITE);
    CHECK_EQ(protect(2, 1, true), 0);
    CHECK_EQ(copy(2, 0), 0); /* in the place of the mark that a page is to be protected */
    check_untold(2);
    end();
}

static void test_holes(void)
{
    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED);
    map_anonymous();
    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP), 0);
    CHECK_EQ(protect(0, 8, true), 0);
    CHECK_EQ(area[2 * PAGE], 0);
    check_asked(2, WP_WRITE);
    check_asked(3, WP_WRITE);
    CHECK_EQ(protect(4, 1, false), 0);
    check_untold(4);
    CHECK_EQ(madvise(area, SIZE, MADV_DONTNEED), 0); /* takes the marks of private memory, too */
    check_untold(3);
    check_untold(5);
    end();
    /* Without the feature there is nothing to protect where no page is. */
    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
    map_anonymous();
    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP), 0);
    CHECK_EQ(protect(0, 8, true), 0);
    check_untold(2);
    end();
}

/* In private memory of a file, too; and a fork's child is not watched. */
static void test_fork(void)
{
    int status;
    pid_t child;

    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
    map_shared(MAP_SHARED);
    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP), 0);
    area[0] = 'a';
    CHECK_EQ(protect(0, 8, true), 0);
    child = fork();
    if (child == 0) {
        area[0] = area[PAGE] = 'k';
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(area[PAGE], 'k');
    check_asked(0, WP_WRITE);
    check_asked(1, WP_WRITE);
    end();
}

static void test_private_file(void)
{
    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
              UFFD_FEATURE_MISSING_SHMEM);
    map_shared(MAP_PRIVATE);
    CHECK_EQ(pwrite(memfd, "f", 1, 2 * PAGE), 1);
    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING), 0);
    CHECK_EQ(area[2 * PAGE], 'f');
    check_asked(1, UFFD_PAGEFAULT_FLAG_WRITE);
    CHECK_EQ(copy(3, 0), 0);
    CHECK_EQ(area[3 * PAGE], 'c');
    /* What came is this mapping's own. */
    char byte = 1;
    CHECK_EQ(pread(memfd, &byte, 1, PAGE), 1);
    CHECK_EQ(byte, 0);
    CHECK_EQ(pread(memfd, &byte, 1, 3 * PAGE), 1);
    CHECK_EQ(byte, 0);
    CHECK_EQ(protect(2, 1, true), 0);
    check_asked(2, WP_WRITE);
    CHECK_EQ(pread(memfd, &byte, 1, 2 * PAGE), 1);
    CHECK_EQ(byte, 'f');
    end();
}

/* Bits 57 (protected) of /proc/self/pagemap, the page's own number each. */
static unsigned protected_pages(void)
{
    uint64_t entries[PAGES] = {0};
    unsigned set = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);

    CHECK_EQ(pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)area / PAGE * 8)),
             sizeof(entries));
    close(fd);
    for (unsigned i = 0; i < PAGES; i++)
        set |= (unsigned)(entries[i] >> 57 & 1) << i;
    return set;
}

static void check_async(void)
{
    struct uffd_msg msg;

    CHECK_EQ(watch(UFFDIO_REGISTER_MODE_WP), 0);
    area[0] = area[PAGE] = 'a';
    CHECK_EQ(protect(0, 8, true), 0);
    CHECK_EQ(protected_pages(), 0xff);
    area[PAGE] = 'b';
    area[3 * PAGE] = 'c';
    CHECK_EQ(area[0], 'a');
    CHECK_EQ(protected_pages(), 0xff & ~0xaU);
    CHECK(area[PAGE] == 'b' && area[3 * PAGE] == 'c');
    CHECK_ERRNO(read(uffd, &msg, sizeof(msg)), EAGAIN);
    CHECK_EQ(protect(1, 1, true), 0);
    CHECK_EQ(protected_pages(), 0xff & ~0x8U);
    CHECK_EQ(protect(0, 4, false), 0);
    CHECK_EQ(protected_pages(), 0xf0);
}

/* Writes need no answer: they are only remembered. Any memory may be watched so. */
static void test_async(void)
{
    open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC);
    map_anonymous();
    check_async();
    munmap(area, SIZE);
    map_shared(MAP_SHARED);
    check_async();
    munmap(area, SIZE);
    close(memfd);
    memfd = open("/proc/self/exe", O_RDONLY);
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, memfd, 0);
    check_async();
    CHECK_ERRNO(watch(UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP), EINVAL);
    end();
}

int main(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0)
        check_skip("userfaultfd(2) is not allowed here");
    close(fd);
    memset(letters, 'c', PAGE);
    alarm(30);
    test_shared();
    test_shared_copy();
    test_holes();
    test_fork();
    test_private_file();
    test_async();
    return check_done();
}
