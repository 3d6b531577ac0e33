/* userfaultfd: who unmaps, moves or forks memory that is watched waits until that was told. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
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
static char *area; /* twice as large as what is watched: its first half */
static char letters[PAGE] __attribute__((aligned(4096)));

static void watch(uint64_t features, uint64_t mode)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    struct uffdio_register r = {.mode = mode};

    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    CHECK_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
    area = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r.range = (struct uffdio_range){(uintptr_t)area, SIZE};
    CHECK_EQ(ioctl(uffd, UFFDIO_REGISTER, &r), 0);
    memset(letters, 'c', PAGE);
}

static void unwatch(void)
{
    close(uffd);
    munmap(area, 2 * SIZE);
}

static int copy_to(int fd, char *page)
{
    struct uffdio_copy c = {.dst = (uintptr_t)page, .src = (uintptr_t)letters, .len = PAGE};

    return ioctl(fd, UFFDIO_COPY, &c);
}

/* At once after an event who was told of it may not be there yet, and no page may come. */
static int copy_at_last(int fd, char *page)
{
    int result;

    while ((result = copy_to(fd, page)) != 0 && errno == EAGAIN)
        usleep(100);
    return result;
}

static struct uffd_msg told(int fd, unsigned event)
{
    struct pollfd poller = {fd, POLLIN, 0};
    struct uffd_msg msg = {0};

    CHECK_EQ(poll(&poller, 1, 10000), 1);
    CHECK_EQ(read(fd, &msg, sizeof(msg)), sizeof(msg));
    CHECK_EQ(msg.event, event);
    return msg;
}

static void nothing_told(void)
{
    struct uffd_msg msg;

    CHECK_ERRNO(read(uffd, &msg, sizeof(msg)), EAGAIN);
}

static pthread_t actor;

static void begin(void *(*action)(void *))
{
    struct pollfd poller = {uffd, POLLIN, 0};

    pthread_create(&actor, NULL, action, NULL);
    CHECK_EQ(poll(&poller, 1, 10000), 1);
    /* Until it is read no page comes. */
    CHECK_ERRNO(copy_to(uffd, area + (PAGES - 1) * PAGE), EAGAIN);
}

static void *end(void)
{
    void *result;

    pthread_join(actor, &result);
    return result;
}

static void check_unmap(const struct uffd_msg *msg, const char *start, const char *stop)
{
    CHECK_EQ(msg->arg.remove.start, (uintptr_t)start);
    CHECK_EQ(msg->arg.remove.end, (uintptr_t)stop);
}

static void *unmap_some(void *arg)
{
    return (void *)(long)munmap(area + PAGE, 3 * PAGE);
}

static void *map_over(void *arg)
{
    char *at = area + 5 * PAGE;

    return mmap(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* The range is told as it was asked for, and once, though only a part of it is watched. */
static void *unmap_border(void *arg)
{
    return (void *)(long)munmap(area + 6 * PAGE, 4 * PAGE);
}

static void test_unmap(void)
{
    struct uffd_msg msg;

    watch(UFFD_FEATURE_EVENT_UNMAP, UFFDIO_REGISTER_MODE_MISSING);
    begin(unmap_some);
    msg = told(uffd, UFFD_EVENT_UNMAP);
    check_unmap(&msg, area + PAGE, area + 4 * PAGE);
    CHECK_EQ((long)end(), 0);
    CHECK_EQ(copy_at_last(uffd, area), 0);
    CHECK_ERRNO(copy_to(uffd, area + PAGE), ENOENT);
    begin(map_over);
    msg = told(uffd, UFFD_EVENT_UNMAP);
    check_unmap(&msg, area + 5 * PAGE, area + 6 * PAGE);
    CHECK_EQ(end(), area + 5 * PAGE);
    CHECK_EQ(area[5 * PAGE], 0); /* not watched */
    begin(unmap_border);
    msg = told(uffd, UFFD_EVENT_UNMAP);
    check_unmap(&msg, area + 6 * PAGE, area + 10 * PAGE);
    CHECK_EQ((long)end(), 0);
    nothing_told();
    CHECK_EQ(munmap(area + 12 * PAGE, PAGE), 0); /* nobody watches there */
    nothing_told();
    unwatch();
}

static void *shrink(void *arg)
{
    return mremap(area, SIZE, 2 * PAGE, 0);
}

static void *close_it(void *arg)
{
    close(uffd);
    return NULL;
}

/* Nobody will read it any more: who waits goes on. */
static void test_closed(void)
{
    pthread_t closer;

    watch(UFFD_FEATURE_EVENT_UNMAP, UFFDIO_REGISTER_MODE_MISSING);
    begin(shrink);
    pthread_create(&closer, NULL, close_it, NULL);
    CHECK_EQ(end(), area);
    pthread_join(closer, NULL);
    CHECK_EQ(area[0], 0);
    munmap(area, 2 * SIZE);
}

static char *target;

static void *move(void *arg)
{
    return mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
}

static void *leave_behind(void *arg)
{
    return mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                  target);
}

static void *touch(void *arg)
{
    return (void *)(long)*(volatile char *)arg;
}

static void check_asked(int fd, char *page)
{
    struct uffd_msg msg;
    void *result;

    pthread_create(&actor, NULL, touch, page);
    msg = told(fd, UFFD_EVENT_PAGEFAULT);
    CHECK_EQ(msg.arg.pagefault.address, (uintptr_t)page);
    CHECK_EQ(copy_at_last(fd, page), 0);
    pthread_join(actor, &result);
    CHECK_EQ((long)result, 'c');
}

static void test_move(bool stays)
{
    struct uffd_msg msg;

    watch(UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP, UFFDIO_REGISTER_MODE_MISSING);
    target = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(copy_to(uffd, area + PAGE), 0);
    begin(stays ? leave_behind : move);
    msg = told(uffd, UFFD_EVENT_REMAP);
    CHECK_EQ(msg.arg.remap.from, (uintptr_t)area);
    CHECK_EQ(msg.arg.remap.to, (uintptr_t)target);
    CHECK_EQ(msg.arg.remap.len, 4 * PAGE);
    if (!stays) {
        msg = told(uffd, UFFD_EVENT_UNMAP);
        check_unmap(&msg, area, area + 4 * PAGE);
    }
    CHECK_EQ(end(), target);
    CHECK_EQ(target[PAGE], 'c');
    check_asked(uffd, target + 2 * PAGE);
    if (stays)
        check_asked(uffd, area + PAGE); /* it was moved away, and is watched still */
    else
        CHECK_ERRNO(copy_to(uffd, area), ENOENT);
    munmap(target + 4 * PAGE, 4 * PAGE);
    close(uffd);
    CHECK_EQ(target[3 * PAGE], 0);
    munmap(target, 4 * PAGE);
    munmap(area, 2 * SIZE);
}

/* Without the feature what moves is not watched any more. */
static void test_move_untold(void)
{
    watch(0, UFFDIO_REGISTER_MODE_MISSING);
    target = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(copy_to(uffd, area + PAGE), 0);
    CHECK_EQ(move(NULL), target);
    nothing_told();
    CHECK_EQ(target[PAGE], 'c');
    CHECK_EQ(target[0], 0);
    unwatch();
    munmap(target, SIZE);
}

static pid_t child;

static void *fork_child(void *arg)
{
    child = fork();
    if (child == 0)
        _exit(area[PAGE] == 'c' && area[2 * PAGE] == 'c' ? 3 : 4);
    return NULL;
}

static void check_child(int want)
{
    int status;

    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, want << 8);
}

static void test_fork(void)
{
    struct uffd_msg msg;
    int its;

    watch(UFFD_FEATURE_EVENT_FORK, UFFDIO_REGISTER_MODE_MISSING);
    CHECK_EQ(copy_to(uffd, area + PAGE), 0);
    begin(fork_child);
    msg = told(uffd, UFFD_EVENT_FORK);
    its = (int)msg.arg.fork.ufd;
    CHECK(its > uffd);
    CHECK_EQ(fcntl(its, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(its, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    msg = told(its, UFFD_EVENT_PAGEFAULT);
    CHECK_EQ(msg.arg.pagefault.address, (uintptr_t)area + 2 * PAGE);
    CHECK_EQ(copy_at_last(its, area + 2 * PAGE), 0);
    end();
    check_child(3);
    CHECK_ERRNO(copy_to(its, area), ESRCH);           /* it has ended */
    CHECK_EQ(copy_at_last(uffd, area + 2 * PAGE), 0); /* it was not ours */
    close(its);
    unwatch();
}

/* The same table of descriptors, since a child's own would keep the file open. */
static void *clone_child(void *arg)
{
    child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(area[PAGE] == 'c' && area[2 * PAGE] == 'c' ? 3 : 4);
    return NULL;
}

/* Whoever watches goes before it is told: the child is not watched. */
static void test_fork_closed(void)
{
    pthread_t closer;

    watch(UFFD_FEATURE_EVENT_FORK, UFFDIO_REGISTER_MODE_MISSING);
    CHECK_EQ(copy_to(uffd, area + PAGE), 0);
    begin(clone_child);
    pthread_create(&closer, NULL, close_it, NULL);
    end();
    pthread_join(closer, NULL);
    check_child(4);
    munmap(area, 2 * SIZE);
}

static void *fork_writer(void *arg)
{
    child = fork();
    if (child == 0) {
        area[PAGE] = 'w';
        _exit(area[PAGE] == 'w' ? 5 : 6);
    }
    return NULL;
}

/* Write protection goes along with those who watch. */
static void test_fork_protected(void)
{
    struct uffdio_writeprotect p = {.mode = UFFDIO_WRITEPROTECT_MODE_WP};
    struct uffd_msg msg;
    int its;

    watch(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_WP);
    area[PAGE] = 'v';
    p.range = (struct uffdio_range){(uintptr_t)area, SIZE};
    CHECK_EQ(ioctl(uffd, UFFDIO_WRITEPROTECT, &p), 0);
    pthread_create(&actor, NULL, fork_writer, NULL);
    its = (int)told(uffd, UFFD_EVENT_FORK).arg.fork.ufd;
    msg = told(its, UFFD_EVENT_PAGEFAULT);
    CHECK(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
    p.mode = 0;
    int result;
    while ((result = ioctl(its, UFFDIO_WRITEPROTECT, &p)) != 0 && errno == EAGAIN)
        usleep(100);
    CHECK_EQ(result, 0);
    end();
    check_child(5);
    CHECK_EQ(area[PAGE], 'v');
    close(its);
    unwatch();
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("userfaultfd(2) wants CAP_SYS_PTRACE");
    alarm(30);
    test_unmap();
    test_closed();
    test_move(false);
    test_move(true);
    test_move_untold();
    test_fork();
    test_fork_closed();
    test_fork_protected();
    return check_done();
}
