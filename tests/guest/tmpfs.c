/*
 * The bytes of files in memory: holes, appending, cutting, mappings that see what is written and
 * are written to, programs that are run from there. In /dev/shm where that is a tmpfs, else in
 * /tmp.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096

static char buf[64 * PAGE];

static int fresh(void)
{
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);

    CHECK(fd >= 0);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_size : -1;
}

static blkcnt_t blocks_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_blocks : -1;
}

static void test_holes(void)
{
    int fd = fresh();

    CHECK_EQ(pwrite(fd, "x", 1, 10 * PAGE + 5), 1);
    CHECK_EQ(size_of(fd), 10 * PAGE + 6);
    CHECK_EQ(blocks_of(fd), 8);
    memset(buf, 'b', sizeof(buf));
    CHECK_EQ(pread(fd, buf, sizeof(buf), 0), 10 * PAGE + 6);
    bool zero = true;
    for (int i = 0; i < 10 * PAGE + 5; i++)
        zero &= buf[i] == 0;
    CHECK(zero);
    CHECK_EQ(buf[10 * PAGE + 5], 'x');
    CHECK_EQ(buf[10 * PAGE + 6], 'b');
    CHECK_EQ(lseek(fd, 0, SEEK_DATA), 10 * PAGE);
    CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 0);
    CHECK_EQ(lseek(fd, 10 * PAGE + 2, SEEK_DATA), 10 * PAGE + 2);
    CHECK_EQ(lseek(fd, 10 * PAGE, SEEK_HOLE), 10 * PAGE + 6);
    CHECK_ERRNO(lseek(fd, 10 * PAGE + 6, SEEK_DATA), ENXIO);
    CHECK_ERRNO(lseek(fd, 10 * PAGE + 6, SEEK_HOLE), ENXIO);
    CHECK_ERRNO(lseek(fd, -1, SEEK_DATA), ENXIO);
    CHECK_EQ(ftruncate(fd, 20 * PAGE), 0);
    CHECK_EQ(lseek(fd, 10 * PAGE, SEEK_HOLE), 11 * PAGE);
    CHECK_ERRNO(lseek(fd, 12 * PAGE, SEEK_DATA), ENXIO);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(blocks_of(fd), 0);
    CHECK_EQ(read(fd, buf, 10), 0);
    close(fd);
}

/* Byte i of what is written below. */
static char pattern(size_t i)
{
    return (char)(i * 7 + i / 251);
}

static bool holds(int fd, off_t from, size_t size)
{
    static char got[64 * PAGE];

    if (pread(fd, got, size, from) != (ssize_t)size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (got[i] != pattern(i))
            return false;
    return true;
}

/* Large writes where the file has no pages yet. */
static void test_growing(void)
{
    size_t size = 40 * PAGE + 123;
    struct iovec parts[40];
    int fd = fresh();
    char *odd, *self;

    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = pattern(i);
    CHECK_EQ(pwrite(fd, buf, size, 1000), size);
    CHECK_EQ(size_of(fd), 1000 + size);
    CHECK(holds(fd, 1000, size));
    CHECK_EQ(pread(fd, buf, 1000, 0), 1000);
    for (size_t i = 0; i < 1000; i++)
        CHECK_EQ(buf[i], 0);
    for (size_t i = 0; i < 1000; i++)
        buf[i] = pattern(i);

    /* From many places, in an order that is not theirs. */
    CHECK_EQ(ftruncate(fd, 0), 0);
    odd = mmap(NULL, 80 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(odd != MAP_FAILED);
    for (size_t i = 0; i < 40; i++) {
        parts[i] = (struct iovec){odd + (39 - i) * 2 * PAGE + 17, PAGE - 1};
        memcpy(parts[i].iov_base, buf + i * (PAGE - 1), PAGE - 1);
    }
    CHECK_EQ(pwritev(fd, parts, 40, 3), 40 * (PAGE - 1));
    CHECK(holds(fd, 3, 40 * (PAGE - 1)));
    CHECK_EQ(ftruncate(fd, 5 * PAGE + 9), 0);
    CHECK_EQ(ftruncate(fd, 40 * PAGE), 0);
    CHECK_EQ(pread(fd, odd, 35 * PAGE - 9, 5 * PAGE + 9), 35 * PAGE - 9);
    bool zero = true;
    for (size_t i = 0; i < 35 * PAGE - 9; i++)
        zero &= odd[i] == 0;
    CHECK(zero);

    /* What cannot be read is not written. */
    CHECK_EQ(ftruncate(fd, 0), 0);
    memcpy(odd, buf, 20 * PAGE);
    CHECK_EQ(munmap(odd + 20 * PAGE, 60 * PAGE), 0);
    CHECK_EQ(pwrite(fd, odd, 50 * PAGE, 0), 20 * PAGE);
    CHECK_EQ(size_of(fd), 20 * PAGE);
    CHECK(holds(fd, 0, 20 * PAGE));
    CHECK_ERRNO(pwrite(fd, odd + 20 * PAGE, 20 * PAGE, 20 * PAGE), EFAULT);
    CHECK_EQ(size_of(fd), 20 * PAGE);

    /* From a mapping of the file to its own end, and what the mapping shows afterwards. */
    self = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(self != MAP_FAILED);
    CHECK_EQ(pwrite(fd, self, 20 * PAGE, 20 * PAGE), 20 * PAGE);
    CHECK(holds(fd, 20 * PAGE, 20 * PAGE));
    CHECK(memcmp(self, self + 20 * PAGE, 20 * PAGE) == 0);
    self[30 * PAGE] = 'm';
    CHECK_EQ(pread(fd, odd, 1, 30 * PAGE), 1);
    CHECK_EQ(odd[0], 'm');
    munmap(self, 64 * PAGE);
    munmap(odd, 20 * PAGE);
    close(fd);
}

static void test_truncate(void)
{
    int fd = fresh();

    memset(buf, 'a', sizeof(buf));
    CHECK_EQ(write(fd, buf, 3 * PAGE), 3 * PAGE);
    CHECK_EQ(ftruncate(fd, PAGE + 100), 0);
    CHECK_EQ(blocks_of(fd), 16);
    CHECK_EQ(ftruncate(fd, 3 * PAGE), 0);
    CHECK_EQ(pread(fd, buf, 3 * PAGE, 0), 3 * PAGE);
    CHECK(buf[PAGE + 99] == 'a' && buf[PAGE + 100] == 0 && buf[2 * PAGE] == 0);
    CHECK_EQ(truncate("file", 7), 0);
    CHECK_EQ(size_of(fd), 7);
    CHECK_ERRNO(truncate("file", -1), EINVAL);
    CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
    CHECK_ERRNO(truncate(".", 0), EISDIR);
    CHECK_ERRNO(truncate("none", 0), ENOENT);
    int reader = open("file", O_RDONLY);
    CHECK_ERRNO(ftruncate(reader, 0), EINVAL);
    CHECK_ERRNO(write(reader, "x", 1), EBADF);
    close(reader);
    int trunc = open("file", O_WRONLY | O_TRUNC);
    CHECK_EQ(size_of(fd), 0);
    close(trunc);
    close(fd);
}

static void test_positions(void)
{
    int fd = fresh();
    int append = open("file", O_WRONLY | O_APPEND);
    struct iovec iov[3] = {{"one", 3}, {NULL, 0}, {"two", 3}};

    CHECK_EQ(writev(fd, iov, 3), 6);
    CHECK_EQ(write(append, "three", 5), 5);
    CHECK_EQ(lseek(append, 0, SEEK_CUR), 11);
    CHECK_EQ(lseek(append, 0, SEEK_SET), 0);
    CHECK_EQ(write(append, "!", 1), 1);
    CHECK_EQ(lseek(append, 0, SEEK_CUR), 12);
    CHECK_EQ(pwrite(append, "?", 1, 0), 1); /* appends all the same: pwrite(2), BUGS */
    CHECK_EQ(size_of(fd), 13);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 6);
    CHECK_EQ(read(fd, buf, 100), 7);
    CHECK(memcmp(buf, "three!?", 7) == 0);
    CHECK_EQ(lseek(fd, 100, SEEK_END), 113);
    CHECK_EQ(read(fd, buf, 1), 0);
    CHECK_EQ(write(fd, "", 0), 0);
    CHECK_EQ(size_of(fd), 13);
    CHECK_EQ(lseek(fd, 13, SEEK_SET), 13);
    CHECK_EQ(RAW(SYS_write, fd, 8, 10), -EFAULT);
    CHECK_EQ(size_of(fd), 13);
    CHECK_EQ(fcntl(append, F_SETFL, 0), 0);
    CHECK_EQ(pwrite(append, "O", 1, 0), 1);
    CHECK_EQ(size_of(fd), 13);
    CHECK_EQ(fsync(fd), 0);
    CHECK_EQ(fdatasync(fd), 0);
    close(append);
    close(fd);
}

static sigjmp_buf jump;
static volatile int caught;

static void catch (int signo)
{
    caught = signo;
    siglongjmp(jump, 1);
}

/* The signal that touching the byte raises, or 0. */
static int touch(volatile char *p, bool write)
{
    caught = 0;
    if (sigsetjmp(jump, 1) == 0) {
        char c = *p;
        if (write)
            *p = c;
    }
    return caught;
}

static void test_mappings(void)
{
    int fd = fresh();

    CHECK_EQ(ftruncate(fd, 4 * PAGE), 0);
    char *a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    char *c = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

    CHECK(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    a[0] = 'a';
    a[PAGE] = 'p';
    CHECK(b[0] == 'a' && c[0] == 'a');
    CHECK_EQ(pread(fd, buf, 1, 0), 1);
    CHECK_EQ(buf[0], 'a');
    CHECK_EQ(pwrite(fd, "w", 1, 1), 1);
    CHECK(a[1] == 'w' && b[1] == 'w' && c[1] == 'w');
    c[0] = 'c';
    CHECK(a[0] == 'a' && b[0] == 'a' && c[0] == 'c');
    a[0] = 'A';
    CHECK(b[0] == 'A' && c[0] == 'c');
    /* A file read into a mapping of itself, and written from one. */
    CHECK_EQ(pread(fd, a + 2 * PAGE, PAGE, 0), PAGE);
    CHECK(a[2 * PAGE] == 'A' && a[2 * PAGE + 1] == 'w');
    CHECK_EQ(pwrite(fd, a, PAGE, 3 * PAGE - 10), PAGE);
    CHECK_EQ(b[3 * PAGE - 10], 'A');
    pid_t child = fork();
    if (child == 0) {
        a[3 * PAGE] = 'f';
        c[1] = 'x';
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK_EQ(b[3 * PAGE], 'f');
    CHECK_EQ(c[1], 'w');
    /* Cut under a mapping: SIGBUS behind the new end, zeroes on its last page. */
    CHECK_EQ(ftruncate(fd, PAGE / 2), 0);
    CHECK_EQ(touch(a, true), 0);
    CHECK_EQ(touch(a + PAGE - 1, true), 0);
    CHECK_EQ(touch(a + PAGE, false), SIGBUS);
    CHECK_EQ(touch(b + 2 * PAGE, false), SIGBUS);
    CHECK_EQ(touch(c + PAGE, false), SIGBUS);
    CHECK_EQ(touch(c + PAGE, true), SIGBUS);
    CHECK_EQ(touch(c, true), 0);
    CHECK_EQ(c[0], 'c');
    CHECK_EQ(RAW(SYS_read, fd, a + PAGE, 10), -EFAULT);
    CHECK_EQ(ftruncate(fd, 2 * PAGE), 0);
    CHECK_EQ(touch(a + PAGE, true), 0);
    CHECK_EQ(a[PAGE], 0);
    close(fd);
    CHECK_EQ(unlink("file"), 0);
    a[5] = '5';
    CHECK_EQ(b[5], '5');
    CHECK_EQ(msync(a, PAGE, MS_SYNC), 0);
    munmap(a, 4 * PAGE);
    munmap(b, 4 * PAGE);
    munmap(c, 4 * PAGE);
    fd = open("file", O_RDONLY | O_CREAT, 0644);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    close(fd);
    fd = open("file", O_WRONLY);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    close(fd);
}

static void test_allocate(void)
{
    struct statfs fs;
    int fd = fresh();

    if (fallocate(fd, 0, 0, 1) < 0 && errno == EOPNOTSUPP) {
        close(fd);
        return;
    }
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(fallocate(fd, 0, 0, 3 * PAGE + 1), 0);
    CHECK_EQ(size_of(fd), 3 * PAGE + 1);
    CHECK_EQ(blocks_of(fd), 32);
    CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE, 2 * PAGE), 0);
    CHECK_EQ(size_of(fd), 3 * PAGE + 1);
    CHECK_EQ(blocks_of(fd), 48);
    memset(buf, 'f', 6 * PAGE);
    CHECK_EQ(pwrite(fd, buf, 6 * PAGE, 0), 6 * PAGE);
    char *p = mmap(NULL, 6 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_EQ(p[3 * PAGE], 'f');
    CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 10, 3 * PAGE), 0);
    CHECK_EQ(blocks_of(fd), 32);
    CHECK(p[PAGE + 9] == 'f' && p[PAGE + 10] == 0 && p[3 * PAGE] == 0);
    CHECK(p[4 * PAGE + 9] == 0 && p[4 * PAGE + 10] == 'f');
    CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5, 10), 0);
    CHECK(p[4] == 'f' && p[5] == 0 && p[14] == 0 && p[15] == 'f');
    munmap(p, 6 * PAGE);
    CHECK_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), EOPNOTSUPP);
    CHECK_ERRNO(fallocate(fd, 0x1000, 0, PAGE), EOPNOTSUPP);
    CHECK_ERRNO(fallocate(fd, 0, -1, PAGE), EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, INT64_MAX, PAGE), EFBIG);
    int reader = open("file", O_RDONLY);
    CHECK_ERRNO(fallocate(reader, 0, 0, PAGE), EBADF);
    close(reader);
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    CHECK_ERRNO(fallocate(pipes[1], 0, 0, PAGE), ESPIPE);
    close(pipes[0]);
    close(pipes[1]);
    int dir = open(".", O_RDONLY);
    CHECK_ERRNO(fallocate(dir, 0, 0, PAGE), EBADF);
    close(dir);
    CHECK_EQ(fstatfs(fd, &fs), 0);
    CHECK(fs.f_bsize > 0 && fs.f_bfree <= fs.f_blocks && fs.f_ffree <= fs.f_files);
    if (fs.f_type == TMPFS_MAGIC) {
        CHECK_ERRNO(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE), EOPNOTSUPP);
        CHECK_ERRNO(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, PAGE), EOPNOTSUPP);
        if (fs.f_blocks > 0)
            CHECK_ERRNO(fallocate(fd, 0, 0, (off_t)(fs.f_blocks + 1) * fs.f_bsize), ENOSPC);
    }
    close(fd);
}

static void test_limit(void)
{
    struct rlimit old, small = {2 * PAGE, RLIM_INFINITY};
    int fd = fresh();

    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK_EQ(write(fd, buf, 3 * PAGE), 2 * PAGE);
    CHECK_ERRNO(write(fd, buf, 1), EFBIG);
    CHECK_ERRNO(pwrite(fd, buf, 1, 10 * PAGE), EFBIG);
    CHECK_EQ(pwrite(fd, buf, 10, 2 * PAGE - 5), 5);
    CHECK_ERRNO(ftruncate(fd, 2 * PAGE + 1), EFBIG);
    CHECK_ERRNO(truncate("file", 2 * PAGE + 1), EFBIG);
    CHECK_EQ(ftruncate(fd, PAGE), 0);
    signal(SIGXFSZ, catch);
    caught = 0;
    if (sigsetjmp(jump, 1) == 0)
        (void)!pwrite(fd, buf, 1, 2 * PAGE);
    CHECK_EQ(caught, SIGXFSZ);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    close(fd);
}

static void copy_self(const char *self, const char *name)
{
    int from = open(self, O_RDONLY), to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    ssize_t n;

    CHECK(from >= 0 && to >= 0);
    while ((n = read(from, buf, sizeof(buf))) > 0)
        CHECK_EQ(write(to, buf, (size_t)n), n);
    CHECK_EQ(n, 0);
    close(from);
    close(to);
}

static int run(const char *name)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        execl(name, name, "child", NULL);
        _exit(errno);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_exec(const char *self)
{
    copy_self(self, "prog");
    CHECK_EQ(run("./prog"), 42);
    int fd = open("prog", O_WRONLY);
    CHECK(fd >= 0);
    CHECK_EQ(run("./prog"), ETXTBSY);
    close(fd);
    CHECK_EQ(run("./prog"), 42);
    CHECK_EQ(chmod("prog", 0644), 0);
    CHECK_EQ(run("./prog"), EACCES);
    /* While it runs it cannot be written, nor cut. */
    CHECK_EQ(chmod("prog", 0755), 0);
    int pipes[2];
    char byte;
    CHECK_EQ(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], 1);
        execl("./prog", "./prog", "wait", NULL);
        _exit(1);
    }
    CHECK_EQ(read(pipes[0], &byte, 1), 1);
    CHECK_ERRNO(open("prog", O_WRONLY), ETXTBSY);
    CHECK_ERRNO(open("prog", O_RDONLY | O_TRUNC), ETXTBSY);
    CHECK_ERRNO(truncate("prog", 0), ETXTBSY);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fd = open("prog", O_WRONLY);
    CHECK(fd >= 0);
    close(fd);
    /* Code in a mapping: a shared and a private one. */
    fd = fresh();
    CHECK_EQ(write(fd, "\xb8\x2a\x00\x00\x00\xc3", 6), 6);
    for (int i = 0; i < 2; i++) {
        int (*code)(void) =
            mmap(NULL, PAGE, PROT_READ | PROT_EXEC, i ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        if (CHECK(code != MAP_FAILED))
            CHECK_EQ(code(), 42);
        munmap((void *)code, PAGE);
    }
    close(fd);
    CHECK_EQ(unlink("prog"), 0);
}

int main(int argc, char **argv)
{
    char top[2][32] = {"/dev/shm/tmpfs-XXXXXX", "/tmp/tmpfs-XXXXXX"};
    struct statfs fs;

    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return 42;
    if (argc > 1) {
        (void)!write(1, "w", 1);
        pause();
    }
    int which = statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC ? 0 : 1;
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    if (!mkdtemp(top[which]) || chdir(top[which]) < 0)
        check_skip("no folder can be made");
    signal(SIGBUS, catch);
    test_holes();
    test_growing();
    test_truncate();
    test_positions();
    test_mappings();
    test_allocate();
    test_limit();
    test_exec(self);
    CHECK_EQ(unlink("file"), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(top[which]), 0);
    return check_done();
}
