/*
 * Changes a tree that was there before, in every way there is: what tests/cli/overlay.py runs
 * natively in one copy of the tree and in the sandbox over another. It prints the same in both.
 *
 *     writing               owners as well
 *     writing kept          without changing owners
 *     writing wait          says that it runs, and waits until its input ends
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "tests/guest/check.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif
#define RENAME_WITH_WHITEOUT 4

static bool owners = true; /* they can be changed: not so in a folder of the host's */

static int renameat_flags(const char *from, const char *to, unsigned flags)
{
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static struct stat stat_of(const char *name)
{
    struct stat st = {0};

    CHECK(lstat(name, &st) == 0);
    return st;
}

static void write_file(const char *name, int flags, const char *text)
{
    int fd = open(name, O_WRONLY | flags, 0644);

    if (CHECK(fd >= 0))
        CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static const char *read_fd(int fd)
{
    static char text[200];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return n < 0 ? strerror(errno) : text;
}

static const char *text_of(const char *name)
{
    int fd = open(name, O_RDONLY);
    const char *text = fd < 0 ? strerror(errno) : read_fd(fd);

    close(fd);
    return text;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* How many names a folder lists, and all of them if there are few; each must be there, once. */
static void list(const char *dir)
{
    char *names[2000], line[1000];
    size_t count = 0, at = 0;
    DIR *d = opendir(dir);
    struct dirent *e;

    if (!CHECK(d != NULL))
        return;
    while ((e = readdir(d)) && count < ARRAY_COUNT(names)) {
        struct stat st;

        CHECK(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        if (strcmp(e->d_name, "..") != 0 && !CHECK(st.st_ino == e->d_ino))
            note("%s/%s", dir, e->d_name);
        CHECK(e->d_type == DT_UNKNOWN || e->d_type == IFTODT(st.st_mode));
        names[count++] = strdup(e->d_name);
    }
    closedir(d);
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 1; i < count; i++)
        CHECK(strcmp(names[i - 1], names[i]) != 0);
    line[0] = '\0';
    for (size_t i = 0; i < count && at < 900; i++)
        at += (size_t)snprintf(line + at, sizeof(line) - at, " %s", names[i]);
    note("%s: %zu%s", dir, count, count < 30 ? line : "");
    for (size_t i = 0; i < count; i++)
        free(names[i]);
}

static void attributes(const char *name)
{
    struct stat st = stat_of(name);

    note("%s: %o %u:%u links %lu size %ld", name, st.st_mode, st.st_uid, st.st_gid,
         S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_nlink,
         S_ISDIR(st.st_mode) ? 0 : (long)st.st_size);
}

static void test_metadata(void)
{
    const struct timespec times[2] = {{1000, 5}, {2000, 7}};
    struct stat before = stat_of("a/f1"), after;

    CHECK(chmod("a/f1", 0640) == 0);
    CHECK(!owners || chown("a/f1", 12, 34) == 0);
    attributes("a/f1");
    after = stat_of("a/f1");
    CHECK(after.st_ino == before.st_ino && after.st_dev == before.st_dev);
    CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec);
    CHECK(after.st_blocks == before.st_blocks);
    note("a/f1: %s", text_of("a/f1"));
    CHECK(utimensat(AT_FDCWD, "a/sub", times, 0) == 0);
    after = stat_of("a/sub");
    CHECK(after.st_mtim.tv_sec == 2000 && after.st_mtim.tv_nsec == 7);
    CHECK(!owners || lchown("a/sym", 5, 6) == 0);
    attributes("a/sym");
    CHECK(chmod("a", 0711) == 0);
    attributes("a");
    list("a");
    CHECK_ERRNO(chmod("a/none", 0600), ENOENT);
}

static void test_writing(void)
{
    struct stat before = stat_of("a/f2"), after;
    int early = open("a/f2", O_RDONLY), both = open("a/f2", O_RDWR), again;
    char *map;

    CHECK(early >= 0 && both >= 0);
    CHECK(pwrite(both, "CHANGED", 7, 0) == 7);
    note("early: %s", read_fd(early));
    again = open("a/f2", O_RDONLY);
    note("again: %s", read_fd(again));
    after = stat_of("a/f2");
    CHECK(after.st_ino == before.st_ino && after.st_dev == before.st_dev);
    CHECK(after.st_size == before.st_size);
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, both, 0);
    if (CHECK(map != MAP_FAILED)) {
        memcpy(map, "MAP", 3);
        note("early after a store: %s", read_fd(early));
        CHECK(pwrite(both, "pwr", 3, 4) == 3);
        note("map: %.7s", map);
        munmap(map, 4096);
    }
    CHECK(ftruncate(both, 5) == 0);
    CHECK(fstat(early, &after) == 0 && after.st_size == 5);
    write_file("a/f2", O_APPEND, "-end");
    note("early: %s", read_fd(early));
    close(early);
    close(both);
    close(again);

    write_file("a/sub/deep1", O_TRUNC, "short");
    note("deep1: %s", text_of("a/sub/deep1"));
    CHECK(truncate("big", 100001) == 0);
    attributes("big");
    early = open("big", O_RDWR);
    CHECK(pwrite(early, "x", 1, 99999) == 1);
    CHECK(lseek(early, 0, SEEK_END) == 100001);
    for (int i = 0; i < 100001; i += 9973) {
        char c;

        CHECK(pread(early, &c, 1, i) == 1 && (c == "0123456789"[i % 10] || i == 99999));
    }
    close(early);
    early = open("sparse", O_RDWR);
    CHECK(pwrite(early, "y", 1, 10) == 1);
    CHECK(lseek(early, 0, SEEK_END) == 1048580);
    CHECK(pread(early, &(char){0}, 1, 500000) == 1);
    note("sparse: %s", (lseek(early, 1048576, SEEK_SET), read_fd(early)) + 0);
    close(early);
    CHECK_ERRNO(open("a/f1", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
    CHECK_ERRNO(open("a", O_WRONLY), EISDIR);
    CHECK_ERRNO(open("none", O_WRONLY), ENOENT);
}

/* A file whose set-user-ID bit a write by somebody else takes away. */
static void test_privileges(void)
{
    int status;

    if (!owners)
        return;
    if (fork() == 0) {
        int fd;

        CHECK(setgid(1000) == 0 && setuid(1000) == 0);
        fd = open("suid", O_WRONLY | O_APPEND);
        if (CHECK(fd >= 0))
            CHECK(write(fd, "z", 1) == 1);
        CHECK_ERRNO(open("a/f1", O_WRONLY), EACCES);
        CHECK_ERRNO(open("a/newfile", O_WRONLY | O_CREAT, 0600), EACCES);
        CHECK_ERRNO(unlink("sticky/roots"), EPERM);
        CHECK_ERRNO(rename("sticky/roots", "sticky/mine"), EPERM);
        write_file("sticky/new", O_CREAT, "mine");
        CHECK(unlink("sticky/new") == 0);
        CHECK_ERRNO(chmod("suid", 0777), EPERM);
        _exit(check_failures ? 1 : 0);
    }
    CHECK(wait(&status) > 0 && status == 0);
    attributes("suid");
}

static void test_links(void)
{
    int early = open("b/h3", O_RDONLY);

    attributes("a/h1");
    write_file("a/h1", O_APPEND, "+1");
    note("h2 %s, h3 %s, open %s", text_of("a/h2"), text_of("b/h3"), read_fd(early));
    CHECK(stat_of("a/h2").st_ino == stat_of("b/h3").st_ino);
    CHECK(unlink("a/h1") == 0);
    attributes("a/h2");
    attributes("b/h3");
    CHECK(link("a/h2", "b/h4") == 0);
    attributes("b/h4");
    CHECK(rename("a/h2", "b/h3") == 0); /* the same file: nothing happens */
    attributes("a/h2");
    CHECK(rename("a/h2", "a/h5") == 0);
    write_file("a/h5", O_APPEND, "+5");
    note("h3 %s", text_of("b/h3"));
    CHECK(unlink("a/h5") == 0 && unlink("b/h3") == 0 && unlink("b/h4") == 0);
    note("open %s", read_fd(early));
    close(early);
    CHECK_ERRNO(link("a/sub", "a/sub2"), EPERM);
    CHECK(link("a/sym", "a/sym2") == 0);
    attributes("a/sym2");
    list("b");
}

static void test_removing(void)
{
    int early = open("a/sub/deep2", O_RDONLY);
    struct stat st;

    CHECK(unlink("a/sub/deep2") == 0);
    note("open: %s", read_fd(early));
    CHECK(fstat(early, &st) == 0 && st.st_nlink == 0);
    close(early);
    CHECK_ERRNO(open("a/sub/deep2", O_RDONLY), ENOENT);
    CHECK_ERRNO(unlink("a/sub/deep2"), ENOENT);
    list("a/sub");
    write_file("a/sub/deep2", O_CREAT | O_EXCL, "made anew");
    note("deep2: %s", text_of("a/sub/deep2"));
    list("a/sub");
    CHECK_ERRNO(rmdir("a/sub"), ENOTEMPTY);
    CHECK_ERRNO(unlink("a/sub"), EISDIR);
    CHECK_ERRNO(rmdir("a/f1"), ENOTDIR);
    CHECK(rmdir("e") == 0);
    CHECK(mkdir("e", 0700) == 0);
    list("e");
    /* One that lower has with names in it, emptied, removed and made anew: nothing comes back. */
    CHECK(unlink("c/one") == 0 && unlink("c/two") == 0);
    list("c");
    CHECK(rmdir("c") == 0);
    CHECK_ERRNO(open("c/one", O_RDONLY), ENOENT);
    CHECK(mkdir("c", 0755) == 0);
    list("c");
    CHECK_ERRNO(open("c/one", O_RDONLY), ENOENT);
    write_file("c/two", O_CREAT, "new");
    list("c");
    CHECK(unlink("p") == 0 && mkfifo("p", 0600) == 0);
    CHECK(mknod("dev", S_IFREG | 0600, 0) == 0);
    attributes("dev");
}

static void test_renaming(void)
{
    int dir = open("d", O_RDONLY | O_DIRECTORY), inner = open("d/in", O_RDONLY | O_DIRECTORY);
    char cwd[200];

    CHECK(rename("d", "moved") == 0);
    list("moved");
    list("moved/in");
    note("%s", text_of("moved/in/low"));
    CHECK_ERRNO(open("d/in/low", O_RDONLY), ENOENT);
    CHECK(faccessat(dir, "in/low", R_OK, 0) == 0);
    CHECK(fchdir(inner) == 0);
    write_file("low", O_APPEND, "er");
    CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
    note("%s", strlen(cwd) > 9 ? cwd + strlen(cwd) - 9 : cwd);
    CHECK(chdir("../..") == 0);
    note("%s", text_of("moved/in/low"));
    CHECK(mkdir("d", 0755) == 0);
    list("d");
    CHECK(rename("moved/in", "d/in2") == 0);
    list("moved");
    list("d");
    note("%s", text_of("d/in2/low"));
    CHECK_ERRNO(rename("d", "d/in2/x"), EINVAL);
    CHECK_ERRNO(rename("d", "moved"), ENOTEMPTY);
    CHECK_ERRNO(rename("d", "a/f1"), ENOTDIR);
    CHECK_ERRNO(rename("a/f1", "d"), EISDIR);
    CHECK(rename("d", "e") == 0); /* e is empty */
    list("e");
    note("%s", text_of("e/in2/low"));
    CHECK(rename("moved/file", "a/f1") == 0);
    note("a/f1: %s", text_of("a/f1"));
    CHECK_ERRNO(renameat_flags("a/f1", "a/f2", RENAME_NOREPLACE), EEXIST);
    CHECK(renameat_flags("a/f1", "e", RENAME_EXCHANGE) == 0);
    note("e: %s", text_of("e"));
    list("a/f1");
    CHECK(renameat_flags("e", "a/f1", RENAME_EXCHANGE) == 0);
    CHECK(renameat_flags("a/f1", "a/f9", RENAME_WITH_WHITEOUT) == 0);
    attributes("a/f1");
    CHECK(unlink("a/f1") == 0);
    close(dir);
    close(inner);
    list(".");
    list("a");
}

/* What a reader has not come to yet may go; it finds each that stays, once. */
static void test_listing(void)
{
    char buf[1024], name[64], seen[300] = {0};
    int dir = open("full", O_RDONLY | O_DIRECTORY), found = 0;
    long n, step = 0;

    while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 *e = (struct dirent64 *)(buf + at);
            int number = -1;

            if (sscanf(e->d_name, "n%d", &number) == 1 && number < 300) {
                CHECK(!seen[number]);
                seen[number] = 1;
                found++;
            }
            at += e->d_reclen;
        }
        snprintf(name, sizeof(name), "full/extra%ld", step++);
        write_file(name, O_CREAT, "x");
        if (step % 2)
            CHECK(unlink(name) == 0);
    }
    CHECK(n == 0);
    note("found %d", found);
    CHECK(lseek(dir, 0, SEEK_SET) == 0);
    /* Removing while listing, as rm -r does it. */
    found = 0;
    while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 *e = (struct dirent64 *)(buf + at);

            if (e->d_name[0] != '.') {
                CHECK(unlinkat(dir, e->d_name, 0) == 0);
                found++;
            }
            at += e->d_reclen;
        }
    }
    CHECK(n == 0 && found >= 300);
    close(dir);
    CHECK(rmdir("full") == 0);
}

static void test_kinds(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct stat st;
    char buf[8];

    if (fd >= 0 && bind(fd, (void *)&address, sizeof(address)) == 0)
        CHECK(lstat("socket", &st) == 0 && S_ISSOCK(st.st_mode));
    close(fd);
    unlink("socket");
    fd = open("p", O_RDWR | O_NONBLOCK);
    CHECK(fd >= 0 && write(fd, "fifo", 4) == 4 && read(fd, buf, 8) == 4);
    close(fd);
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (CHECK(fd >= 0)) {
        char path[32];

        CHECK(write(fd, "unnamed", 7) == 7);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
        note("named: %s", text_of("named"));
        attributes("named");
    }
    close(fd);
    CHECK(symlink("a/f2", "link") == 0);
    note("link: %s", text_of("link"));
    CHECK(setxattr("big", "user.kvmsentry", "value", 5, 0) == 0 || errno == EOPNOTSUPP);
    CHECK(fallocate(open("named", O_RDWR), 0, 0, 10000) == 0);
    attributes("named");
}

static void test_ranges(void)
{
    int fd = open("big", O_RDWR);
    char c = 'x';

    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 10000) == 0);
    CHECK(pread(fd, &c, 1, 4999) == 1 && c == '9');
    CHECK(pread(fd, &c, 1, 5000) == 1 && c == 0);
    CHECK(pread(fd, &c, 1, 15000) == 1 && c == '0');
    CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 20000, 9) == 0);
    CHECK(pread(fd, &c, 1, 20008) == 1 && c == 0);
    CHECK(pread(fd, &c, 1, 20009) == 1 && c == '9');
    CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 100000, 5000) == 0);
    close(fd);
    attributes("big");
}

/* What was mapped before the first change shows what is written afterwards. */
static void test_mapped(const char *name)
{
    int fd = open(name, O_RDONLY), other = open(name, O_RDWR), ready[2], status;
    size_t size = (size_t)stat_of(name).st_size, middle = size / 2 & ~4095UL;
    char *shared = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0), *writable, c = 0;
    char *private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    uint64_t sum = 0;
    pid_t child;

    if (!CHECK(shared != MAP_FAILED && private != MAP_FAILED && pipe(ready) == 0))
        return;
    for (size_t i = 0; i < size; i += 4096)
        sum += (unsigned char)shared[i] + (unsigned char)private[i];
    private[middle] = '!'; /* a page of its own */
    child = fork();
    if (child == 0) {
        close(ready[1]);
        while (read(ready[0], &c, 1) > 0)
            ;
        _exit(shared[10] != '1' || private[10] != '1' || shared[middle + 1] != '2' ||
              private[middle + 1] == '2' || shared[size - 5] != '3');
    }
    CHECK(pwrite(other, "1", 1, 10) == 1 && pwrite(other, "2", 1, (off_t)middle + 1) == 1);
    CHECK(shared[10] == '1' && private[10] == '1' && shared[middle + 1] == '2');
    CHECK(private[middle] == '!' && private[middle + 1] != '2');
    writable = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    if (CHECK(writable != MAP_FAILED)) {
        writable[size - 5] = '3';
        CHECK(shared[size - 5] == '3' && private[size - 5] == '3' && shared[size - 6] != '3');
        CHECK(pread(fd, &c, 1, (off_t)size - 5) == 1 && c == '3');
        CHECK(pwrite(other, "4", 1, (off_t)size - 7) == 1 && writable[size - 7] == '4');
    }
    close(ready[0]);
    close(ready[1]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    note("%s mapped: %lu", name, sum);
    for (size_t i = sum = 0; i < size; i += 100)
        sum = sum * 31 + (unsigned char)shared[i];
    CHECK(ftruncate(other, (off_t)middle + 2) == 0 && pread(fd, &c, 1, (off_t)middle + 2) == 0);
    CHECK(ftruncate(other, (off_t)size + 70000) == 0);
    CHECK(shared[middle + 1] == '2' && shared[middle + 2] == 0 && shared[size - 5] == 0);
    CHECK(pwrite(other, "far", 3, (off_t)size + 65000) == 3 && pread(fd, &c, 1, (off_t)size) == 1);
    CHECK(c == 0 && shared[10] == '1');
    note("%s afterwards: %lu", name, sum);
    munmap(shared, size);
    munmap(private, size);
    munmap(writable, size);
    close(fd);
    close(other);
    attributes(name);
}

/* A file that is too big to be copied up at once. */
static void test_pieces(void)
{
    int fd = open("large", O_RDWR);
    char buf[70000], seen[70000];
    uint64_t sum = 0;
    ssize_t n;

    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 7);
    CHECK(pwrite(fd, buf, sizeof(buf), 1000000) == sizeof(buf));
    CHECK(pread(fd, seen, sizeof(seen), 1000000) == sizeof(seen));
    CHECK(memcmp(buf, seen, sizeof(buf)) == 0);
    CHECK(pread(fd, seen, sizeof(seen), 999000) == sizeof(seen));
    CHECK(memcmp(buf, seen + 1000, sizeof(buf) - 1000) == 0);
    CHECK(lseek(fd, 0, SEEK_HOLE) == stat_of("large").st_size);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 << 20, 1 << 19) == 0);
    CHECK_EQ(lseek(fd, 5, SEEK_HOLE), 2 << 20);
    CHECK_EQ(lseek(fd, (2 << 20) + 5, SEEK_DATA), (2 << 20) + (1 << 19));
    CHECK_EQ(lseek(fd, 1000, SEEK_DATA), 1000);
    CHECK_ERRNO(lseek(fd, 1 << 28, SEEK_DATA), ENXIO);
    CHECK(lseek(fd, -7, SEEK_END) > 0 && read(fd, seen, 100) == 7 &&
          memcmp(seen, "the end", 7) == 0);
    CHECK(write(fd, "!", 1) == 1);
    for (off_t at = 0; (n = pread(fd, buf, sizeof(buf), at)) > 0; at += n)
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + (unsigned char)buf[i];
    note("large: %lu", sum);
    close(fd);
    attributes("large");
}

static void test_locks(void)
{
    int a = open("a/f2", O_RDONLY), b = open("a/f2", O_RDWR);

    CHECK(flock(a, LOCK_EX) == 0);
    CHECK_ERRNO(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK(write(b, "x", 1) == 1);
    CHECK_ERRNO(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    close(a);
    CHECK(flock(b, LOCK_EX | LOCK_NB) == 0);
    close(b);
}

static int run(const char *program)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDOUT_FILENO);
        execl(program, program, NULL);
        _exit(errno == ETXTBSY ? 26 : 99);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WEXITSTATUS(status);
}

static void test_execution(void)
{
    int fd = open("hello", O_RDWR), pid, pipes[2], status;
    char c;

    note("while it is open for writing: %d", run("./hello"));
    CHECK(pwrite(fd, "\x7f", 1, 0) == 1);
    close(fd);
    note("afterwards: %d", run("./hello"));
    CHECK(rename("hello", "hello2") == 0);
    note("renamed: %d", run("./hello2"));
    CHECK(chmod("hello2", 0644) == 0);
    note("without the right: %d", run("./hello2"));
    /* A running program cannot be written. */
    CHECK(pipe(pipes) == 0);
    pid = fork();
    if (pid == 0) {
        dup2(pipes[0], 0);
        close(pipes[1]);
        execl("./writing", "writing", "wait", NULL);
        _exit(99);
    }
    close(pipes[0]);
    while (stat("started", &(struct stat){0}) < 0)
        usleep(1000);
    CHECK_ERRNO(open("writing", O_WRONLY), ETXTBSY);
    CHECK_ERRNO(truncate("writing", 0), ETXTBSY);
    CHECK(unlink("writing") == 0);
    close(pipes[1]);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    (void)c;
}

int main(int argc, char **argv)
{
    char c;

    if (argc > 1 && strcmp(argv[1], "wait") == 0) {
        close(open("started", O_CREAT | O_WRONLY, 0600));
        return read(0, &c, 1) != 0;
    }
    umask(022);
    owners = argc == 1;
    test_metadata();
    test_writing();
    test_privileges();
    test_links();
    test_removing();
    test_renaming();
    test_listing();
    test_kinds();
    test_mapped("big");
    test_pieces();
    test_mapped("large");
    test_mapped("mapped");
    test_ranges();
    test_locks();
    test_execution();
    list(".");
    return check_done();
}
