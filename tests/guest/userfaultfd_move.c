/* userfaultfd: pages that are moved (UFFDIO_MOVE) or poisoned (UFFDIO_POISON), and the device that
 * makes descriptors. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE  4096UL
#define PAGES 8UL

/* Newer than the headers. */
struct move {
    uint64_t dst, src, size, mode;
    int64_t done;
};
struct poison {
    struct uffdio_range range;
    uint64_t mode;
    int64_t done;
};
#define MOVE         _IOWR(0xaa, 5, struct move)
#define MOVE_HOLES   2
#define POISON       _IOWR(0xaa, 8, struct poison)
#define BIT_POISON   (1UL << 14)
#define BIT_MOVE     (1UL << 16)
#define GUARD        102
#define GUARD_REMOVE 103

static int uffd = -1;
static char *area, *store;
static sigjmp_buf after_fault;
static volatile int fault_signo, fault_code, fault_lsb;
static void *volatile fault_addr;

static char *memory(void)
{
    char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
    return p;
}

static void set_up(int flags)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};

    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);
    CHECK_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
    CHECK_EQ(api.features & (BIT_MOVE | BIT_POISON), BIT_MOVE | BIT_POISON);
    area = memory();
    store = memory();
    r.range = (struct uffdio_range){(uintptr_t)area, PAGES * PAGE};
    CHECK_EQ(ioctl(uffd, UFFDIO_REGISTER, &r), 0);
    CHECK_EQ(r.ioctls >> 5 & 1, 1);
    CHECK_EQ(r.ioctls >> 8 & 1, 1);
}

static void tear_down(void)
{
    close(uffd);
    munmap(area, PAGES * PAGE);
    munmap(store, PAGES * PAGE);
}

static int64_t moved;

static int move(void *to, void *from, uint64_t pages, uint64_t mode)
{
    struct move m = {(uintptr_t)to, (uintptr_t)from, pages * PAGE, mode, 77};
    int result = ioctl(uffd, MOVE, &m);

    moved = m.done;
    return result;
}

static int poison(void *at, uint64_t pages)
{
    struct poison p = {.range = {(uintptr_t)at, pages * PAGE}, .done = 77};
    int result = ioctl(uffd, POISON, &p);

    moved = p.done;
    return result;
}

static int copy(void *to, void *from)
{
    struct uffdio_copy c = {.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = PAGE};

    return ioctl(uffd, UFFDIO_COPY, &c);
}

static int zero(void *to)
{
    struct uffdio_zeropage z = {.range = {(uintptr_t)to, PAGE}};

    return ioctl(uffd, UFFDIO_ZEROPAGE, &z);
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
    fault_signo = signo;
    fault_code = info->si_code;
    fault_addr = info->si_addr;
    fault_lsb = info->si_addr_lsb;
    siglongjmp(after_fault, 1);
}

/* The signal that a read of the byte ends with; 0: none. */
static int touch(char *at)
{
    fault_signo = 0;
    if (sigsetjmp(after_fault, 1) == 0)
        (void)*(volatile char *)at;
    return fault_signo;
}

static void fill_store(void)
{
    for (unsigned long i = 0; i < PAGES; i++)
        memset(store + i * PAGE, 'a' + (int)i, PAGE);
}

static void test_move(void)
{
    int fds[2];
    char c = 'w';

    set_up(0);
    fill_store();
    CHECK_EQ(move(area + PAGE, store, 3, 0), 0);
    CHECK_EQ(moved, 3 * PAGE);
    CHECK_EQ(area[PAGE], 'a');
    CHECK_EQ(area[4 * PAGE - 1], 'c');
    area[2 * PAGE] = 'X';
    /* Where it was there is nothing now, and writing there is no matter to the moved page. */
    CHECK_EQ(store[PAGE], 0);
    store[PAGE] = 'n';
    CHECK_EQ(area[2 * PAGE], 'X');
    CHECK_EQ(area[2 * PAGE + 1], 'b');
    CHECK_EQ(store[3 * PAGE], 'd');
    /* System calls see it as the program does. */
    if (pipe(fds) == 0) {
        CHECK_EQ(write(fds[1], area + 3 * PAGE, 2), 2);
        CHECK_EQ(read(fds[0], store, 2), 2);
        CHECK_EQ(memcmp(store, "cc", 3), 0);
        close(fds[0]);
        close(fds[1]);
    }
    /* Something is there; the second page is; nothing is at the source. */
    CHECK_ERRNO(move(area + PAGE, store + 4 * PAGE, 1, 0), EEXIST);
    CHECK_EQ(moved, -EEXIST);
    CHECK_ERRNO(move(area, store + 4 * PAGE, 2, 0), EAGAIN);
    CHECK_EQ(moved, PAGE);
    CHECK_EQ(area[0], 'e');
    madvise(store, PAGES * PAGE, MADV_DONTNEED);
    CHECK_ERRNO(move(area + 5 * PAGE, store, 1, 0), ENOENT);
    store[2 * PAGE] = c;
    CHECK_EQ(move(area + 5 * PAGE, store, 3, MOVE_HOLES), 0);
    CHECK_EQ(moved, 3 * PAGE);
    CHECK_EQ(area[7 * PAGE], 'w');
    tear_down();
}

static void test_move_errors(void)
{
    char *other, *shared;
    int status = -1;

    set_up(0);
    fill_store();
    CHECK_ERRNO(move(area + 1, store, 1, 0), EINVAL);
    CHECK_ERRNO(move(area, store + 1, 1, 0), EINVAL);
    CHECK_ERRNO(move(area, store, 0, 0), EINVAL);
    CHECK_ERRNO(move(area, store, 1, 64), EINVAL);
    CHECK_ERRNO(move(store, area, 1, 0), EINVAL);
    CHECK_ERRNO(ioctl(uffd, MOVE, 8), EFAULT);
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[0] = 1;
    CHECK_ERRNO(move(area, shared, 1, 0), EINVAL);
    munmap(shared, PAGE);
    CHECK_ERRNO(move(area, shared, 1, 0), ENOENT);
    other = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_ERRNO(move(area, other, 1, 0), EINVAL);
    munmap(other, PAGE);
    CHECK_ERRNO(move(area, store + 7 * PAGE, 2, 0), EINVAL);
    CHECK_EQ(madvise(store + PAGE, PAGE, GUARD), 0);
    CHECK_ERRNO(move(area, store + PAGE, 1, 0), EFAULT);
    /* Shared with a child: only while it is so. A child cannot move pages of its parent. */
    int fds[2];
    if (pipe(fds) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        char c;

        CHECK_ERRNO(move(area, store + 2 * PAGE, 1, 0), EINVAL);
        close(fds[1]);
        _exit(read(fds[0], &c, 1) != 0 || check_failures != 0);
    }
    CHECK_ERRNO(move(area, store + 2 * PAGE, 1, 0), EBUSY);
    CHECK_EQ(moved, -EBUSY);
    close(fds[1]);
    close(fds[0]);
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
    store[3 * PAGE] = 'W';
    CHECK_EQ(move(area, store + 3 * PAGE, 1, 0), 0);
    CHECK_EQ(area[0], 'W');
    CHECK_EQ(area[1], 'd');
    tear_down();
}

static void *answer(void *arg)
{
    struct uffd_msg msg;

    CHECK_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
    if (arg)
        CHECK_EQ(move((void *)(uintptr_t)msg.arg.pagefault.address, arg, 1, 0), 0);
    else
        CHECK_EQ(poison((void *)(uintptr_t)msg.arg.pagefault.address, 1), 0);
    return NULL;
}

static void test_answers(void)
{
    pthread_t thread;

    set_up(0);
    fill_store();
    pthread_create(&thread, NULL, answer, store + 3 * PAGE);
    CHECK_EQ(*(volatile char *)(area + PAGE + 3), 'd');
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, answer, NULL);
    CHECK_EQ(touch(area + 2 * PAGE + 5), SIGBUS);
    /* A kernel without CONFIG_MEMORY_FAILURE tells it as any other SIGBUS. */
    CHECK(fault_code == BUS_ADRERR || (fault_code == BUS_MCEERR_AR && fault_lsb == 12));
    CHECK_EQ(fault_addr == area + 2 * PAGE + 5, true);
    pthread_join(thread, NULL);
    tear_down();
}

static void test_poison(void)
{
    int fds[2], status = -1;

    set_up(O_NONBLOCK);
    fill_store();
    CHECK_EQ(poison(area + PAGE, 4), 0);
    CHECK_EQ(moved, 4 * PAGE);
    CHECK_EQ(touch(area + 4 * PAGE), SIGBUS);
    CHECK_ERRNO(poison(area + 4 * PAGE, 1), EEXIST);
    CHECK_EQ(moved, -EEXIST);
    CHECK_ERRNO(poison(area, 2), EAGAIN);
    CHECK_EQ(moved, PAGE);
    CHECK_ERRNO(poison(area, 0), EINVAL);
    CHECK_ERRNO(poison(area + 1, 1), EINVAL);
    CHECK_ERRNO(poison(store, 1), ENOENT);
    CHECK_ERRNO(zero(area), EEXIST);
    CHECK_ERRNO(move(area, store, 1, 0), EEXIST);
    if (pipe(fds) != 0)
        return;
    CHECK_ERRNO(write(fds[1], area, 1), EFAULT);
    /* Bytes take its place; so does a child have it; guards are another thing. */
    CHECK_EQ(copy(area, store), 0);
    CHECK_EQ(area[5], 'a');
    CHECK_EQ(madvise(area + PAGE, PAGE, GUARD_REMOVE), 0);
    CHECK_EQ(touch(area + PAGE), SIGBUS);
    if (fork() == 0)
        _exit(touch(area + PAGE) == SIGBUS && touch(area) == 0 ? 0 : 1);
    wait(&status);
    CHECK_EQ(status, 0);
    CHECK_EQ(madvise(area + PAGE, PAGE, GUARD), 0);
    CHECK_EQ(touch(area + PAGE), SIGSEGV);
    /* It goes with DONTNEED, and the page is missing again; it moves with mremap(2). */
    CHECK_EQ(madvise(area + 2 * PAGE, PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(copy(area + 2 * PAGE, store + PAGE), 0);
    CHECK_EQ(area[2 * PAGE], 'b');
    CHECK_EQ(mremap(area + 3 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, store) == store, 1);
    CHECK_EQ(touch(store), SIGBUS);
    close(fds[0]);
    close(fds[1]);
    /* It outlives the descriptor. */
    close(uffd);
    CHECK_EQ(touch(area + 4 * PAGE), SIGBUS);
    CHECK_EQ(touch(area + 5 * PAGE), 0);
    munmap(area, PAGES * PAGE);
    munmap(store, PAGES * PAGE);
}

static void test_device(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct stat st;
    int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;
    char c;

    CHECK(dev >= 0);
    CHECK_EQ(fstat(dev, &st), 0);
    CHECK_EQ(st.st_mode, S_IFCHR | 0600);
    CHECK_EQ(major(st.st_rdev), 10);
    fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    CHECK(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
    CHECK_ERRNO(read(fd, &c, 1), EINVAL);
    close(fd);
    CHECK_ERRNO(ioctl(dev, USERFAULTFD_IOC_NEW, 64), EINVAL);
    CHECK_ERRNO(ioctl(dev, UFFDIO_API, &api), EINVAL);
    CHECK_ERRNO(read(dev, &c, 1), EINVAL);
    close(dev);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct uffdio_api api = {.api = UFFD_API};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0 || access("/dev/userfaultfd", R_OK | W_OK) != 0)
        check_skip("userfaultfd(2) or its device is not allowed here");
    if (ioctl(fd, UFFDIO_API, &api) != 0 || !(api.features & BIT_MOVE))
        check_skip("this kernel does not move pages");
    close(fd);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    test_move();
    test_move_errors();
    test_answers();
    test_poison();
    test_device();
    return check_done();
}
