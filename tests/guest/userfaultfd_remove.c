/* userfaultfd: who takes pages away with madvise(2) waits until that was told (UFFD_EVENT_REMOVE).
 */
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
#define SIZE  (PAGES * PAGE)

static int uffd = -1;
static char *area;
static char letters[PAGE] __attribute__((aligned(4096)));

static void set_up(uint64_t features, int map_flags)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};

    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    CHECK_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, map_flags | MAP_ANONYMOUS, -1, 0);
    r.range = (struct uffdio_range){(uintptr_t)area, SIZE};
    CHECK_EQ(ioctl(uffd, UFFDIO_REGISTER, &r), 0);
    memset(letters, 'c', PAGE);
}

static void tear_down(void)
{
    close(uffd);
    munmap(area, SIZE);
}

static int64_t copied;

static int copy(unsigned long page)
{
    struct uffdio_copy c = {
        .dst = (uintptr_t)area + page * PAGE, .src = (uintptr_t)letters, .len = PAGE};
    int result = ioctl(uffd, UFFDIO_COPY, &c);

    copied = c.copy;
    return result;
}

/* At once after an event who was told of it may not be there yet, and no page may come. */
static int copy_at_last(unsigned long page)
{
    int result;

    while ((result = copy(page)) != 0 && errno == EAGAIN)
        usleep(100);
    return result;
}

struct advice {
    unsigned long page, pages;
    int advice;
};

static void *advise(void *arg)
{
    const struct advice *a = arg;

    return (void *)(long)madvise(area + a->page * PAGE, a->pages * PAGE, a->advice);
}

static pthread_t adviser;

static void begin(struct advice *a)
{
    struct pollfd poller = {uffd, POLLIN, 0};

    pthread_create(&adviser, NULL, advise, a);
    CHECK_EQ(poll(&poller, 1, 10000), 1);
    CHECK_EQ(poller.revents, POLLIN);
}

static void check_told(const struct advice *a)
{
    struct uffd_msg msg;

    CHECK_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
    CHECK_EQ(msg.event, UFFD_EVENT_REMOVE);
    CHECK_EQ(msg.arg.remove.start, (uintptr_t)area + a->page * PAGE);
    CHECK_EQ(msg.arg.remove.end, (uintptr_t)area + (a->page + a->pages) * PAGE);
}

static long end(void)
{
    void *result;

    pthread_join(adviser, &result);
    return (long)result;
}

static void test_remove(int map_flags, int advice)
{
    struct advice a = {2, 3, advice};
    struct uffd_msg msg;

    set_up(UFFD_FEATURE_EVENT_REMOVE, map_flags);
    for (unsigned long i = 0; i < 5; i++)
        CHECK_EQ(copy(i), 0);
    begin(&a);
    /* Not yet told: the pages are still there, and none may come. */
    CHECK_EQ(area[2 * PAGE], 'c');
    CHECK_ERRNO(copy(6), EAGAIN);
    CHECK_EQ(copied, -EAGAIN);
    check_told(&a);
    CHECK_EQ(end(), 0);
    CHECK_ERRNO(read(uffd, &msg, sizeof(msg)), EAGAIN);
    /* Gone: they can be put in again, and what was not meant is there. */
    CHECK_EQ(area[PAGE], 'c');
    for (unsigned long i = 2; i < 5; i++)
        CHECK_EQ(copy_at_last(i), 0);
    CHECK_ERRNO(copy(1), EEXIST);
    tear_down();
}

static void test_others(void)
{
    struct advice a = {0, PAGES, MADV_DONTNEED};

    /* What takes nothing away is not told; nor is anything to who has not asked. */
    set_up(UFFD_FEATURE_EVENT_REMOVE, MAP_PRIVATE);
    CHECK_EQ(copy(0), 0);
    CHECK_EQ(madvise(area, SIZE, MADV_SEQUENTIAL), 0);
    CHECK_ERRNO(madvise(area, PAGE, MADV_REMOVE), EINVAL);
    /* Closing lets go. */
    begin(&a);
    close(uffd);
    CHECK_EQ(end(), 0);
    CHECK_EQ(area[0], 0);
    munmap(area, SIZE);
    set_up(0, MAP_PRIVATE);
    CHECK_EQ(copy(0), 0);
    CHECK_EQ(madvise(area, SIZE, MADV_DONTNEED), 0);
    CHECK_EQ(copy(0), 0);
    tear_down();
}

/* The wait ends with the process. */
static void test_kill(void)
{
    int fds[2], status = -1;
    pid_t pid;
    char c;

    if (pipe(fds) != 0)
        return;
    pid = fork();
    if (pid == 0) {
        struct advice a = {0, 1, MADV_DONTNEED};

        set_up(UFFD_FEATURE_EVENT_REMOVE, MAP_PRIVATE);
        begin(&a);
        if (write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK_EQ(read(fds[0], &c, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CHECK_EQ(status, SIGKILL);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0)
        check_skip("userfaultfd(2) is not allowed here");
    close(fd);
    test_remove(MAP_PRIVATE, MADV_DONTNEED);
    test_remove(MAP_SHARED, MADV_REMOVE);
    test_others();
    test_kill();
    return check_done();
}
