/* userfaultfd on shared memory: pages that are missing in the object, and pages that it has but the
 * mapping does not (minor faults, UFFDIO_CONTINUE). */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE  4096UL
#define PAGES 8UL
#define SIZE  (PAGES * PAGE)

static int uffd = -1, memfd = -1;
static char *area, *other; /* two mappings of one object */
static char letters[PAGE] __attribute__((aligned(4096)));

static int open_uffd(void)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
    return fd;
}

static uint64_t granted;

static int enroll(void *start, uint64_t size, uint64_t mode)
{
    struct uffdio_register r = {.range = {(uintptr_t)start, size}, .mode = mode};
    int result = ioctl(uffd, UFFDIO_REGISTER, &r);

    granted = r.ioctls;
    return result;
}

static void set_up(uint64_t mode)
{
    uffd = open_uffd();
    memfd = memfd_create("watched", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK_EQ(ftruncate(memfd, SIZE), 0);
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    CHECK_EQ(enroll(area, SIZE, mode), 0);
    CHECK_EQ(granted >> _UFFDIO_CONTINUE & 1, (mode & UFFDIO_REGISTER_MODE_MINOR) != 0);
    memset(letters, 'c', PAGE);
}

static void tear_down(void)
{
    close(uffd);
    close(memfd);
    munmap(area, SIZE);
    munmap(other, SIZE);
}

static int64_t told;

static int copy(void *to, uint64_t pages)
{
    struct uffdio_copy c = {.dst = (uintptr_t)to, .src = (uintptr_t)letters, .len = pages * PAGE};
    int result = ioctl(uffd, UFFDIO_COPY, &c);

    told = c.copy;
    return result;
}

static int zero(void *to)
{
    struct uffdio_zeropage z = {.range = {(uintptr_t)to, PAGE}};

    return ioctl(uffd, UFFDIO_ZEROPAGE, &z);
}

static int go_on(void *at, uint64_t pages)
{
    struct uffdio_continue c = {.range = {(uintptr_t)at, pages * PAGE}};
    int result = ioctl(uffd, UFFDIO_CONTINUE, &c);

    told = c.mapped;
    return result;
}

/* Answers one fault, and says which: the page's number, and 100 more when it was a minor one. */
static void *answer(void *arg)
{
    struct uffd_msg msg;
    char *at;

    if (read(uffd, &msg, sizeof(msg)) != sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT)
        return NULL;
    at = (char *)(uintptr_t)(msg.arg.pagefault.address & ~(PAGE - 1));
    if (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR) {
        other[at - area] = 'M';
        CHECK_EQ(go_on(at, 1), 0);
        return (void *)(100 + (at - area) / (long)PAGE);
    }
    CHECK_EQ(copy(at, 1), 0);
    return (void *)((at - area) / (long)PAGE);
}

static pthread_t answerer;

static void expect_fault(void)
{
    pthread_create(&answerer, NULL, answer, NULL);
}

static long fault_told(void)
{
    void *result;

    pthread_join(answerer, &result);
    return (long)result;
}

static void test_missing(void)
{
    int fds[2];

    set_up(UFFDIO_REGISTER_MODE_MISSING);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + 2 * PAGE + 7), 'c');
    CHECK_EQ(fault_told(), 2);
    expect_fault();
    *(volatile char *)(area + 3 * PAGE) = 'w';
    CHECK_EQ(fault_told(), 3);
    /* All see it; who is not watched brings pages as ever, and not more than it touches. */
    CHECK_EQ(memcmp(other + 3 * PAGE, "wccc", 4), 0);
    other[5 * PAGE] = 'o';
    CHECK_EQ(pwrite(memfd, "f", 1, 6 * PAGE), 1);
    CHECK_EQ(area[5 * PAGE], 'o');
    CHECK_EQ(area[6 * PAGE], 'f');
    if (pipe(fds) != 0)
        return;
    expect_fault();
    CHECK_EQ(write(fds[1], area + 4 * PAGE, 3), 3);
    CHECK_EQ(fault_told(), 4);
    expect_fault();
    CHECK_EQ(read(fds[0], area + 7 * PAGE, 2), 2);
    CHECK_EQ(fault_told(), 7);
    CHECK_EQ(memcmp(other + 7 * PAGE, "ccc", 3), 0);
    close(fds[0]);
    close(fds[1]);
    /* Forgotten by the mapping it is not missing; out of the file it is. */
    CHECK_EQ(madvise(area + 3 * PAGE, PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(area[3 * PAGE], 'w');
    CHECK_EQ(madvise(area + 3 * PAGE, PAGE, MADV_REMOVE), 0);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + 3 * PAGE), 'c');
    CHECK_EQ(fault_told(), 3);
    CHECK_EQ(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE), 0);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + 5 * PAGE), 'c');
    CHECK_EQ(fault_told(), 5);
    tear_down();
}

static void test_requests(void)
{
    set_up(UFFDIO_REGISTER_MODE_MISSING);
    CHECK_EQ(copy(area, 1), 0);
    CHECK_EQ(told, PAGE);
    CHECK_EQ(area[9], 'c');
    CHECK_EQ(other[9], 'c');
    CHECK_ERRNO(copy(area, 1), EEXIST);
    /* In the file, though not mapped here. */
    other[2 * PAGE] = 'o';
    CHECK_ERRNO(copy(area + 2 * PAGE, 1), EEXIST);
    CHECK_ERRNO(zero(area + 2 * PAGE), EEXIST);
    CHECK_EQ(zero(area + PAGE), 0);
    CHECK_EQ(area[PAGE], 0);
    area[PAGE] = 'z';
    CHECK_EQ(other[PAGE], 'z');
    CHECK_EQ(area[2 * PAGE], 'o');
    CHECK_EQ(go_on(area + 2 * PAGE, 1) == -1 && errno == EEXIST, true);
    CHECK_ERRNO(go_on(area + 3 * PAGE, 1), EFAULT);
    CHECK_EQ(told, -EFAULT);
    CHECK_ERRNO(go_on(other, 1), ENOENT);
    CHECK_ERRNO(go_on(area + 1, 1), EINVAL);
    CHECK_ERRNO(go_on(area, 0), EINVAL);
    /* Beyond the end there is nothing to fill. */
    CHECK_EQ(ftruncate(memfd, 6 * PAGE), 0);
    CHECK_ERRNO(copy(area + 6 * PAGE, 1), EFAULT);
    CHECK_ERRNO(go_on(area + 6 * PAGE, 1), EINVAL);
    CHECK_EQ(copy(area + 5 * PAGE, 1), 0);
    tear_down();
}

static void test_minor(void)
{
    set_up(UFFDIO_REGISTER_MODE_MINOR);
    for (unsigned long i = 0; i < 6; i++)
        memset(other + i * PAGE, 'a' + (int)i, PAGE);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + PAGE + 1), 'b');
    CHECK_EQ(fault_told(), 101);
    CHECK_EQ(area[PAGE], 'M');
    expect_fault();
    *(volatile char *)(area + 2 * PAGE + 1) = 'w';
    CHECK_EQ(fault_told(), 102);
    CHECK_EQ(memcmp(other + 2 * PAGE, "Mwc", 3), 0);
    /* Several at once; nothing is there to be mapped, or it is mapped. */
    CHECK_EQ(go_on(area + 3 * PAGE, 2), 0);
    CHECK_EQ(told, 2 * PAGE);
    CHECK_EQ(area[4 * PAGE], 'e');
    CHECK_ERRNO(go_on(area + 3 * PAGE, 1), EEXIST);
    CHECK_ERRNO(go_on(area + 5 * PAGE, 2), EAGAIN);
    CHECK_EQ(told, PAGE);
    /* A missing page is not watched. */
    CHECK_EQ(area[7 * PAGE], 0);
    /* Unmapped by the program, it is a minor fault again. */
    CHECK_EQ(madvise(area + 4 * PAGE, PAGE, MADV_DONTNEED), 0);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + 4 * PAGE), 'M');
    CHECK_EQ(fault_told(), 104);
    tear_down();
}

/* Does VmFlags of /proc/self/smaps have the word for the mapping? */
static bool has_mark(const void *start, const char *word)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512], head[32];
    bool here = false, found = false;

    snprintf(head, sizeof(head), "%lx-", (unsigned long)start);
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, head, strlen(head)) == 0)
            here = true;
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, word) != NULL;
            break;
        }
    }
    if (f)
        fclose(f);
    return found;
}

static void test_both(void)
{
    set_up(UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR);
    CHECK(has_mark(area, " um "));
    CHECK(has_mark(area, " ui "));
    CHECK(!has_mark(other, " ui "));
    other[PAGE + 1] = 'x';
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + PAGE), 'M');
    CHECK_EQ(fault_told(), 101);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + 2 * PAGE), 'c');
    CHECK_EQ(fault_told(), 2);
    /* A child's mapping is not watched. */
    int status = -1;
    if (fork() == 0) {
        area[3 * PAGE] = 'k';
        _exit(area[3 * PAGE] == 'k' ? 0 : 1);
    }
    wait(&status);
    CHECK_EQ(status, 0);
    expect_fault();
    CHECK_EQ(area[3 * PAGE], 'M');
    CHECK_EQ(fault_told(), 103);
    close(uffd);
    CHECK_EQ(area[4 * PAGE], 0);
    uffd = open_uffd();
    tear_down();
}

static void test_kinds(void)
{
    char *p;
    int id;

    uffd = open_uffd();
    memset(letters, 'c', PAGE);
    /* Shared memory without a name. */
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(enroll(area, SIZE, UFFDIO_REGISTER_MODE_MISSING), 0);
    expect_fault();
    CHECK_EQ(*(volatile char *)(area + PAGE), 'c');
    CHECK_EQ(fault_told(), 1);
    munmap(area, SIZE);
    /* Whoever may not write may not watch; nor is there a minor fault in private memory. */
    memfd = memfd_create("sealed", MFD_ALLOW_SEALING);
    CHECK_EQ(ftruncate(memfd, SIZE), 0);
    CHECK_EQ(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, memfd, 0);
    CHECK_ERRNO(enroll(p, SIZE, UFFDIO_REGISTER_MODE_MISSING), EPERM);
    munmap(p, SIZE);
    close(memfd);
    p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_ERRNO(enroll(p, SIZE, UFFDIO_REGISTER_MODE_MINOR), EINVAL);
    CHECK_EQ(enroll(p, SIZE, UFFDIO_REGISTER_MODE_MISSING), 0);
    CHECK_ERRNO(go_on(p, 1), EINVAL);
    munmap(p, SIZE);
    id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
    p = shmat(id, NULL, 0);
    CHECK_ERRNO(enroll(p, SIZE, UFFDIO_REGISTER_MODE_MISSING), EINVAL);
    shmdt(p);
    shmctl(id, IPC_RMID, NULL);
    close(uffd);
}

int main(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0)
        check_skip("userfaultfd(2) is not allowed here");
    close(fd);
    test_missing();
    test_requests();
    test_minor();
    test_both();
    test_kinds();
    return check_done();
}
