/*
 * Names that come and go: making, removing, linking and renaming, what each refuses and with which
 * error, and what an open file or a current folder sees of it. Below /tmp, in a folder of its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif

static void make_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (CHECK(fd >= 0))
        CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void check_text(const char *name, const char *text)
{
    char got[100] = "";
    int fd = open(name, O_RDONLY);

    if (CHECK(fd >= 0))
        CHECK(read(fd, got, sizeof(got) - 1) >= 0);
    if (!CHECK(strcmp(got, text) == 0))
        note("%s: \"%s\", not \"%s\"", name, got, text);
    close(fd);
}

static ino_t inode_of(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0 ? st.st_ino : 0;
}

static nlink_t links_of(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0 ? st.st_nlink : 0;
}

static mode_t mode_of(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0 ? st.st_mode : 0;
}

static void test_create(void)
{
    int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0666);

    CHECK(fd >= 0);
    CHECK_EQ(mode_of("a"), S_IFREG | 0644);
    CHECK_EQ(write(fd, "hello", 5), 5);
    CHECK_EQ(close(fd), 0);
    CHECK_ERRNO(open("a", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
    fd = open("a", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(mode_of("a"), S_IFREG | 0644);
    close(fd);
    check_text("a", "");
    fd = open("readonly", O_RDWR | O_CREAT, 0400);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "x", 1), 1);
    close(fd);
    umask(0);
    fd = creat("b", 07777);
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, &fd, 1), EBADF);
    close(fd);
    CHECK_EQ(mode_of("b"), S_IFREG | 07777);
    umask(022);
    CHECK_ERRNO(open("a/", O_RDWR | O_CREAT, 0666), EISDIR);
    CHECK_ERRNO(open("new/", O_RDWR | O_CREAT, 0666), EISDIR);
    CHECK_ERRNO(open(".", O_RDWR | O_CREAT, 0666), EISDIR);
    CHECK_ERRNO(open("..", O_RDONLY | O_CREAT, 0666), EISDIR);
    CHECK_ERRNO(open("/", O_RDONLY | O_CREAT, 0666), EISDIR);
    CHECK_ERRNO(open("none/x", O_RDWR | O_CREAT, 0666), ENOENT);
    CHECK_ERRNO(open("a/x", O_RDWR | O_CREAT, 0666), ENOTDIR);
    CHECK_ERRNO(open("", O_RDWR | O_CREAT, 0666), ENOENT);
    char longest[300];
    memset(longest, 'n', sizeof(longest));
    longest[256] = 0;
    CHECK_ERRNO(open(longest, O_RDWR | O_CREAT, 0666), ENAMETOOLONG);
    longest[255] = 0;
    fd = open(longest, O_RDWR | O_CREAT, 0666);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQ(unlink(longest), 0);
    CHECK_ERRNO(open("a", O_WRONLY | O_DIRECTORY), ENOTDIR);
    CHECK_EQ(unlink("a"), 0);
    CHECK_EQ(unlink("b"), 0);
    CHECK_EQ(unlink("readonly"), 0);
}

static void test_links(void)
{
    char text[PATH_MAX];

    CHECK_EQ(symlink("target", "link"), 0);
    CHECK_ERRNO(symlink("other", "link"), EEXIST);
    CHECK_ERRNO(symlink("", "l2"), ENOENT);
    CHECK_ERRNO(symlink("x", "none/l"), ENOENT);
    CHECK_ERRNO(symlink("x", "l/"), ENOENT);
    CHECK_EQ(readlink("link", text, sizeof(text)), 6);
    CHECK_EQ(readlink("link", text, 3), 3);
    CHECK_EQ(mode_of("link"), S_IFLNK | 0777);
    CHECK_ERRNO(open("link", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("link", O_RDONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    CHECK_ERRNO(open("link", O_RDONLY | O_CREAT | O_NOFOLLOW, 0644), ELOOP);
    /* Through a dangling link its target is made. */
    int fd = open("link", O_WRONLY | O_CREAT, 0644);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "through", 7), 7);
    close(fd);
    check_text("target", "through");
    CHECK_ERRNO(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_EQ(symlink("loop2", "loop1"), 0);
    CHECK_EQ(symlink("loop1", "loop2"), 0);
    CHECK_ERRNO(open("loop1", O_RDONLY | O_CREAT, 0644), ELOOP);
    CHECK_EQ(unlink("loop1"), 0);
    CHECK_EQ(unlink("loop2"), 0);

    CHECK_EQ(link("target", "hard"), 0);
    CHECK_EQ(links_of("hard"), 2);
    CHECK_EQ(inode_of("hard"), inode_of("target"));
    CHECK_ERRNO(link("target", "hard"), EEXIST);
    CHECK_ERRNO(link("none", "hard2"), ENOENT);
    CHECK_ERRNO(link(".", "hard2"), EPERM);
    CHECK_ERRNO(link("target", "none/x"), ENOENT);
    CHECK_EQ(link("link", "hardlink"), 0); /* the symbolic link itself */
    CHECK_EQ(inode_of("hardlink"), inode_of("link"));
    CHECK_EQ(linkat(AT_FDCWD, "link", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW), 0);
    CHECK_EQ(links_of("target"), 3);
    CHECK_ERRNO(linkat(AT_FDCWD, "link", AT_FDCWD, "x", 0x10), EINVAL);
    CHECK_EQ(unlink("target"), 0);
    check_text("hard", "through");
    CHECK_EQ(unlink("hard"), 0);
    CHECK_EQ(unlink("followed"), 0);
    CHECK_EQ(unlink("hardlink"), 0);
    CHECK_EQ(unlink("link"), 0);
}

static void test_folders(void)
{
    CHECK_EQ(mkdir("d", 0777), 0);
    CHECK_EQ(mode_of("d"), S_IFDIR | 0755);
    CHECK_ERRNO(mkdir("d", 0777), EEXIST);
    CHECK_EQ(mkdir("d/e/", 0700), 0);
    CHECK_EQ(links_of("d"), 3);
    CHECK_EQ(links_of("d/e"), 2);
    CHECK_ERRNO(mkdir("none/d", 0777), ENOENT);
    CHECK_ERRNO(mkdir(".", 0777), EEXIST);
    CHECK_ERRNO(mkdir("..", 0777), EEXIST);
    CHECK_ERRNO(mkdir("/", 0777), EEXIST);
    CHECK_ERRNO(mkdir("", 0777), ENOENT);
    make_file("f", "f");
    CHECK_ERRNO(mkdir("f/d", 0777), ENOTDIR);
    CHECK_ERRNO(mkdir("f", 0777), EEXIST);
    CHECK_ERRNO(rmdir("d"), ENOTEMPTY);
    CHECK_ERRNO(rmdir("f"), ENOTDIR);
    CHECK_ERRNO(rmdir("none"), ENOENT);
    CHECK_ERRNO(rmdir("d/."), EINVAL);
    CHECK_ERRNO(rmdir("d/e/.."), ENOTEMPTY);
    CHECK_ERRNO(rmdir("/"), EBUSY);
    CHECK_ERRNO(unlink("d"), EISDIR);
    CHECK_ERRNO(unlink("f/"), ENOTDIR);
    CHECK_ERRNO(unlink("d/"), EISDIR);
    CHECK_ERRNO(unlink("none"), ENOENT);
    CHECK_ERRNO(unlink("none/"), ENOENT);
    CHECK_ERRNO(unlink("."), EISDIR);
    CHECK_ERRNO(unlinkat(AT_FDCWD, "f", 0x1), EINVAL);
    CHECK_ERRNO(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
    CHECK_ERRNO(unlink("/proc"), EISDIR);
    CHECK_ERRNO(rename("f", "/proc/f"), EXDEV);
    CHECK_EQ(rmdir("d/e/"), 0);
    CHECK_EQ(links_of("d"), 2);
    CHECK_EQ(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR), 0);
    CHECK_EQ(unlink("f"), 0);
    CHECK_ERRNO(mknod("n", S_IFDIR | 0755, 0), EPERM);
    CHECK_ERRNO(mknod("n", S_IFLNK | 0755, 0), EINVAL);
    CHECK_EQ(mknod("n", 0644, 0), 0);
    CHECK_EQ(mode_of("n"), S_IFREG | 0644);
    CHECK_ERRNO(mknod("n", S_IFREG | 0644, 0), EEXIST);
    CHECK_EQ(unlink("n"), 0);
}

static int rename2(const char *from, const char *to, unsigned flags)
{
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void test_rename(void)
{
    make_file("a", "a");
    make_file("b", "b");
    CHECK_EQ(rename("a", "c"), 0);
    check_text("c", "a");
    CHECK_ERRNO(open("a", O_RDONLY), ENOENT);
    CHECK_EQ(rename("c", "b"), 0);
    check_text("b", "a");
    CHECK_ERRNO(rename("none", "b"), ENOENT);
    CHECK_ERRNO(rename("b", "none/b"), ENOENT);
    CHECK_ERRNO(rename("b", "b2/"), ENOTDIR);
    CHECK_EQ(rename("b", "b"), 0);
    CHECK_EQ(link("b", "b2"), 0);
    CHECK_EQ(rename("b", "b2"), 0); /* two names of one file: nothing happens */
    CHECK_EQ(links_of("b"), 2);
    CHECK_EQ(unlink("b2"), 0);

    CHECK_EQ(mkdir("d", 0755), 0);
    CHECK_EQ(mkdir("d/e", 0755), 0);
    CHECK_EQ(mkdir("x", 0755), 0);
    CHECK_ERRNO(rename("d", "d/e/f"), EINVAL);
    CHECK_ERRNO(rename("d", "d/e"), EINVAL);
    CHECK_ERRNO(rename("d/e", "d"), ENOTEMPTY);
    CHECK_ERRNO(rename("b", "d"), EISDIR);
    CHECK_ERRNO(rename("d", "b"), ENOTDIR);
    CHECK_ERRNO(rename("x", "d"), ENOTEMPTY);
    CHECK_ERRNO(rename("d/.", "y"), EBUSY);
    CHECK_ERRNO(rename("d", "x/.."), EBUSY);
    CHECK_ERRNO(rename("b", "/proc/b"), EXDEV);
    CHECK_EQ(rename("d", "x"), 0); /* an empty folder is replaced */
    CHECK_EQ(links_of("x"), 3);
    CHECK_EQ(mkdir("y", 0755), 0);
    CHECK_EQ(rename("x/e", "y/e2"), 0);
    CHECK_EQ(links_of("x"), 2);
    CHECK_EQ(links_of("y"), 3);

    make_file("c", "c");
    CHECK_EQ(rename2("b", "c", RENAME_NOREPLACE) == -1 ? errno : 0, EEXIST);
    CHECK_EQ(rename2("b", "new", RENAME_NOREPLACE), 0);
    CHECK_EQ(rename2("new", "b", 0), 0);
    CHECK_EQ(rename2("b", "c", 77) == -1 ? errno : 0, EINVAL);
    CHECK_EQ(rename2("b", "c", RENAME_NOREPLACE | RENAME_EXCHANGE) == -1 ? errno : 0, EINVAL);
    CHECK_EQ(rename2("b", "none", RENAME_EXCHANGE) == -1 ? errno : 0, ENOENT);
    CHECK_EQ(rename2("b", "c", RENAME_EXCHANGE), 0);
    check_text("b", "c");
    check_text("c", "a");
    CHECK_EQ(rename2("c", "y/e2", RENAME_EXCHANGE), 0);
    CHECK_EQ(mode_of("c"), S_IFDIR | 0755);
    check_text("y/e2", "a");
    CHECK_EQ(links_of("y"), 2);
    CHECK_EQ(rename2("y", "y/e2", RENAME_EXCHANGE) == -1 ? errno : 0, EINVAL);
    CHECK_EQ(rename2("y/e2", "y", RENAME_EXCHANGE) == -1 ? errno : 0, EINVAL);
    CHECK_EQ(unlink("y/e2"), 0);
    CHECK_EQ(rmdir("y"), 0);
    CHECK_EQ(rmdir("x"), 0);
    CHECK_EQ(rmdir("c"), 0);
    CHECK_EQ(unlink("b"), 0);
}

/* What the current folder is called, below the test's own. */
static const char *here(const char *top)
{
    static char name[PATH_MAX];

    if (!getcwd(name, sizeof(name)))
        return strerror(errno);
    return strncmp(name, top, strlen(top)) == 0 ? name + strlen(top) : name;
}

static void test_cwd(const char *top)
{
    CHECK_EQ(mkdir("d", 0755), 0);
    CHECK_EQ(mkdir("d/e", 0755), 0);
    CHECK_EQ(chdir("d/e"), 0);
    note("in %s", here(top));
    CHECK_EQ(rename("../../d", "../../moved"), 0);
    note("in %s", here(top));
    CHECK_EQ(mkdir("../../n", 0755), 0);
    CHECK_EQ(rename("../../moved/e", "../../n/ew"), 0);
    note("in %s", here(top));
    CHECK_EQ(mkdir("sub", 0755), 0);
    CHECK_EQ(access("../../n/ew/sub", F_OK), 0);
    CHECK_EQ(rmdir("sub"), 0);
    CHECK_EQ(rmdir("../ew"), 0);
    note("in %s", here(top));
    CHECK_ERRNO(mkdir("x", 0755), ENOENT);
    CHECK_ERRNO(open("x", O_RDWR | O_CREAT, 0644), ENOENT);
    CHECK_ERRNO(symlink("x", "y"), ENOENT);
    CHECK_EQ(access(".", F_OK), 0);
    CHECK_EQ(access("..", F_OK), 0);
    CHECK_EQ(chdir(".."), 0);
    note("in %s", here(top));
    CHECK_EQ(chdir(top), 0);
    CHECK_EQ(rmdir("moved"), 0);
    CHECK_EQ(rmdir("n"), 0);
}

static const char *fd_link(int fd, const char *top)
{
    static char target[PATH_MAX];
    char link[64];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = 0;
    return strncmp(target, top, strlen(top)) == 0 ? target + strlen(top) : target;
}

/* A file without a name stays while it is open. */
static void test_open_files(const char *top)
{
    char text[10] = "", link[64];
    struct stat st;
    int fd = open("f", O_RDWR | O_CREAT, 0644);

    CHECK_EQ(write(fd, "text", 4), 4);
    note("%s", fd_link(fd, top));
    CHECK_EQ(rename("f", "g"), 0);
    note("%s", fd_link(fd, top));
    CHECK_EQ(unlink("g"), 0);
    note("%s", fd_link(fd, top));
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_nlink, 0);
    CHECK_EQ(st.st_size, 4);
    CHECK_EQ(pread(fd, text, 10, 0), 4);
    CHECK(strcmp(text, "text") == 0);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    int again = open(link, O_RDONLY);
    CHECK(again >= 0);
    CHECK_EQ(read(again, text, 10), 4);
    CHECK_ERRNO(linkat(AT_FDCWD, link, AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
    close(again);
    close(fd);

    fd = open(".", O_RDWR | O_TMPFILE, 0640);
    if (CHECK(fd >= 0)) {
        CHECK_EQ(write(fd, "tmp", 3), 3);
        CHECK_EQ(fstat(fd, &st), 0);
        CHECK_EQ(st.st_nlink, 0);
        CHECK_EQ(st.st_mode, S_IFREG | 0640);
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        CHECK_EQ(linkat(AT_FDCWD, link, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
        check_text("named", "tmp");
        CHECK_EQ(unlink("named"), 0);
        close(fd);
    }
    fd = open(".", O_RDWR | O_TMPFILE | O_EXCL, 0640);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    CHECK_ERRNO(linkat(AT_FDCWD, link, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), ENOENT);
    close(fd);
    CHECK_ERRNO(open(".", O_RDONLY | O_TMPFILE, 0640), EINVAL);
    CHECK_ERRNO(open("none", O_RDWR | O_TMPFILE, 0640), ENOENT);
    make_file("f", "");
    CHECK_ERRNO(open("f", O_RDWR | O_TMPFILE, 0640), ENOTDIR);
    CHECK_EQ(unlink("f"), 0);
}

/* Everything that was there all the time is listed once, however much goes in between. */
static void test_listing(void)
{
    bool seen[200] = {false};
    int count = 0, twice = 0;
    struct dirent *e;
    char name[32];

    CHECK_EQ(mkdir("d", 0755), 0);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "d/%d", i);
        make_file(name, "");
    }
    DIR *dir = opendir("d");
    while ((e = readdir(dir)) != NULL) {
        int i = atoi(e->d_name);

        if (e->d_name[0] == '.')
            continue;
        twice += seen[i];
        seen[i] = true;
        count++;
        snprintf(name, sizeof(name), "d/%d", i);
        CHECK_EQ(unlink(name), 0);
    }
    CHECK_EQ(count, 200);
    CHECK_EQ(twice, 0);
    rewinddir(dir);
    count = 0;
    while ((e = readdir(dir)) != NULL)
        count++;
    CHECK_EQ(count, 2);
    CHECK_EQ(rmdir("d"), 0);
    CHECK(readdir(dir) == NULL);
    closedir(dir);
}

int main(void)
{
    char top[] = "/tmp/names-XXXXXX";

    umask(022);
    if (!mkdtemp(top) || chdir(top) < 0)
        check_skip("no folder can be made in /tmp");
    test_create();
    test_links();
    test_folders();
    test_rename();
    test_cwd(top);
    test_open_files(top);
    test_listing();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
