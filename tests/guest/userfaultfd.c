/* userfaultfd: missing pages and protected ones, answered by another thread; waking, signals,
 * errors. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE  4096UL
#define PAGES 8UL

static int uffd = -1;
static char *area;

static int open_uffd(uint64_t features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0)
        CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
    return fd;
}

static int enroll(int fd, void *start, uint64_t size, uint64_t mode)
{
    struct uffdio_register r = {.range = {.start = (uintptr_t)start, .len = size}, .mode = mode};

    return ioctl(fd, UFFDIO_REGISTER, &r);
}

static int copy_page(int fd, void *to, void *from, uint64_t size, uint64_t mode)
{
    struct uffdio_copy c = {
        .dst = (uintptr_t)to, .src = (uintptr_t)from, .len = size, .mode = mode};
    int result = ioctl(fd, UFFDIO_COPY, &c);

    if (result == 0)
        CHECK_EQ(c.copy, size);
    return result;
}

static int protect(int fd, void *start, uint64_t size, uint64_t mode)
{
    struct uffdio_writeprotect p = {.range = {.start = (uintptr_t)start, .len = size},
                                    .mode = mode};

    return ioctl(fd, UFFDIO_WRITEPROTECT, &p);
}

static struct uffd_msg next_message(int fd)
{
    struct pollfd poller = {fd, POLLIN, 0};
    struct uffd_msg msg;

    memset(&msg, 0, sizeof(msg));
    CHECK_EQ(poll(&poller, 1, 10000), 1);
    CHECK_EQ(read(fd, &msg, sizeof(msg)), sizeof(msg));
    CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
    return msg;
}

/* Answers `count` faults: missing pages get the letter of their number, protected ones are freed.
 */
static int answers_left, write_faults, wp_faults;

static void *answer(void *arg)
{
    static char page[PAGE] __attribute__((aligned(4096)));

    for (; answers_left > 0; answers_left--) {
        struct uffd_msg msg = next_message(uffd);
        char *at = (char *)(uintptr_t)(msg.arg.pagefault.address & ~(PAGE - 1));

        write_faults += (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0;
        if (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
            wp_faults++;
            CHECK_EQ(protect(uffd, at, PAGE, 0), 0);
            continue;
        }
        memset(page, 'a' + (int)((at - area) / (long)PAGE), PAGE);
        CHECK_EQ(copy_page(uffd, at, page, PAGE, 0), 0);
    }
    return NULL;
}

static pthread_t start_answers(int count)
{
    pthread_t thread;

    answers_left = count;
    write_faults = wp_faults = 0;
    pthread_create(&thread, NULL, answer, NULL);
    return thread;
}

static void set_up(uint64_t mode)
{
    uffd = open_uffd(0);
    area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(enroll(uffd, area, PAGES * PAGE, mode), 0);
}

static void tear_down(void)
{
    close(uffd);
    munmap(area, PAGES * PAGE);
}

static void test_missing(void)
{
    pthread_t thread;
    int fds[2];

    set_up(UFFDIO_REGISTER_MODE_MISSING);
    thread = start_answers(5);
    CHECK_EQ(*(volatile char *)(area + 2 * PAGE + 5), 'c');
    *(volatile char *)(area + 3 * PAGE) = 'X';
    CHECK_EQ(area[3 * PAGE + 1], 'd');
    CHECK_EQ(area[3 * PAGE], 'X');
    CHECK_EQ(*(volatile char *)area, 'a');
    /* A system call's copies wait, too: out of the memory, and into it. */
    if (pipe(fds) != 0)
        return;
    CHECK_EQ(write(fds[1], area + PAGE, 4), 4);
    CHECK_EQ(read(fds[0], area + 5 * PAGE, 4), 4);
    CHECK_EQ(memcmp(area + 5 * PAGE, "bbbbff", 6), 0);
    pthread_join(thread, NULL);
    CHECK(write_faults >= 1);
    close(fds[0]);
    close(fds[1]);
    /* Emptied, it is missing again. */
    CHECK_EQ(madvise(area, PAGE, MADV_DONTNEED), 0);
    thread = start_answers(1);
    CHECK_EQ(*(volatile char *)area, 'a');
    pthread_join(thread, NULL);
    tear_down();
}

static void test_requests(void)
{
    static char page[2 * PAGE] __attribute__((aligned(4096)));
    struct uffdio_zeropage zero = {.mode = 0};
    struct uffdio_range range;
    struct uffdio_copy c;

    set_up(UFFDIO_REGISTER_MODE_MISSING);
    memset(page, 'p', sizeof(page));
    CHECK_EQ(copy_page(uffd, area, page, 2 * PAGE, 0), 0);
    CHECK_EQ(area[PAGE + 7], 'p');
    CHECK_ERRNO(copy_page(uffd, area, page, PAGE, 0), EEXIST);
    zero.range = (struct uffdio_range){(uintptr_t)area + 2 * PAGE, 2 * PAGE};
    CHECK_EQ(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
    CHECK_EQ(zero.zeropage, 2 * PAGE);
    CHECK_EQ(area[2 * PAGE], 0);
    area[2 * PAGE] = 1;
    CHECK_ERRNO(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), EEXIST);
    CHECK_EQ(zero.zeropage, -EEXIST);
    /* Half of it is there: what came is told. */
    c = (struct uffdio_copy){
        .dst = (uintptr_t)area + 4 * PAGE, .src = (uintptr_t)page, .len = PAGE};
    CHECK_EQ(ioctl(uffd, UFFDIO_COPY, &c), 0);
    c.dst -= 0;
    zero.range = (struct uffdio_range){(uintptr_t)area + 5 * PAGE, PAGE};
    CHECK_EQ(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
    madvise(area + 4 * PAGE, PAGE, MADV_DONTNEED);
    c.len = 2 * PAGE;
    CHECK_ERRNO(ioctl(uffd, UFFDIO_COPY, &c), EAGAIN);
    CHECK_EQ(c.copy, PAGE);

    CHECK_ERRNO(copy_page(uffd, area + 1, page, PAGE, 0), EINVAL);
    CHECK_ERRNO(copy_page(uffd, area, page, 0, 0), EINVAL);
    CHECK_ERRNO(copy_page(uffd, area, page, PAGE, 64), EINVAL);
    CHECK_ERRNO(copy_page(uffd, area + 6 * PAGE, (void *)4096, PAGE, 0), EFAULT);
    CHECK_ERRNO(copy_page(uffd, page, page, PAGE, 0), ENOENT);
    CHECK_ERRNO(protect(uffd, area, PAGE, UFFDIO_WRITEPROTECT_MODE_WP), ENOENT);
    CHECK_ERRNO(ioctl(uffd, UFFDIO_COPY, 8), EFAULT);
    range = (struct uffdio_range){(uintptr_t)area, PAGE};
    CHECK_EQ(ioctl(uffd, UFFDIO_WAKE, &range), 0);
    range.len = 0;
    CHECK_ERRNO(ioctl(uffd, UFFDIO_WAKE, &range), EINVAL);
    range.len = PAGES * PAGE;
    CHECK_EQ(ioctl(uffd, UFFDIO_UNREGISTER, &range), 0);
    CHECK_EQ(*(volatile char *)(area + 7 * PAGE), 0);
    tear_down();
}

static void test_protection(void)
{
    pthread_t thread;

    set_up(UFFDIO_REGISTER_MODE_WP);
    memset(area, 'o', PAGES * PAGE);
    CHECK_EQ(protect(uffd, area, 4 * PAGE, UFFDIO_WRITEPROTECT_MODE_WP), 0);
    CHECK_EQ(area[PAGE], 'o');
    area[5 * PAGE] = 'n';
    thread = start_answers(2);
    *(volatile char *)(area + PAGE) = 'w';
    *(volatile char *)(area + PAGE + 1) = 'w';
    *(volatile char *)(area + 3 * PAGE) = 'w';
    pthread_join(thread, NULL);
    CHECK_EQ(wp_faults, 2);
    CHECK_EQ(write_faults, 2);
    CHECK_EQ(memcmp(area + PAGE, "wwo", 3), 0);
    /* A copy of the memory has no watcher. */
    int status = -1;
    if (fork() == 0) {
        *(volatile char *)(area + 2 * PAGE) = 'f';
        _exit(area[2 * PAGE] == 'f' ? 0 : 1);
    }
    wait(&status);
    CHECK_EQ(status, 0);
    CHECK_EQ(area[2 * PAGE], 'o');
    thread = start_answers(1);
    *(volatile char *)(area + 2 * PAGE) = 'w';
    pthread_join(thread, NULL);
    CHECK_EQ(wp_faults, 1);
    CHECK_ERRNO(
        protect(uffd, area, PAGE, UFFDIO_WRITEPROTECT_MODE_WP | UFFDIO_WRITEPROTECT_MODE_DONTWAKE),
        EINVAL);
    /* Closing frees everything. */
    CHECK_EQ(protect(uffd, area, PAGE, UFFDIO_WRITEPROTECT_MODE_WP), 0);
    close(uffd);
    area[0] = 'z';
    CHECK_EQ(area[0], 'z');
    munmap(area, PAGES * PAGE);
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int signo)
{
    signals_seen++;
}

static pthread_t victim;

static void *toucher(void *arg)
{
    return (void *)(long)*(volatile char *)arg;
}

/* A signal is handled while the access waits; then it waits again. */
static void test_signal(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    static char page[PAGE] __attribute__((aligned(4096)));
    struct uffd_msg msg;
    void *result;

    sigaction(SIGUSR1, &action, NULL);
    memset(page, 's', PAGE);
    set_up(UFFDIO_REGISTER_MODE_MISSING);
    pthread_create(&victim, NULL, toucher, area + PAGE + 33);
    msg = next_message(uffd);
    CHECK_EQ(msg.arg.pagefault.address, (uintptr_t)area + PAGE);
    pthread_kill(victim, SIGUSR1);
    msg = next_message(uffd);
    CHECK_EQ(signals_seen, 1);
    CHECK_EQ(msg.arg.pagefault.address, (uintptr_t)area + PAGE);
    CHECK_EQ(copy_page(uffd, area + PAGE, page, PAGE, UFFDIO_COPY_MODE_DONTWAKE), 0);
    struct uffdio_range range = {(uintptr_t)area + PAGE, PAGE};
    CHECK_EQ(ioctl(uffd, UFFDIO_WAKE, &range), 0);
    pthread_join(victim, &result);
    CHECK_EQ((long)result, 's');

    /* Closing lets go who waits. */
    pthread_create(&victim, NULL, toucher, area + 3 * PAGE);
    next_message(uffd);
    close(uffd);
    pthread_join(victim, &result);
    CHECK_EQ((long)result, 0);
    munmap(area, PAGES * PAGE);
}

static void test_features(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffd_msg msg;
    struct pollfd poller;
    int fds[2], fd;
    char *p;

    /* With SIGBUS nobody waits; with USER_MODE_ONLY system calls fail. */
    fd = open_uffd(UFFD_FEATURE_SIGBUS);
    p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(enroll(fd, p, PAGE, UFFDIO_REGISTER_MODE_MISSING), 0);
    if (pipe(fds) != 0)
        return;
    CHECK_ERRNO(write(fds[1], p, 1), EFAULT);
    int status = -1;
    close(fd);
    CHECK_EQ(p[0], 0);

    fd = (int)syscall(SYS_userfaultfd, O_NONBLOCK | UFFD_USER_MODE_ONLY);
    CHECK_ERRNO(read(fd, &msg, sizeof(msg)), EINVAL);
    CHECK_ERRNO(enroll(fd, p, PAGE, UFFDIO_REGISTER_MODE_MISSING), EINVAL);
    poller = (struct pollfd){fd, POLLIN, 0};
    CHECK_EQ(poll(&poller, 1, 0), 1);
    CHECK_EQ(poller.revents, POLLERR);
    api.features = 1UL << 60;
    CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api), EINVAL);
    api = (struct uffdio_api){.api = 0xbb};
    CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api), EINVAL);
    api = (struct uffdio_api){.api = UFFD_API};
    CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
    CHECK(api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP);
    CHECK_EQ(api.ioctls, UFFD_API_IOCTLS);
    CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api), EINVAL);
    CHECK_ERRNO(read(fd, &msg, sizeof(msg)), EAGAIN);
    CHECK_ERRNO(read(fd, &msg, 3), EINVAL);
    munmap(p, PAGE);
    p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(enroll(fd, p, PAGE, UFFDIO_REGISTER_MODE_MISSING), 0);
    CHECK_ERRNO(write(fds[1], p, 1), EFAULT);
    CHECK_ERRNO(enroll(fd, p, PAGE, 0), EINVAL);
    CHECK_ERRNO(enroll(fd, p, PAGE, 64), EINVAL);
    CHECK_ERRNO(enroll(fd, p + 1, PAGE, UFFDIO_REGISTER_MODE_MISSING), EINVAL);
    CHECK_ERRNO(enroll(fd, p, 0, UFFDIO_REGISTER_MODE_MISSING), EINVAL);
    uffd = open_uffd(0);
    CHECK_ERRNO(enroll(uffd, p, 2 * PAGE, UFFDIO_REGISTER_MODE_MISSING), EBUSY);
    CHECK_EQ(enroll(uffd, p + PAGE, PAGE, UFFDIO_REGISTER_MODE_MISSING), 0);
    close(uffd);
    close(fd);
    CHECK_EQ(p[0], 0);
    CHECK_ERRNO(syscall(SYS_userfaultfd, 64), EINVAL);
    CHECK_ERRNO(enroll(fds[0], p, PAGE, UFFDIO_REGISTER_MODE_MISSING), ENOTTY);

    /* The memory goes before the descriptor. */
    if (fork() == 0) {
        set_up(UFFDIO_REGISTER_MODE_MISSING);
        if (fork() == 0) {
            /* Nobody but us has the other end when our parent has gone. */
            close(fds[1]);
            if (read(fds[0], &msg, 1) == 1)
                note("%s", copy_page(uffd, area, p, PAGE, 0) < 0 ? strerror(errno) : "copied");
            _exit(0);
        }
        _exit(0);
    }
    wait(&status);
    CHECK_EQ(status, 0);
    if (write(fds[1], "x", 1) == 1)
        usleep(100000);
    close(fds[0]);
    close(fds[1]);
}

/* A process that is killed while a system call's copy waits, ends. */
static void test_kill(void)
{
    int fds[2], stuck[2], status = -1;
    pid_t pid;
    char c;

    if (pipe(fds) != 0 || pipe(stuck) != 0)
        return;
    pid = fork();
    if (pid == 0) {
        set_up(UFFDIO_REGISTER_MODE_MISSING);
        if (write(fds[1], "x", 1) == 1)
            c = (char)write(stuck[1], area, 1);
        _exit(1);
    }
    CHECK_EQ(read(fds[0], &c, 1), 1);
    usleep(20000);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CHECK_EQ(status, SIGKILL);
}

int main(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0)
        check_skip("userfaultfd(2) is not allowed here");
    close(fd);
    test_missing();
    test_requests();
    test_protection();
    test_signal();
    test_features();
    test_kill();
    return check_done();
}
