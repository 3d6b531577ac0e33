/* openat2(2): where a path may lead. Below /tmp. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"

/* The descriptor's inode number shows where it led; -errno. */
static long try(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .resolve = resolve, .mode = flags & O_CREAT ? 0600 : 0};
    long fd = RAW(SYS_openat2, dirfd, path, &how, sizeof(how));
    struct stat st;

    if (fd < 0)
        return fd;
    CHECK_EQ(fstat((int)fd, &st), 0);
    close((int)fd);
    return (long)st.st_ino;
}

static long ino(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (long)st.st_ino : -errno;
}

static void test_beneath(int dir)
{
    CHECK_EQ(try(dir, "sub/file", O_RDONLY, RESOLVE_BENEATH), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "sub/../sub/./file", O_RDONLY, RESOLVE_BENEATH), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "..", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    CHECK_EQ(try(dir, "sub/../../outside", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    CHECK_EQ(try(dir, "/", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    CHECK_EQ(try(dir, "up/outside", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    CHECK_EQ(try(dir, "rooted", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    CHECK_EQ(try(dir, "link", O_RDONLY, RESOLVE_BENEATH), ino("dir/sub/file"));
    CHECK_EQ(try(AT_FDCWD, "dir/link", O_RDONLY, RESOLVE_BENEATH), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "../new", O_RDWR | O_CREAT, RESOLVE_BENEATH), -EXDEV);
    CHECK(try(dir, "new", O_RDWR | O_CREAT | O_EXCL, RESOLVE_BENEATH) > 0);
    CHECK_EQ(unlink("dir/new"), 0);
}

static void test_in_root(int dir)
{
    CHECK_EQ(try(dir, "/sub/file", O_RDONLY, RESOLVE_IN_ROOT), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "/../../sub/file", O_RDONLY, RESOLVE_IN_ROOT), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "rooted", O_RDONLY, RESOLVE_IN_ROOT), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "up", O_RDONLY, RESOLVE_IN_ROOT), ino("dir"));
    CHECK_EQ(try(dir, "/etc", O_RDONLY, RESOLVE_IN_ROOT), -ENOENT);
    CHECK_EQ(try(dir, "/proc/self/fd/0", O_RDONLY, RESOLVE_IN_ROOT), -ENOENT);
    CHECK_EQ(try(77, "/", O_RDONLY, RESOLVE_IN_ROOT), -EBADF);
}

static void test_links(int dir)
{
    char magic[64];

    CHECK_EQ(try(dir, "link", O_RDONLY, RESOLVE_NO_SYMLINKS), -ELOOP);
    CHECK_EQ(try(dir, "up/dir/sub/file", O_RDONLY, RESOLVE_NO_SYMLINKS), -ELOOP);
    CHECK_EQ(try(dir, "sub/file", O_RDONLY, RESOLVE_NO_SYMLINKS), ino("dir/sub/file"));
    CHECK(try(dir, "link", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS) > 0);
    CHECK_EQ(try(dir, "link", O_RDONLY, RESOLVE_NO_MAGICLINKS), ino("dir/sub/file"));
    snprintf(magic, sizeof(magic), "/proc/self/fd/%d", dir);
    CHECK_EQ(try(AT_FDCWD, magic, O_RDONLY, 0), ino("dir"));
    CHECK_EQ(try(AT_FDCWD, magic, O_RDONLY, RESOLVE_NO_MAGICLINKS), -ELOOP);
    CHECK_EQ(try(AT_FDCWD, "/proc/self/exe", O_RDONLY, RESOLVE_NO_MAGICLINKS), -ELOOP);
    CHECK_EQ(try(AT_FDCWD, magic, O_RDONLY, RESOLVE_NO_XDEV), -EXDEV);
    int proc = open("/proc/self", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(try(proc, "cwd", O_RDONLY, RESOLVE_BENEATH), -EXDEV);
    CHECK_EQ(try(proc, "cwd", O_RDONLY, RESOLVE_NO_XDEV), -EXDEV);
    CHECK(try(proc, "status", O_RDONLY, RESOLVE_NO_XDEV | RESOLVE_BENEATH) > 0);
    close(proc);
}

static void test_mounts(int dir)
{
    CHECK_EQ(try(AT_FDCWD, "/proc/version", O_RDONLY, RESOLVE_NO_XDEV), -EXDEV);
    CHECK_EQ(try(dir, "sub/../sub/file", O_RDONLY, RESOLVE_NO_XDEV), ino("dir/sub/file"));
    int proc = open("/proc", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(try(proc, "..", O_RDONLY, RESOLVE_NO_XDEV), -EXDEV);
    CHECK(try(proc, "..", O_RDONLY, 0) > 0);
    close(proc);
}

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

/* What has just been looked at is at hand; what has to be made is not. */
static void test_cached(int dir)
{
    CHECK_EQ(try(dir, "sub/file", O_RDONLY, 0), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "sub/file", O_RDONLY, RESOLVE_CACHED), ino("dir/sub/file"));
    CHECK_EQ(try(dir, "sub", O_RDONLY | O_DIRECTORY, RESOLVE_CACHED), ino("dir/sub"));
    CHECK_EQ(try(dir, "sub/file", O_RDWR | O_CREAT, RESOLVE_CACHED), -EAGAIN);
    CHECK_EQ(try(dir, "sub/file", O_RDWR | O_TRUNC, RESOLVE_CACHED), -EAGAIN);
    CHECK_EQ(try(dir, "sub", O_RDWR | O_TMPFILE, RESOLVE_CACHED), -EAGAIN);
}

static void test_arguments(int dir)
{
    struct open_how how = {.flags = O_RDONLY};

    CHECK_EQ(try(dir, ".", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT), -EINVAL);
    CHECK_EQ(try(dir, ".", O_RDONLY, 0x100), -EINVAL);
    CHECK_EQ(RAW(SYS_openat2, dir, ".", &how, 23), -EINVAL);
    CHECK_EQ(RAW(SYS_openat2, dir, ".", 8, sizeof(how)), -EFAULT);
    how.mode = 0600;
    CHECK_EQ(RAW(SYS_openat2, dir, ".", &how, sizeof(how)), -EINVAL);
}

int main(void)
{
    char top[] = "/tmp/resolve-XXXXXX";

    if (!mkdtemp(top) || chdir(top) < 0)
        check_skip("no folder can be made in /tmp");
    CHECK_EQ(mkdir("dir", 0755) | mkdir("dir/sub", 0755), 0);
    close(open("dir/sub/file", O_RDWR | O_CREAT, 0644));
    close(open("outside", O_RDWR | O_CREAT, 0644));
    CHECK_EQ(symlink("sub/file", "dir/link") | symlink("..", "dir/up"), 0);
    CHECK_EQ(symlink("/sub/file", "dir/rooted"), 0);
    int dir = open("dir", O_RDONLY | O_DIRECTORY);
    test_beneath(dir);
    test_in_root(dir);
    test_links(dir);
    test_mounts(dir);
    test_cached(dir);
    test_arguments(dir);
    close(dir);
    static const char *const leave[] = {"dir/sub/file", "outside", "dir/link", "dir/up",
                                        "dir/rooted"};
    for (unsigned i = 0; i < ARRAY_COUNT(leave); i++)
        CHECK_EQ(unlink(leave[i]), 0);
    CHECK_EQ(rmdir("dir/sub") | rmdir("dir") | chdir("/") | rmdir(top), 0);
    return check_done();
}
