/*
 * Mounts: making, binding, moving, changing and taking away; what their flags forbid; propagation;
 * the calls by descriptors. In a namespace of its own where there can be one, else below a folder
 * of its own alone. Root only.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096

static char base[64];

/* The line of mountinfo that ends the place `name` (relative to the test's folder), or "". */
static const char *info_line(const char *name)
{
    static char text[65536], line[sizeof(text)];
    char place[160];
    int fd = open("/proc/self/mountinfo", O_RDONLY);
    ssize_t size = 0, n;

    while ((n = read(fd, text + size, sizeof(text) - 1 - (size_t)size)) > 0)
        size += n;
    text[size] = '\0';
    close(fd);
    snprintf(place, sizeof(place), " %s/%s ", base, name);
    line[0] = '\0';
    for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        *end = '\0';
        if (strstr(at, place))
            snprintf(line, sizeof(line), "%s", at); /* the last one covers the others */
    }
    return line;
}

static bool info_has(const char *name, const char *word)
{
    return strstr(info_line(name), word) != NULL;
}

static bool is_mounted(const char *name)
{
    return info_line(name)[0] != '\0';
}

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0755);

    CHECK(fd >= 0);
    close(fd);
}

static void new_tmpfs(const char *name)
{
    mkdir(name, 0755);
    CHECK_EQ(mount("test", name, "tmpfs", 0, "size=1m,mode=755"), 0);
}

static void test_simple(void)
{
    struct statvfs vfs;
    struct stat outer, inner;

    CHECK_EQ(mkdir("a", 0700), 0);
    CHECK_EQ(stat("a", &outer), 0);
    CHECK_ERRNO(mount("none", "a", "nosuchfs", 0, NULL), ENODEV);
    CHECK_ERRNO(mount("none", "a", NULL, 0, NULL), EINVAL);
    CHECK_ERRNO(mount("none", "missing", "tmpfs", 0, NULL), ENOENT);
    CHECK_ERRNO(mount("none", "a", "tmpfs", 0, "nonsense=1"), EINVAL);
    CHECK_ERRNO(mount("none", "a", "tmpfs", 0, "mode=9"), EINVAL);
    CHECK_ERRNO(umount("a"), EINVAL);
    CHECK_EQ(
        mount("words here", "a", "tmpfs", MS_NOSUID, "size=64k,nr_inodes=5,mode=711,uid=3,gid=4"),
        0);
    CHECK_EQ(stat("a", &inner), 0);
    CHECK_EQ(inner.st_mode & 07777, 0711);
    CHECK_EQ(inner.st_uid, 3);
    CHECK_EQ(inner.st_gid, 4);
    CHECK(inner.st_dev != outer.st_dev);
    CHECK(info_has("a", " / "));
    CHECK(info_has("a", "rw,nosuid,relatime - tmpfs words\\040here rw,"));
    CHECK(info_has("a", "size=64k,nr_inodes=5,mode=711,uid=3,gid=4"));
    CHECK_EQ(statvfs("a", &vfs), 0);
    CHECK_EQ(vfs.f_blocks, 16);
    CHECK_EQ(vfs.f_files, 5);
    CHECK_EQ(vfs.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC), ST_NOSUID);
    /* One inode is the root. */
    for (int i = 0; i < 4; i++) {
        char name[8];

        snprintf(name, sizeof(name), "a/%d", i);
        make_file(name);
    }
    CHECK_ERRNO(open("a/more", O_CREAT | O_WRONLY, 0600), ENOSPC);
    CHECK_ERRNO(rmdir("a"), EBUSY);
    CHECK_ERRNO(rename("a", "b"), EBUSY);
    CHECK_ERRNO(rename("a/1", "b"), EXDEV);
    CHECK_ERRNO(link("a/1", "b"), EXDEV);
    /* Stacked: the later one hides the earlier one. */
    CHECK_EQ(mount("second", "a", "tmpfs", 0, NULL), 0);
    CHECK_ERRNO(access("a/1", F_OK), ENOENT);
    CHECK_EQ(umount("a"), 0);
    CHECK_EQ(access("a/1", F_OK), 0);
    CHECK_EQ(umount("a"), 0);
    CHECK_ERRNO(access("a/1", F_OK), ENOENT);
    CHECK_EQ(rmdir("a"), 0);
}

static void test_busy(void)
{
    int fd, dir;

    new_tmpfs("m");
    make_file("m/file");
    fd = open("m/file", O_RDONLY);
    CHECK_ERRNO(umount("m"), EBUSY);
    CHECK_ERRNO(umount2("m", MNT_EXPIRE), EBUSY);
    close(fd);
    CHECK_EQ(chdir("m"), 0);
    CHECK_ERRNO(umount("../m"), EBUSY);
    CHECK_EQ(chdir(".."), 0);
    CHECK_ERRNO(umount2("m", 0x100), EINVAL);
    CHECK_ERRNO(umount2("m", MNT_EXPIRE | MNT_FORCE), EINVAL);
    CHECK_ERRNO(umount2("m", MNT_EXPIRE | MNT_DETACH), EINVAL);
    /* Marked, used, marked again, gone. */
    CHECK_ERRNO(umount2("m", MNT_EXPIRE), EAGAIN);
    CHECK_EQ(access("m/file", F_OK), 0);
    CHECK_ERRNO(umount2("m", MNT_EXPIRE), EAGAIN);
    CHECK_EQ(umount2("m", MNT_EXPIRE), 0);
    CHECK(!is_mounted("m"));
    /* Something below it. */
    new_tmpfs("m");
    new_tmpfs("m/below");
    CHECK_ERRNO(umount("m"), EBUSY);
    make_file("m/below/file");
    dir = open("m/below", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(umount2("m", MNT_DETACH), 0);
    CHECK(!is_mounted("m"));
    CHECK(!is_mounted("m/below"));
    CHECK_EQ(faccessat(dir, "file", F_OK, 0), 0);
    CHECK_EQ(faccessat(dir, "../file", F_OK, 0), 0); /* it is its own end */
    close(dir);
    /* A link to it. */
    new_tmpfs("m");
    CHECK_EQ(symlink("m", "link"), 0);
    CHECK_ERRNO(umount2("link", UMOUNT_NOFOLLOW), EINVAL);
    CHECK_EQ(umount("link"), 0);
    CHECK_EQ(unlink("link"), 0);
}

static void test_flags(void)
{
    char *argv[] = {"prog", NULL};
    int fd, status;
    void *map;
    pid_t pid;

    new_tmpfs("f");
    make_file("f/prog");
    CHECK_EQ(symlink("prog", "f/link"), 0);
    fd = open("f/prog", O_WRONLY);
    /* Somebody writes. */
    CHECK_ERRNO(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), EBUSY);
    CHECK_ERRNO(mount(NULL, "f", NULL, MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
    close(fd);
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    CHECK(info_has("f", " ro,relatime - tmpfs test rw,"));
    CHECK_ERRNO(open("f/prog", O_WRONLY), EROFS);
    CHECK_ERRNO(open("f/new", O_CREAT | O_WRONLY, 0600), EROFS);
    CHECK_ERRNO(mkdir("f/dir", 0700), EROFS);
    CHECK_ERRNO(unlink("f/prog"), EROFS);
    CHECK_ERRNO(rename("f/prog", "f/other"), EROFS);
    CHECK_ERRNO(link("f/prog", "f/other"), EROFS);
    CHECK_ERRNO(symlink("x", "f/other"), EROFS);
    CHECK_ERRNO(chmod("f/prog", 0700), EROFS);
    CHECK_ERRNO(chown("f/prog", 1, 1), EROFS);
    CHECK_ERRNO(truncate("f/prog", 1), EROFS);
    CHECK_ERRNO(access("f/prog", W_OK), EROFS);
    CHECK_ERRNO(utimensat(AT_FDCWD, "f/prog", NULL, 0), EROFS);
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND, NULL), 0);
    /* The whole file system. */
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    CHECK(info_has("f", "ro,relatime - tmpfs test ro,"));
    CHECK_ERRNO(mkdir("f/dir", 0700), EROFS);
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT, "size=2m"), 0);
    CHECK(info_has("f", "size=2048k"));
    CHECK_EQ(mkdir("f/dir", 0700), 0);
    CHECK_ERRNO(mount(NULL, "f/dir", NULL, MS_REMOUNT | MS_BIND, NULL), EINVAL);

    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC | MS_NODEV, NULL), 0);
    CHECK(info_has("f", "rw,nodev,noexec,relatime"));
    CHECK_ERRNO(execv("f/prog", argv), EACCES);
    CHECK_ERRNO(access("f/prog", X_OK), EACCES);
    CHECK_EQ(access("f/dir", X_OK), 0);
    CHECK_EQ(truncate("f/prog", PAGE), 0);
    fd = open("f/prog", O_RDONLY);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED);
    CHECK_EQ(errno, EPERM);
    map = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    CHECK_ERRNO(mprotect(map, PAGE, PROT_READ | PROT_EXEC), EACCES);
    munmap(map, PAGE);
    close(fd);

    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | 256 /* MS_NOSYMFOLLOW */, NULL), 0);
    CHECK_ERRNO(open("f/link", O_RDONLY), ELOOP);
    CHECK(info_has("f", ",nosymfollow"));
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | MS_NOATIME, NULL), 0);
    CHECK(info_has("f", "rw,noatime -"));
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL), 0);
    CHECK(info_has("f", "rw,nodev,noatime -")); /* access times stay as they were */
    CHECK_EQ(mount(NULL, "f", NULL, MS_REMOUNT | MS_BIND | MS_STRICTATIME | MS_NODIRATIME, NULL),
             0);
    CHECK(info_has("f", "rw,nodiratime -"));
    pid = fork();
    if (pid == 0)
        _exit(setuid(1000) || mount("x", "f", "tmpfs", 0, NULL) != -1 || errno != EPERM ||
              umount("f") != -1 || errno != EPERM);
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(umount("f"), 0);
}

static void test_atime(void)
{
    struct stat st;
    char byte;
    int fd;

    new_tmpfs("t");
    fd = open("t/file", O_CREAT | O_RDWR, 0600);
    CHECK_EQ(write(fd, "x", 1), 1);
    struct timespec old[2] = {{1000, 0}, {2000, 0}};
    CHECK_EQ(futimens(fd, old), 0);
    CHECK_EQ(mount(NULL, "t", NULL, MS_REMOUNT | MS_BIND | MS_NOATIME, NULL), 0);
    CHECK_EQ(pread(fd, &byte, 1, 0), 1);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_atime, 1000);
    CHECK_EQ(mount(NULL, "t", NULL, MS_REMOUNT | MS_BIND | MS_RELATIME, NULL), 0);
    CHECK_EQ(pread(fd, &byte, 1, 0), 1);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(st.st_atime > 2000);
    close(fd);
    CHECK_EQ(umount("t"), 0);
}

static void test_bind(void)
{
    struct open_how how = {.flags = O_PATH, .resolve = RESOLVE_NO_XDEV};

    new_tmpfs("s");
    CHECK_EQ(mkdir("s/in", 0755), 0);
    make_file("s/in/file");
    new_tmpfs("s/in/below");
    make_file("s/in/below/deep");
    CHECK_EQ(mkdir("d", 0755), 0);
    make_file("onfile");
    CHECK_ERRNO(mount("s/in", "onfile", NULL, MS_BIND, NULL), ENOTDIR);
    CHECK_ERRNO(mount("s/in/file", "d", NULL, MS_BIND, NULL), ENOTDIR);
    CHECK_ERRNO(mount(NULL, "d", NULL, MS_BIND, NULL), EINVAL);
    CHECK_EQ(mount("s/in", "d", NULL, MS_BIND, NULL), 0);
    CHECK_EQ(access("d/file", F_OK), 0);
    CHECK_ERRNO(access("d/below/deep", F_OK), ENOENT);
    CHECK(info_has("d", " /in "));
    CHECK_ERRNO(rename("d/file", "s/in/other"), EXDEV);
    CHECK_EQ(umount("d"), 0);
    CHECK_EQ(mount("s/in", "d", NULL, MS_BIND | MS_REC, NULL), 0);
    CHECK_EQ(access("d/below/deep", F_OK), 0);
    CHECK_EQ(access("d/below/../../onfile", F_OK), 0);
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "d/file", &how, sizeof(how)), EXDEV);
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "d/..", &how, sizeof(how)), EXDEV);
    CHECK_EQ(umount2("d", MNT_DETACH), 0);
    CHECK_EQ(access("s/in/below/deep", F_OK), 0);
    /* A file upon a file. */
    CHECK_EQ(mount("s/in/file", "onfile", NULL, MS_BIND, NULL), 0);
    CHECK_ERRNO(unlink("onfile"), EBUSY);
    CHECK_EQ(umount("onfile"), 0);
    /* The directory that a bind shows is moved out of what it shows. */
    CHECK_EQ(mkdir("s/in/sub", 0755), 0);
    CHECK_EQ(mount("s/in", "d", NULL, MS_BIND, NULL), 0);
    int fd = open("d/sub", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(rename("s/in/sub", "s/sub"), 0);
    CHECK_ERRNO(openat(fd, "..", O_RDONLY | O_DIRECTORY), ENOENT);
    close(fd);
    CHECK_EQ(umount("d"), 0);
    /* Moving. */
    CHECK_ERRNO(mount("s/in", "d", NULL, MS_MOVE, NULL), EINVAL);
    CHECK_ERRNO(mount("s", "s/in", NULL, MS_MOVE, NULL), ELOOP);
    CHECK_EQ(mount("s", "d", NULL, MS_MOVE, NULL), 0);
    CHECK_EQ(access("d/in/below/deep", F_OK), 0);
    CHECK_ERRNO(access("s/in", F_OK), ENOENT);
    CHECK(!is_mounted("s"));
    CHECK(is_mounted("d/in/below"));
    CHECK_EQ(umount2("d", MNT_DETACH), 0);
    CHECK_EQ(unlink("onfile"), 0);
}

/* Both are peers, or one is the slave of the other. */
static void test_propagation(void)
{
    new_tmpfs("p");
    CHECK_ERRNO(mount(NULL, "p", NULL, MS_SHARED | MS_PRIVATE, NULL), EINVAL);
    CHECK_EQ(mount(NULL, "p", NULL, MS_SHARED, NULL), 0);
    CHECK(info_has("p", " shared:"));
    CHECK_EQ(mkdir("p/x", 0755), 0);
    CHECK_EQ(mkdir("peer", 0755), 0);
    CHECK_EQ(mkdir("slave", 0755), 0);
    CHECK_EQ(mount("p", "peer", NULL, MS_BIND, NULL), 0);
    CHECK_EQ(mount("p", "slave", NULL, MS_BIND, NULL), 0);
    CHECK_EQ(mount(NULL, "slave", NULL, MS_SLAVE, NULL), 0);
    CHECK(info_has("slave", " master:"));
    CHECK(!info_has("slave", " shared:"));
    CHECK_EQ(mount("on", "p/x", "tmpfs", 0, NULL), 0);
    CHECK(is_mounted("peer/x"));
    CHECK(is_mounted("slave/x"));
    CHECK(info_has("slave/x", " master:"));
    make_file("peer/x/f");
    CHECK_EQ(access("slave/x/f", F_OK), 0);
    /* A moved mount's parent must not be shared. */
    CHECK_EQ(mkdir("q", 0755), 0);
    CHECK_ERRNO(mount("p/x", "q", NULL, MS_MOVE, NULL), EINVAL);
    CHECK_EQ(umount("peer/x"), 0);
    CHECK(!is_mounted("p/x"));
    CHECK(!is_mounted("slave/x"));
    /* From the slave nothing comes back. */
    CHECK_EQ(mount("own", "slave/x", "tmpfs", 0, NULL), 0);
    CHECK(!is_mounted("p/x"));
    /* What comes from the master goes below it. */
    CHECK_EQ(mount("on", "p/x", "tmpfs", 0, NULL), 0);
    make_file("p/x/g");
    CHECK_ERRNO(access("slave/x/g", F_OK), ENOENT);
    CHECK_EQ(umount("slave/x"), 0);
    CHECK_EQ(access("slave/x/g", F_OK), 0);
    CHECK_EQ(umount("p/x"), 0);
    CHECK(!is_mounted("slave/x"));
    /* A use of the slave's copy keeps all. */
    CHECK_EQ(mount("on", "p/x", "tmpfs", 0, NULL), 0);
    int fd = open("slave/x", O_RDONLY | O_DIRECTORY);
    CHECK_ERRNO(umount("p/x"), EBUSY);
    close(fd);
    CHECK_EQ(umount("p/x"), 0);
    /* When the last peer goes, its slaves are nobody's. */
    CHECK_EQ(mount(NULL, "peer", NULL, MS_PRIVATE, NULL), 0);
    CHECK(!info_has("peer", " shared:"));
    CHECK_EQ(umount("p"), 0);
    CHECK(!info_has("slave", " master:"));
    CHECK_EQ(mount(NULL, "peer", NULL, MS_UNBINDABLE, NULL), 0);
    CHECK(info_has("peer", " unbindable"));
    CHECK_ERRNO(mount("peer", "q", NULL, MS_BIND, NULL), EINVAL);
    CHECK_EQ(umount("peer"), 0);
    CHECK_EQ(umount("slave"), 0);
}

static void test_poll(void)
{
    struct pollfd p = {.fd = open("/proc/self/mounts", O_RDONLY), .events = POLLPRI};
    char buf[4096];

    CHECK_EQ(poll(&p, 1, 0), 0);
    new_tmpfs("w");
    CHECK_EQ(poll(&p, 1, 1000), 1);
    CHECK_EQ(p.revents, POLLPRI | POLLERR);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK(read(p.fd, buf, sizeof(buf)) > 0);
    CHECK_EQ(umount("w"), 0);
    CHECK_EQ(poll(&p, 1, 1000), 1);
    close(p.fd);
}

/* epoll(7) tells it once as well, and does not lose it. */
static void test_epoll(void)
{
    struct epoll_event event = {.events = EPOLLPRI}, got;
    int fd = open("/proc/self/mounts", O_RDONLY), epoll = epoll_create1(0);

    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    CHECK_EQ(epoll_wait(epoll, &got, 1, 0), 0);
    new_tmpfs("w");
    CHECK_EQ(epoll_wait(epoll, &got, 1, 1000), 1);
    CHECK_EQ(got.events, EPOLLPRI | EPOLLERR);
    CHECK_EQ(epoll_wait(epoll, &got, 1, 0), 0);
    CHECK_EQ(umount("w"), 0);
    CHECK_EQ(epoll_wait(epoll, &got, 1, 1000), 1);
    close(epoll);
    close(fd);
}

static int sys_fsconfig(int fd, unsigned cmd, const char *key, const char *value)
{
    return (int)syscall(SYS_fsconfig, fd, cmd, key, value, 0);
}

struct attr {
    uint64_t set, clear, propagation, userns_fd;
};

static void test_descriptors(void)
{
    int fs = (int)syscall(SYS_fsopen, "tmpfs", 0), m, tree;
    struct attr attr = {.set = 1 /* RDONLY */};

    CHECK(fs >= 0);
    CHECK_ERRNO(syscall(SYS_fsopen, "nosuchfs", 0), ENODEV);
    CHECK_ERRNO(syscall(SYS_fsmount, fs, 0, 0), EINVAL);
    CHECK_ERRNO(sys_fsconfig(fs, 1, "mode", "9"), EINVAL);
    CHECK_EQ(sys_fsconfig(fs, 1, "size", "128k"), 0);
    CHECK_EQ(sys_fsconfig(fs, 1, "source", "mine"), 0);
    CHECK_ERRNO(sys_fsconfig(fs, 1, "source", "again"), EINVAL);
    CHECK_EQ(sys_fsconfig(fs, 6 /* CMD_CREATE */, NULL, NULL), 0);
    CHECK_ERRNO(sys_fsconfig(fs, 1, "size", "128k"), EBUSY);
    CHECK_ERRNO(syscall(SYS_fsmount, fs, 0, 0x40), EINVAL);
    m = (int)syscall(SYS_fsmount, fs, 0, 2 /* NOSUID */);
    CHECK(m >= 0);
    close(fs);
    CHECK_EQ(mkdirat(m, "early", 0755), 0);
    CHECK_EQ(mkdir("n", 0755), 0);
    CHECK_EQ(syscall(SYS_move_mount, m, "", AT_FDCWD, "n", 4 /* F_EMPTY_PATH */), 0);
    CHECK_EQ(access("n/early", F_OK), 0);
    CHECK(info_has("n", "rw,nosuid,relatime - tmpfs mine rw,size=128k"));
    close(m);
    CHECK(is_mounted("n"));

    tree = (int)syscall(SYS_open_tree, AT_FDCWD, "n", 1 /* CLONE */);
    CHECK(tree >= 0);
    CHECK_EQ(mkdirat(tree, "late", 0755), 0);
    CHECK_EQ(access("n/late", F_OK), 0);
    CHECK_EQ(syscall(SYS_mount_setattr, tree, "", 0x1000, &attr, sizeof(attr)), 0);
    CHECK_ERRNO(mkdirat(tree, "no", 0755), EROFS);
    CHECK_ERRNO(syscall(SYS_mount_setattr, tree, "", 0x1000, &attr, 8), EINVAL);
    attr.set = 0x10; /* NOATIME needs the whole choice to be cleared */
    CHECK_ERRNO(syscall(SYS_mount_setattr, tree, "", 0x1000, &attr, sizeof(attr)), EINVAL);
    CHECK_EQ(mkdir("n2", 0755), 0);
    CHECK_EQ(syscall(SYS_move_mount, tree, "", AT_FDCWD, "n2", 4), 0);
    CHECK(info_has("n2", " ro,nosuid,relatime"));
    CHECK_ERRNO(syscall(SYS_move_mount, AT_FDCWD, "n/early", AT_FDCWD, "n2", 0), EINVAL);
    close(tree);
    CHECK_EQ(umount("n2"), 0);

    /* A tree that nobody took goes with its descriptor, while files of it live on. */
    tree = (int)syscall(SYS_open_tree, AT_FDCWD, "n", 1);
    m = openat(tree, "early", O_RDONLY | O_DIRECTORY);
    close(tree);
    CHECK_EQ(faccessat(m, ".", F_OK, 0), 0);
    close(m);
    /* Without CLONE it is but a place. */
    tree = (int)syscall(SYS_open_tree, AT_FDCWD, "n", 0);
    close(tree);
    CHECK(is_mounted("n"));
    CHECK_ERRNO(syscall(SYS_open_tree, AT_FDCWD, "n", 0x8000), EINVAL);

    fs = (int)syscall(SYS_fspick, AT_FDCWD, "n", 0);
    CHECK(fs >= 0);
    CHECK_EQ(sys_fsconfig(fs, 1, "size", "256k"), 0);
    CHECK_EQ(sys_fsconfig(fs, 7 /* CMD_RECONFIGURE */, NULL, NULL), 0);
    close(fs);
    CHECK(info_has("n", "size=256k"));
    CHECK_ERRNO(syscall(SYS_fspick, AT_FDCWD, "n/early", 0), EINVAL);
    CHECK_EQ(umount("n"), 0);
}

static void test_removed(void)
{
    int fd;

    CHECK_EQ(mkdir("gone", 0755), 0);
    fd = open("gone", O_PATH);
    CHECK_EQ(rmdir("gone"), 0);
    char name[40];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    CHECK_ERRNO(mount("x", name, "tmpfs", 0, NULL), ENOENT);
    close(fd);
}

int main(void)
{
    if (geteuid() != 0)
        return CHECK_SKIPPED;
    if (unshare(CLONE_NEWNS) == 0)
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    snprintf(base, sizeof(base), "/tmp/mounts-%d", getpid());
    CHECK_EQ(mkdir(base, 0755), 0);
    CHECK_EQ(mount("base", base, "tmpfs", 0, NULL), 0);
    CHECK_EQ(mount(NULL, base, NULL, MS_PRIVATE, NULL), 0);
    CHECK_EQ(chdir(base), 0);
    test_simple();
    test_busy();
    test_flags();
    test_atime();
    test_bind();
    test_propagation();
    test_poll();
    test_epoll();
    test_descriptors();
    test_removed();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(umount(base), 0);
    CHECK_EQ(rmdir(base), 0);
    return check_done();
}
