/* memfd_create: names, seals and what each forbids, mappings, programs that have no name. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#define MFD_EXEC        16U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

static char page[2 * PAGE];

static int make(unsigned flags)
{
    int fd = memfd_create("test", flags);

    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, PAGE), 0);
    return fd;
}

static int seal(int fd, int seals)
{
    return fcntl(fd, F_ADD_SEALS, seals);
}

static void test_names(void)
{
    char target[100] = "", link[40], longest[300];
    struct stat st;
    int fd = memfd_create("a name/with a slash", MFD_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    CHECK(readlink(link, target, sizeof(target) - 1) > 0);
    note("%s", target);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0777);
    CHECK_EQ(st.st_nlink, 0);
    CHECK_EQ(st.st_size, 0);
    CHECK_EQ(write(fd, "hello", 5), 5);
    int again = open(link, O_RDONLY);
    CHECK(again >= 0);
    CHECK_EQ(read(again, page, 10), 5);
    CHECK_ERRNO(write(again, "x", 1), EBADF);
    CHECK_ERRNO(seal(again, F_SEAL_WRITE), EPERM);
    close(again);
    again = open(link, O_RDWR | O_TRUNC);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_size, 0);
    close(again);
    char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(longest, sizeof(longest), maps)) {
        if (strstr(longest, "memfd:"))
            note("mapped as %.*s", (int)strcspn(strchr(longest, '/'), "\n"), strchr(longest, '/'));
    }
    fclose(maps);
    munmap(p, PAGE);
    close(fd);
    memset(longest, 'n', sizeof(longest));
    longest[250] = 0;
    CHECK_ERRNO(memfd_create(longest, 0), EINVAL);
    longest[249] = 0;
    fd = memfd_create(longest, 0);
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERRNO(memfd_create("x", 0x1000), EINVAL);
    CHECK_ERRNO(memfd_create("x", MFD_EXEC | MFD_NOEXEC_SEAL), EINVAL);
    CHECK_EQ(RAW(SYS_memfd_create, 8, 0), -EFAULT);
}

static void test_seals(void)
{
    int fd = make(0);

    CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
    CHECK_ERRNO(seal(fd, F_SEAL_WRITE), EPERM);
    close(fd);

    fd = make(MFD_ALLOW_SEALING);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
    CHECK_ERRNO(seal(fd, 0x100), EINVAL);
    CHECK_EQ(seal(fd, F_SEAL_SHRINK), 0);
    CHECK_ERRNO(ftruncate(fd, PAGE - 1), EPERM);
    CHECK_EQ(ftruncate(fd, PAGE + 10), 0);
    CHECK_EQ(seal(fd, F_SEAL_GROW), 0);
    CHECK_ERRNO(ftruncate(fd, PAGE + 11), EPERM);
    CHECK_ERRNO(fallocate(fd, 0, 0, 2 * PAGE), EPERM);
    CHECK_EQ(pwrite(fd, page, 10, PAGE), 10);
    CHECK_ERRNO(pwrite(fd, page, 11, PAGE), EPERM);
    CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK_ERRNO(seal(fd, F_SEAL_WRITE), EBUSY);
    CHECK_EQ(mprotect(p, PAGE, PROT_READ), 0);
    CHECK_ERRNO(seal(fd, F_SEAL_WRITE), EBUSY); /* it could be made writable again */
    CHECK_EQ(munmap(p, PAGE), 0);
    char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK_EQ(seal(fd, F_SEAL_WRITE), 0);
    q[0] = 'q';
    CHECK_EQ(munmap(q, PAGE), 0);
    CHECK_ERRNO(pwrite(fd, page, 1, 0), EPERM);
    CHECK_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), EPERM);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
    p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (CHECK(p != MAP_FAILED)) {
        CHECK_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
        CHECK_EQ(munmap(p, PAGE), 0);
    }
    q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(q != MAP_FAILED);
    munmap(q, PAGE);
    CHECK_EQ(seal(fd, F_SEAL_SEAL), 0);
    CHECK_ERRNO(seal(fd, F_SEAL_SEAL), EPERM);
    close(fd);

    /* The mapping that is there goes on writing; nobody else may. */
    fd = make(MFD_ALLOW_SEALING);
    p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK_EQ(seal(fd, F_SEAL_FUTURE_WRITE), 0);
    p[0] = 'f';
    CHECK_EQ(pread(fd, page, 1, 0), 1);
    CHECK_EQ(page[0], 'f');
    CHECK_ERRNO(pwrite(fd, page, 1, 0), EPERM);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
    q = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(q != MAP_FAILED && q[0] == 'f');
    CHECK_ERRNO(mprotect(q, PAGE, PROT_WRITE), EACCES);
    munmap(p, PAGE);
    munmap(q, PAGE);
    close(fd);

    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    CHECK_ERRNO(fcntl(pipes[1], F_GET_SEALS), EINVAL);
    CHECK_ERRNO(fcntl(pipes[1], F_ADD_SEALS, F_SEAL_WRITE), EINVAL);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_exec_seals(void)
{
    struct stat st;
    int fd = make(MFD_NOEXEC_SEAL);

    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0666);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_EXEC);
    CHECK_ERRNO(fchmod(fd, 0755), EPERM);
    CHECK_EQ(fchmod(fd, 0600), 0);
    close(fd);
    fd = make(MFD_EXEC | MFD_ALLOW_SEALING);
    CHECK_EQ(seal(fd, F_SEAL_EXEC), 0);
    CHECK_EQ(fcntl(fd, F_GET_SEALS),
             F_SEAL_EXEC | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
    CHECK_ERRNO(fchmod(fd, 0666), EPERM);
    close(fd);
}

static void test_run(void)
{
    int from = open("/proc/self/exe", O_RDONLY), fd = memfd_create("prog", MFD_CLOEXEC),
        status = -1;
    ssize_t n;

    while ((n = read(from, page, sizeof(page))) > 0)
        CHECK_EQ(write(fd, page, (size_t)n), n);
    close(from);
    pid_t child = fork();
    if (child == 0) {
        char *const args[] = {"prog", "child", NULL}, *const none[] = {NULL};

        fexecve(fd, args, none);
        _exit(errno);
    }
    waitpid(child, &status, 0);
    CHECK_EQ(WEXITSTATUS(status), 42); /* it does not count as open for writing */
    char link[40];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    int reader = open(link, O_RDONLY | O_CLOEXEC);
    close(fd);
    child = fork();
    if (child == 0) {
        char *const args[] = {"prog", "child", NULL}, *const none[] = {NULL};

        fexecve(reader, args, none);
        _exit(errno);
    }
    waitpid(child, &status, 0);
    CHECK_EQ(WEXITSTATUS(status), 42);
    close(reader);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return 42;
    test_names();
    test_seals();
    test_exec_seals();
    test_run();
    return check_done();
}
