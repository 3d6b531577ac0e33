/*
 * Files of the host's tree, read-only: paths, opening, reading, seeking, folders, and the errors.
 * The test's own program and its folder (tests/guest/data, the current one) serve as examples.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "check.h"

static void test_read(const char *self)
{
    char whole[4096], part[64];
    int fd = open("words.txt", O_RDONLY);

    CHECK(fd >= 3);
    ssize_t size = read(fd, whole, sizeof(whole));
    CHECK_EQ(size, 81);
    CHECK_EQ(read(fd, part, 10), 0);
    CHECK_EQ(lseek(fd, 5, SEEK_SET), 5);
    CHECK_EQ(read(fd, part, 5), 5);
    CHECK(memcmp(part, whole + 5, 5) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10);
    CHECK_EQ(lseek(fd, -1, SEEK_END), size - 1);
    CHECK_EQ(read(fd, part, 10), 1);
    CHECK_EQ(lseek(fd, 1000, SEEK_SET), 1000);
    CHECK_EQ(read(fd, part, 10), 0);
    CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERRNO(lseek(fd, 0, 77), EINVAL);
    CHECK_EQ(lseek(fd, 3, SEEK_SET), 3);
    CHECK_EQ(pread(fd, part, 8, 20), 8);
    CHECK(memcmp(part, whole + 20, 8) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 3);
    CHECK_ERRNO(pread(fd, part, 8, -1), EINVAL);
    struct iovec iov[3] = {{part, 2}, {NULL, 0}, {part + 10, 3}};
    CHECK_EQ(readv(fd, iov, 3), 5);
    CHECK(memcmp(part, whole + 3, 2) == 0 && memcmp(part + 10, whole + 5, 3) == 0);
    CHECK_EQ(preadv(fd, iov, 3, 0), 5);
    CHECK(memcmp(part, whole, 2) == 0);
    CHECK_EQ(RAW(SYS_readv, fd, iov, -1), -EINVAL);
    CHECK_EQ(RAW(SYS_readv, fd, iov, 2000), -EINVAL);
    CHECK_ERRNO(write(fd, "x", 1), EBADF);
    CHECK_ERRNO(ftruncate(fd, 0), EINVAL);
    CHECK_EQ(RAW(SYS_read, fd, 8, 4), -EFAULT);
    CHECK_EQ(RAW(SYS_read, fd, part, 0), 0);
    CHECK_EQ(close(fd), 0);
    CHECK_ERRNO(close(fd), EBADF);
    CHECK_ERRNO(read(fd, part, 1), EBADF);
    CHECK_ERRNO(lseek(fd, 0, SEEK_CUR), EBADF);

    fd = open(self, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(read(fd, part, 4), 4);
    CHECK(memcmp(part, "\177ELF", 4) == 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
}

static void test_map(const char *self)
{
    int fd = open("words.txt", O_RDONLY);
    char text[81];

    CHECK_EQ(pread(fd, text, 81, 0), 81);
    char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (CHECK(p != MAP_FAILED)) {
        CHECK(memcmp(p, text, 81) == 0);
        CHECK_EQ(p[81], 0);
        CHECK_EQ(p[4095], 0);
        munmap(p, 4096);
    }
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (CHECK(p != MAP_FAILED)) {
        memset(p, 'z', 40); /* a copy of our own: the file keeps its contents */
        CHECK(memcmp(p + 40, text + 40, 41) == 0);
        char again[81];
        CHECK_EQ(pread(fd, again, 81, 0), 81);
        CHECK(memcmp(again, text, 81) == 0);
        munmap(p, 4096);
    }
    CHECK_ERRNO(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    close(fd);

    struct stat st;
    char byte;
    fd = open(self, O_RDONLY);
    CHECK_EQ(fstat(fd, &st), 0);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (CHECK(p != MAP_FAILED)) {
        for (off_t at = 0; at < st.st_size; at += 70001) {
            CHECK_EQ(pread(fd, &byte, 1, at), 1);
            CHECK_EQ(p[at], byte);
        }
        munmap(p, (size_t)st.st_size);
    }
    close(fd);
}

static void test_stat(void)
{
    struct stat by_path, by_fd, at;
    struct statfs fs;
    int fd = open("words.txt", O_RDONLY), folder = open(".", O_RDONLY | O_DIRECTORY);

    CHECK_EQ(stat("words.txt", &by_path), 0);
    CHECK_EQ(fstat(fd, &by_fd), 0);
    CHECK_EQ(fstatat(folder, "words.txt", &at, AT_SYMLINK_NOFOLLOW), 0);
    CHECK(by_path.st_ino == by_fd.st_ino && by_path.st_dev == by_fd.st_dev);
    CHECK(at.st_ino == by_fd.st_ino && at.st_mtime == by_fd.st_mtime);
    CHECK(S_ISREG(by_path.st_mode));
    CHECK_EQ(by_path.st_size, 81);
    CHECK_EQ(by_path.st_nlink, 1);
    CHECK_EQ(by_path.st_uid, getuid());
    CHECK_EQ(fstatat(fd, "", &at, AT_EMPTY_PATH), 0);
    CHECK_EQ(at.st_ino, by_fd.st_ino);
    CHECK_ERRNO(fstatat(fd, "", &at, 0), ENOENT);
    CHECK_EQ(stat(".", &by_path), 0);
    CHECK(S_ISDIR(by_path.st_mode));
    CHECK_EQ(stat("/dev/null", &by_path), 0);
    CHECK(S_ISCHR(by_path.st_mode));
    CHECK_EQ(by_path.st_rdev, 0x103);
    CHECK_EQ(statfs("/", &fs), 0);
    CHECK(fs.f_bsize >= 512);
    CHECK_EQ(fstatfs(fd, &fs), 0);
    CHECK_EQ(RAW(SYS_fstat, fd, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_stat, 8, &at), -EFAULT);
    struct statx {
        uint32_t words[64];
    } sx = {{0}};
    CHECK_EQ(RAW(SYS_statx, AT_FDCWD, "words.txt", 0, 0x7ff, &sx), 0);
    CHECK_EQ(sx.words[10], 81); /* stx_size, at byte 40 */
    close(fd);
    close(folder);
}

static void test_access(void)
{
    CHECK_EQ(access("words.txt", F_OK), 0);
    CHECK_EQ(access("words.txt", R_OK), 0);
    CHECK_ERRNO(access("no-such-file", F_OK), ENOENT);
    CHECK_ERRNO(access("words.txt/x", F_OK), ENOTDIR);
    CHECK_ERRNO(access("words.txt", 77), EINVAL);
    CHECK_EQ(faccessat(AT_FDCWD, ".", R_OK | X_OK, 0), 0);
}

static void test_errors(void)
{
    char longest[PATH_MAX + 10];
    int folder = open(".", O_RDONLY), file = open("words.txt", O_RDONLY);

    CHECK_ERRNO(open("no-such-file", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("no-such-folder/x", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("words.txt/x", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("words.txt/", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("words.txt", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(open(".", O_WRONLY), EISDIR);
    CHECK_ERRNO(openat(file, "x", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(openat(77, "x", O_RDONLY), EBADF);
    CHECK_ERRNO(openat(-1, "x", O_RDONLY), EBADF);
    CHECK_ERRNO(read(folder, longest, 10), EISDIR);
    memset(longest, 'n', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    CHECK_ERRNO(open(longest, O_RDONLY), ENAMETOOLONG);
    longest[256] = 0;
    CHECK_ERRNO(open(longest, O_RDONLY), ENAMETOOLONG);
    longest[255] = 0;
    CHECK_ERRNO(open(longest, O_RDONLY), ENOENT);
    CHECK_EQ(RAW(SYS_open, 8, O_RDONLY), -EFAULT);
    CHECK_EQ(RAW(SYS_openat, AT_FDCWD, 0xffff800000000000, O_RDONLY), -EFAULT);
    CHECK_ERRNO(readlink("words.txt", longest, 10), EINVAL);
    CHECK_ERRNO(readlink("no-such-file", longest, 10), ENOENT);
    CHECK_ERRNO(ioctl(file, 0x5401, longest), ENOTTY);
    CHECK_ERRNO(openat(folder, "../data/words.txt/../x", O_RDONLY), ENOTDIR);
    int fd = openat(folder, "../data//./words.txt", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    fd = open("/../../../dev/null", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    close(folder);
    close(file);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void test_folder(void)
{
    struct __attribute__((packed)) entry {
        uint64_t inode, next;
        uint16_t length;
        uint8_t type;
        char name[];
    };
    static char names[64][64];
    char buffer[256] __attribute__((aligned(8)));
    int fd = open(".", O_RDONLY | O_DIRECTORY), count = 0;
    long size;

    CHECK_EQ(RAW(SYS_getdents64, fd, buffer, 8), -EINVAL);
    while ((size = RAW(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
        for (long at = 0; at < size;) {
            const struct entry *e = (const struct entry *)(const void *)(buffer + at);
            if (!CHECK(e->length >= 20 && e->length % 8 == 0 && at + e->length <= size))
                return;
            CHECK(e->inode != 0);
            snprintf(names[count++ % 64], 64, "%s %d", e->name, e->type);
            at += e->length;
        }
    }
    CHECK_EQ(size, 0);
    qsort(names, (size_t)count, sizeof(names[0]), compare);
    for (int i = 0; i < count; i++)
        note("entry %s", names[i]);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK(RAW(SYS_getdents64, fd, buffer, sizeof(buffer)) > 0);
    CHECK_EQ(RAW(SYS_getdents64, 0x7fff, buffer, sizeof(buffer)), -EBADF);
    close(fd);
    fd = open("words.txt", O_RDONLY);
    CHECK_EQ(RAW(SYS_getdents64, fd, buffer, sizeof(buffer)), -ENOTDIR);
    close(fd);
}

static void test_cwd(void)
{
    char here[PATH_MAX], there[PATH_MAX];
    struct stat st;

    CHECK(getcwd(here, sizeof(here)) == here);
    note("current folder: %s", strrchr(here, '/'));
    CHECK_EQ(RAW(SYS_getcwd, here, 2), -ERANGE);
    CHECK_EQ(chdir(".."), 0);
    CHECK(getcwd(there, sizeof(there)) == there);
    CHECK(strncmp(here, there, strlen(there)) == 0);
    CHECK_EQ(access("data/words.txt", R_OK), 0);
    CHECK_ERRNO(chdir("data/words.txt"), ENOTDIR);
    CHECK_ERRNO(chdir("no-such-folder"), ENOENT);
    CHECK_EQ(chdir("/"), 0);
    CHECK(getcwd(there, sizeof(there)) == there && strcmp(there, "/") == 0);
    CHECK_EQ(chdir(".."), 0);
    CHECK_EQ(stat("dev/null", &st), 0);
    int fd = open(here, O_RDONLY | O_DIRECTORY);
    CHECK_EQ(fchdir(fd), 0);
    CHECK_EQ(access("words.txt", R_OK), 0);
    close(fd);
    CHECK_ERRNO(fchdir(77), EBADF);
}

int main(int argc, char **argv)
{
    char *self = realpath(argv[0], NULL);

    (void)argc;
    CHECK(self != NULL);
    if (access("words.txt", F_OK) < 0) /* started by hand, in the repository's root */
        CHECK_EQ(chdir("tests/guest/data"), 0);
    test_read(self);
    test_map(self);
    test_stat();
    test_access();
    test_errors();
    test_folder();
    test_cwd();
    return check_done();
}
