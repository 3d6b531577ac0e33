/* Extended attributes that are set: values, listings, name spaces, permissions. Below /tmp. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list(const char *name)
{
    char names[1000], line[1000] = "", *sorted[20];
    ssize_t n = listxattr(name, names, sizeof(names));
    size_t count = 0;

    CHECK_EQ(listxattr(name, NULL, 0), n);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
        if (strncmp(names + at, "security.", 9) != 0)
            sorted[count++ % 20] = names + at;
    }
    qsort(sorted, count, sizeof(sorted[0]), compare);
    for (size_t i = 0; i < count; i++)
        snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", sorted[i]);
    note("%s:%s", name, line);
}

static void test_values(void)
{
    char value[100] = "";
    int fd = open("file", O_RDWR);

    CHECK_EQ(setxattr("file", "user.a", "hello", 5, 0), 0);
    CHECK_EQ(getxattr("file", "user.a", value, sizeof(value)), 5);
    CHECK(strcmp(value, "hello") == 0);
    CHECK_EQ(getxattr("file", "user.a", NULL, 0), 5);
    CHECK_ERRNO(getxattr("file", "user.a", value, 4), ERANGE);
    CHECK_ERRNO(getxattr("file", "user.b", value, 4), ENODATA);
    CHECK_EQ(fsetxattr(fd, "user.b", "", 0, XATTR_CREATE), 0);
    CHECK_EQ(fgetxattr(fd, "user.b", value, sizeof(value)), 0);
    CHECK_ERRNO(setxattr("file", "user.b", "x", 1, XATTR_CREATE), EEXIST);
    CHECK_EQ(setxattr("file", "user.b", "xy", 2, XATTR_REPLACE), 0);
    CHECK_ERRNO(setxattr("file", "user.c", "x", 1, XATTR_REPLACE), ENODATA);
    CHECK_EQ(fgetxattr(fd, "user.b", value, sizeof(value)), 2);
    list("file");
    CHECK_ERRNO(listxattr("file", value, 3), ERANGE);
    CHECK_EQ(symlink("file", "link"), 0);
    CHECK_EQ(getxattr("link", "user.a", value, sizeof(value)), 5);
    CHECK_ERRNO(lsetxattr("link", "user.a", "x", 1, 0), EPERM);
    CHECK_ERRNO(lgetxattr("link", "user.a", value, 1), ENODATA);
    CHECK_ERRNO(setxattr("file", "user.", "x", 1, 0), EINVAL);
    CHECK_ERRNO(setxattr("file", "nospace.x", "x", 1, 0), EOPNOTSUPP);
    CHECK_ERRNO(removexattr("file", "user.none"), ENODATA);
    CHECK_EQ(RAW(SYS_setxattr, "file", "user.a", 8, 5, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_getxattr, "file", "user.a", 8, 5), -EFAULT);
    CHECK_EQ(rename("file", "moved"), 0); /* they belong to the object */
    CHECK_EQ(getxattr("moved", "user.a", value, sizeof(value)), 5);
    CHECK_EQ(rename("moved", "file"), 0);
    CHECK_EQ(removexattr("file", "user.a"), 0);
    CHECK_EQ(fremovexattr(fd, "user.b"), 0);
    CHECK_ERRNO(getxattr("file", "user.a", value, sizeof(value)), ENODATA);
    list("file");
    CHECK_EQ(setxattr("dir", "user.d", "dir", 3, 0), 0);
    list("dir");
    close(fd);
}

static void test_permissions(void)
{
    char value[10];
    int status;

    CHECK_EQ(chmod("file", 0644), 0);
    CHECK_EQ(setxattr("file", "user.a", "a", 1, 0), 0);
    CHECK_EQ(setxattr("file", "trusted.t", "t", 1, 0), 0);
    CHECK_EQ(mkfifo("fifo", 0666), 0);
    CHECK_ERRNO(setxattr("fifo", "user.a", "x", 1, 0), EPERM);
    list("file");
    pid_t child = fork();
    if (child == 0) {
        check_failures = 0;
        CHECK_EQ(setresuid(2000, 2000, 2000), 0);
        CHECK_EQ(getxattr("file", "user.a", value, 10), 1);
        CHECK_ERRNO(setxattr("file", "user.a", "b", 1, 0), EACCES);
        CHECK_ERRNO(removexattr("file", "user.a"), EACCES);
        CHECK_ERRNO(getxattr("file", "trusted.t", value, 10), ENODATA);
        CHECK_ERRNO(setxattr("file", "trusted.t", "b", 1, 0), EPERM);
        CHECK_ERRNO(setxattr("dir", "user.x", "b", 1, 0), EPERM); /* sticky, and not ours */
        list("file");
        _exit(check_failures ? 1 : 0);
    }
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(unlink("fifo"), 0);
}

int main(void)
{
    char top[] = "/tmp/xattr-XXXXXX";

    umask(0);
    if (geteuid() != 0 || !mkdtemp(top) || chdir(top) < 0)
        check_skip("needs root and a folder in /tmp");
    CHECK_EQ(chmod(top, 0755), 0);
    close(open("file", O_CREAT | O_RDWR, 0644));
    CHECK_EQ(mkdir("dir", 0777) | chmod("dir", 01777), 0);
    if (setxattr("file", "user.probe", "", 0, 0) < 0) {
        unlink("file");
        rmdir("dir");
        rmdir(top);
        check_skip("no extended attributes in /tmp");
    }
    CHECK_EQ(removexattr("file", "user.probe"), 0);
    test_values();
    test_permissions();
    CHECK_EQ(unlink("file") | unlink("link") | rmdir("dir"), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
